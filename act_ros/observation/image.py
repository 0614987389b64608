"""From an undecoded image message to RGB.

Messages are read by the fields of sensor_msgs/Image (height, width, encoding, step, data) or
CompressedImage (format, data), so those of rclpy and those read from a bag serve alike. All
encodings of 8 bits a channel that say which channel is which are decoded here. The rest is
refused: how 16 bits become 8 only the camera knows, and cv_bridge converts no more of it to RGB.
"""

import re
from typing import Any, NamedTuple

import cv2
import numpy as np

from act_ros.errors import ObservationError, shorten
from act_ros.observation.compressed import decode_compressed, inspect_compressed
from act_ros.observation.framing import Framing


class _Encoding(NamedTuple):
    """How an encoding lies in memory.

    :ivar depth: bytes a pixel.
    :ivar conversion: OpenCV's to RGB.
    :ivar across: neighbours in a row that share their colour.
    :ivar below: rows that share their colour, which stands below the brightness; 0 = none.
    """

    depth: int
    conversion: int | None
    across: int = 1
    below: int = 0


_UYVY = _Encoding(2, cv2.COLOR_YUV2RGB_UYVY, across=2)
_YUYV = _Encoding(2, cv2.COLOR_YUV2RGB_YUY2, across=2)
# OpenCV names a pattern by its second row's second and third pixel, ROS by the first two rows.
_ENCODINGS = {
    'rgb8': _Encoding(3, None),
    'bgr8': _Encoding(3, cv2.COLOR_BGR2RGB),
    'rgba8': _Encoding(4, cv2.COLOR_RGBA2RGB),
    'bgra8': _Encoding(4, cv2.COLOR_BGRA2RGB),
    'mono8': _Encoding(1, cv2.COLOR_GRAY2RGB),
    'bayer_rggb8': _Encoding(1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': _Encoding(1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': _Encoding(1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': _Encoding(1, cv2.COLOR_BayerGB2RGB),
    'uyvy': _UYVY,
    'yuv422': _UYVY,  # its older name
    'yuyv': _YUYV,
    'yuv422_yuy2': _YUYV,  # its older name
    'nv12': _Encoding(1, cv2.COLOR_YUV2RGB_NV12, across=2, below=2),
    'nv21': _Encoding(1, cv2.COLOR_YUV2RGB_NV21, across=2, below=2),
}
ENCODINGS = tuple(_ENCODINGS)
# OpenCV's types, which cv_bridge writes where it is told no encoding: no channel has a name.
_NAMELESS = {'8UC1': 'mono8', '8UC3': 'rgb8 or bgr8', '8UC4': 'rgba8 or bgra8'}
_DEEP = re.compile('.*16|(16|32|64)[USF]C?[0-9]*')


def check_image(message: Any, framing: Framing) -> bool:
    """Refuse a frame that cannot be decoded to the policy's size, without decoding it.

    :param message: a sensor_msgs/Image or CompressedImage.
    :param framing: what becomes of it.
    :returns: whether it has colours.
    :raises ObservationError: naming what was found and expected.
    """
    if hasattr(message, 'format'):
        size, colour = inspect_compressed(message)
        framing.check(size)
        return colour
    encoding = _encoding_of(message)
    framing.check((message.height, message.width))
    _check_layout(message, encoding)
    return message.encoding != 'mono8'


def decode_image(message: Any) -> np.ndarray:
    """Decode a frame that `check_image` accepts.

    :param message: a sensor_msgs/Image or CompressedImage.
    :returns: (H, W, 3) uint8 RGB; of rgb8 a view of the message's bytes.
    :raises ObservationError: a compressed frame is damaged.
    """
    if hasattr(message, 'format'):
        return decode_compressed(message)
    encoding = _encoding_of(message)
    pixels = _view(message, encoding)
    return pixels if encoding.conversion is None else cv2.cvtColor(pixels, encoding.conversion)


def _encoding_of(message: Any) -> _Encoding:
    name = message.encoding
    if name in _ENCODINGS:
        return _ENCODINGS[name]
    why = ''
    if name in _NAMELESS:
        why = f': it does not say which channel is which, publish {_NAMELESS[name]}'
    elif _DEEP.fullmatch(name):
        why = ': it has more than 8 bits a channel, as depth and raw pictures have'
    raise ObservationError(
        f'encoding {shorten(name)} is not supported{why}; expected one of {", ".join(ENCODINGS)}'
    )


def _rows(message: Any, encoding: _Encoding) -> int:
    """Rows of bytes, those of the colour included."""
    return message.height + (message.height // encoding.below if encoding.below else 0)


def _view(message: Any, encoding: _Encoding) -> np.ndarray:
    """The message's bytes as (rows, W, depth), whatever pads the rows."""
    shape = (_rows(message, encoding), message.width, encoding.depth)
    # By strides, not by reshape, for the last row need not be padded.
    strides = (message.step or message.width * encoding.depth, encoding.depth, 1)
    pixels = np.ndarray(shape, np.uint8, message.data, strides=strides)
    pixels.flags.writeable = False
    return pixels


def _check_layout(message: Any, encoding: _Encoding) -> None:
    if message.width % encoding.across or (encoding.below and message.height % encoding.below):
        raise ObservationError(
            f'{message.height}x{message.width} pixels, but {message.encoding} has one colour for '
            f'two pixels; publish rgb8, or an even size'
        )
    rows, row = _rows(message, encoding), message.width * encoding.depth
    step = message.step or row
    if step < row or len(message.data) < step * (rows - 1) + row:
        raise ObservationError(
            f'{len(message.data)} bytes with step {message.step} do not hold {rows} rows of '
            f'{row} bytes'
        )
