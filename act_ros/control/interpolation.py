"""Between the steps of a plan: where the robot is told to be at each tick."""

import numpy as np

KNOWN = 3  # steps of a plan that a segment is made from, its own included


class Interpolation:
    """A path through a plan that grows and changes, of continuous velocity.

    Each step is a cubic Hermite segment: from where the last one ended, at its velocity, to what
    the plan says of the next step, at the velocity that the plan has there. So a plan that has
    changed meanwhile is met one step later without a corner, and nothing lags: at each step the
    path is where the newest plan had it. What is past the end of the plan comes to rest; where
    no more than the present step is ever known, the path comes to each one step later.

    :param ticks: of a step, each with a value.
    :param turns: (n,) by how much a value may differ and be the same, infinite where nothing
        else is: between two steps it goes the shorter way.
    :ivar step: of the segment there is, or None.
    """

    def __init__(self, ticks: int, turns: np.ndarray) -> None:
        self._turning = np.flatnonzero(np.isfinite(turns))
        self._turns = turns[self._turning]
        # (ticks, 4) weights of position and velocity at the beginning and at the end.
        u = np.arange(ticks)[:, np.newaxis] / ticks
        self._basis = np.hstack(
            [(1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2, u * u * (3 - 2 * u), u * u * (u - 1)]
        )
        self._ends = np.zeros((4, len(turns)))
        self.step: int | None = None

    def forget(self) -> None:
        """Begin anew with the next segment."""
        self.step = None

    def begin(self, step: int, ahead: np.ndarray) -> None:
        """Begin the segment of a step; one that follows no other begins where the plan is.

        :param ahead: (1 to KNOWN, n) what the plan says of this step and the next two, as far as
            it goes.
        """
        follows = self.step is not None and step == self.step + 1
        ahead = self._by_the_shorter_way(ahead, self._ends[2] if follows else ahead[0])
        if follows:
            start, velocity = self._ends[2:]
        else:
            start = ahead[0]
            velocity = ahead[1] - start if len(ahead) > 1 else np.zeros_like(start)
        if len(ahead) > 2:
            end, at_end = ahead[1], 0.5 * (ahead[2] - ahead[0])
        elif len(ahead) > 1:
            end, at_end = ahead[1], ahead[1] - ahead[0]
        else:
            end, at_end = ahead[0] + 0.5 * velocity, np.zeros_like(start)
        self.step, self._ends = step, np.array([start, velocity, end, at_end])

    def at(self, tick: int) -> np.ndarray:
        """The values of a tick of the segment's step, (n,) float64."""
        values: np.ndarray = self._basis[tick] @ self._ends
        return values

    def _by_the_shorter_way(self, ahead: np.ndarray, start: np.ndarray) -> np.ndarray:
        """The same values, each turned to where it is nearest to the one before."""
        if not len(self._turning):
            return ahead
        ahead, before = ahead.copy(), start[self._turning]
        for values in ahead:
            angles = values[self._turning]
            angles += self._turns * np.rint((before - angles) / self._turns)
            values[self._turning] = before = angles
        return ahead
