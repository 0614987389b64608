"""The 2-D sine position embedding of DETR (Carion et al. 2020, arXiv:2005.12872)."""

import math

import torch
from torch import Tensor


def sine_position_embedding(
    height: int,
    width: int,
    features: int,
    *,
    device: torch.device | str = 'cpu',
    temperature: float = 10_000.0,
) -> Tensor:
    """Embed each cell of a feature map by its place, rows first.

    A cell's 1-based row and column, scaled so that the last is 2 pi, are each embedded by
    `features / 2` interleaved sines and cosines.

    :param height: rows of the feature map.
    :param width: columns of the feature map.
    :param features: size of the embedding, a multiple of 4.
    :param device: where the embedding is made.
    :param temperature: base of the geometric series of wavelengths.
    :returns: (features, height, width) float32: the row's half, then the column's.
    """
    half = features // 2
    index = torch.arange(half, dtype=torch.float32, device=device)
    wavelength = temperature ** (2 * (index // 2) / half)

    def embed(cells: int) -> Tensor:
        place = torch.arange(1, cells + 1, dtype=torch.float32, device=device)
        angle = (place / (cells + 1e-6) * (2 * math.pi))[:, None] / wavelength
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    rows = embed(height)[:, None].expand(height, width, half)
    columns = embed(width)[None].expand(height, width, half)
    return torch.cat((rows, columns), dim=2).permute(2, 0, 1)
