"""The transformer of ACT: DETR's layers, with positions added to queries and keys only.

Sequences are batch first: (B, tokens, hidden). Parameter names are those of the public
checkpoints (`self_attn.in_proj_weight`, `linear1.weight`, `norm1.weight` ...). Each `dropout`
stands where DETR has it, and drops nothing unless training gives it a share.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the feed-forward parts; gelu is the exact one, by the error function.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {'relu': F.relu, 'gelu': F.gelu}


class Attention(nn.Module):
    """Multi-head attention with the parameters of `torch.nn.MultiheadAttention`."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(0.0)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * hidden))
        self.out_proj = nn.Linear(hidden, hidden)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        """(B, n, hidden) or (1, n, hidden), (B, m, hidden), (B, m, hidden) to (B, n, hidden).

        :param seen: (B, m) bool: keys that are attended to; None: all.
        """
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        q = q.expand(len(k), -1, -1, -1)  # of a batch of one
        mask = None if seen is None else seen[:, None, None]
        dropped = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, mask, dropped)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


@dataclass(frozen=True)
class LayerConfig:
    """What all layers of a transformer have in common.

    :ivar activation: of the feed-forward part, a key of `ACTIVATIONS`.
    :ivar pre_norm: norms stand before each branch instead of after the sum.
    """

    hidden: int
    heads: int
    feedforward: int
    activation: str = 'relu'
    pre_norm: bool = False


class _Layer(nn.Module):
    """What encoder and decoder layers share: the feed-forward part and where norms stand."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()
        hidden, heads, feedforward = config.hidden, config.heads, config.feedforward
        self.pre_norm, self.activation = config.pre_norm, ACTIVATIONS[config.activation]
        self.self_attn = Attention(hidden, heads)
        self.linear1 = nn.Linear(hidden, feedforward)
        self.linear2 = nn.Linear(feedforward, hidden)
        self.norm1 = nn.LayerNorm(hidden)
        self.norm2 = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(0.0)

    def feedforward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def residual(self, x: Tensor, norm: nn.Module, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """One residual step, normalised before the branch or after the sum."""
        if self.pre_norm:
            return x + self.dropout(branch(norm(x)))
        return norm(x + self.dropout(branch(x)))


class EncoderLayer(_Layer):
    """Self-attention over all tokens, then the feed-forward part."""

    def forward(self, x: Tensor, position: Tensor, seen: Tensor | None = None) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            placed = x + position
            return self.self_attn(placed, placed, x, seen)

        x = self.residual(x, self.norm1, attend)
        return self.residual(x, self.norm2, self.feedforward)


class DecoderLayer(_Layer):
    """Self-attention over the action queries, cross-attention to the memory, feed-forward."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__(config)
        self.multihead_attn = Attention(config.hidden, config.heads)
        self.norm3 = nn.LayerNorm(config.hidden)

    def forward(self, x: Tensor, memory: Tensor, position: Tensor, query: Tensor) -> Tensor:
        def attend_self(x: Tensor) -> Tensor:
            placed = x + query
            return self.self_attn(placed, placed, x)

        def attend_memory(x: Tensor) -> Tensor:
            return self.multihead_attn(x + query, memory + position, memory)

        x = self.residual(x, self.norm1, attend_self)
        x = self.residual(x, self.norm2, attend_memory)
        return self.residual(x, self.norm3, self.feedforward)


class Encoder(nn.Module):
    """A stack of encoder layers; a last norm only where the layers normalise before."""

    def __init__(self, layers: int, config: LayerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(config.hidden) if config.pre_norm else nn.Identity()

    def forward(self, x: Tensor, position: Tensor, seen: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, position, seen)
        return self.norm(x)


class Decoder(nn.Module):
    """ACT's decoder: a stack of layers and a last norm.

    The public training code stacks every layer's normalised output and takes the *first*, so
    its later layers are trained on nothing: its networks have a single layer here. A training
    adds them behind it, for their keys.

    :param layers: of which the last one's output is the result.
    """

    def __init__(self, layers: int, config: LayerConfig) -> None:
        super().__init__()
        self.count = layers
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(config.hidden)

    def forward(self, memory: Tensor, position: Tensor, query: Tensor) -> Tensor:
        # Until it looks at the memory, only what dropout leaves out differs within a batch.
        layers = [cast(DecoderLayer, layer) for layer in self.layers[: self.count]]
        batch = len(memory) if self.training and layers[0].dropout.p else 1
        query = query.expand(batch, -1, -1)
        x = torch.zeros_like(query)
        for layer in layers:
            x = layer(x, memory, position, query)
        return self.norm(x)


class Transformer(nn.Module):
    """Encoder over the observation's tokens, decoder from action queries."""

    def __init__(self, encoder_layers: int, decoder_layers: int, config: LayerConfig) -> None:
        super().__init__()
        self.encoder = Encoder(encoder_layers, config)
        self.decoder = Decoder(decoder_layers, config)

    def forward(self, tokens: Tensor, position: Tensor, query: Tensor) -> Tensor:
        """(B, n, hidden) tokens, (n, hidden) positions, (k, hidden) queries to (B, k, hidden)."""
        memory = self.encoder(tokens, position)
        return self.decoder(memory, position, query)
