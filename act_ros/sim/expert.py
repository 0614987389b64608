"""A script that does the task: it knows where the handle is, and takes the arm there.

It is what the demonstration's policy has learnt from. Its commands depend on the scenario and the
time alone, and so does what the robot makes of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from act_ros.sim.kinematics import grasp_pose, reach
from act_ros.sim.robot import VELOCITY_LIMITS
from act_ros.sim.world import World

FloatArray = NDArray[np.float64]

# When each part of the motion begins and ends, from the start of the attempt [s].
_ASIDE = (0.0, 2.0)  # up to the handle's height and side, the gripper turned as it is
_AHEAD = (0.0, 3.0)
_CLOSE = (2.4, 3.3)  # begun on the way: then the hand itself shows how far it is
_PULL = (3.6, 5.2)
_AWAY: FloatArray = np.array([-0.16, 0.0, 0.03])  # where the unit is pulled, from where it was [m]

DURATION = 6.0
"""Until it is done, and has stood still for a while [s]."""


class Expert:
    """Leads the arm of a world that has just begun.

    :param world: before its first `advance`, or at its start.
    :param period: between two commands [s].
    """

    def __init__(self, world: World, period: float = 0.02) -> None:
        self._world, self._period = world, period
        pose = world.positions
        self._joints, self._opening = pose[:7], float(pose[7])
        self._start = grasp_pose(pose)  # in the base frame
        self._goal = world.handle  # in the world
        self._last = pose

    def command(self, elapsed: float) -> tuple[FloatArray, FloatArray]:
        """What to command at a time; times are `period` apart, from 0 on.

        :param elapsed: since the start [s].
        :return: positions and velocities, shape (8,) each [rad; 0..1 and per second].
        """
        self._joints = reach(self._target(elapsed), self._joints)
        opening = self._opening * (1.0 - _eased(elapsed, *_CLOSE))
        positions = np.append(self._joints, opening)
        velocities = (positions - self._last) / self._period
        self._last = positions
        return positions, np.clip(velocities, -VELOCITY_LIMITS, VELOCITY_LIMITS)

    def _target(self, elapsed: float) -> FloatArray:
        """:return: where the point between the fingertips is to be, in the base frame, (3, 4)."""
        base = self._world.base_pose
        turn = base[:, :3].T
        goal = self._goal[:, 3] + _AWAY * _eased(elapsed, *_PULL)
        goal = turn @ (goal - base[:, 3])
        # Along the handle's own axes: beside it first, so that the fingers come from the front.
        axes = turn @ self._goal[:, :3]
        aside, ahead = _eased(elapsed, *_ASIDE), _eased(elapsed, *_AHEAD)
        left = axes.T @ (self._start[:, 3] - goal)
        point = goal + axes @ (left * (1.0 - np.array([ahead, aside, aside])))
        return np.column_stack((_between(self._start[:, :3], axes, aside), point))


def _eased(time: float, begin: float, end: float) -> float:
    """A motion from 0 to 1 of least jerk, at rest at both ends."""
    x = min(max((time - begin) / (end - begin), 0.0), 1.0)
    return x * x * x * (10.0 + x * (6.0 * x - 15.0))


def _between(first: FloatArray, last: FloatArray, share: float) -> FloatArray:
    """A rotation on the way from one to another, the nearest to their mean, shape (3, 3)."""
    left, _, right = np.linalg.svd((1.0 - share) * first + share * last)
    return left @ right
