"""Observations and chunks in memory that two processes share."""

import fcntl
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from act_ros.policy.interface import About, Statistics
from act_ros.task import Task

SIZE_IS_FIXED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class PolicyInfo:
    """What the inference process says of the policy that it has loaded.

    :ivar statistics: None where they are not known.
    :ivar held: its chunks are an action each, repeated.
    """

    task: Task
    chunk_size: int
    state_dim: int
    action_dim: int
    statistics: Statistics | None
    about: About
    held: bool


def _layout(info: PolicyInfo, count: int) -> tuple[dict[str, tuple[int, tuple, type]], int]:
    """Where each array begins, its shape and type; and how much memory all of them take."""
    task = info.task
    arrays: dict[str, tuple[tuple[int, ...], type]] = {
        'frames': ((count, len(task.cameras), *task.image_size, 3), np.uint8),
        'qpos': ((count, info.state_dim), np.float32),
        'chunks': ((count, info.chunk_size, info.action_dim), np.float32),
    }
    places, end = {}, 0
    for name, (shape, dtype) in arrays.items():
        places[name] = end, shape, dtype
        end += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 64) * 64
    return places, end


class SharedBuffers:
    """The same bytes at both ends.

    :param descriptor: of memory from `make_memory`.
    :param count: observations that there is room for.
    :ivar frames: (count, cameras, H, W, 3) uint8 RGB, in the task's order.
    :ivar qpos: (count, state_dim) float32.
    :ivar chunks: (count, chunk_size, action_dim) float32.
    """

    frames: np.ndarray
    qpos: np.ndarray
    chunks: np.ndarray

    def __init__(self, descriptor: int, info: PolicyInfo, count: int) -> None:
        places, size = _layout(info, count)
        self._cameras = info.task.cameras
        memory = mmap.mmap(descriptor, size)
        for name, (start, shape, dtype) in places.items():
            setattr(self, name, np.ndarray(shape, dtype, memory, start))

    def put(self, i: int, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> None:
        """Copy an observation to a place."""
        self.qpos[i] = qpos
        for place, name in zip(self.frames[i], self._cameras, strict=True):
            np.copyto(place, images[name])

    def observation(self, i: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The observation at a place: qpos and images."""
        return self.qpos[i], dict(zip(self._cameras, self.frames[i], strict=True))


def make_memory(info: PolicyInfo, count: int) -> int:
    """Anonymous memory for that many observations: nothing is left behind.

    Its size is fixed: what one end cuts off would kill the other.

    :returns: its descriptor.
    """
    descriptor = os.memfd_create('act_ros', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _layout(info, count)[1])
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SIZE_IS_FIXED)
    return descriptor
