"""How long an answer is waited for that may have been lost."""

FIRST = 1.0  # before anything is known, and twice as long after each loss [s]
SHORTEST = 0.05  # on any line: the server's own moments of absence [s]
GAIN, DEVIATION_GAIN, MARGIN = 1 / 8, 1 / 4, 4.0  # of RFC 6298
GROWTH, MOST = 1.25, 2.0  # after each loss, and after all of them


class Patience:
    """As TCP has it (RFC 6298): some deviations beyond the usual.

    A lost message costs little where answers come soon, and a slow line is waited for. TCP makes
    room on a crowded line: it waits twice as long after each loss. Here one small question is
    under way at a time, and a robot is blind meanwhile. So it waits a little longer, for a line
    that has become slower; how slow, an answer says that comes too late.

    :param longest: that is ever waited [s].
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._mean: float | None = None
        self._deviation = 0.0
        self._losses = 0  # since the last answer

    @property
    def seconds(self) -> float:
        """How long to wait now."""
        losses = min(self._losses, 30)
        if self._mean is None:
            return min(self._longest, FIRST * 2**losses)
        usual = max(SHORTEST, self._mean + max(MARGIN * self._deviation, 0.25 * self._mean))
        return min(self._longest, usual * min(MOST, GROWTH ** min(self._losses, 30)))

    def answered(self, took: float) -> None:
        """An answer has come, in time or too late.

        :param took: since its question [s].
        """
        self._losses = 0
        if self._mean is None:
            self._mean, self._deviation = took, took / 2
            return
        self._deviation += DEVIATION_GAIN * (abs(took - self._mean) - self._deviation)
        self._mean += GAIN * (took - self._mean)

    def lost(self) -> None:
        """No answer has come in time."""
        self._losses += 1
