"""JPEG and PNG frames: their size without decoding, and their pixels."""

import struct
from typing import Any

import cv2
import numpy as np

from act_ros.errors import ObservationError, shorten

_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8'
_JPEG_END = b'\xff\xd9'
# Start-of-frame markers, which hold the size; C4, C8 and CC are something else.
_SIZES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length


def compressed_size(message: Any) -> tuple[int, int]:
    """Height and width of a JPEG or PNG [px], read from its header.

    What it is, its bytes say: drivers write all sorts of things into `format`.

    :param message: a sensor_msgs/CompressedImage.
    :raises ObservationError: it is neither, or ends too early.
    """
    data = memoryview(message.data)
    if bytes(data[:8]) == _PNG and bytes(data[12:16]) == b'IHDR' and len(data) >= 24:
        width, height = struct.unpack('>II', data[16:24])
        return height, width
    if bytes(data[:2]) == _JPEG:
        place = _start_of_frame(data)
        height, width = struct.unpack('>HH', data[place + 5 : place + 9])
        return height, width
    raise ObservationError(
        f'format {shorten(message.format)} is neither JPEG nor PNG: its {len(data)} bytes begin '
        f'with {bytes(data[:8]).hex() or "nothing"}; publish jpeg, png or a sensor_msgs/Image'
    )


def decode_compressed(message: Any) -> np.ndarray:
    """Decode a JPEG or PNG whose size has been checked.

    :param message: a sensor_msgs/CompressedImage.
    :returns: (H, W, 3) uint8 RGB.
    :raises ObservationError: the data is damaged.
    """
    data = bytes(message.data)
    # OpenCV 4.6 fills what is cut off with grey. Searched from the frame on, for a preview in
    # the header has an end too.
    if data.startswith(_JPEG) and data.rfind(_JPEG_END, _start_of_frame(data)) < 0:
        raise ObservationError(f'a JPEG cut off: no end marker in its {len(data)} bytes')
    # As it was taken: a camera's pixels are not turned by what a header says of its mounting.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        reason = 'damaged data'
    except cv2.error as error:
        pixels, reason = None, ' '.join(str(error).split())[:200]
    if pixels is None:
        raise ObservationError(
            f'format {shorten(message.format)} cannot be decoded from {len(data)} bytes: {reason}'
        )
    # Not a view backwards: copying that later takes 2 ms, this 50 us.
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _start_of_frame(data: bytes | memoryview) -> int:
    """Where the segment that holds a JPEG's size begins."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _SIZES:
            return place
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], 'big')
    raise ObservationError(f'a JPEG without a size in its {len(data)} bytes')
