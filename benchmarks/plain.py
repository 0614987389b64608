"""The plain network, run as the public implementation runs it: what speed is compared with.

Eager float32; batch norms where they are; `torch.nn.MultiheadAttention`, which hands its
weights out; every one of the decoder's layers, though only the first one's output is used.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from detr import DETRVAE
from detr.detr_vae import normalise_images, to_tokens
from detr.transformer import Attention, DecoderLayer, EncoderLayer

DECODER_LAYERS = 7


class PlainACT(nn.Module):
    """A loaded network with nothing left out.

    :param network: the loaded network; its one decoder layer serves for all.
    """

    def __init__(self, network: DETRVAE) -> None:
        super().__init__()
        self.network = network
        transformer = network.transformer
        self.encoder = nn.ModuleList(
            _attention(cast(EncoderLayer, layer).self_attn)
            for layer in transformer.encoder.layers
        )
        layer = cast(DecoderLayer, transformer.decoder.layers[0])
        self.decoder_self, self.decoder_cross = (
            nn.ModuleList(_attention(attention) for _ in range(DECODER_LAYERS))
            for attention in (layer.self_attn, layer.multihead_attn)
        )
        self.requires_grad_(False).eval()

    def forward(self, qpos: Tensor, images: Tensor) -> Tensor:
        """As `DETRVAE.forward`."""
        net = self.network
        features = net.image_features(normalise_images(images))
        latent = net.latent_out_proj(torch.zeros(len(qpos), net.latent_out_proj.in_features,
                                                 device=qpos.device))  # fmt: skip
        state = net.input_proj_robot_state(qpos)
        x = torch.cat((torch.stack((latent, state), dim=1), to_tokens(features)), dim=1)
        position = torch.cat(
            (net.additional_pos_embed.weight, net.image_positions(features, images.shape[1]))
        )
        for attention, layer in zip(self.encoder, net.transformer.encoder.layers, strict=True):
            layer = cast(EncoderLayer, layer)
            x = layer.residual(x, layer.norm1, partial(_self, attention, position=position))
            x = layer.residual(x, layer.norm2, layer.feedforward)
        memory = net.transformer.encoder.norm(x)
        query = net.query_embed.weight.expand(len(qpos), -1, -1)
        layer = cast(DecoderLayer, net.transformer.decoder.layers[0])
        x, outputs = torch.zeros_like(query), []
        for own, cross in zip(self.decoder_self, self.decoder_cross, strict=True):
            x = layer.residual(x, layer.norm1, partial(_self, own, position=query))
            to_memory = partial(_cross, cross, query=query, memory=memory, position=position)
            x = layer.residual(x, layer.norm2, to_memory)
            x = layer.residual(x, layer.norm3, layer.feedforward)
            outputs.append(net.transformer.decoder.norm(x))
        return net.action_head(torch.stack(outputs))[0]


def _self(attention: nn.Module, x: Tensor, position: Tensor) -> Tensor:
    placed = x + position
    return attention(placed, placed, x)[0]


def _cross(
    attention: nn.Module, x: Tensor, query: Tensor, memory: Tensor, position: Tensor
) -> Tensor:
    return attention(x + query, memory + position, memory)[0]


def _attention(source: Attention) -> nn.MultiheadAttention:
    hidden = source.out_proj.in_features
    made = nn.MultiheadAttention(hidden, source.heads, batch_first=True)
    made.in_proj_weight, made.in_proj_bias = source.in_proj_weight, source.in_proj_bias
    made.out_proj.weight, made.out_proj.bias = source.out_proj.weight, source.out_proj.bias
    return made
