"""The limits in the order of an action's positions and velocities, and poses within them."""

import math
from dataclasses import dataclass

import numpy as np

from act_ros.errors import LimitError
from act_ros.safety.braking import LARGEST, JointBounds
from act_ros.safety.limits import TURN, Limits
from act_ros.task import Entry

MANY = 1e6  # turns: what is as far away is no angle, and rounding would make it any


@dataclass(frozen=True)
class Bounds:
    """Limits in the order of the action's positions and velocities.

    Ranges and speeds end at the largest float: nothing infinite is a pose or a command.
    """

    limits: Limits
    entries: list[Entry]  # of the positions
    low: np.ndarray  # (positions,), as are the next four
    high: np.ndarray
    step: np.ndarray
    tolerance: np.ndarray
    max_tracking_error: np.ndarray
    continuous: np.ndarray  # places of such joints among the positions
    turning: list[int]  # the same
    beside: list[int]  # of which position the first velocities are
    rate: float  # ticks a second [Hz]
    joints: list[JointBounds]  # of each position
    speeds: list[tuple[float, float]]  # of each velocity: how large, and its change in a tick

    def ranged(self, pose: np.ndarray) -> np.ndarray:
        """The nearest pose inside the range."""
        return np.minimum(np.maximum(pose, self.low), self.high)

    def towards(self, target: np.ndarray, last: np.ndarray) -> np.ndarray:
        """At most a step from the last command, and inside the range."""
        return self.ranged(np.minimum(np.maximum(target, last - self.step), last + self.step))

    def place(
        self, measured: np.ndarray, last: np.ndarray | None, first: np.ndarray | None = None
    ) -> np.ndarray:
        """A measured pose, continuous joints in the turn that they are in.

        One that has not left its last command is in the turn of that. Of others the range has to
        tell: a command in the wrong turn would send the joint through a whole one.

        :param first: (positions,) what will be commanded first.
        :raises LimitError: it is outside the range, or the range holds it in several turns.
        """
        pose = np.array(measured, dtype=np.float64)
        if last is not None:
            pose = self.nearest(pose, last)
            stayed = np.abs(pose - last) <= self.max_tracking_error
            pose = np.where(stayed, pose, self.inside(pose))
        else:
            stayed = np.zeros(len(pose), dtype=bool)
            if first is not None:
                pose = self.nearest(pose, first)
            pose = self.inside(pose)
        said = np.where(stayed, pose, measured)
        self.check(pose, self.tolerance, '{} is measured at', said)
        unclear = np.flatnonzero(self.unclear(pose) & ~stayed)
        if len(unclear):
            entries = [str(self.entries[i]) for i in unclear]
            raise LimitError(
                '; '.join(
                    f'{entry} is measured at {measured[i]:.4g}, and its range {self.low[i]:g} '
                    f'to {self.high[i]:g} holds that in more than one turn: move it to where '
                    f'only one is possible'
                    for i, entry in zip(unclear, entries, strict=True)
                ),
                joints=entries,
            )
        return pose

    def check(
        self,
        pose: np.ndarray,
        tolerance: np.ndarray | float,
        saying: str,
        said: np.ndarray,
    ) -> None:
        """Refuse a pose outside the range.

        :param saying: with a place for the entry, before the value.
        :param said: the pose as people know it, continuous joints not turned.
        :raises LimitError: naming the joints.
        """
        near = (self.low - tolerance <= pose) & (pose <= self.high + tolerance)
        outside = np.flatnonzero(~near)
        if len(outside):
            raise LimitError(
                '; '.join(
                    f'{saying.format(self.entries[i])} {said[i]:.4g}, outside its range '
                    f'{_end(self.low[i]):g} to {_end(self.high[i]):g}'
                    for i in outside
                ),
                joints=[str(self.entries[i]) for i in outside],
            )

    def nearest(self, pose: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The same pose, continuous joints turned to where they are nearest to a reference."""
        places = self.continuous
        if not len(places):
            return pose
        pose = pose.copy()
        with np.errstate(over='ignore'):
            turns = np.rint((reference[places] - pose[places]) / TURN)
        pose[places] += TURN * np.where(np.abs(turns) < MANY, turns, 0.0)
        return pose

    def inside(self, pose: np.ndarray) -> np.ndarray:
        """The same pose, continuous joints turned into their range, or near to it."""
        places = self.continuous
        if not len(places):
            return pose
        pose, tolerance = pose.copy(), self.tolerance[places]
        low, high = self.low[places] - tolerance, self.high[places] + tolerance
        turns = (np.clip(pose[places], low, high) - pose[places]) / TURN
        turns = np.where(np.abs(turns) < MANY, turns, 0.0)
        # Of the two that are nearest to that end of the range.
        both = pose[places] + TURN * np.array([np.trunc(turns), np.trunc(turns) + np.sign(turns)])
        outside = np.abs(np.clip(both, low, high) - both)
        pose[places] = np.where(outside[1] < outside[0], both[1], both[0])
        return pose

    def unclear(self, pose: np.ndarray) -> np.ndarray:
        """(positions,) bool: joints that may as well be a turn further, within their range.

        One without a range may be in any turn: it is one that turns for ever.

        :param pose: as `inside` turns it.
        """
        found, places = np.zeros(len(pose), dtype=bool), self.continuous
        if len(places):
            pose, low, high = pose[places], self.low[places], self.high[places]
            ends = (low > -LARGEST) | (high < LARGEST)
            low, high = low - self.tolerance[places], high + self.tolerance[places]
            found[places] = ends & ((low <= pose - TURN) | (pose + TURN <= high))
        return found


def _end(of_range: float) -> float:
    """The end of a range as it was given."""
    return of_range if abs(of_range) < LARGEST else math.copysign(math.inf, of_range)
