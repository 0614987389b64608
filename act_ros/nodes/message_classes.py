"""The classes of rclpy's messages, by their types."""

import array
import importlib
from functools import cache

import numpy as np


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
    """The class of a type, as in 'sensor_msgs/msg/JointState'."""
    package, _, name = message_type.split('/')
    return getattr(importlib.import_module(f'{package}.msg'), name)


def doubles(values: np.ndarray) -> array.array:
    """Values as a message holds them; where setters check types, they refuse a numpy array."""
    return array.array('d', values.tolist())
