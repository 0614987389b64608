"""The network as it is trained: `DETRVAE` and what only its training has, under the public keys.

The CVAE encoder sees the actions that are to be predicted and says in a few numbers, the latent,
what of them the observation does not tell; drawn to a normal distribution, they can be zero at
inference. Its part in the objective is `mu` and `logvar` of `Reconstruction`.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from detr.backbone import FrozenBatchNorm2d
from detr.detr_vae import DETRVAE, LATENT_DIM, ACTConfig, embedding
from detr.transformer import Attention, DecoderLayer, Encoder


class Reconstruction(NamedTuple):
    """Actions predicted with a latent that has seen them.

    :ivar actions: (B, chunk_size, action_dim) normalised.
    :ivar mu: (B, 32) mean of the latent, zero without a CVAE.
    :ivar logvar: (B, 32) logarithm of its variance, zero without a CVAE.
    """

    actions: Tensor
    mu: Tensor
    logvar: Tensor


class _Average(torch.autograd.Function):
    """The mean over all processes that train together, which each has a part of."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _averaged(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _averaged(gradient)


def _averaged(x: Tensor) -> Tensor:
    x = x / dist.get_world_size()
    dist.all_reduce(x)
    return x


class BatchNorm2d(FrozenBatchNorm2d):
    """Batch norm that is trained, under the keys of the frozen one, which it can become.

    :ivar shared: the batch is that of all processes that train together.
    """

    momentum = 0.1

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        for name in ('weight', 'bias'):
            value = getattr(self, name)
            delattr(self, name)
            self.register_parameter(name, nn.Parameter(value))
        self.frozen = self.shared = False

    def freeze(self) -> None:
        """From here on its statistics and affine parameters are constants."""
        self.frozen = True
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.frozen or not self.training:
            return super().forward(x)
        if self.shared:
            return self._forward_shared(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True,
            self.momentum, self.eps,
        )  # fmt: skip

    def _forward_shared(self, x: Tensor) -> Tensor:
        """The same for a batch of which each process has a part of the same size."""
        places = (0, 2, 3)
        mean = _Average.apply(x.float().mean(places))
        centred = x.float() - mean[:, None, None]
        variance = _Average.apply(centred.square().mean(places))
        with torch.no_grad():
            count = x.numel() // x.shape[1] * dist.get_world_size()
            unbiased = variance * (count / max(1, count - 1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class TrainingACT(DETRVAE):
    """The network with what only training needs; called as it is, it runs as at inference.

    Its weights are drawn as the public code draws them, by torch's global generator.

    :param decoder_layers: as many as the public code stacks; those after the first have no part
        in the result, and are here for their keys.
    :param cvae: without it the latent is zero, and the weights of the encoder stay as drawn.
    :param dropout: share of activations left out in training.
    :param batch_norm: the norms of the backbones are trained; otherwise they are frozen.
    """

    pos_table: Tensor

    def __init__(
        self,
        config: ACTConfig,
        *,
        decoder_layers: int = 7,
        cvae: bool = True,
        dropout: float = 0.1,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(config)
        self.cvae = cvae
        hidden = config.hidden_dim
        self.encoder = Encoder(config.encoder_layers, config.layer)
        self.cls_embed = embedding(1, hidden)
        self.encoder_joint_proj = nn.Linear(config.state_dim, hidden)
        self.encoder_action_proj = nn.Linear(config.action_dim, hidden)
        self.latent_proj = nn.Linear(hidden, 2 * LATENT_DIM)
        self.register_buffer('pos_table', _sine_table(2 + config.chunk_size, hidden)[None])
        self.is_pad_head = nn.Linear(hidden, 1)
        later: list[nn.Module] = [
            DecoderLayer(config.layer) for _ in range(1, decoder_layers)
        ]
        self.transformer.decoder.layers.extend(later)

        for module in list(self.backbones.modules()):
            for name, child in module.named_children():
                if isinstance(child, FrozenBatchNorm2d):
                    setattr(module, name, BatchNorm2d(len(child.weight)))
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        self._draw_weights()
        if not batch_norm:
            for norm in self.norms:
                norm.freeze()
        for module in (*later, self.is_pad_head, *(() if cvae else self._cvae_encoder())):
            module.requires_grad_(False)
        self.latent_out_proj.weight.requires_grad_(cvae)

    def reconstruct(
        self, images: Tensor, qpos: Tensor, actions: Tensor, is_pad: Tensor, noise: Tensor
    ) -> Reconstruction:
        """Predict actions by an observation and a latent that has seen them.

        :param images: (B, cameras, 3, H, W) uint8 RGB.
        :param qpos: (B, state_dim) normalised joint states.
        :param actions: (B, chunk_size, action_dim) normalised.
        :param is_pad: (B, chunk_size) bool: actions that there are none of.
        :param noise: (B, 32) of a normal distribution: the latent is `mu + noise * deviation`.
        """
        mu, logvar = self.posterior(qpos, actions, is_pad)
        if not self.cvae:
            return Reconstruction(self(qpos, images), mu, logvar)
        latent = self.latent_out_proj(mu + (logvar / 2).exp() * noise)
        return Reconstruction(self.chunk(qpos, images, latent), mu, logvar)

    def posterior(self, qpos: Tensor, actions: Tensor, is_pad: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latent, (B, 32) each; see `reconstruct`.

        Without a CVAE the latent tells nothing: both are zero.
        """
        batch = len(qpos)
        if not self.cvae:
            return qpos.new_zeros(batch, LATENT_DIM), qpos.new_zeros(batch, LATENT_DIM)
        first = self.cls_embed.weight.expand(batch, -1), self.encoder_joint_proj(qpos)
        tokens = torch.cat((torch.stack(first, dim=1), self.encoder_action_proj(actions)), dim=1)
        seen = torch.cat((is_pad.new_ones(batch, 2), ~is_pad), dim=1)
        encoded = self.encoder(tokens, self.pos_table[0], seen)
        mu, logvar = self.latent_proj(encoded[:, 0]).chunk(2, dim=-1)
        return mu, logvar

    @property
    def norms(self) -> list[BatchNorm2d]:
        """The norms of the backbones that are trained: not those that are frozen."""
        return [
            each for each in self.backbones.modules()
            if isinstance(each, BatchNorm2d) and not each.frozen
        ]  # fmt: skip

    def _cvae_encoder(self) -> tuple[nn.Module, ...]:
        return (
            self.encoder, self.cls_embed, self.encoder_joint_proj, self.encoder_action_proj,
            self.latent_proj,
        )  # fmt: skip

    def _draw_weights(self) -> None:
        for parameter in self.transformer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, Attention):
                nn.init.xavier_uniform_(module.in_proj_weight)
                nn.init.zeros_(module.in_proj_bias)
                nn.init.zeros_(module.out_proj.bias)
        for module in self.backbones.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')


def smooth_queries(chunk_size: int, hidden: int) -> Tensor:
    """Queries that change slowly along the chunk, (chunk_size, hidden), by torch's generator.

    Neighbouring steps then begin alike, as the actions of a motion are.
    """
    period = (3.0 + 3.0 * torch.rand(hidden)) * chunk_size
    phase = 2 * math.pi * torch.rand(hidden)
    return torch.sin(2 * math.pi * torch.arange(chunk_size)[:, None] / period + phase)


def _sine_table(places: int, hidden: int) -> Tensor:
    """The position of each token of the CVAE encoder, (places, hidden), interleaved."""
    index = torch.arange(hidden, dtype=torch.float64)
    wavelength = 10_000.0 ** (2 * (index // 2) / hidden)
    angle = torch.arange(places, dtype=torch.float64)[:, None] / wavelength
    return torch.where(index % 2 == 0, angle.sin(), angle.cos()).float()
