"""The messages that are read from bags and written to them."""

import struct
from functools import cache
from typing import Any

import numpy as np
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

# Those of packages that are no part of ROS itself.
ELSEWHERE = {'control_msgs/msg/GripperCommand': 'float64 position\nfloat64 max_effort\n'}


@cache
def typestore() -> Any:
    """The standard message types; those that are read here are alike in every distribution."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in ELSEWHERE.items():
        store.register(get_types_from_msg(text, name))
    return store


def deserialize(raw: bytes | memoryview, message_type: str) -> Any:
    """A message from CDR, whatever room is left behind it.

    What a script serialises by rclpy's `serialize_message`, and so writes to a bag, is longer
    than the message: Fast DDS counts the alignment of empty sequences too, up to 16 bytes for
    each point of a trajectory.

    :raises SerdeError: it is of another type, or damaged.
    """
    if bytes(raw[:2]) not in (b'\0\0', b'\0\1'):
        raise SerdeError('it does not begin as CDR does')
    store = typestore()
    known = store.get_msgdef(message_type)
    read = known.deserialize_cdr_le if raw[1] else known.deserialize_cdr_be
    try:
        message, end = read(raw[4:], 0, known.cls, store)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise SerdeError(str(error)) from None
    if len(raw) - 4 - end > max(end, 7):
        raise SerdeError(f'{len(raw) - 4} bytes, of which it needs {end}')
    return message


class BagMessages:
    """The classes of these messages, as an encoder of commands asks for them."""

    def message_class(self, message_type: str) -> type:
        """The class of a type, as in 'sensor_msgs/msg/JointState'; it is given every field."""
        return typestore().types[message_type]

    def doubles(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) as a float64[] field holds them."""
        return np.array(values, dtype=np.float64)

    def stamp(self, time: int) -> Any:
        """A builtin_interfaces/Time [ns]."""
        return self.message_class('builtin_interfaces/msg/Time')(*divmod(time, 1_000_000_000))
