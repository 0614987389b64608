"""A base's pose and velocity from nav_msgs/Odometry."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from act_ros.errors import ObservationError, TaskError
from act_ros.task import Entry

_AXES = ('x', 'y', 'z')
_ANGLES = ('roll', 'pitch', 'yaw')
_QUATERNION = ('qx', 'qy', 'qz', 'qw')
# (name, quantity) -> place in the vector that `_values` makes.
_PLACES = {
    **{(name, 'position'): i for i, name in enumerate((*_AXES, *_ANGLES, *_QUATERNION))},
    **{(name, 'velocity'): 10 + i for i, name in enumerate((*_AXES, *_ANGLES))},
}


class OdometryReader:
    """Reads entries out of nav_msgs/Odometry.

    Positions are those of the pose; roll, pitch and yaw as REP-103 has them (fixed axes).
    Velocities are the twist's, in the frame that the policy wants.

    :param source: for errors.
    :param entries: names x, y, z, roll, pitch, yaw; for positions qx, qy, qz, qw too.
    :param twist_frame: the frame of the velocities: the message's frame_id or child_frame_id.
    :raises TaskError: an entry has another name, or velocities have no frame.
    """

    def __init__(self, source: str, entries: Sequence[Entry], twist_frame: str) -> None:
        self._source = source
        self._twist_frame = twist_frame
        for entry in entries:
            if (entry.name, entry.quantity) not in _PLACES:
                raise TaskError(
                    f'{entry} is not in an Odometry; expected {", ".join((*_AXES, *_ANGLES))}, '
                    f'or {", ".join(_QUATERNION)} as position'
                )
        self._places = [_PLACES[entry.name, entry.quantity] for entry in entries]
        self._wants_twist = any(entry.quantity == 'velocity' for entry in entries)
        if self._wants_twist and not twist_frame:
            raise TaskError(
                f"parameter 'twist_frame' is not set, but {source!r} is an Odometry with "
                f"velocities: name the frame the policy wants them in, the message's frame_id "
                f'or its child_frame_id'
            )

    def read(self, message: Any) -> np.ndarray:
        """The entries' values, (n,) float64 [m, rad, m/s, rad/s].

        :raises ObservationError: a frame or a quaternion that means nothing.
        """
        pose, twist = message.pose.pose, message.twist.twist
        q = np.array([getattr(pose.orientation, axis) for axis in 'xyzw'])
        if not abs(q @ q - 1) < 2e-3:
            raise ObservationError(
                f'{self._source}: the orientation {q.tolist()} is no unit quaternion'
            )
        rotation = _matrix(q)
        linear, angular = _vector(twist.linear), _vector(twist.angular)
        if self._wants_twist:
            frame, child = message.header.frame_id, message.child_frame_id
            if self._twist_frame == child:
                pass
            elif self._twist_frame == frame:
                linear, angular = rotation @ linear, rotation @ angular
            else:
                raise ObservationError(
                    f'{self._source} is an Odometry of {child!r} in {frame!r}, but twist_frame '
                    f'is {self._twist_frame!r}; expected one of the two'
                )
        values = np.concatenate((_vector(pose.position), _angles(rotation), q, linear, angular))
        return values[self._places]


def _vector(message: Any) -> np.ndarray:
    return np.array([message.x, message.y, message.z])


def _matrix(q: np.ndarray) -> np.ndarray:
    """The rotation of a unit quaternion x, y, z, w: child frame to frame, (3, 3)."""
    x, y, z, w = q
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def _angles(rotation: np.ndarray) -> np.ndarray:
    """Roll, pitch and yaw of Rz(yaw) Ry(pitch) Rx(roll), (3,) [rad]."""
    return np.array([
        np.arctan2(rotation[2, 1], rotation[2, 2]),
        np.arcsin(np.clip(-rotation[2, 0], -1, 1)),
        np.arctan2(rotation[1, 0], rotation[0, 0]),
    ])  # fmt: skip
