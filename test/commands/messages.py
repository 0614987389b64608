"""Command messages as robots' own drivers and controllers send them."""

import numpy as np

from act_ros.bags.typestore import BagMessages

LIBRARY = BagMessages()
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


def array(data, *, label: str | None = None, offset: int = 0):
    """A Float64MultiArray."""
    size = len(data)
    dims = [] if label is None else [
        make('std_msgs/msg/MultiArrayDimension', label, size, size)
    ]  # fmt: skip
    layout = make('std_msgs/msg/MultiArrayLayout', dims, offset)
    return make('std_msgs/msg/Float64MultiArray', layout, np.array(data, dtype=np.float64))
