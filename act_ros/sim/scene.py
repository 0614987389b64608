"""Where things are in the simulated world: the robot, a panel with a task object, the cameras.

Frames follow REP-103: x forward, y left, z up; lengths are in metres.  The panel faces the robot
from ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Frames: the world, the base, one per arm joint (moving with it), one per finger, and the task
# object: a unit with a handle, and the plate on the panel that it sits on.
WORLD, BASE, FIRST_JOINT, LEFT_FINGER, RIGHT_FINGER, PLATE, UNIT = 0, 1, 2, 9, 10, 11, 12
GRIPPER = FIRST_JOINT + 6
FRAME_COUNT = 13

BODY_BOX: FloatArray = np.array([[-0.39, -0.425, -0.42], [0.27, 0.425, 0.10]])
"""Lowest and highest corner of the body in the base frame, shape (2, 3) [m]."""

# Where each joint sits in the frame before it, and the axis it turns about.
_JOINTS: tuple[tuple[tuple[float, float, float], str], ...] = (
    ((0.08, 0.22, 0.18), 'z'),
    ((0.0, 0.0, 0.14), 'y'),
    ((0.17, 0.13, 0.0), 'x'),
    ((0.25, 0.0, 0.0), 'y'),
    ((0.15, -0.13, 0.0), 'x'),
    ((0.20, 0.0, 0.0), 'y'),
    ((0.13, 0.0, 0.0), 'x'),
)
JOINT_AXES: tuple[int, ...] = tuple('xyz'.index(axis) for _, axis in _JOINTS)
"""Which axis of its own frame each arm joint turns about, 0 = x."""

JOINT_OFFSETS: tuple[tuple[float, float, float], ...] = tuple(offset for offset, _ in _JOINTS)
"""Where each arm joint sits in the frame before it [m]."""

_FINGER_ORIGIN, FINGER_CLOSED, FINGER_TRAVEL = 0.10, 0.014, 0.062
"""Where the fingers begin along the gripper's x, half their gap when closed, and what the opening
adds to that [m]."""

GRASP_POINT: FloatArray = np.array([0.21, 0.0, 0.0])
"""Between the fingertips, in the gripper's frame, shape (3,) [m]."""

PANEL_X = 1.26
"""Of the front of the station's wall in the world [m]."""

OBJECT_PLACE: FloatArray = np.array([PANEL_X, 0.08, 0.16])
"""Where plate and unit are in the world, unless they are elsewhere, shape (3,) [m]."""

HANDLE: FloatArray = np.array([-0.24, 0.0, 0.0])
"""The middle of the handle in the unit's frame, a bar along its z, shape (3,) [m]."""

HANDLE_RADIUS = 0.018
"""Of the bar [m]."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion, fixed to the base of the robot.

    :param name: its name.
    :param position: optical centre in the base frame, shape (3,) [m].
    :param rotation: columns are its axes in the base frame: image right, image down, viewing
        direction, shape (3, 3).
    :param field_of_view: angle between the upper and the lower image edge [rad].
    """

    name: str
    position: FloatArray
    rotation: FloatArray
    field_of_view: float

    def focal_length(self, height: int) -> float:
        """Give the focal length, the same for both image axes.

        :param height: image height [px].
        :return: focal length [px].
        """
        return 0.5 * height / math.tan(0.5 * self.field_of_view)


# Optical centre, the point looked at (both in the base frame [m]), field of view [rad].
_VIEWS = (
    ((-0.74, -0.34, 1.00), (0.90, 0.12, 0.17), math.radians(44.0)),
    ((0.62, 1.95, 0.46), (0.84, 0.08, 0.17), math.radians(38.0)),
    ((0.60, -0.64, -0.74), (0.86, 0.10, 0.18), math.radians(48.0)),
)


def default_cameras(names: Sequence[str]) -> dict[str, Camera]:
    """Place the cameras of the robot: over the shoulder, from its left, from below.

    :param names: names of the cameras in this order, at most three.
    :return: cameras by name, in the same order.
    :raises ValueError: more names than views, or a name twice.
    """
    if len(names) > len(_VIEWS):
        raise ValueError(f'found {len(names)} camera names, expected at most {len(_VIEWS)}')
    if len(set(names)) != len(names):
        raise ValueError(f'camera names are not unique: {list(names)}')
    return {
        name: Camera(name, np.array(position), _looking(position, target), field_of_view)
        for name, (position, target, field_of_view) in zip(names, _VIEWS, strict=False)
    }


def rotation_from_rpy(orientation: FloatArray) -> FloatArray:
    """Build a rotation matrix from roll, pitch and yaw.

    :param orientation: roll, pitch, yaw, shape (3,) [rad].
    :return: Rz(yaw) Ry(pitch) Rx(roll), shape (3, 3).
    """
    roll, pitch, yaw = (float(angle) for angle in orientation)
    return _turn('z', yaw) @ _turn('y', pitch) @ _turn('x', roll)


def placed(offset: FloatArray | Sequence[float] = (0.0, 0.0)) -> FloatArray:
    """Pose of plate or unit on the panel.

    :param offset: from its usual place along the panel's y and z, shape (2,) [m].
    :return: rotation and translation in the world, shape (3, 4).
    """
    return np.column_stack((np.eye(3), np.add(OBJECT_PLACE, (0.0, *offset))))


def frame_poses(base_position: FloatArray, base_orientation: FloatArray, joints: FloatArray,
                objects: FloatArray | None = None) -> FloatArray:
    """Forward kinematics of the whole robot, and where the task object is.

    :param base_position: position of the base in the world, shape (3,) [m].
    :param base_orientation: its roll, pitch and yaw, shape (3,) [rad].
    :param joints: seven joint angles [rad] and the gripper opening 0..1, shape (8,).
    :param objects: poses of plate and unit in the world, shape (2, 3, 4); None: as usual.
    :return: pose of each frame in the world: rotation and translation, shape (13, 3, 4).
    """
    poses = np.zeros((FRAME_COUNT, 4, 4))
    poses[PLATE:, :3] = placed() if objects is None else objects
    poses[:FIRST_JOINT] = np.eye(4)
    poses[BASE, :3, :3] = rotation_from_rpy(base_orientation)
    poses[BASE, :3, 3] = base_position
    angles = np.asarray(joints)[:7, None, None]
    fixed, cosine, sine = _JOINT_TERMS
    for i, turned in enumerate(fixed + np.cos(angles) * cosine + np.sin(angles) * sine):
        np.matmul(poses[BASE + i], turned, out=poses[FIRST_JOINT + i])
    wrist = poses[GRIPPER]
    aside = FINGER_CLOSED + FINGER_TRAVEL * float(joints[7])
    for frame, y in ((LEFT_FINGER, aside), (RIGHT_FINGER, -aside)):
        poses[frame] = wrist
        poses[frame, :, 3] = wrist @ (_FINGER_ORIGIN, y, 0.0, 1.0)
    return poses[:, :3]


def _looking(position: Sequence[float], target: Sequence[float]) -> FloatArray:
    """:return: axes of a camera that looks at a target with z up in its image, (3, 3)."""
    forward = np.subtract(target, position)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return np.column_stack((right, np.cross(forward, right), forward))


def _turn(axis: str, angle: float) -> FloatArray:
    """:return: rotation about a coordinate axis by an angle [rad], shape (3, 3)."""
    c, s = math.cos(angle), math.sin(angle)
    if axis == 'x':
        return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    if axis == 'y':
        return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _joint_terms() -> FloatArray:
    """:return: A, B, C with pose A + B cos + C sin of a joint in its frame, (3, 7, 4, 4)."""
    terms = np.zeros((3, len(_JOINTS), 4, 4))
    for i, (offset, axis) in enumerate(_JOINTS):
        none, quarter, half = (_turn(axis, angle) for angle in (0.0, 0.5 * math.pi, math.pi))
        fixed = 0.5 * (none + half)
        terms[:, i, :3, :3] = fixed, none - fixed, quarter - fixed
        terms[0, i, :, 3] = *offset, 1.0
    return terms


_JOINT_TERMS = _joint_terms()
