"""Whether the robot goes where it is told."""

import numpy as np

from act_ros.task import Entry

TRACKING_TIME = 0.2  # a joint may be too far from its command for as long [s]


class TrackingMonitor:
    """Knows since when each joint has been too far from its command.

    :param entries: of the positions that are compared.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self._since: list[int | None] = [None] * len(self._entries)

    def check(
        self,
        measured: np.ndarray | None,
        commanded: np.ndarray,
        max_error: np.ndarray,
        now: int,
    ) -> str | None:
        """What to say of a joint that does not follow, or None.

        :param measured: (n,) positions; None leaves everything as it was: not known is not near.
        :param commanded: (n,) the last command's.
        :param max_error: (n,) how far apart they may be.
        :param now: [ns].
        """
        if measured is None:
            return None
        # What is not a number is not near either.
        far = ~(np.abs(measured - commanded) <= max_error)
        # All joints, before one of them is reported: each keeps its own time.
        for i in range(len(self._entries)):
            if not far[i]:
                self._since[i] = None
            elif self._since[i] is None:
                self._since[i] = now
        for i, entry in enumerate(self._entries):
            if far[i] and now - self._since[i] >= TRACKING_TIME * 1e9:
                return (
                    f'{entry} is at {measured[i]:.3f}, commanded {commanded[i]:.3f}: further '
                    f'apart than max_tracking_error {max_error[i]:g} for {TRACKING_TIME:g} s'
                )
        return None
