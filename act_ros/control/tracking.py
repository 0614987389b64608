"""Whether the robot goes where it is told, and what becomes of a joint that does not."""

import numpy as np

from act_ros.safety import TURN, CommandLimiter
from act_ros.task import Entry

TRACKING_TIME = 0.2  # a joint may be too far from its command for as long [s]
NEAR = np.iinfo(np.int64).max  # the time since when it is not too far


class Tracking:
    """Lets the limiter hold joints that do not follow where they are, and says so once each.

    They are looked at all the time that the robot is told where to be, after a stop too: one
    that moves on is followed, as far as the limiter lets it.

    :param limiter: knows what was commanded, and how far from it a joint may be.
    """

    def __init__(self, limiter: CommandLimiter) -> None:
        self._limiter = limiter
        self._monitor = TrackingMonitor(len(limiter.position_entries))
        self._told: set[tuple[int, bool]] = set()  # joints, and whether they are met

    def begin_anew(self) -> None:
        """Forget how long joints have been too far away."""
        self._monitor.reset()

    def forget(self) -> None:
        """A person has looked at the robot: say everything again."""
        self._monitor.reset()
        self._told.clear()

    def check(self, measured: np.ndarray, now: int) -> str:
        """Compare with the last command.

        :param measured: (positions,) in the order of the limiter's `position_entries`.
        :param now: [ns].
        :returns: what to say of joints that do not follow and of which that was not said yet.
        """
        limiter = self._limiter
        measured, last = limiter.nearest(measured), limiter.known_last
        max_error = limiter.max_tracking_error
        lost = self._monitor.check(measured, last, max_error, now)
        if lost is None:
            return ''
        met = limiter.retreat(measured, lost)
        new = {(int(i), bool(met[i])) for i in np.flatnonzero(lost)} - self._told
        self._told |= new
        return '; '.join(
            say_lost(
                limiter.position_entries[i],
                float(measured[i]),
                float(last[i]),
                float(max_error[i]),
                met=near,
            )
            for i, near in sorted(new)
        )


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
        text += (
            '; that is a whole turn: if its encoder wraps, list it in continuous, with a range '
            'in which it can stand'
        )
    return f'{text}; the last command is held, since it is too far to go there'
