"""Images that come as JPEG or PNG bytes, from a client that may be anybody."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from act_ros.errors import ObservationError
from act_ros.observation import Framing, check_image, decode_image
from act_ros.observation.compressed import PNG, png_chunks
from act_ros.observation.jpeg import BEGIN
from act_ros.task import Task

_SPARE = 1 << 16  # bytes of a picture that are no pixels


@dataclass(frozen=True)
class _Frame:
    """As a sensor_msgs/CompressedImage."""

    data: bytes | memoryview
    format: str = ''


def decode_images(images: Any, task: Task) -> Any:
    """The images of a request, with those decoded that are JPEG or PNG.

    A picture of another size than the policy's is refused before it is decoded, and so is one
    whose data would make more than its pixels: none costs more than an honest one.

    :param images: camera name to array or bytes; whatever else it is the policy will refuse.
    :returns: arrays (H, W, 3) uint8 RGB in the place of bytes.
    :raises ObservationError: naming the camera, what was found and what was expected.
    """
    if not isinstance(images, Mapping):
        return images
    decoded = dict(images)
    for name, size in task.image_sizes.items():
        image = images.get(name)
        if isinstance(image, bytes | bytearray | memoryview):
            try:
                decoded[name] = _decode(memoryview(image), size)
            except ObservationError as error:
                raise ObservationError(f'camera {name!r}: {error}') from None
    return decoded


def _decode(data: memoryview, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    raw = height * width * 4
    if len(data) > raw + _SPARE:
        raise ObservationError(
            f'{len(data)} bytes of JPEG or PNG for {height}x{width} pixels, expected less than '
            f'the pixels take'
        )
    if data[:2] != BEGIN and data[:8] != PNG:
        raise ObservationError(
            f'neither JPEG nor PNG: its {len(data)} bytes begin with '
            f'{data[:8].hex() or "nothing"}'
        )
    frame = _Frame(data)
    check_image(frame, Framing(size))
    if data[:8] == PNG:
        _check_inflated(data, raw + _SPARE)
    return decode_image(frame)


def _check_inflated(data: memoryview, most: int) -> None:
    """Refuse a PNG whose data inflate to more than pixels: libpng would go through all of it."""
    inflater, left = zlib.decompressobj(), most
    for kind, begin, end in png_chunks(data):
        if kind != b'IDAT':
            continue
        try:
            left -= len(inflater.decompress(data[begin + 8 : end - 4], left))
        except zlib.error as error:
            raise ObservationError(f'a PNG with damaged data: {error}') from None
        if left <= 0 or inflater.unconsumed_tail:
            raise ObservationError('a PNG whose data are more than its pixels')
