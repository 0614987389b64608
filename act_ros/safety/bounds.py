"""The limits in the order of an action's positions and velocities, and poses within them."""

from dataclasses import dataclass

import numpy as np

from act_ros.safety.limits import TURN, Limits

LARGEST = np.finfo(np.float64).max
MANY = 1e6  # turns: what is as far away is no angle, and rounding would make it any


@dataclass(frozen=True)
class Bounds:
    """Limits in the order of the action's positions and velocities.

    Ranges and speeds end at the largest float: nothing infinite is a pose or a command.
    """

    limits: Limits
    low: np.ndarray  # (positions,), as are the next four
    high: np.ndarray
    step: np.ndarray
    tolerance: np.ndarray
    max_tracking_error: np.ndarray
    speed: np.ndarray  # (velocities,)
    continuous: np.ndarray  # places of such joints among the positions

    def towards(self, target: np.ndarray, last: np.ndarray) -> np.ndarray:
        """At most a step from the last command, and inside the range."""
        near = np.minimum(np.maximum(target, last - self.step), last + self.step)
        return np.minimum(np.maximum(near, self.low), self.high)

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
