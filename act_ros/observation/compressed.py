"""JPEG and PNG frames: their size without decoding, and their pixels."""

import struct

import cv2
import numpy as np

from act_ros.errors import ObservationError

_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8'
# Start-of-frame markers, which hold the size; C4, C8 and CC are something else.
_SIZES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length


def compressed_size(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG or PNG, read from its header.

    :param data: the file's bytes.
    :raises ObservationError: it is neither, or ends too early.
    """
    data = memoryview(data).cast('B')
    if bytes(data[:8]) == _PNG and len(data) >= 24:
        width, height = struct.unpack('>II', data[16:24])
        return height, width
    if bytes(data[:2]) == _JPEG:
        return _jpeg_size(data)
    raise ObservationError(
        f'neither JPEG nor PNG: the {len(data)} bytes begin with {bytes(data[:4]).hex()}'
    )


def _jpeg_size(data: memoryview) -> tuple[int, int]:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _SIZES and place + 9 <= len(data):
            height, width = struct.unpack('>HH', data[place + 5 : place + 9])
            return height, width
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], 'big')
    raise ObservationError(f'a JPEG without a size in its {len(data)} bytes')


def decode_compressed(data: bytes) -> np.ndarray:
    """Decode a JPEG or PNG whose size has been checked.

    :returns: (H, W, 3) uint8 RGB.
    :raises ObservationError: the data is damaged.
    """
    # As it was taken: a camera's pixels are not turned by what a header says of its mounting.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ObservationError(f'cannot be decoded: {" ".join(str(error).split())}') from None
    if pixels is None:
        raise ObservationError(f'cannot be decoded: {len(data)} bytes of damaged JPEG or PNG')
    return pixels[..., ::-1]
