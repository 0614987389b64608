"""Samples of episodes in the cache, a batch at a time."""

from collections.abc import Sequence

import numpy as np
import torch

from act_ros.policy.interface import Statistics
from act_ros.task import Task
from act_ros.training.batch import Batch
from act_ros.training.cache import Entry, read_frame


def commanded_until(action: np.ndarray) -> np.ndarray:
    """By tick the first one from it on at which not all of the action was commanded, (T,).

    :param action: (T, action_dim); NaN where nothing was commanded.
    """
    ticks = len(action)
    until = np.where(np.isfinite(action).all(axis=1), ticks, np.arange(ticks))
    return np.minimum.accumulate(until[::-1])[::-1]


class CachedSamples:
    """Samples of some episodes; their frames are read from the cache when they are asked for.

    :param statistics: by which they are normalised.
    :param chunk_size: actions in a sample.
    :param action_offset: chunk[i] is the action of so many ticks before tick t + i.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        task: Task,
        statistics: Statistics,
        chunk_size: int,
        action_offset: int,
    ) -> None:
        self._frames = [entry.frames for entry in entries]
        self._shape = (len(task.cameras), *task.image_size, 3)
        self._steps = np.arange(chunk_size)
        begins = np.cumsum([0, *(len(entry.time) for entry in entries)])
        self._episode = np.repeat(np.arange(len(entries)), [len(e.sample) for e in entries])
        self._frame = np.concatenate([entry.frame for entry in entries])
        placed = list(zip(entries, begins, strict=False))
        tick = np.concatenate([entry.sample + begin for entry, begin in placed])
        until = np.concatenate([commanded_until(e.action) + begin for e, begin in placed])
        self._first = tick - action_offset  # of a sample's actions, as a tick
        self._end = until[self._first]
        self._qpos, self._actions = (
            ((np.concatenate(rows) - mean) / std).astype(np.float32)
            for rows, mean, std in (
                ([entry.qpos for entry in entries], statistics.qpos_mean, statistics.qpos_std),
                ([e.action for e in entries], statistics.action_mean, statistics.action_std),
            )
        )
        self._qpos = self._qpos[tick]

    def __len__(self) -> int:
        return len(self._first)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Some samples, in the order of the indices; from any thread.

        :raises BagError: a file of the cache is no more what it was.
        """
        indices = np.asarray(indices)
        steps = self._first[indices, None] + self._steps
        is_pad = steps >= self._end[indices, None]
        actions = self._actions[np.where(is_pad, 0, steps)]
        actions[is_pad] = 0.0
        images = np.empty((len(indices), *self._shape), np.uint8)
        for sample, index in zip(images, indices, strict=True):
            frames = self._frames[self._episode[index]]
            for picture, number in zip(sample, self._frame[index], strict=True):
                read_frame(frames, int(number), picture)
        return Batch(
            torch.from_numpy(self._qpos[indices]),
            torch.from_numpy(images),
            torch.from_numpy(actions),
            torch.from_numpy(is_pad),
        )
