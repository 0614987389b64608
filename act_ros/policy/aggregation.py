"""From chunks to the action of one step."""

import math
from typing import Protocol

import numpy as np

from act_ros.errors import UncoveredStepError


class ActionSource(Protocol):
    """Chunks in, marked with the step of their observation; the action of a step out."""

    decay: float

    def add(self, chunk: np.ndarray, step: int) -> None: ...

    def action(self, step: int) -> np.ndarray: ...

    def steps(self, step: int) -> np.ndarray: ...

    def reset(self) -> None: ...


class TemporalAggregator:
    """Temporal aggregation (Zhao et al. 2023, arXiv:2304.13705) in constant memory.

    A chunk predicted at step s covers s ... s + k - 1. The action of step t is the weighted
    mean of what the chunks that cover t say of it, weights exp(-decay * i) with i the rank
    among the chunks present, 0 the oldest: a chunk that never came leaves no hole. Chunks may
    come late and in any order; a second one of the same step replaces the first.

    Kept are the chunks of the `chunk_size` newest steps. An older one ends before the newest
    begins and is dropped, so steps asked for are expected not to lie before the newest chunk.

    :param chunk_size: k, actions in a chunk.
    :param action_dim: numbers in an action.
    :param decay: the weights' decay, 0 or more; may be changed at any time.
    :param turns: (action_dim,) by how much an entry may differ and be the same, infinite where
        nothing else is: of such an entry the mean lies near what the newest chunk says. The
        mean of 3.1 and -3.1, which are nearly the same angle, would be 0.
    """

    def __init__(
        self,
        chunk_size: int,
        action_dim: int,
        decay: float = 0.01,
        turns: np.ndarray | None = None,
    ) -> None:
        self.chunk_size = chunk_size
        turns = np.full(action_dim, np.inf) if turns is None else turns
        self._turning = np.flatnonzero(np.isfinite(turns))
        self._turns = turns[self._turning]
        # rows[t % k, s % k] is what the chunk of step s says of step t: everything about one
        # step lies together, so that reading (the tick) is one gather.
        self._rows = np.zeros((chunk_size, chunk_size, action_dim), dtype=np.float64)
        self._offsets = np.arange(chunk_size)
        self._oldest_first = self._offsets - (chunk_size - 1)
        self._steps = np.empty(chunk_size, dtype=np.int64)
        self.decay = decay
        self.reset()

    @property
    def decay(self) -> float:
        """Of the weights; a new one counts at once. May be set from any thread."""
        return self._decay

    @decay.setter
    def decay(self, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f'decay is {value}; expected a finite number, 0 or more')
        weights = np.exp(-value * self._offsets)
        # The weights of n candidates are weights[:n] / sums[n - 1]; one attribute, so that a
        # change from another thread never mixes two decays.
        self._decay, self._weighting = value, (weights, weights.cumsum())

    def reset(self) -> None:
        """Forget every chunk: a new episode."""
        self._steps.fill(-self.chunk_size)
        self._newest = -1

    def add(self, chunk: np.ndarray, step: int) -> None:
        """Take in a chunk.

        :param chunk: (chunk_size, action_dim) actions of steps `step` ... `step + k - 1`.
        :param step: the step of the observation it was predicted from, 0 or more.
        """
        k = self.chunk_size
        if chunk.shape != (k, self._rows.shape[2]):
            raise ValueError(
                f'chunk has shape {chunk.shape}, expected {(k, self._rows.shape[2])}'
            )
        if step < 0:
            raise ValueError(f'step is {step}; steps begin at 0')
        if step <= self._newest - k:
            return
        self._newest = max(self._newest, step)
        place = step % k
        self._steps[place] = step
        self._rows[place:, place] = chunk[: k - place]
        self._rows[:place, place] = chunk[k - place :]

    def steps(self, step: int) -> np.ndarray:
        """The steps of the chunks that cover `step`, oldest first, (n,) int64."""
        sources = step + self._oldest_first
        return sources[self._steps[sources % self.chunk_size] == sources]

    def action(self, step: int) -> np.ndarray:
        """The action of a step.

        :returns: (action_dim,) float64.
        :raises UncoveredStepError: no chunk covers the step.
        """
        sources = self.steps(step)
        n = len(sources)
        if n == 0:
            raise UncoveredStepError(f'no chunk covers step {step}')
        k = self.chunk_size
        candidates = self._rows[step % k].take(sources % k, axis=0)
        if len(self._turning):
            angles = candidates[:, self._turning]
            turns = np.rint((angles[-1] - angles) / self._turns)
            candidates[:, self._turning] = angles + turns * self._turns
        weights, sums = self._weighting
        return weights[:n] @ candidates / sums[n - 1]


class ChunkPlayer:
    """Aggregation off: the newest chunk that covers a step is played as it is.

    Fed a chunk every `query_every` steps this is the public loop without aggregation.
    """

    def __init__(self, chunk_size: int, action_dim: int) -> None:
        self.chunk_size = chunk_size
        self._chunk = np.empty((chunk_size, action_dim))
        self.decay = 0.0  # means nothing here: a chunk alone has no weights
        self.reset()

    def reset(self) -> None:
        """Forget every chunk: a new episode."""
        self._step: int | None = None  # of the chunk held

    def add(self, chunk: np.ndarray, step: int) -> None:
        """Take in a chunk; one older than the chunk held is dropped."""
        if chunk.shape != self._chunk.shape:
            raise ValueError(f'chunk has shape {chunk.shape}, expected {self._chunk.shape}')
        if self._step is None or step >= self._step:
            self._chunk[:], self._step = chunk, step

    def steps(self, step: int) -> np.ndarray:
        """The step of the chunk that is played at `step`, (0,) or (1,) int64."""
        return np.array([self._step] if self._place(step) is not None else [], dtype=np.int64)

    def action(self, step: int) -> np.ndarray:
        """The action of a step, (action_dim,) float64.

        :raises UncoveredStepError: no chunk covers the step.
        """
        place = self._place(step)
        if place is None:
            raise UncoveredStepError(f'no chunk covers step {step}')
        return self._chunk[place].copy()

    def _place(self, step: int) -> int | None:
        """Where the chunk held has a step."""
        if self._step is None or not 0 <= step - self._step < self.chunk_size:
            return None
        return step - self._step
