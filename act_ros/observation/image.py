"""From an undecoded image message to RGB.

Messages are read by the fields of sensor_msgs/Image (height, width, encoding, step, data), so
those of rclpy and those read from a bag serve alike.
"""

from typing import Any

import numpy as np

from act_ros.errors import ObservationError

# encoding -> (bytes a pixel, which of them are R, G, B)
_CHANNELS = {
    'rgb8': (3, slice(0, 3)),
    'bgr8': (3, slice(None, None, -1)),
    'rgba8': (4, slice(0, 3)),
    'bgra8': (4, slice(2, None, -1)),
    'mono8': (1, [0, 0, 0]),
}


def check_image(message: Any, image_size: tuple[int, int]) -> None:
    """Refuse a frame that cannot be decoded to the policy's size, without decoding it.

    :param message: a sensor_msgs/Image.
    :param image_size: height and width that the policy needs [px].
    :raises ObservationError: naming what was found and expected.
    """
    if message.encoding not in _CHANNELS:
        raise ObservationError(
            f'encoding {message.encoding!r} is not supported; expected {", ".join(_CHANNELS)}'
        )
    found = (message.height, message.width)
    if found != tuple(image_size):
        raise ObservationError(
            f'{found[0]}x{found[1]} pixels, expected {image_size[0]}x{image_size[1]} '
            f'(the policy never resizes)'
        )
    row = message.width * _CHANNELS[message.encoding][0]
    step = message.step or row
    if step < row or len(message.data) < step * (message.height - 1) + row:
        raise ObservationError(
            f'{len(message.data)} bytes with step {message.step} do not hold '
            f'{message.height} rows of {row} bytes'
        )


def decode_image(message: Any) -> np.ndarray:
    """Decode a frame that `check_image` accepts.

    :param message: a sensor_msgs/Image.
    :returns: (H, W, 3) uint8 RGB, a view of the message's bytes where the layout allows it.
    """
    depth, channels = _CHANNELS[message.encoding]
    height, row = message.height, message.width * depth
    step = message.step or row
    data = np.frombuffer(message.data, dtype=np.uint8)
    # The last row need not be padded, so rows are laid out by stride, not by reshape.
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    return rows.reshape(height, message.width, depth)[..., channels]
