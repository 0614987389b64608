"""Where the gripper is, and which joint angles bring it somewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from act_ros.sim import scene
from act_ros.sim.robot import HOME, POSITION_LIMITS

FloatArray = NDArray[np.float64]

# What keeps the arm calm where it is stretched, and how much of the way back to its usual posture
# an iteration goes.
_DAMPING = 1e-4
_POSTURE = 0.005
_ARM = slice(scene.FIRST_JOINT, scene.GRIPPER + 1)
_STILL = np.zeros(3)


def grasp_pose(joints: FloatArray) -> FloatArray:
    """Pose of the point between the fingertips in the base frame.

    :param joints: seven joint angles [rad], further values are left alone, shape (7 or 8,).
    :return: rotation and translation, shape (3, 4).
    """
    return _grasp(_poses(joints))


def reach(target: FloatArray, joints: FloatArray, iterations: int = 3) -> FloatArray:
    """Joint angles that bring the point between the fingertips to a pose.

    What the seventh joint leaves free draws the arm towards its home posture. Where the pose is
    out of reach, the arm goes as far as it can.

    :param target: rotation and translation in the base frame, shape (3, 4).
    :param joints: seven angles near the solution, shape (7,) [rad].
    :param iterations: from near by, three end within a tenth of a millimetre.
    :return: seven angles within the limits, shape (7,) [rad].
    """
    low, high = POSITION_LIMITS[:7].T
    for _ in range(iterations):
        poses = _poses(joints)
        now = _grasp(poses)
        jacobian = _jacobian(poses, now[:, 3])
        error = np.concatenate((target[:, 3] - now[:, 3], _turn_between(now, target)))
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + _DAMPING * np.eye(6))
        home = _POSTURE * (HOME[:7] - joints)
        joints = np.clip(joints + inverse @ (error - jacobian @ home) + home, low, high)
    return joints


def _poses(joints: FloatArray) -> FloatArray:
    return scene.frame_poses(_STILL, _STILL, np.append(joints[:7], 0.0))


def _grasp(poses: FloatArray) -> FloatArray:
    gripper = poses[scene.GRIPPER]
    return np.column_stack((gripper[:, :3], gripper[:, :3] @ scene.GRASP_POINT + gripper[:, 3]))


def _jacobian(poses: FloatArray, point: FloatArray) -> FloatArray:
    """:return: velocity of a point and angular velocity by joint speed, shape (6, 7)."""
    arm = poses[_ARM]
    axes = np.stack([pose[:, axis] for pose, axis in zip(arm, scene.JOINT_AXES, strict=True)])
    return np.vstack((np.cross(axes, point - arm[:, :, 3]).T, axes.T))


def _turn_between(now: FloatArray, target: FloatArray) -> FloatArray:
    """:return: axis times about the angle that turns one frame into another, shape (3,) [rad]."""
    return 0.5 * np.cross(now[:, :3].T, target[:, :3].T).sum(axis=0)
