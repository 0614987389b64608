"""Decoding, with cv_bridge as the oracle where it is right."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from act_ros.errors import ObservationError
from act_ros.observation import check_image, decode_image
from test.messages import image

SIZE = (7, 5)
RGB = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
LAYOUTS = {
    'rgb8': RGB,
    'bgr8': RGB[..., ::-1],
    'rgba8': np.dstack((RGB, np.full(SIZE, 9, np.uint8))),
    'bgra8': np.dstack((RGB[..., ::-1], np.full(SIZE, 9, np.uint8))),
}


@pytest.mark.parametrize('pad', [0, 1, 11])
@pytest.mark.parametrize('encoding', LAYOUTS)
def test_colours_come_out_as_rgb_whatever_the_layout_and_padding(encoding, pad):
    message = image(LAYOUTS[encoding], encoding, pad=pad)
    check_image(message, SIZE)
    np.testing.assert_array_equal(decode_image(message), RGB)


@pytest.mark.parametrize('pad', [0, 3])
def test_mono_is_grey_in_every_channel(pad):
    grey = RGB[..., 0]
    message = image(grey[..., None], 'mono8', pad=pad)
    check_image(message, SIZE)
    np.testing.assert_array_equal(decode_image(message), np.dstack([grey] * 3))


def test_rgb_is_a_view_of_the_message():
    message = image(RGB)
    assert np.shares_memory(decode_image(message), np.frombuffer(message.data, np.uint8))


def test_the_last_row_need_not_be_padded():
    message = image(RGB, pad=4)
    message.data = message.data[:-4]
    check_image(message, SIZE)
    np.testing.assert_array_equal(decode_image(message), RGB)


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
    return SimpleNamespace(format=f'bgr8; {kind[1:]} compressed bgr8', data=data.tobytes())


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


@pytest.mark.parametrize('data', [b'', b'GIF89a', b'\xff\xd8\xff\xe0', b'\x89PNG\r\n\x1a\n'])
def test_what_is_no_jpeg_or_png_is_refused(data):
    with pytest.raises(ObservationError, match=r'neither JPEG nor PNG|without a size'):
        check_image(SimpleNamespace(format='jpeg', data=data), (32, 48))


@given(cut=st.integers(0, 400), kind=st.sampled_from(['.jpeg', '.png']))
def test_a_frame_cut_at_any_byte_is_refused_or_decoded_to_its_size(cut, kind):
    message = compressed(kind, SMOOTH)
    message.data = message.data[:cut]
    try:
        check_image(message, (32, 48))
        assert decode_image(message).shape == (32, 48, 3)
    except ObservationError:
        pass


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
