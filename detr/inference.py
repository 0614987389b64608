"""The network in the form in which it runs: the same function, with less to do.

Derived from a loaded `DETRVAE`. Frozen batch norms are folded into their convolutions, the
scale of the input normalisation into the first one. What depends on no input is computed once:
positions, already projected to keys and queries; the decoder layer up to its cross-attention,
whose target starts at zero. Tokens are kept camera by camera: attention does not care for
their order, and a camera whose frame has not changed keeps its own.
"""

import copy
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detr.backbone import FrozenBatchNorm2d, ResNet
from detr.detr_vae import DETRVAE, IMAGENET, ImageStatistics
from detr.position_encoding import sine_position_embedding
from detr.transformer import Attention, DecoderLayer, EncoderLayer

# A convolution and the frozen norm after it, as the modules of detr.backbone name them.
_PAIRS = (('conv1', 'bn1'), ('conv2', 'bn2'), ('conv3', 'bn3'), ('0', '1'))


class Vision(nn.Module):
    """One backbone: frames to tokens.

    :param network: the loaded network; it is left as it is.
    :param index: of the backbone.
    :param bgr: the network was trained on frames whose channels are in that order.
    :param statistics: by which its cameras' colours were normalised.
    """

    def __init__(
        self,
        network: DETRVAE,
        index: int,
        bgr: bool = False,
        statistics: ImageStatistics = IMAGENET,
    ) -> None:
        super().__init__()
        self.body = _folded_body(network.resnet(index))
        mean, std = torch.tensor(statistics.mean) * 255, torch.tensor(statistics.std) * 255
        first = self.body.conv1
        # (x / 255 - mean) / std = (x - 255 mean) / (255 std). The division goes into the
        # weights; the subtraction stays, for the padding is zero after it.
        weight = first.weight.double() / std.double()[:, None, None]
        if bgr:
            # Frames come as RGB: turn the weights around instead.
            weight, mean = weight.flip(1), mean.flip(0)
        first.weight = nn.Parameter(weight.float(), requires_grad=False)
        # A plain attribute, so that it stays float32 whatever the weights become.
        self.mean = mean[:, None, None].clone()
        source = network.input_proj
        self.project = copy.deepcopy(source)
        self.requires_grad_(False)
        self.place(torch.device('cpu'), torch.float32)

    def place(self, device: torch.device, dtype: torch.dtype) -> 'Vision':
        """Move and cast the weights; the mean is moved only."""
        self.mean = self.mean.to(device)
        # Channels-last is what CPUs and tensor cores are fast with. True float32 uses no tensor
        # cores, and cuDNN's other kernels for that layout can be five times slower.
        plain = device.type == 'cuda' and dtype == torch.float32
        self.layout = torch.contiguous_format if plain else torch.channels_last
        # Missing in torch's own types.
        self.to(device, dtype, memory_format=self.layout)  # type: ignore[call-overload]
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 RGB to (N, h * w, hidden) tokens."""
        # The layout of the frames' bytes is channels-last already. In float32 first: a mean
        # of few digits would shift every pixel.
        pixels = frames.permute(0, 3, 1, 2).float() - self.mean
        pixels = pixels.to(self.project.weight.dtype, memory_format=self.layout)
        features = self.body(pixels)
        return self.project(features).flatten(2).transpose(1, 2)


class Actions(nn.Module):
    """The transformer: joint states and all cameras' tokens to a chunk.

    :param network: the loaded network; most weights stay its own.
    :param grids: height and width of each camera's feature map.
    :ivar tokens: of all cameras.
    """

    latent: Tensor

    @torch.no_grad()
    def __init__(self, network: DETRVAE, grids: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        transformer, hidden = network.transformer, network.config.hidden_dim
        places = [sine_position_embedding(*grid, hidden).flatten(1).T for grid in grids]
        position = torch.cat((network.additional_pos_embed.weight, *places))
        self.tokens = sum(height * width for height, width in grids)
        query = network.query_embed.weight
        self.state = network.input_proj_robot_state
        self.register_buffer('latent', network.latent_out_proj.bias.clone())
        self.encoder = nn.ModuleList(
            _Encoder(cast(EncoderLayer, layer), position) for layer in transformer.encoder.layers
        )
        self.norm = transformer.encoder.norm
        self.decoder = _Decoder(
            [cast(DecoderLayer, layer) for layer in transformer.decoder.layers], position, query
        )
        self.decoder_norm = transformer.decoder.norm
        self.head = network.action_head

    def forward(self, qpos: Tensor, tokens: Tensor) -> Tensor:
        """Predict a chunk of normalised actions.

        :param qpos: (B, state_dim) normalised joint states.
        :param tokens: (B, h * w of all cameras, hidden), camera by camera.
        :returns: (B, chunk_size, action_dim) normalised actions.
        """
        state = self.state(qpos.to(self.latent.dtype))
        first = torch.stack((self.latent.expand_as(state), state), dim=1)
        x = torch.cat((first, tokens), dim=1)
        for layer in self.encoder:
            x = layer(x)
        return self.head(self.decoder_norm(self.decoder(self.norm(x)))).float()


class _Encoder(nn.Module):
    """An encoder layer whose position is part of a bias.

    q and k are projections of x + position, v of x: one product for the three, and what the
    position adds to it is a constant.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: EncoderLayer, position: Tensor) -> None:
        super().__init__()
        self.pre_norm, self.heads = layer.pre_norm, layer.self_attn.heads
        attention = layer.self_attn
        self.register_buffer('weight', attention.in_proj_weight.detach().clone())
        self.register_buffer('bias', _placed(attention, position, 'qk'))
        self.out, self.layer = attention.out_proj, layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        x = layer.residual(x, layer.norm1, self._attend)
        return layer.residual(x, layer.norm2, layer.feedforward)

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = (F.linear(x, self.weight) + self.bias).chunk(3, dim=-1)
        q, k, v = (_heads(t, self.heads) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class _Decoder(nn.Module):
    """The decoder from its first cross-attention on; what is before it is constant.

    :param layers: all that count.
    """

    target: Tensor
    q: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(
        self, layers: Sequence[DecoderLayer], position: Tensor, query: Tensor
    ) -> None:
        super().__init__()
        layer, later = layers[0], layers[1:]
        cross, hidden = layer.multihead_attn, query.shape[1]
        self.heads, self.layer = cross.heads, layer
        placed = query[None]

        def attend(x: Tensor) -> Tensor:
            return layer.self_attn(x + placed, x + placed, x)

        target = layer.residual(torch.zeros_like(placed), layer.norm1, attend)
        asked = layer.norm2(target) if layer.pre_norm else target
        weight, bias = cross.in_proj_weight.detach(), cross.in_proj_bias.detach()
        q = F.linear(asked + placed, weight[:hidden], bias[:hidden])
        self.register_buffer('target', target.detach().clone())
        self.register_buffer('q', _heads(q, cross.heads).contiguous())
        self.register_buffer('weight', weight[hidden:].clone())
        self.register_buffer('bias', _placed(cross, position, 'k')[:, hidden:].clone())
        self.out = cross.out_proj
        self.later = nn.ModuleList(later)
        if later:  # they attend to each other's outputs, too: nothing of them is constant
            self.register_buffer('query', placed.detach().clone())
            self.register_buffer('position', position.detach().clone())

    def forward(self, memory: Tensor) -> Tensor:
        layer = self.layer
        k, v = (F.linear(memory, self.weight) + self.bias).chunk(2, dim=-1)
        # Contiguous: half-precision kernels of some versions take no other batch.
        q = self.q.expand(memory.shape[0], -1, -1, -1).contiguous()
        mixed = F.scaled_dot_product_attention(q, _heads(k, self.heads), _heads(v, self.heads))
        x = self.target + self.out(mixed.transpose(1, 2).flatten(2))
        if not layer.pre_norm:
            x = layer.norm2(x)
        x = layer.residual(x, layer.norm3, layer.feedforward)
        for later in self.later:
            x = later(x, memory, self.position, self.query)
        return x


def _heads(x: Tensor, heads: int) -> Tensor:
    """(B, n, hidden) to (B, heads, n, hidden / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _placed(attention: Attention, position: Tensor, which: str) -> Tensor:
    """Bias of a joint projection to q, k, v with what the position adds, (n, 3 * hidden)."""
    parts = []
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    for name, weight, bias in zip('qkv', weights, biases, strict=True):
        added = F.linear(position, weight) if name in which else torch.zeros_like(position)
        parts.append(added + bias)
    return torch.cat(parts, dim=1).detach().clone()


def _folded_body(body: ResNet) -> ResNet:
    """A copy of a ResNet with each frozen batch norm folded into its convolution.

    conv(x) * scale + shift is a convolution of its own; on a CPU the norms otherwise cost a
    quarter of a pass, since they read and write every feature map again.
    """
    body = copy.deepcopy(body)
    for module in list(body.modules()):
        for conv_name, norm_name in _PAIRS:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                setattr(module, conv_name, _folded(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return body


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> nn.Conv2d:
    # In double precision: the fold itself shall not add rounding.
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    folded = copy.deepcopy(conv)
    weight = conv.weight.double() * scale[:, None, None, None]
    folded.weight = nn.Parameter(weight.float(), requires_grad=False)
    folded.bias = nn.Parameter(shift.float(), requires_grad=False)
    return folded
