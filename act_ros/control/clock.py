"""Time: the policy's steps, and a clock that somebody sets."""

NOTICED = 50_000_000  # a clock that is set by less does no harm: half of max_age [ns]


class StepClock:
    """Counts the steps of an episode, or the ticks that they have; it begins at its first tick.

    At time t the step is (t - t0) * rate to the nearest whole number and never decreases: a
    missed tick skips a step, so a plan plays at its own speed.

    :param rate: steps a second [Hz].
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.reset()

    def reset(self) -> None:
        """Begin a new episode at the next tick."""
        self._start: int | None = None
        self._step = 0

    def step(self, now: int) -> int:
        """The step at a time [ns]."""
        if self._start is None:
            self._start = now
        self._step = max(self._step, round((now - self._start) * self._rate / 1e9))
        return self._step


class ClockWatch:
    """Notices when a clock is set, beside one that cannot be.

    Ages of inputs are told by the clock of their stamps. Where it is set back, an input that
    came for the last time a second ago would be fresh once more.
    """

    def __init__(self) -> None:
        self._offset: tuple[int, int] | None = None

    def moved(self, before: int, now: int, after: int) -> int:
        """By how much the clock was set since the last call [ns]; 0 where it was not.

        :param now: read of the clock, between the steady times `before` and `after` [ns]: a
            thread that was interrupted here has seen no clock move.
        """
        low, high = now - after, now - before
        last_low, last_high = self._offset or (low, high)
        self._offset = low, high
        if low > last_high + NOTICED:
            return low - last_high
        if high < last_low - NOTICED:
            return high - last_low
        return 0
