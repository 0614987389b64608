"""From chunks to the action of one step."""

import math
from collections.abc import Sequence

import numpy as np

from act_ros.errors import UncoveredStepError

NEVER, FOREVER = -(1 << 60), 1 << 60  # steps before and after all others
TINY = 1e-300  # no weight is 0
TREND = 3  # steps at the end of a chunk that tell how it would go on


class TemporalAggregator:
    """Temporal aggregation (Zhao et al. 2023, arXiv:2304.13705) in constant memory.

    A chunk predicted at step s covers s ... s + k - 1. The action of step t is the weighted
    mean of what the chunks that cover t say of it, weights exp(-decay * i) with i the rank
    among the chunks present, 0 the oldest: a chunk that never came leaves no hole. A `decay`
    below 0 favours the newest, and goes by the steps that a chunk is older than that: weights
    exp(decay * age), so that an old view counts as little among few chunks as among many. Where
    there is a chunk a step both are the same. Chunks may come late and in any order; a second
    one of the same step replaces the first.

    That is the public rule, for chunks that come in their own step. Where they come later, few
    of them overlap, and each that comes or ends would move their mean in one step. So a late
    one is faded in from its arrival on, and the one before it is faded out until its end. One
    that ends before its successor has come in goes on meanwhile as it was going, with ever
    less weight. (Where a `decay` above 1 leaves the mean to the oldest alone, that goes hard.)

    Kept are the chunks of the `chunk_size` newest steps. An older one ends before the newest
    begins and is dropped, so steps asked for are expected not to lie before the newest chunk.

    :param chunk_size: k, actions in a chunk.
    :param action_dim: numbers in an action.
    :param decay: the weights' decay; below 0 it favours the newest. May be changed at any time.
    :param fade: how long a late chunk is faded in [steps]; at most half a chunk counts, 0 is
        the public rule. May be changed at any time.
    :param turns: (action_dim,) by how much an entry may differ and be the same, infinite where
        nothing else is: of such an entry the mean lies near what the newest chunk says. The
        mean of 3.1 and -3.1, which are nearly the same angle, would be 0.
    :param newest: (action_dim,) bool: entries that follow the newest chunk alone. With all of
        them this is the public loop without aggregation.
    :param speeds: of entries that are the velocity of another: place of the position, place of
        the velocity, and what a change of the one in a step is in units of the other. A fade
        moves the position, of which what chunks say of the velocity knows nothing: it is added.
    """

    def __init__(
        self,
        chunk_size: int,
        action_dim: int,
        decay: float = 0.01,
        fade: float = 0.0,
        turns: np.ndarray | None = None,
        newest: np.ndarray | None = None,
        speeds: Sequence[tuple[int, int, float]] = (),
    ) -> None:
        self.chunk_size, self.action_dim = chunk_size, action_dim
        turns = np.full(action_dim, np.inf) if turns is None else turns
        self._turning = np.flatnonzero(np.isfinite(turns))
        self._turns = turns[self._turning]
        newest = np.zeros(action_dim, dtype=bool) if newest is None else newest
        self._following = np.flatnonzero(newest)
        self._all_follow = bool(newest.all())
        self._positions = np.array([position for position, _, _ in speeds], dtype=np.intp)
        self._velocities = np.array([velocity for _, velocity, _ in speeds], dtype=np.intp)
        self._factors = np.array([factor for _, _, factor in speeds])
        self._position_follows = newest[self._positions]
        # rows[t % k, s % k] is what the chunk of step s says of step t: everything about one
        # step lies together, so that reading (the tick) is one gather.
        self._rows = np.zeros((chunk_size, chunk_size, action_dim), dtype=np.float64)
        # A column a chunk held, oldest first: its step; when it came, if it was late; and since
        # when both it and a late successor are there, which is when it may begin to go.
        self._columns = np.empty((3, 4 * chunk_size), dtype=np.int64)
        self.decay = decay
        self.fade = fade
        self.reset()

    @property
    def decay(self) -> float:
        """Of the weights; a new one counts at once. May be set from any thread."""
        return self._decay

    @decay.setter
    def decay(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f'decay is {value}; expected a finite number')
        # From the side that is favoured, so that the largest weight is 1. One attribute, so that
        # a change from another thread never mixes two decays.
        weights = np.exp(-abs(value) * np.arange(2 * self.chunk_size)) + TINY
        self._decay, self._weighting = value, (weights, value < 0)

    @property
    def fade(self) -> int:
        """How long a late chunk is faded in [steps]. May be set from any thread."""
        return self._fading[0]

    @fade.setter
    def fade(self, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f'fade is {value}; expected a finite number of steps, 0 or more')
        steps = min(round(value), self.chunk_size // 2)
        # At rest at both ends, in velocity and acceleration; one attribute, as above.
        x = np.arange(steps + 2) / (steps + 1)
        self._fading = steps, x**3 * (10 - 15 * x + 6 * x**2)

    def reset(self) -> None:
        """Forget every chunk: a new episode."""
        self._size = 0
        self._short_overlap = False
        self._newest_late = NEVER

    def add(self, chunk: np.ndarray, step: int, arrival: int | None = None) -> None:
        """Take in a chunk.

        :param chunk: (chunk_size, action_dim) actions of steps `step` ... `step + k - 1`.
        :param step: the step of the observation it was predicted from, 0 or more.
        :param arrival: the first step that it has a part in; None = its own.
        """
        k = self.chunk_size
        if chunk.shape != (k, self.action_dim):
            raise ValueError(f'chunk has shape {chunk.shape}, expected {(k, self.action_dim)}')
        if step < 0:
            raise ValueError(f'step is {step}; steps begin at 0')
        if self._size and step <= self._columns[0, self._size - 1] - k:
            return
        self._enter(step, arrival if arrival is not None and arrival > step else NEVER)
        place = step % k
        self._rows[place:, place] = chunk[: k - place]
        self._rows[:place, place] = chunk[k - place :]

    def _enter(self, step: int, arrival: int) -> None:
        """Note a chunk among those held; what it takes the place of is forgotten."""
        k, columns, size = self.chunk_size, self._columns, self._size
        if size == columns.shape[1]:  # those of older steps are of no use any more
            columns[:, :k] = columns[:, size - k :]
            size = k
        place, another = size, True
        if size and step <= columns[0, size - 1]:  # out of order, or once more
            place = int(columns[0, :size].searchsorted(step))
            another = columns[0, place] != step
            if another:
                columns[:, place + 1 : size + 1] = columns[:, place:size].copy()
            else:  # it says the same, or nearly: what has faded in stays
                arrival = min(arrival, int(columns[1, place]))
        size += another
        columns[:, place] = step, arrival, FOREVER
        self._size = size
        for i in range(max(1, place), min(place + 2, size)):
            before, here = columns[1, i - 1 : i + 1].tolist()
            if here == NEVER:
                columns[2, i - 1] = FOREVER
            else:
                columns[2, i - 1] = both = max(before, here)
                self._short_overlap |= both > columns[0, i - 1] + k // 2
        if arrival != NEVER:
            self._newest_late = max(self._newest_late, step)

    def _fades(self, step: int) -> bool:
        """Whether a step is a matter of fades: of chunks that cover it, one came late."""
        fade = self.fade
        return fade > 0 and step - self._newest_late < self.chunk_size + fade

    def steps(self, step: int) -> np.ndarray:
        """The steps of the chunks that have a part in `step`, oldest first, (n,) int64."""
        held, shares = self._parts(step)
        sources = held[0]
        if shares is not None:
            return sources[sum(shares) > 0]
        return sources[-1:] if self._all_follow else sources

    def action(self, step: int) -> np.ndarray:
        """The action of a step.

        :returns: (action_dim,) float64.
        :raises UncoveredStepError: no chunk covers the step.
        """
        held, shares = self._parts(step)
        n, following = held.shape[1], self._following
        if n == 0:
            raise UncoveredStepError(f'no chunk covers step {step}')
        candidates = self._candidates(held[0], step)
        if shares is not None:
            action = shares[0] @ candidates
            if len(shares) > 1:
                action[following] = shares[1] @ candidates[:, following]
            if len(self._velocities):
                positions = candidates[:, self._positions]
                changes = zip(shares, self._shares(held, step - 1), strict=True)
                moved = [(share - before) @ positions for share, before in changes]
                action[self._velocities] += self._speed(moved)
        elif self._all_follow:
            action = candidates[-1].copy()
        else:
            weights = self._weights(held[0])
            action = weights @ candidates / weights.sum()
            if len(following):
                action[following] = candidates[-1, following]
        return action

    def actions(self, first: int, count: int) -> np.ndarray:
        """The actions of steps in a row, as far as chunks cover them; each as `action` has it.

        :param first: the first of them, not before the newest chunk.
        :returns: (n, action_dim) float64, n at most `count`.
        """
        k, columns, size = self.chunk_size, self._columns, self._size
        newest = int(columns[0, size - 1]) if size else NEVER
        steps = np.arange(first, min(first + count, newest + k))
        if not len(steps):
            return np.empty((0, self.action_dim))
        held = columns[:, columns[0, :size].searchsorted(newest - k, 'right') : size]
        present, shares = self._parts_of_all(held, steps[:, np.newaxis])
        oldest = int(present.any(axis=0).argmax())
        candidates = self._candidates_of_all(held[0, oldest:], steps, present[:, oldest:])
        means = [(share[:, np.newaxis, oldest:] @ candidates)[:, 0] for share in shares]
        if len(means) > 1:
            means[0][:, self._following] = means[1][:, self._following]
        if len(self._velocities) and self._fades(first):
            positions = candidates[..., self._positions]
            before = self._shares(held, steps[:, np.newaxis] - 1, present)
            changes = [share - was for share, was in zip(shares, before, strict=True)]
            moved = [(each[:, np.newaxis, oldest:] @ positions)[:, 0] for each in changes]
            means[0][:, self._velocities] += self._speed(moved)
        return means[0]

    def _speed(self, moved: list[np.ndarray]) -> np.ndarray:
        """What velocities beside positions have to say of a fade, (..., velocities).

        :param moved: by each of the shares, (..., velocities): how far the fade has led each
            position since the step before.
        """
        speed: np.ndarray = np.where(self._position_follows, moved[-1], moved[0]) * self._factors
        return speed

    def _parts(self, step: int) -> tuple[np.ndarray, list[np.ndarray] | None]:
        """The chunks with a part in a step, and what part where chunks are faded.

        :returns: their columns, oldest first, (3, n) int64; and None for the public rule, or
            shares (n,) of the mean and of the entries that follow the newest, of these what there
            is.
        """
        k, held = self.chunk_size, self._columns[:, : self._size]
        if held.size and step < held[0, -1]:
            held = held[:, : held[0].searchsorted(step, 'right')]
        first = int(held[0].searchsorted(step - k, 'right'))
        if not self._fades(step) or first == held.shape[1]:
            return held[:, first:], None
        while first > 0 and self._goes_on(first - 1, step):
            first -= 1
        return held[:, first:], self._shares(held[:, first:], step)

    def _parts_of_all(
        self, held: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """As `_parts`, of several steps: (m, n) bool, chunks with a part; and shares (m, n).

        :param held: (3, n) columns of the chunks that may have one.
        :param steps: (m, 1), each covered by the newest chunk.
        """
        k, (fade, _) = self.chunk_size, self._fading
        sources, _, going = held
        faded = self._fades(int(steps[0, 0]))
        present = sources > steps - k
        if faded:
            gone = np.maximum(going, sources + (k - fade)) + fade
            present |= (going <= sources + k) & (steps < gone)
            present = np.logical_and.accumulate(present[:, ::-1], axis=1)[:, ::-1]
            return present, self._shares(held, steps, present)
        first = present.argmax(axis=1)[:, np.newaxis]
        weights = present * self._weights(sources, first)
        return present, self._public_shares(weights / weights.sum(axis=1, keepdims=True))

    def _shares(
        self, held: np.ndarray, step: int | np.ndarray, present: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """The shares of chunks that are faded, (n,), or (m, n) where there are several steps.

        Each of a list sums up to 1: of the mean, and of the entries that follow the newest, of
        these what there is.

        :param held: (3, n) columns of the chunks.
        :param step: one, or several (m, 1).
        :param present: (m, n) bool: those that have a part; by default all.
        """
        fade, ramp = self._fading
        sources, arrivals, going = held
        come = ramp.take(step + 1 - arrivals, mode='clip')
        shares = []
        if not self._all_follow:
            weights = self._weights(sources)
            leave = sources + (self.chunk_size - fade)
            stay = ramp.take(np.maximum(leave, going) + (fade - step), mode='clip')
            if self._short_overlap:  # what is to go while its successor comes is no rival to that
                stay[..., (leave < going) & (going < FOREVER)] = 0.0
            stay *= weights
            if present is not None:
                stay *= present
            older = stay.cumsum(axis=-1) - stay
            shares.append(_blend(come * weights / (older + weights), present))
        if len(self._following):
            # What there was before has gone as the newest came.
            shares.append(_blend(come, present))
        return shares

    def _weights(self, sources: np.ndarray, first: int | np.ndarray = 0) -> np.ndarray:
        """The weights of chunks in their mean, (n,), or (m, n) where there are several firsts.

        :param sources: (n,) their steps, oldest first.
        :param first: place of the oldest that has a part, one or several (m, 1).
        """
        weights, from_newest = self._weighting
        if from_newest:
            weights = weights[sources[-1] - sources]
        else:
            weights = weights[np.maximum(np.arange(len(sources)) - first, 0)]
        return weights

    def _public_shares(self, mean: np.ndarray) -> list[np.ndarray]:
        """Of the mean and of the entries that follow the newest, what there is."""
        if not len(self._following):
            return [mean]
        newest = np.zeros_like(mean)
        newest[:, -1] = 1.0
        return [newest] if self._all_follow else [mean, newest]

    def _goes_on(self, i: int, step: int) -> bool:
        """Whether a chunk that has ended goes on, until its successor is in its place."""
        source, _, going = self._columns[:, i].tolist()
        k, fade = self.chunk_size, self.fade
        end, newest = source + k, self._columns[0, self._size - 1]
        return newest - k < source and going <= end and step < max(going, end - fade) + fade

    def _candidates(self, sources: np.ndarray, step: int) -> np.ndarray:
        """What each of some chunks says of a step, (n, action_dim)."""
        k, places = self.chunk_size, sources % self.chunk_size
        candidates = self._rows[step % k].take(places, axis=0)
        i = 0
        while sources[i] <= step - k:  # it has ended: on as it went
            candidates[i] = self._going_on(int(sources[i]), step)
            i += 1
        self._turn_to_newest(candidates)
        return candidates

    def _candidates_of_all(
        self, sources: np.ndarray, steps: np.ndarray, present: np.ndarray
    ) -> np.ndarray:
        """What each of n chunks says of each of m steps, (m, n, action_dim).

        :param present: (m, n) bool: what is of use; the rest is any number.
        """
        k, places = self.chunk_size, sources % self.chunk_size
        candidates = self._rows[(steps % k)[:, np.newaxis], places]
        ended = present & (sources <= steps[:, np.newaxis] - k)
        for i in np.flatnonzero(ended.any(axis=0)).tolist():
            at = ended[:, i]
            candidates[at, i] = self._going_on(int(sources[i]), steps[at, np.newaxis])
        self._turn_to_newest(candidates)
        return candidates

    def _going_on(self, source: int, step: int | np.ndarray) -> np.ndarray:
        """What a chunk that has ended would say of a step, or of steps (m, 1)."""
        k, place, end = self.chunk_size, source % self.chunk_size, source + self.chunk_size - 1
        trend = min(TREND, k - 1)
        last, before = self._rows[end % k, place], self._rows[(end - trend) % k, place]
        way = last - before
        if len(self._turning):
            way[self._turning] -= self._turns * np.rint(way[self._turning] / self._turns)
        on: np.ndarray = last + (step - end) * way / max(1, trend)
        return on

    def _turn_to_newest(self, candidates: np.ndarray) -> None:
        """Turn angles to where they are nearest to the newest chunk's, (..., n, action_dim)."""
        if len(self._turning):
            angles = candidates[..., self._turning]
            turns = np.rint((angles[..., -1:, :] - angles) / self._turns)
            candidates[..., self._turning] = angles + turns * self._turns


def _blend(part: np.ndarray, present: np.ndarray | None) -> np.ndarray:
    """The share of each chunk, from the oldest to the newest.

    :param part: (..., n) of each beside all older ones, as far as it has come: fades act on
        these, so that what has just come has next to nothing, whatever its weight; is changed.
    :param present: (..., n) bool: the others have none; by default all.
    """
    if present is None:
        part[0] = 1.0  # beside none
    else:
        part *= present
        np.put_along_axis(part, present.argmax(axis=-1)[..., np.newaxis], 1.0, axis=-1)
    left = np.multiply.accumulate(1.0 - part[..., :0:-1], axis=-1)[..., ::-1]
    part[..., :-1] *= left
    return part
