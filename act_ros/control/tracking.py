"""Whether the robot goes where it is told."""

import numpy as np

from act_ros.safety import TURN
from act_ros.task import Entry

TRACKING_TIME = 0.2  # a joint may be too far from its command for as long [s]
NEAR = np.iinfo(np.int64).max  # the time since when it is not too far


class TrackingMonitor:
    """Knows since when each joint has been too far from its command.

    :param count: of the positions that are compared.
    """

    def __init__(self, count: int) -> None:
        self._since = np.full(count, NEAR)

    def reset(self) -> None:
        """Forget what was seen."""
        self._since.fill(NEAR)

    def check(
        self,
        measured: np.ndarray,
        commanded: np.ndarray,
        max_error: np.ndarray,
        now: int,
    ) -> np.ndarray | None:
        """Which joints do not follow.

        :param measured: (n,) positions.
        :param commanded: (n,) the last command's.
        :param max_error: (n,) how far apart they may be.
        :param now: [ns].
        :returns: (n,) bool: those that have been too far away for TRACKING_TIME; None where
            there are none.
        """
        with np.errstate(over='ignore'):
            # What is not a number is not near either.
            near = np.abs(measured - commanded) <= max_error
        if near.all():
            self._since.fill(NEAR)
            return None
        self._since = np.where(near, NEAR, np.minimum(self._since, now))
        lost = now - self._since >= TRACKING_TIME * 1e9
        return lost if lost.any() else None


def say_lost(
    entry: Entry, measured: float, commanded: float, max_error: float, *, met: bool
) -> str:
    """What to say of a joint that does not follow.

    :param met: it is held where it is; else it is too far away for that.
    """
    text = (
        f'{entry} is at {measured:.3f}, commanded {commanded:.3f}: further apart than '
        f'max_tracking_error {max_error:g} for {TRACKING_TIME:g} s'
    )
    if met:
        return text
    apart = measured - commanded
    turns = round(apart / TURN) if abs(apart) < 1e6 else 0
    if turns and abs(apart - turns * TURN) <= max_error:
        text += '; that is a whole turn: if its encoder wraps, list it in continuous'
    return f'{text}; the last command is held, since it is too far to go there'
