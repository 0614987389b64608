"""A base's pose and velocity from nav_msgs/Odometry."""

import math
from collections.abc import Sequence
from typing import Any

from act_ros.errors import ObservationError, TaskError
from act_ros.observation.joints import NAN, Reading
from act_ros.task import Entry

_AXES = ('x', 'y', 'z')
_ANGLES = ('roll', 'pitch', 'yaw')
_QUATERNION = ('qx', 'qy', 'qz', 'qw')
_POSE = (*_AXES, *_ANGLES, *_QUATERNION)
_TWIST = (*_AXES, *_ANGLES)

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]


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
        self._twist_frame = _frame(twist_frame)
        for entry in entries:
            if entry.name not in (_POSE if entry.quantity == 'position' else _TWIST):
                raise TaskError(
                    f'{entry} is not in an Odometry; expected {", ".join(_TWIST)}, '
                    f'or {", ".join(_QUATERNION)} as position'
                )
        self._slots = tuple(range(len(entries)))
        # In the pose's numbers, and after them the twist's.
        self._places = [
            _POSE.index(e.name) if e.quantity == 'position' else len(_POSE) + _TWIST.index(e.name)
            for e in entries
        ]
        self._wants_pose = any(entry.quantity == 'position' for entry in entries)
        self._wants_twist = any(entry.quantity == 'velocity' for entry in entries)
        if self._wants_twist and not self._twist_frame:
            raise TaskError(
                f"parameter 'twist_frame' is not set, but {source!r} is an Odometry with "
                f"velocities: name the frame the policy wants them in, the message's frame_id "
                f'or its child_frame_id'
            )

    def read(self, message: Any) -> Reading:
        """What a message says of the entries: something of all [m, rad, m/s, rad/s]."""
        layout = message.header.frame_id, message.child_frame_id
        try:
            numbers = self._numbers(message)
        except ObservationError as error:
            wrong = dict.fromkeys(self._slots, str(error))
            return Reading(self._slots, [NAN] * len(self._slots), wrong, layout)
        values, remark = [numbers[i] for i in self._places], ''
        if self._wants_twist and not all(layout):
            remark = self._remark(*layout)
        return Reading(self._slots, values, {}, layout, remark)

    def missing(self, slots: Sequence[int]) -> str:
        """Why some entries have not arrived: a message holds them all."""
        return f'{self._source} has not arrived'

    def _numbers(self, message: Any) -> list[float]:
        """Those of the pose and the twist, NaN where nobody wants them.

        :raises ObservationError: a frame or a quaternion that means nothing.
        """
        pose, twist = message.pose.pose, message.twist.twist
        turned = self._wants_twist and self._in_frame_of_pose(message)
        numbers = [NAN] * len(_POSE)
        # An orientation that is not used need not be one: some drivers leave it zero.
        if self._wants_pose or turned:
            rotation = self._rotation(pose.orientation)
        if self._wants_pose:
            at, q = pose.position, pose.orientation
            numbers = [at.x, at.y, at.z, *_angles(rotation), q.x, q.y, q.z, q.w]
        for vector in (twist.linear, twist.angular):
            values = vector.x, vector.y, vector.z
            numbers += _product(rotation, values) if turned else values
        return numbers

    def _rotation(self, q: Any) -> Matrix:
        if not abs(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w - 1) < 2e-3:
            raise ObservationError(
                f'{self._source}: the orientation {[q.x, q.y, q.z, q.w]} is no unit quaternion'
            )
        return _matrix(q.x, q.y, q.z, q.w)

    def _in_frame_of_pose(self, message: Any) -> bool:
        """Whether the twist, which is in the child's frame, is wanted in that of the pose.

        A frame that the message does not name is the wanted one, if the other is not.

        :raises ObservationError: neither is.
        """
        frame, child = _frame(message.header.frame_id), _frame(message.child_frame_id)
        wanted = self._twist_frame
        if not (frame or child):
            raise ObservationError(
                f'{self._source} is an Odometry without frame_id and child_frame_id, so the frame '
                f'of its twist is unknown; let its driver name them'
            )
        if wanted == child or (not child and wanted != frame):
            return False
        if wanted == frame or not frame:
            return True
        raise ObservationError(
            f'{self._source} is an Odometry of {child!r} in {frame!r}, but twist_frame '
            f'is {wanted!r}; expected one of the two'
        )

    def _remark(self, frame: str, child: str) -> str:
        """What is assumed of the frame that a message does not name."""
        wanted = self._twist_frame
        if wanted == _frame(child):
            return ''
        if wanted == _frame(frame):
            return f'{self._source} has no child_frame_id: its twist is turned as one of the base'
        lacking = 'frame_id' if child else 'child_frame_id'
        return f'{self._source} has no {lacking}: twist_frame {wanted!r} is taken for it'


def _frame(name: str) -> str:
    """A frame's name as tf2 has it: with tf it began with a slash."""
    return name.removeprefix('/')


def _matrix(x: float, y: float, z: float, w: float) -> Matrix:
    """The rotation of a unit quaternion: child frame to frame."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )


def _product(matrix: Matrix, vector: Vector) -> list[float]:
    # numpy would take ten times as long for three numbers.
    x, y, z = vector
    return [a * x + b * y + c * z for a, b, c in matrix]


def _angles(rotation: Matrix) -> Vector:
    """Roll, pitch and yaw of Rz(yaw) Ry(pitch) Rx(roll) [rad]."""
    return (
        math.atan2(rotation[2][1], rotation[2][2]),
        math.asin(min(max(-rotation[2][0], -1.0), 1.0)),
        math.atan2(rotation[1][0], rotation[0][0]),
    )
