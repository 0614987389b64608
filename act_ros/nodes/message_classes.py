"""The classes of rclpy's messages, by their types."""

import array
import importlib
from functools import cache

import numpy as np

from act_ros.errors import ParameterError


class RosMessages:
    """The classes of rclpy's messages, as an encoder of commands asks for them."""

    def message_class(self, message_type: str) -> type:
        """The class of a type, as in 'sensor_msgs/msg/JointState'."""
        return message_class(message_type)

    def doubles(self, values: np.ndarray) -> array.array:
        """Values (n,) as a float64[] field holds them."""
        return doubles(values)


@cache
def message_class(message_type: str) -> type:
    """The class of a type, as in 'sensor_msgs/msg/JointState'.

    :raises ParameterError: its package is not installed.
    """
    package, kind, name = message_type.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.{kind}'), name)
    except (ImportError, AttributeError):
        raise ParameterError(
            f'{message_type} is of {package}, which is not installed: '
            f'apt install ros-$ROS_DISTRO-{package.replace("_", "-")}'
        ) from None


def doubles(values: np.ndarray) -> array.array:
    """Values as a message holds them; where setters check types, they refuse a numpy array."""
    return array.array('d', values.tolist())
