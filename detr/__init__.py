"""The ACT network: plain PyTorch modules that read top to bottom."""

from detr.detr_vae import DETRVAE, ACTConfig

__all__ = ['DETRVAE', 'ACTConfig']
