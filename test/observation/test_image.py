"""Decoding, with cv_bridge as the oracle where it is right."""

import numpy as np
import pytest

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
        ({'encoding': 'yuv422'}, "encoding 'yuv422' is not supported; expected rgb8"),
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
