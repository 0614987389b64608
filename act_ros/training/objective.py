"""What training makes smaller: the distance of the actions, and how much the latent tells."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from act_ros.task import Entry
from act_ros.training.batch import Batch
from detr.training import TrainingACT


class Objective(nn.Module):
    """The objective of the public code.

    :param weights: (action_dim,) of each entry of the action.
    """

    weights: Tensor

    def __init__(self, network: TrainingACT, kl_weight: float, weights: Tensor) -> None:
        super().__init__()
        self.network, self.kl_weight = network, kl_weight
        self.register_buffer('weights', weights, persistent=False)

    def forward(self, batch: Batch, noise: Tensor | None) -> Tensor:
        """Losses of a batch: (3,) l1, kl, and `l1 + kl_weight * kl`, to be made smaller.

        :param noise: (B, 32) of a normal distribution; None: actions as at inference.
        """
        network, images = self.network, channels_first(batch.images)
        seen = batch.qpos, batch.actions, batch.is_pad
        if noise is None:
            actions, (mu, logvar) = network(batch.qpos, images), network.posterior(*seen)
        else:
            actions, mu, logvar = network.reconstruct(images, *seen, noise)
        l1 = distance(actions, batch, self.weights)
        kl = divergence(mu.float(), logvar.float())
        return torch.stack((l1, kl, l1 + self.kl_weight * kl))


def entry_weights(action: Sequence[Entry], velocity_weight: float) -> Tensor:
    """(action_dim,) how much each entry of the action counts."""
    return torch.tensor([velocity_weight if e.quantity == 'velocity' else 1.0 for e in action])


def distance(actions: Tensor, batch: Batch, weights: Tensor) -> Tensor:
    """Mean of |difference| over all entries; padded steps count as 0 and stay in the mean.

    :param actions: (B, chunk_size, action_dim), predicted.
    :param weights: (action_dim,).
    """
    difference = (actions.float() - batch.actions).abs() * weights
    return difference.masked_fill(batch.is_pad[..., None], 0.0).mean()


def divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Of the latent's distribution from the normal one; summed over its numbers, batch mean.

    :param mu: (B, 32).
    :param logvar: (B, 32).
    """
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(dim=1).mean()


def channels_first(images: Tensor) -> Tensor:
    """(B, cameras, H, W, 3) as (B, cameras, 3, H, W), without a copy."""
    return images.permute(0, 1, 4, 2, 3)
