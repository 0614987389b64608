"""What training takes: samples, in batches, of episodes to train on and to validate by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from act_ros.policy.interface import Statistics
from act_ros.task import Task


@dataclass(frozen=True)
class Batch:
    """Observations and the actions that followed them.

    :ivar qpos: (B, state_dim) float32, normalised.
    :ivar images: (B, cameras, H, W, 3) uint8 RGB, in the policy's order: the layout of frames as
        they are stored, which is the one that convolutions are fast with, too.
    :ivar actions: (B, chunk_size, action_dim) float32, normalised; finite where padded, too.
    :ivar is_pad: (B, chunk_size) bool: the episode had ended.
    """

    qpos: torch.Tensor
    images: torch.Tensor
    actions: torch.Tensor
    is_pad: torch.Tensor

    def pinned(self) -> 'Batch':
        """A copy in memory from which a GPU fetches by itself."""
        return Batch(*(tensor.pin_memory() for tensor in self._tensors()))

    def to(self, device: torch.device) -> 'Batch':
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self._tensors()))

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return self.qpos, self.images, self.actions, self.is_pad


class Samples(Protocol):
    """Samples of some episodes, the same ones for the same index at any time."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Some samples, in the order of the indices; from any thread.

        :raises ActError: they cannot be read.
        """
        ...


@dataclass(frozen=True)
class Data:
    """All that a training knows of the recordings.

    :ivar validation: samples of other episodes; None: nothing is held back.
    :ivar statistics: by which the samples are normalised, the deviations clipped.
    :ivar example_qpos: (n, state_dim) of an episode, physical units, as the public code keeps it.
    :ivar fingerprint: differs where the recordings or what was made of them do.
    """

    train: Samples
    validation: Samples | None
    statistics: Statistics
    example_qpos: np.ndarray
    task: Task
    fingerprint: str
