"""Decoding, with cv_bridge as the oracle where it is right."""

import array
import struct
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.errors import ObservationError
from act_ros.observation import check_image, decode_image
from act_ros.observation.image import ENCODINGS, _cv_bridge
from test.messages import image

SIZE = (7, 5)
RGB = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
LAYOUTS = {
    'rgb8': RGB,
    'bgr8': RGB[..., ::-1],
    'rgba8': np.dstack((RGB, np.full(SIZE, 9, np.uint8))),
    'bgra8': np.dstack((RGB[..., ::-1], np.full(SIZE, 9, np.uint8))),
}
# As rclpy delivers data, as a test may, and as rosbags does.
CONTAINERS = {
    'array': lambda data: array.array('B', data),
    'bytes': bytes,
    'ndarray': lambda data: np.frombuffer(data, np.uint8),
}


@pytest.mark.parametrize('pad', [0, 1, 11])
@pytest.mark.parametrize('encoding', LAYOUTS)
def test_colours_come_out_as_rgb_whatever_the_layout_and_padding(encoding, pad):
    message = image(LAYOUTS[encoding], encoding, pad=pad)
    check_image(message, SIZE)
    np.testing.assert_array_equal(decode_image(message), RGB)


@settings(deadline=None)
@given(
    encoding=st.sampled_from([*LAYOUTS, 'mono8']),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    pad=st.integers(0, 20),
    last_row_padded=st.booleans(),
    container=st.sampled_from(sorted(CONTAINERS)),
    seed=st.integers(0, 1000),
)
def test_every_pixel_is_where_it_was(
    encoding, height, width, pad, last_row_padded, container, seed
):
    depth = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}[encoding]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, depth), np.uint8)
    message = image(pixels, encoding, pad=pad)
    if not last_row_padded:
        message.data = message.data[: len(message.data) - pad]
    message.data = CONTAINERS[container](message.data)
    check_image(message, (height, width))
    channels = [0, 0, 0] if depth == 1 else [2, 1, 0] if encoding[0] == 'b' else [0, 1, 2]
    np.testing.assert_array_equal(decode_image(message), pixels[..., channels])


def test_no_pixel_of_rgb8_is_copied_and_none_can_be_changed():
    message = image(LAYOUTS['rgb8'], 'rgb8', pad=2)
    message.data = array.array('B', message.data)
    pixels = decode_image(message)
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))
    assert not pixels.flags.writeable


@pytest.mark.parametrize('encoding', [*LAYOUTS, 'mono8'])
def test_agrees_with_cv_bridge(encoding):
    cv_bridge = pytest.importorskip('cv_bridge')
    messages = pytest.importorskip('sensor_msgs.msg')
    pixels = LAYOUTS.get(encoding, RGB[..., :1])
    message = messages.Image(
        height=SIZE[0], width=SIZE[1], encoding=encoding, step=pixels[0].size,
        data=pixels.tobytes(),
    )  # fmt: skip
    oracle = cv_bridge.CvBridge().imgmsg_to_cv2(message, 'rgb8')
    np.testing.assert_array_equal(decode_image(message), oracle)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'height': 6}, '6x5 pixels, expected 7x5'),
        ({'step': 14}, 'with step 14 do not hold 7 rows of 15 bytes'),
        ({'data': b'\0' * 104}, '104 bytes'),
        ({'data': b''}, '0 bytes'),
    ],
)
def test_a_frame_that_cannot_be_decoded_is_named(change, message):
    frame = image(RGB)
    vars(frame).update(change)
    with pytest.raises(ObservationError, match=message):
        check_image(frame, SIZE)


def test_nothing_beyond_the_message_is_read_even_unchecked():
    message = image(RGB)
    message.step = 4096
    with pytest.raises((TypeError, ValueError), match=r'buffer|strides'):
        decode_image(message)


@pytest.mark.parametrize('pad', [0, 3])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer(pattern, pad):
    """A flat colour, as each pixel of the mosaic sees it, is that colour again."""
    colour = {'r': 200, 'g': 120, 'b': 40}
    tile = np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (4, 5))[..., None]
    message = image(mosaic, f'bayer_{pattern}8', pad=pad)
    check_image(message, (8, 10))
    pixels = decode_image(message)
    assert pixels.shape == (8, 10, 3)
    np.testing.assert_array_equal(pixels[2:-2, 2:-2], np.full((4, 6, 3), [200, 120, 40]))


def compressed(kind, pixels, *arguments):
    done, data = cv2.imencode(kind, pixels, arguments)
    assert done
    # The format is as image_transport writes it.
    return SimpleNamespace(
        format=f'bgr8; {kind[1:]} compressed bgr8', data=array.array('B', data.tobytes())
    )


SMOOTH = cv2.resize(np.array([[[0, 80, 200], [250, 100, 10]]], np.uint8), (48, 32))


@pytest.mark.parametrize(
    ('kind', 'arguments', 'tolerance'),
    [
        ('.png', (), 0),
        ('.jpeg', (cv2.IMWRITE_JPEG_QUALITY, 95), 12),
        ('.jpeg', (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 12),
        ('.jpeg', (cv2.IMWRITE_JPEG_RST_INTERVAL, 2), 12),
    ],
)
def test_compressed_frames(kind, arguments, tolerance):
    message = compressed(kind, SMOOTH, *arguments)
    check_image(message, (32, 48))
    rgb = decode_image(message).astype(int)
    assert np.abs(rgb - SMOOTH[..., ::-1]).max() <= tolerance


def test_a_grey_jpeg_is_grey_in_every_channel():
    message = compressed('.jpeg', SMOOTH[..., 0])
    check_image(message, (32, 48))
    pixels = decode_image(message)
    assert pixels.shape == (32, 48, 3)
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def png(colour_type, depth, rows, **chunks):
    """A PNG of a kind that OpenCV reads but does not write."""

    def chunk(name, data):
        body = name.encode() + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    height, width = len(rows), len(rows[0]) * 8 // depth
    header = struct.pack('>IIBBBBB', width, height, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b''.join(b'\0' + bytes(row) for row in rows))
    parts = [('IHDR', header), *chunks.items(), ('IDAT', pixels), ('IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts)


def test_a_png_with_a_palette_transparent_or_not():
    data = png(3, 8, [[0, 1], [1, 0]], PLTE=bytes([10, 20, 30, 40, 50, 60]), tRNS=b'\0')
    message = SimpleNamespace(format='png', data=data)
    check_image(message, (2, 2))
    np.testing.assert_array_equal(decode_image(message)[0], [[10, 20, 30], [40, 50, 60]])


@pytest.mark.parametrize(
    'pixels',
    [
        SMOOTH.astype(np.uint16) * 257,
        np.dstack((SMOOTH, SMOOTH[..., 0])),
    ],
    ids=['16 bits', 'alpha'],
)
def test_a_png_that_holds_more_than_rgb(pixels):
    message = compressed('.png', pixels)
    check_image(message, (32, 48))
    np.testing.assert_array_equal(decode_image(message), SMOOTH[..., ::-1])


def exif(orientation, preview=b''):
    """An APP1 segment that says how the camera was held, and some preview picture."""
    entry = struct.pack('>HHIHH', 0x112, 3, 1, orientation, 0)
    tiff = b'MM\0*' + struct.pack('>IH', 8, 1) + entry + bytes(4)
    body = b'Exif\0\0' + tiff + preview
    return b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body


def test_a_frame_is_not_turned_by_its_exif():
    plain = compressed('.jpeg', SMOOTH)
    data = bytes(plain.data)
    message = SimpleNamespace(format='jpeg', data=data[:2] + exif(6) + data[2:])
    assert cv2.imdecode(np.frombuffer(message.data, np.uint8), 1).shape == (48, 32, 3)
    check_image(message, (32, 48))
    np.testing.assert_array_equal(decode_image(message), decode_image(plain))


def test_a_compressed_frame_of_another_size_is_refused_before_it_is_decoded():
    message = compressed('.png', SMOOTH)
    # The header of a bomb: 60,000 x 60,000 pixels that nobody will ever make room for.
    bomb = bytearray(message.data)
    bomb[16:24] = (60_000).to_bytes(4, 'big') * 2
    message.data = bytes(bomb)
    with pytest.raises(ObservationError, match='60000x60000 pixels, expected 32x48'):
        check_image(message, (32, 48))
    with pytest.raises(ObservationError, match='32x48 pixels, expected 480x640'):
        check_image(compressed('.jpeg', SMOOTH), (480, 640))


@pytest.mark.parametrize(
    ('kind', 'data', 'text'),
    [
        ('jpeg', b'', "format 'jpeg' is neither JPEG nor PNG: its 0 bytes begin with nothing"),
        ('gif', b'GIF89a', "format 'gif' is neither JPEG nor PNG: its 6 bytes begin with 4749"),
        ('16UC1; compressedDepth png', bytes(12) + b'\x89PNG\r\n\x1a\n' + bytes(40),
         "format '16UC1; compressedDepth png' is neither JPEG nor PNG"),
        ('png', b'\x89PNG\r\n\x1a\n', 'its 8 bytes begin with 89504e470d0a1a0a'),
        ('jpeg', b'\xff\xd8\xff\xe0', 'a JPEG without a size in its 4 bytes'),
    ],
)  # fmt: skip
def test_what_is_no_jpeg_or_png_is_refused(kind, data, text):
    with pytest.raises(ObservationError) as caught:
        check_image(SimpleNamespace(format=kind, data=data), (32, 48))
    assert text in str(caught.value)


WHOLE = {
    'png': compressed('.png', SMOOTH),
    'jpeg': compressed('.jpeg', SMOOTH),
    'progressive': compressed('.jpeg', SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
}


@settings(deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(sorted(WHOLE)))
def test_a_frame_cut_at_any_byte_is_refused(share, kind):
    whole = WHOLE[kind]
    message = SimpleNamespace(format=whole.format, data=whole.data[: int(share * len(whole.data))])
    with pytest.raises(ObservationError):
        check_image(message, (32, 48))
        decode_image(message)


def test_a_jpeg_cut_off_is_told_from_its_missing_end():
    data = bytes(WHOLE['jpeg'].data)
    # The end of a preview is not the end of the picture.
    data = data[:2] + exif(1, preview=b'\xff\xd8\xff\xd9') + data[2:]
    padded = SimpleNamespace(format='jpeg', data=data + bytes(100))
    np.testing.assert_array_equal(decode_image(padded), decode_image(WHOLE['jpeg']))
    cut = SimpleNamespace(format='jpeg', data=data[:-2])
    check_image(cut, (32, 48))
    with pytest.raises(ObservationError, match='a JPEG cut off: no end marker in its'):
        decode_image(cut)


@settings(deadline=None)
@given(share=st.floats(0.2, 0.9), flip=st.integers(1, 255))
def test_a_png_with_a_wrong_byte_is_refused(share, flip):
    data = bytearray(WHOLE['png'].data)
    data[int(share * len(data))] ^= flip
    with pytest.raises(ObservationError, match=r"format 'bgr8; png .*' cannot be decoded"):
        decode_image(SimpleNamespace(format=WHOLE['png'].format, data=bytes(data)))


def test_without_cv_bridge_what_is_supported_is_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)  # not importable
    _cv_bridge.cache_clear()
    try:
        with pytest.raises(ObservationError) as caught:
            check_image(image(RGB[..., :2], 'yuv422'), SIZE)
    finally:
        _cv_bridge.cache_clear()
    text = str(caught.value)
    assert "encoding 'yuv422' is not supported, and cv_bridge, which knows more, is not" in text
    assert text.endswith(f'expected one of {", ".join(ENCODINGS)}')


def test_what_cv_bridge_cannot_convert_is_named_and_padding_is_not_ignored():
    # The cv_bridge of PyPI converts to rgb8 nothing that is not decoded here already.
    pytest.importorskip('cv_bridge')
    deep = np.full((4, 6, 1), 51 * 257, np.uint16).view(np.uint8)
    message = image(deep, 'mono16', pad=4)
    message.width = 6
    check_image(message, (4, 6))
    with pytest.raises(ObservationError, match='12 bytes are padded to 16'):
        decode_image(message)
    unknown = image(np.full((4, 6, 2), 128, np.uint8), 'sepia')
    with pytest.raises(ObservationError, match="'sepia' cannot be converted"):
        decode_image(unknown)
