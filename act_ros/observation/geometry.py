"""Poses: the names of their numbers, and rotations."""

import math
from typing import Any

from act_ros.errors import ObservationError
from act_ros.task import TWIST

QUATERNION = ('qx', 'qy', 'qz', 'qw')
POSE = (*TWIST, *QUATERNION)

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]


def pose_numbers(pose: Any, rotation: Matrix) -> list[float]:
    """Those of a geometry_msgs/Pose, in the order of `POSE` [m, rad].

    :param rotation: that of its orientation.
    """
    at, q = pose.position, pose.orientation
    return [at.x, at.y, at.z, *angles(rotation), q.x, q.y, q.z, q.w]


def rotation_of(source: str, q: Any) -> Matrix:
    """The rotation of a geometry_msgs/Quaternion: child frame to frame.

    :param source: for an error.
    :raises ObservationError: it is no unit quaternion.
    """
    if not abs(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w - 1) < 2e-3:
        raise ObservationError(
            f'{source}: the orientation {[q.x, q.y, q.z, q.w]} is no unit quaternion'
        )
    return _matrix(q.x, q.y, q.z, q.w)


def frame_name(name: str) -> str:
    """A frame's name as tf2 has it: with tf it began with a slash."""
    return name.removeprefix('/')


def _matrix(x: float, y: float, z: float, w: float) -> Matrix:
    """The rotation of a unit quaternion: child frame to frame."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )


def product(matrix: Matrix, vector: Vector) -> list[float]:
    """A vector turned by a rotation."""
    # numpy would take ten times as long for three numbers.
    x, y, z = vector
    return [a * x + b * y + c * z for a, b, c in matrix]


def angles(rotation: Matrix) -> Vector:
    """Roll, pitch and yaw of Rz(yaw) Ry(pitch) Rx(roll) [rad]."""
    return (
        math.atan2(rotation[2][1], rotation[2][2]),
        math.asin(min(max(-rotation[2][0], -1.0), 1.0)),
        math.atan2(rotation[1][0], rotation[0][0]),
    )
