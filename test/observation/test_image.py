"""Decoding of sensor_msgs/Image; cv_bridge is the oracle where it is right."""

import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.errors import ObservationError
from act_ros.observation import Framing, check_image, decode_image
from act_ros.observation.image import ENCODINGS
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
    check_image(message, Framing(SIZE))
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
    check_image(message, Framing((height, width)))
    channels = [0, 0, 0] if depth == 1 else [2, 1, 0] if encoding[0] == 'b' else [0, 1, 2]
    np.testing.assert_array_equal(decode_image(message), pixels[..., channels])


def test_no_pixel_of_rgb8_is_copied_and_none_can_be_changed():
    message = image(LAYOUTS['rgb8'], 'rgb8', pad=2)
    message.data = array.array('B', message.data)
    pixels = decode_image(message)
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))
    assert not pixels.flags.writeable


# That of PyPI knows no YUV, misspells the fourth Bayer pattern and does not look at `step`.
@pytest.mark.parametrize(
    'encoding', [*LAYOUTS, 'mono8', 'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8']
)
def test_agrees_with_cv_bridge(encoding):
    cv_bridge = pytest.importorskip('cv_bridge')
    messages = pytest.importorskip('sensor_msgs.msg')
    pixels = LAYOUTS.get(encoding, RGB[..., :1])[:6, :4]
    message = messages.Image(
        height=6, width=4, encoding=encoding, step=pixels[0].size, data=pixels.tobytes()
    )
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
        check_image(frame, Framing(SIZE))


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
    check_image(message, Framing((8, 10)))
    pixels = decode_image(message)
    assert pixels.shape == (8, 10, 3)
    np.testing.assert_array_equal(pixels[2:-2, 2:-2], np.full((4, 6, 3), [200, 120, 40]))


def bt601(y, u, v):
    """RGB of studio-range brightness and colour, as ITU-R BT.601 has it; not rounded."""
    y, u, v = 255 / 219 * (y - 16.0), 255 / 224 * (u - 128.0), 255 / 224 * (v - 128.0)
    rgb = (y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u)
    return np.clip(np.stack(rgb, axis=-1), 0, 255)


def yuv(encoding, height, width, seed):
    """A picture in one of the encodings that share colours, as rows of bytes; and its RGB."""
    random = np.random.default_rng(seed)
    y = random.integers(16, 236, (height, width), np.uint8)
    below = 2 if encoding.startswith('nv') else 1
    u, v = random.integers(64, 193, (2, height // below, width // 2), np.uint8)
    full = [np.repeat(np.repeat(c, below, axis=0), 2, axis=1).astype(float) for c in (u, v)]
    if encoding.startswith('nv'):
        pair = (u, v) if encoding == 'nv12' else (v, u)
        rows = np.vstack((y, np.stack(pair, axis=-1).reshape(height // 2, width)))
    else:
        first, second = y[:, ::2], y[:, 1::2]
        four = (
            (u, first, v, second) if encoding in ('uyvy', 'yuv422') else (first, u, second, v)
        )
        rows = np.stack(four, axis=-1).reshape(height, 2 * width)
    return rows, bt601(y.astype(float), *full)


SHARED = ['uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2', 'nv12', 'nv21']


@settings(deadline=None)
@given(
    encoding=st.sampled_from(SHARED),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    pad=st.integers(0, 9),
    last_row_padded=st.booleans(),
    container=st.sampled_from(sorted(CONTAINERS)),
    seed=st.integers(0, 1000),
)
def test_yuv_of_any_padding_is_what_the_standard_says(
    encoding, height, width, pad, last_row_padded, container, seed
):
    rows, rgb = yuv(encoding, 2 * height, 2 * width, seed)
    message = image(rows[..., None], encoding, pad=pad)
    message.height, message.width = 2 * height, 2 * width
    if not last_row_padded:
        message.data = message.data[: len(message.data) - pad]
    message.data = CONTAINERS[container](message.data)
    assert check_image(message, Framing((2 * height, 2 * width)))
    pixels = decode_image(message)
    assert pixels.shape == (2 * height, 2 * width, 3)
    assert np.abs(pixels - rgb).max() <= 2


@pytest.mark.parametrize(
    ('encoding', 'size'),
    [('uyvy', (4, 5)), ('yuv422_yuy2', (4, 5)), ('nv12', (4, 5)), ('nv21', (5, 4))],
)
def test_half_a_colour_is_refused(encoding, size):
    message = image(np.zeros((*size, 4), np.uint8), encoding)
    with pytest.raises(ObservationError, match=f'{encoding} has one colour for two pixels'):
        check_image(message, Framing(size))


def test_colours_below_the_brightness_must_be_there():
    rows, _ = yuv('nv12', 4, 6, 0)
    message = image(rows[..., None], 'nv12')
    message.height, message.data = 4, message.data[:-1]
    with pytest.raises(ObservationError, match='35 bytes with step 6 do not hold 6 rows of 6 by'):
        check_image(message, Framing((4, 6)))


# Every further encoding of sensor_msgs/image_encodings.hpp, and what is no encoding at all.
REFUSED = {
    **{
        f'{depth}{kind}C{channels}': 'more than 8 bits a channel'
        for depth, kinds in {16: 'US', 32: 'SF', 64: 'F'}.items()
        for kind in kinds
        for channels in (1, 2, 3, 4)
    },
    **dict.fromkeys(
        ['mono16', 'rgb16', 'bgr16', 'rgba16', 'bgra16', 'bayer_rggb16', 'bayer_bggr16',
         'bayer_gbrg16', 'bayer_grbg16'], 'more than 8 bits a channel'),
    '8UC1': 'does not say which channel is which, publish mono8',
    '8UC3': 'does not say which channel is which, publish rgb8 or bgr8',
    '8UC4': 'does not say which channel is which, publish rgba8 or bgra8',
    **dict.fromkeys(['8UC2', '8SC1', '8SC3', 'nv24', 'RGB8', 'sepia', '', 'x' * 500], 'not supp'),
}  # fmt: skip


@pytest.mark.parametrize('encoding', REFUSED)
def test_what_nobody_decodes_is_refused_with_what_is_decoded(encoding):
    # Enough bytes for any of them.
    message = image(np.zeros((*SIZE, 32), np.uint8), encoding)
    for refuse in (lambda: check_image(message, Framing(SIZE)), lambda: decode_image(message)):
        with pytest.raises(ObservationError, match=REFUSED[encoding]) as caught:
            refuse()
        text = str(caught.value)
        assert text.endswith(f'expected one of {", ".join(ENCODINGS)}')
        assert text.startswith(f'encoding {encoding!r}'[:60])
        assert len(text) < 400
        assert '\n' not in text


def test_all_that_sensor_msgs_defines_is_decoded_or_refused_here():
    assert not set(REFUSED) & set(ENCODINGS)
    assert set(ENCODINGS) == {
        'rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', *SHARED,
        'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8',
    }  # fmt: skip


def test_whether_a_frame_has_colours_is_told():
    assert check_image(image(RGB), Framing(SIZE))
    assert not check_image(image(RGB[..., :1], 'mono8'), Framing(SIZE))


def test_a_layout_that_drivers_get_wrong_is_read_where_it_is_clear():
    message = image(RGB)
    message.step, message.is_bigendian = 0, 1  # rows without padding; bytes have no order
    message.data += bytes(50)
    check_image(message, Framing(SIZE))
    np.testing.assert_array_equal(decode_image(message), RGB)
    message.step = 2**32 - 1
    with pytest.raises(ObservationError, match='155 bytes with step 4294967295'):
        check_image(message, Framing(SIZE))
