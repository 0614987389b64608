"""JPEG and PNG frames: what they are without decoding, and their pixels."""

import struct
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from act_ros.errors import ObservationError, shorten
from act_ros.observation import jpeg

PNG = b'\x89PNG\r\n\x1a\n'
_PNG_HEADER = struct.Struct('>8s4x4sIIBB')  # signature, IHDR: width, height, depth, colour type
_MOST_CHUNKS = 4096  # some hundreds are usual
_PNG_GREY = (0, 4)  # colour types, without and with alpha


def inspect_compressed(message: Any) -> tuple[tuple[int, int], bool]:
    """Height and width of a JPEG or PNG [px], and whether it has colours; from its header.

    What it is, its bytes say: drivers write all sorts of things into `format`. What is in it,
    nothing else may say.

    :param message: a sensor_msgs/CompressedImage.
    :raises ObservationError: it is neither, of a kind that is not decoded, or ends too early.
    """
    data = memoryview(message.data)
    if 'compressedDepth' in message.format:
        raise ObservationError(
            f'format {shorten(message.format)} is a depth picture; read the topic of a colour '
            f'camera'
        )
    if bytes(data[:2]) == jpeg.BEGIN:
        if not jpeg.AVAILABLE:
            raise ObservationError(
                'simplejpeg, which decodes JPEG frames, is not importable: pip install '
                'simplejpeg, or publish png or a sensor_msgs/Image'
            )
        header = jpeg.read_header(data)
        size, colour = header.size, len(header.components) > 1
    elif data[:8] == PNG and len(data) >= _PNG_HEADER.size and data[12:16].tobytes() == b'IHDR':
        _, _, width, height, depth, kind = _PNG_HEADER.unpack_from(data)
        if depth > 8:
            raise ObservationError(
                f'a PNG of {depth} bits a channel, as depth and raw pictures have; publish 8 bits'
            )
        size, colour = (height, width), kind not in _PNG_GREY
    else:
        raise ObservationError(
            f'format {shorten(message.format)} is neither JPEG nor PNG: its {len(data)} bytes '
            f'begin with {bytes(data[:8]).hex() or "nothing"}; publish jpeg, png or a '
            f'sensor_msgs/Image'
        )
    if not colour and message.format.startswith('bayer_'):
        raise ObservationError(
            f'format {shorten(message.format)} is a Bayer mosaic packed as a grey picture; '
            f'publish it in colour (image_proc), or the mosaic as a sensor_msgs/Image'
        )
    return size, colour


def decode_compressed(message: Any) -> np.ndarray:
    """Decode a JPEG or PNG that `inspect_compressed` accepts, of a size that is right.

    As it was taken: what a header says of the camera's mounting (EXIF) does not turn it. Alpha
    is left out.

    :param message: a sensor_msgs/CompressedImage.
    :returns: (H, W, 3) uint8 RGB.
    :raises ObservationError: the data is damaged.
    """
    data = bytes(message.data)
    if data.startswith(jpeg.BEGIN):
        return jpeg.decode_jpeg(data)
    data = _critical(data)
    # To look for an orientation would take 2 ms. libpng refuses missing rows and wrong checksums.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        reason = 'damaged data'
    except cv2.error as error:
        pixels, reason = None, ' '.join(str(error).split())[:200]
    if pixels is None:
        raise ObservationError(f'a PNG that cannot be decoded from {len(data)} bytes: {reason}')
    # Not a view backwards: copying that later takes 2 ms, this 50 us.
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _critical(data: bytes) -> bytes:
    """A PNG of nothing but the chunks that its pixels are made of.

    The rest, animation and orientation too, does not concern them. OpenCV would make room for
    whatever length a damaged chunk tells: 4 GB, and half a minute.

    :raises ObservationError: a chunk, or the last one, is not there as a whole.
    """
    chunks = (data[begin:end] for kind, begin, end in png_chunks(data) if kind[:1].isupper())
    return b''.join((PNG, *chunks))


def png_chunks(data: bytes | memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each chunk of a PNG, its length and checksum included.

    :raises ObservationError: a chunk, or the last one, is not there as a whole; or there are more
        than any picture has.
    """
    end, kind, count = len(PNG), b'', 0
    while kind != b'IEND':
        begin, count = end, count + 1
        if count > _MOST_CHUNKS:
            raise ObservationError(f'a PNG of more than {_MOST_CHUNKS} chunks')
        kind = bytes(data[begin + 4 : begin + 8])
        end = begin + 12 + int.from_bytes(data[begin : begin + 4], 'big')
        if end > len(data):
            raise ObservationError(f'a PNG cut off: no end in its {len(data)} bytes')
        yield kind, begin, end
