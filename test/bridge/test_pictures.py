"""Images as JPEG and PNG bytes: decoded to what the node would see, and bombs cost nothing."""

import struct
import time
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from act_ros.bridge.pictures import decode_images
from act_ros.errors import ObservationError

SIZE = (96, 128)
TASK = SimpleNamespace(image_sizes={'left': SIZE, 'right': SIZE})
PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), SIZE[::-1])


def encoded(kind, pixels=PICTURE, *options):
    """RGB pixels as a file."""
    done, data = cv2.imencode(kind, pixels[..., ::-1], options)
    assert done
    return data.tobytes()


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def png(idat, size=SIZE, depth=8, colour=2):
    head = struct.pack('>IIBBBBB', size[1], size[0], depth, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + idat + chunk(b'IEND', b'')


def pixels(shape=(SIZE[0], 1 + 3 * SIZE[1])):
    return zlib.compress(bytes(shape[0] * shape[1]))


@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview])
def test_pictures_are_decoded_beside_arrays(kind):
    images = {'left': kind(encoded('.png')), 'right': PICTURE}
    got = decode_images(images, TASK)
    assert got['right'] is PICTURE
    np.testing.assert_array_equal(got['left'], PICTURE)
    jpeg = decode_images({'left': kind(encoded('.jpg'))}, TASK)['left']
    assert jpeg.shape == PICTURE.shape and jpeg.dtype == np.uint8
    assert np.abs(jpeg.astype(int) - PICTURE).max() < 30
    assert isinstance(images['left'], kind)  # the request stays as it was


def test_grey_and_alpha_become_rgb():
    grey = decode_images({'left': encoded('.png', PICTURE[..., :1])}, TASK)['left']
    np.testing.assert_array_equal(grey, np.repeat(PICTURE[..., :1], 3, 2))
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 4), np.uint8)
    done, alpha = cv2.imencode('.png', noise)
    assert done and len(alpha) > PICTURE.nbytes  # the longest an honest picture can be
    got = decode_images({'left': alpha.tobytes()}, TASK)['left']
    np.testing.assert_array_equal(got, noise[..., 2::-1])


def test_what_is_no_picture_of_a_camera_is_left_to_the_policy():
    assert decode_images(None, TASK) is None
    assert decode_images([b'a'], TASK) == [b'a']
    images = {'left': PICTURE, 'unknown': b'not looked at'}
    assert decode_images(images, TASK) == images


HOSTILE = {
    'empty': (lambda: b'', "camera 'left': neither JPEG nor PNG: its 0 bytes begin with nothing"),
    'gif': (lambda: b'GIF89a' + bytes(9), 'neither JPEG nor PNG: its 15 bytes begin with 474946'),
    'long': (lambda: encoded('.png') + bytes(10**6), '10.....? bytes of JPEG or PNG for 96x128'),
    'png of another size': (lambda: png(b'', (97, 128)), '97x128 pixels, expected 96x128'),
    'vast png': (lambda: png(b'', (2**31 - 1, 2**31 - 1)), '2147483647x2147483647 pixels'),
    'deep png': (lambda: png(b'', depth=16), 'a PNG of 16 bits'),
    'jpeg of another size': (
        lambda: encoded('.jpg', np.zeros((128, 96, 3), np.uint8)), '128x96 pixels, expected'),
    'vast jpeg': (
        lambda: b'\xff\xd8\xff\xc0\0\x11\x08\xff\xdc\xff\xdc\x03\1\x22\0\2\x11\0\3\x11\0\xff\xd9',
        '65500x65500 pixels'),
    'cut jpeg': (lambda: encoded('.jpg')[:500], 'a JPEG cut off'),
    'cut png': (lambda: encoded('.png')[:200], 'a PNG cut off'),
    'png with too much': (
        lambda: png(chunk(b'IDAT', zlib.compress(bytes(100 << 20)))), 'are more than its pixels'),
    'png with too much, in parts': (
        lambda: png(b''.join(chunk(b'IDAT', part) for part in in_parts(100))),
        'are more than its pixels'),
    'png with damaged data': (lambda: png(chunk(b'IDAT', b'no zlib')), 'a PNG with damaged data'),
    'png with too little': (lambda: png(chunk(b'IDAT', pixels((5, 9)))), 'cannot be decoded'),
}  # fmt: skip


def in_parts(megabytes):
    """Zeros, deflated, in pieces of a kilobyte."""
    deflater = zlib.compressobj()
    for _ in range(megabytes):
        yield deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    yield deflater.flush()


@pytest.mark.parametrize(('make', 'what'), HOSTILE.values(), ids=HOSTILE)
def test_bombs_and_damaged_pictures_are_refused_at_no_cost(make, what):
    data = make()
    started = time.process_time()
    with pytest.raises(ObservationError, match=what) as caught:
        decode_images({'left': data}, TASK)
    assert time.process_time() - started < 0.1
    assert "camera 'left': " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
