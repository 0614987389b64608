"""From time to the policy's steps."""


class StepClock:
    """Counts the steps of an episode, which begins at its first tick.

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
