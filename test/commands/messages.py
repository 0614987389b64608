"""Command messages as robots' own drivers and controllers send them."""

import numpy as np

from act_ros.bags.typestore import BagMessages
from act_ros.commands import Ahead

LIBRARY = BagMessages()
# By place in the actions of these tests: a position, and the velocity of the same joint.
JOINTS = {2: 0, 1: 3}
MS = 1_000_000
START = 1_700_000_000_000_000_000


def make(message_type, *fields):
    return LIBRARY.message_class(message_type)(*fields)


def header(stamp: int = 0):
    return make('std_msgs/msg/Header', LIBRARY.stamp(stamp), '')


def joint_state(names, position=(), velocity=(), effort=(), *, stamp: int = 0):
    """A JointState; a stamp of 0 is none [ns]."""
    numbers = (np.array(values, dtype=np.float64) for values in (position, velocity, effort))
    return make('sensor_msgs/msg/JointState', header(stamp), list(names), *numbers)


def trajectory(names, points, *, stamp: int = 0):
    """A JointTrajectory.

    :param points: [ms from the start, positions, or with velocities], ...
    """
    made = []
    for after, positions, *velocities in points:
        time = make('builtin_interfaces/msg/Duration', *divmod(after * MS, 1_000_000_000))
        numbers = np.array(positions, np.float64), np.array(*velocities or [()], np.float64)
        made.append(make('trajectory_msgs/msg/JointTrajectoryPoint', *numbers, np.empty(0),
                         np.empty(0), time))  # fmt: skip
    return make('trajectory_msgs/msg/JointTrajectory', header(stamp), list(names), made)


def ahead(values, coming):
    """What follows a command, at the speeds that it says itself."""
    rows = np.vstack((values, coming))
    slopes = np.zeros_like(rows)
    for position, velocity in JOINTS.items():
        if rows.shape[1] > max(position, velocity):
            slopes[:, position] = rows[:, velocity]
    return Ahead(coming, slopes)


def array(data, *, label: str | None = None, offset: int = 0):
    """A Float64MultiArray."""
    size = len(data)
    dims = [] if label is None else [
        make('std_msgs/msg/MultiArrayDimension', label, size, size)
    ]  # fmt: skip
    layout = make('std_msgs/msg/MultiArrayLayout', dims, offset)
    return make('std_msgs/msg/Float64MultiArray', layout, np.array(data, dtype=np.float64))
