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


def _layout(info: PolicyInfo, count: int) -> tuple[list[tuple[int, tuple, type]], int]:
    """Where each array begins, its shape and type; and how much memory all of them take.

    These are qpos, chunks, and the frames of each camera.
    """
    arrays: list[tuple[tuple[int, ...], type]] = [
        ((count, info.state_dim), np.float32),
        ((count, info.chunk_size, info.action_dim), np.float32),
        *(((count, *size, 3), np.uint8) for size in info.task.image_sizes.values()),
    ]
    places, end = [], 0
    for shape, dtype in arrays:
        places.append((end, shape, dtype))
        end += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // 64) * 64
    return places, end


class SharedBuffers:
    """The same bytes at both ends.

    :param descriptor: of memory from `make_memory`.
    :param count: observations that there is room for.
    :ivar frames: of each camera, (count, H, W, 3) uint8 RGB, in the task's order.
    :ivar qpos: (count, state_dim) float32.
    :ivar chunks: (count, chunk_size, action_dim) float32.
    """

    frames: list[np.ndarray]
    qpos: np.ndarray
    chunks: np.ndarray

    def __init__(self, descriptor: int, info: PolicyInfo, count: int) -> None:
        places, size = _layout(info, count)
        self._cameras = info.task.cameras
        memory = mmap.mmap(descriptor, size)
        self.qpos, self.chunks, *self.frames = (
            np.ndarray(shape, dtype, memory, start) for start, shape, dtype in places
        )

    def put(self, i: int, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> None:
        """Copy an observation to a place."""
        self.qpos[i] = qpos
        for frames, name in zip(self.frames, self._cameras, strict=True):
            np.copyto(frames[i], images[name])

    def observation(self, i: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The observation at a place: qpos and images."""
        return self.qpos[i], {
            name: frames[i] for name, frames in zip(self._cameras, self.frames, strict=True)
        }


def make_memory(info: PolicyInfo, count: int) -> int:
    """Anonymous memory for that many observations: nothing is left behind.

    Its size is fixed: what one end cuts off would kill the other.

    :returns: its descriptor.
    """
    descriptor = os.memfd_create('act_ros', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _layout(info, count)[1])
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SIZE_IS_FIXED)
    return descriptor
