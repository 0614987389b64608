"""From an undecoded image message to RGB.

Messages are read by the fields of sensor_msgs/Image (height, width, encoding, step, data) or
CompressedImage (format, data), so those of rclpy and those read from a bag serve alike.
"""

from functools import cache
from typing import Any

import cv2
import numpy as np

from act_ros.errors import ObservationError, shorten
from act_ros.observation.compressed import compressed_size, decode_compressed

# encoding -> (bytes a pixel, OpenCV's conversion to RGB).
# OpenCV names a pattern by its second row's second and third pixel, ROS by the first two rows.
_ENCODINGS = {
    'rgb8': (3, None),
    'bgr8': (3, cv2.COLOR_BGR2RGB),
    'rgba8': (4, cv2.COLOR_RGBA2RGB),
    'bgra8': (4, cv2.COLOR_BGRA2RGB),
    'mono8': (1, cv2.COLOR_GRAY2RGB),
    'bayer_rggb8': (1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': (1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': (1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': (1, cv2.COLOR_BayerGB2RGB),
}
ENCODINGS = tuple(_ENCODINGS)


def check_image(message: Any, image_size: tuple[int, int]) -> None:
    """Refuse a frame that cannot be decoded to the policy's size, without decoding it.

    :param message: a sensor_msgs/Image or CompressedImage.
    :param image_size: height and width that the policy needs [px].
    :raises ObservationError: naming what was found and expected.
    """
    if hasattr(message, 'format'):
        _check_size(compressed_size(message), image_size)
        return
    if message.encoding not in ENCODINGS and _cv_bridge() is None:
        raise ObservationError(
            f'encoding {shorten(message.encoding)} is not supported, and cv_bridge, which knows '
            f'more, is not importable; expected one of {", ".join(ENCODINGS)}'
        )
    _check_size((message.height, message.width), image_size)
    depth, _ = _ENCODINGS.get(message.encoding, (1, None))
    row = message.width * depth
    step = message.step or row
    if step < row or len(message.data) < step * (message.height - 1) + row:
        raise ObservationError(
            f'{len(message.data)} bytes with step {message.step} do not hold '
            f'{message.height} rows of {row} bytes'
        )


def decode_image(message: Any) -> np.ndarray:
    """Decode a frame that `check_image` accepts.

    :param message: a sensor_msgs/Image or CompressedImage.
    :returns: (H, W, 3) uint8 RGB; of rgb8 a view of the message's bytes.
    :raises ObservationError: a compressed frame is damaged, or cannot be converted.
    """
    if hasattr(message, 'format'):
        return decode_compressed(message)
    if message.encoding not in _ENCODINGS:
        return _convert(message)
    depth, conversion = _ENCODINGS[message.encoding]
    pixels = _view(message, depth)
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion)


def _view(message: Any, depth: int) -> np.ndarray:
    """The message's bytes as (H, W, depth), whatever pads the rows."""
    shape = (message.height, message.width, depth)
    # By strides, not by reshape, for the last row need not be padded.
    strides = (message.step or message.width * depth, depth, 1)
    pixels = np.ndarray(shape, np.uint8, message.data, strides=strides)
    pixels.flags.writeable = False
    return pixels


def _check_size(found: tuple[int, int], image_size: tuple[int, int]) -> None:
    if found != tuple(image_size):
        raise ObservationError(
            f'{found[0]}x{found[1]} pixels, expected {image_size[0]}x{image_size[1]} '
            f'(the policy never resizes)'
        )


@cache
def _cv_bridge() -> Any | None:
    """The converter of further encodings, where ROS brings it."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    return CvBridge()


def _convert(message: Any) -> np.ndarray:
    try:
        bridge = _cv_bridge()
        dtype, channels = bridge.encoding_to_dtype_with_channels(message.encoding)
        row = message.width * channels * np.dtype(dtype).itemsize
        if message.step not in (0, row):
            # The one of PyPI does not look at it and would shear the picture.
            raise ValueError(f'rows of {row} bytes are padded to {message.step}')
        return bridge.imgmsg_to_cv2(message, 'rgb8')
    except Exception as error:  # of its own kinds, of OpenCV's, and of Python's
        reason = ' '.join(str(error).split())[:200] or type(error).__name__
        raise ObservationError(
            f'encoding {shorten(message.encoding)} cannot be converted ({reason}); expected one '
            f'of {", ".join(ENCODINGS)}'
        ) from None
