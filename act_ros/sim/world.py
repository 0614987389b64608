"""The simulated robot before its task: close the gripper on the red handle of a unit.

The unit sits on a plate somewhere on the panel while the base drifts. Once the fingers have closed
on its handle it comes off and moves with them.

**Success** is that the handle is held for `HOLD` seconds. The fingers close on it if, when they
touch it, its middle is within `REACH` of the point between the fingertips and they are turned by
less than `TILT` against it. Otherwise they close on nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from act_ros.sim import scene
from act_ros.sim.robot import HOME, SimulatedRobot

FloatArray = NDArray[np.float64]

REACH = 0.02
"""The middle of the handle may be so far from the point between the fingertips [m]."""

TILT = math.radians(15.0)
"""The gripper may be turned so far against the handle [rad]."""

HOLD = 0.5
"""What is held for so long counts as a success [s]."""

TIME_LIMIT = 10.0
"""An attempt that has not succeeded by then has failed [s]."""

# What a seed varies: the place on the panel, y and z [m], and the start pose around HOME.
_PLACES = np.array([[-0.12, 0.12], [-0.10, 0.10]])
_POSE_SPREAD = np.array([0.12, 0.12, 0.12, 0.15, 0.15, 0.15, 0.15, 0.15])  # [rad; 0..1]
_DRIFT_SPAN = 3600.0  # [s]

# The opening at which both fingers touch the handle, and by how much more it is still held.
_TOUCH = (scene.HANDLE_RADIUS - scene.FINGER_CLOSED) / scene.FINGER_TRAVEL
_SLACK = 0.02
_STEP = 0.01  # contact is looked at this often [s]


@dataclass(frozen=True)
class Scenario:
    """What differs from one attempt to the next.

    :ivar place: of the unit along the panel's y and z, from its usual one, shape (2,) [m].
    :ivar drift: how far along its drift the base is [s].
    :ivar pose: of the arm, shape (8,) [rad; 0..1].
    """

    place: FloatArray
    drift: float
    pose: FloatArray

    @classmethod
    def from_seed(cls, seed: int) -> Scenario:
        """The scenario of a seed, the same each time."""
        random = np.random.default_rng(seed)
        return cls(
            place=random.uniform(*_PLACES.T),
            drift=random.uniform(0.0, _DRIFT_SPAN),
            pose=HOME + random.uniform(-_POSE_SPREAD, _POSE_SPREAD),
        )


class World:
    """A simulated robot and the task object, in time that is an argument of every call.

    :param joint_names: of the seven arm joints and the gripper, in this order.
    :param command_timeout: as to `SimulatedRobot`.
    :ivar robot: it.
    :ivar objects: poses of plate and unit in the world, shape (2, 3, 4).
    :ivar grasped_at: when the handle that is held was grasped [s]; None while it is not.
    """

    def __init__(self, joint_names: Sequence[str], *, command_timeout: float = 0.2) -> None:
        self.robot = SimulatedRobot(joint_names, command_timeout=command_timeout)
        self.begin(Scenario(np.zeros(2), 0.0, HOME))

    def begin(self, scenario: Scenario) -> None:
        """Put everything in its place; the next `advance` says what time it is."""
        self.robot.begin(scenario.pose, scenario.drift)
        self.objects = np.stack([scene.placed(scenario.place)] * 2)
        self.grasped_at: float | None = None
        self._held: FloatArray | None = None  # the unit in the gripper's frame, (4, 4)
        self._now: float | None = None
        self._opening = float(self.robot.positions[-1])
        self._look()

    def command(self, now: float, positions: FloatArray | Sequence[float],
                velocities: FloatArray | Sequence[float]) -> None:
        """Command the arm, as `SimulatedRobot.command`."""
        self.robot.command(now, positions, velocities)

    def advance(self, now: float) -> None:
        """Move on to a time; the first call only sets where time starts.

        :param now: time [s], never less than in the call before.
        :raises ValueError: time runs backwards or is not finite.
        """
        begin = now if self._now is None else self._now
        # Contact is looked at in steps of the robot's own time, however seldom this is called.
        count = max(1, math.ceil((now - begin) / _STEP - 1e-6)) if now - begin < 1e3 else 1
        for i in range(1, count + 1):
            time = now if i == count else begin + (now - begin) * i / count
            self.robot.advance(time)
            self._look()
            self._touch(time)
        self._now = now

    @property
    def positions(self) -> FloatArray:
        """Joint positions, shape (8,) [rad; 0..1]."""
        return self.robot.positions

    @property
    def base_position(self) -> FloatArray:
        """Position of the base in the world frame, shape (3,) [m]."""
        return self.robot.base_position

    @property
    def base_orientation(self) -> FloatArray:
        """Roll, pitch and yaw of the base, shape (3,) [rad]."""
        return self.robot.base_orientation

    @property
    def base_pose(self) -> FloatArray:
        """Rotation and translation of the base in the world, shape (3, 4)."""
        return self._base.copy()

    @property
    def handle(self) -> FloatArray:
        """Rotation of the handle, and its middle, in the world, shape (3, 4)."""
        return _moved(self.objects[1], scene.HANDLE)

    @property
    def distance(self) -> float:
        """From the point between the fingertips to the middle of the handle [m]."""
        return float(np.linalg.norm(self._offset))

    @property
    def succeeded(self) -> bool:
        """Whether the handle is held, and has been for `HOLD` seconds."""
        return (self.grasped_at is not None and self._now is not None
                and self._now - self.grasped_at >= HOLD)

    def _look(self) -> None:
        """See where the gripper and the handle are."""
        robot = self.robot
        poses = scene.frame_poses(robot.base_position, robot.base_orientation, robot.positions)
        self._base, self._gripper = poses[scene.BASE], poses[scene.GRIPPER]
        if self._held is not None:
            self.objects[1] = self._gripper @ self._held
        handle = self.handle
        turn = self._gripper[:, :3]
        self._offset = turn.T @ (handle[:, 3] - _moved(self._gripper, scene.GRASP_POINT)[:, 3])
        cosine = 0.5 * (np.trace(turn.T @ handle[:, :3]) - 1.0)
        self._tilt = math.acos(min(1.0, max(-1.0, cosine)))

    def _touch(self, time: float) -> None:
        """Let the fingers close on the handle, hold it, or let it go."""
        before, self._opening = self._opening, float(self.robot.positions[-1])
        if self._held is not None:
            if self._opening > _TOUCH + 5 * _SLACK:
                self._held = self.grasped_at = None
                self.robot.stop_gripper_at(0.0)
            return
        between = self.distance <= REACH and self._tilt <= TILT and before >= _TOUCH
        self.robot.stop_gripper_at(_TOUCH if between else 0.0)
        if not between:
            return
        # The finger that touches first takes the unit along, until the other one touches too.
        gap = max(0.0, scene.FINGER_CLOSED + scene.FINGER_TRAVEL * self._opening
                  - scene.HANDLE_RADIUS)
        push = min(max(self._offset[1], -gap), gap) - self._offset[1]
        if push:
            self.objects[1, :, 3] += self._gripper[:, 1] * push
            self._look()
        if self._opening <= _TOUCH + _SLACK:
            self._held = _inverse(self._gripper) @ np.vstack((self.objects[1], (0, 0, 0, 1)))
            self.grasped_at = time


def _moved(pose: FloatArray, point: FloatArray) -> FloatArray:
    """:return: a frame's rotation at a point of it, shape (3, 4)."""
    return np.column_stack((pose[:, :3], pose[:, :3] @ point + pose[:, 3]))


def _inverse(pose: FloatArray) -> FloatArray:
    """:return: the inverse of a pose, shape (4, 4)."""
    whole = np.eye(4)
    whole[:3, :3] = pose[:, :3].T
    whole[:3, 3] = -pose[:, :3].T @ pose[:, 3]
    return whole
