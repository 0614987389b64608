"""JPEG and PNG frames as drivers send them: whole, dressed up, cut, and of other kinds."""

import array
import re
import struct
import time
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.errors import ObservationError
from act_ros.observation import Framing, check_image, decode_image, jpeg

SIZE = (96, 128)
# Noise on slopes: every block has coefficients of all frequencies, and a different brightness.
PICTURE = np.clip(
    cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), SIZE[::-1])
    + np.random.default_rng(1).normal(0, 6, (*SIZE, 3)),
    0, 255,
).astype(np.uint8)  # fmt: skip
INTERVAL = 3
OPTIONS = {
    'baseline': (),
    'progressive': (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'intervals': (cv2.IMWRITE_JPEG_RST_INTERVAL, INTERVAL),
    'rows': (cv2.IMWRITE_JPEG_RST_INTERVAL, SIZE[1] // 16),
    'optimised': (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
}


def encoded(kind, pixels=PICTURE, *options):
    done, data = cv2.imencode(kind, pixels, options)
    assert done
    return data.tobytes()


JPEGS = {name: encoded('.jpeg', PICTURE, *options) for name, options in OPTIONS.items()}
JPEGS |= {
    f'sampled {how}': simplejpeg.encode_jpeg(PICTURE, colorspace='BGR', colorsubsampling=how)
    for how in ('444', '422', '440', '420', '411')
}
JPEGS['grey'] = encoded('.jpeg', PICTURE[..., 0])
JPEGS['grey intervals'] = encoded('.jpeg', PICTURE[..., 0], *OPTIONS['intervals'])
BASELINE, PROGRESSIVE, INTERVALS = (
    JPEGS[name] for name in ('baseline', 'progressive', 'intervals')
)


def frame(data, format='bgr8; jpeg compressed bgr8'):  # as image_transport writes it
    return SimpleNamespace(format=format, data=array.array('B', data))


def decode(data, size=SIZE):
    """As the node does it: the check, then the pixels."""
    message = frame(data)
    check_image(message, Framing(size))
    return decode_image(message)


def as_opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def segments(data, marker):
    """Where the segments of a marker begin; of one whose thumbnails do not matter."""
    return [found.start() for found in re.finditer(b'\xff' + bytes([marker]), data)]


def scan_of(data):
    """Where the data of the first scan begins."""
    place = segments(data, 0xDA)[0]
    return place + 2 + int.from_bytes(data[place + 2 : place + 4], 'big')


def without(data, *markers):
    """A JPEG without the header's segments of these markers."""
    kept, place = data[:2], 2
    while data[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], 'big')
        kept += b'' if data[place + 1] in markers else data[place:end]
        place = end
    return kept + data[place:]


def restarts(data):
    """Where restart markers stand."""
    begin = scan_of(data)
    return [begin + found.start() for found in re.finditer(rb'\xff[\xd0-\xd7]', data[begin:])]


def inserted(data, place, what):
    return data[:place] + what + data[place:]


@pytest.mark.parametrize('name', JPEGS)
def test_pixels_of_a_jpeg_are_those_of_opencv(name):
    pixels = decode(JPEGS[name])
    assert pixels.shape == (*SIZE, 3)
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, as_opencv(JPEGS[name]))


@pytest.mark.parametrize('kind', ['.jpeg', '.png'])
def test_it_does_not_matter_what_holds_the_bytes(kind):
    data = encoded(kind)
    for holder in (data, bytearray(data), np.frombuffer(data, np.uint8)):  # as rosbags has them
        message = SimpleNamespace(format='', data=holder)
        assert check_image(message, Framing(SIZE))
        np.testing.assert_array_equal(decode_image(message), as_opencv(data))


def test_colours_are_in_the_order_of_rgb():
    pixels = decode(encoded('.jpeg', PICTURE, cv2.IMWRITE_JPEG_QUALITY, 98))
    assert np.abs(pixels.astype(int) - PICTURE[..., ::-1]).mean() < 5


def test_whether_a_compressed_frame_has_colours_is_told():
    for kind in ('.jpeg', '.png'):
        assert check_image(frame(encoded(kind)), Framing(SIZE))
        assert not check_image(frame(encoded(kind, PICTURE[..., 0])), Framing(SIZE))


# --- what was lost ---------------------------------------------------------------------------


@settings(deadline=None)
@given(
    share=st.floats(0, 1, exclude_max=True),
    name=st.sampled_from(sorted(JPEGS)),
    ended=st.booleans(),
    padded=st.booleans(),
)
def test_a_jpeg_cut_at_any_byte_is_refused_though_its_end_marker_is_there(
    share, name, ended, padded
):
    data = JPEGS[name]
    cut = data[: int(share * (len(data) - 2))]
    with pytest.raises(ObservationError):
        decode(cut + (jpeg.END if ended else b'') + bytes(100 if padded else 0))


@pytest.mark.parametrize('filled', [False, True], ids=['gap', 'zeros'])
@pytest.mark.parametrize('name', sorted(set(JPEGS) - {'grey'}))
def test_a_jpeg_that_lost_its_middle_is_refused(name, filled):
    """As a lost packet leaves it; of a few bytes less the format itself shows nothing."""
    data, count = JPEGS[name], 1200
    begin = scan_of(data)
    for place in range(begin, len(data) - 2 - count, 200):
        filling = bytes(count) if filled else b''
        with pytest.raises(ObservationError):
            decode(data[:place] + filling + data[place + count :])


@pytest.mark.parametrize('kept', range(1, 10))
def test_a_progressive_jpeg_without_its_last_scans_is_refused(kept):
    scans = segments(PROGRESSIVE, 0xDA)
    assert len(scans) == 10
    cut = scans[kept]
    # Its Huffman table stands before the scan.
    tables = [place for place in segments(PROGRESSIVE, 0xC4) if place < cut]
    if tables[-1] > scans[kept - 1]:
        cut = tables[-1]
    with pytest.raises(ObservationError, match=f'a JPEG that has lost a scan: it has {kept}$'):
        decode(PROGRESSIVE[:cut] + jpeg.END)


@pytest.mark.parametrize('count', [1, 7, 8, 9])
@pytest.mark.parametrize('first', [0, 3])
def test_lost_restart_intervals_are_found(first, count):
    places = restarts(INTERVALS)
    assert len(places) == 48 // INTERVAL - 1
    if first + count < len(places):
        data = INTERVALS[: places[first]] + INTERVALS[places[first + count] :]
        with pytest.raises(ObservationError, match='a JPEG that has lost part of its data'):
            decode(data)
        # A stray byte at the end, of which the decoder speaks last, does not hide it.
        with pytest.raises(ObservationError, match='a JPEG that has lost part of its data'):
            decode(inserted(data, len(data) - 2, b'\1' * 12))


def test_strays_do_not_hide_what_was_lost_before():
    place = restarts(INTERVALS)[4]
    lost = INTERVALS[: place - 30] + INTERVALS[place:]
    for strays in (b'', b'strays', bytes(50)):
        data = inserted(lost, len(lost) - 2, strays)
        with pytest.raises(ObservationError, match='a JPEG that has lost part of its data'):
            decode(data)


def test_more_data_than_the_picture_needs_is_no_driver_s_stray():
    last = restarts(INTERVALS)[-1]
    doubled = INTERVALS[:-2] + INTERVALS[last + 2 : -2] + jpeg.END
    with pytest.raises(ObservationError, match='extraneous bytes before marker 0xd9'):
        decode(doubled)


def test_most_damage_shows():
    """Of changed bytes the format itself shows only some."""
    whole, random = decode(BASELINE), np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        data = bytearray(BASELINE)
        place = random.integers(scan_of(BASELINE), len(data) - 2)
        data[place : place + 40] = random.integers(0, 255, 40, np.uint8).tobytes()
        try:
            assert decode(bytes(data)).shape == whole.shape
        except ObservationError:
            refused += 1
    assert refused > 100


def test_of_a_jpeg_that_begins_anew_the_first_part_is_not_made_up():
    half = BASELINE[: len(BASELINE) // 2]
    with pytest.raises(ObservationError, match='a JPEG cut off: no end marker'):
        decode(half + BASELINE)


# --- what drivers add ------------------------------------------------------------------------


def exif(orientation, preview=b''):
    """An APP1 segment that says how the camera was held, and some preview picture."""
    entry = struct.pack('>HHIHH', 0x112, 3, 1, orientation, 0)
    tiff = b'MM\0*' + struct.pack('>IH', 8, 1) + entry + bytes(4)
    body = b'Exif\0\0' + tiff + preview
    return b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body


PREVIEW = encoded('.jpeg', PICTURE[:16, :16])
DRESSED = {
    'padding after the end': BASELINE + bytes(4096),
    'stray bytes after the end': BASELINE + b'\xff\xd9\xff\xd8 and more',
    'a second picture': BASELINE + BASELINE,
    'a stray byte before the end': BASELINE[:-2] + b'\1' + jpeg.END,
    'ten stray bytes before the end': BASELINE[:-2] + b'0123456789' + jpeg.END,
    'zeros before the end': BASELINE[:-2] + bytes(3000) + jpeg.END,
    'fill before the end': BASELINE[:-2] + b'\xff' * 9 + jpeg.END,
    'strays and fill before the end': BASELINE[:-2] + b'abcdefghijk\xff\xff\xff' + jpeg.END,
    'a restart marker before the end': BASELINE[:-2] + b'\xff\xd0' + jpeg.END,
    'fill before every segment': BASELINE[:2] + b'\xff\xff\xff' + BASELINE[2:],
    'strays in the header': inserted(BASELINE, segments(BASELINE, 0xDB)[0], b'strays' * 100),
    'a preview with an end of its own': inserted(BASELINE, 2, exif(1, PREVIEW)),
    'a comment with markers in it': inserted(BASELINE, 2, b'\xff\xfe\0\6\xff\xd9\xff\xda'),
    'held on its side': inserted(BASELINE, 2, exif(6)),
    'no JFIF': without(BASELINE, 0xE0),
    'a JFIF of the future': BASELINE.replace(b'JFIF\0\1', b'JFIF\0\7', 1),
    'Motion JPEG without Huffman tables': without(BASELINE, 0xC4),
    'AVI1': inserted(without(BASELINE, 0xC4, 0xE0), 2, b'\xff\xe0\0\x10AVI1\0' + bytes(9)),
    'Adobe without a transform': inserted(
        without(BASELINE, 0xE0), 2, b'\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\7'
    ),
    'a scan that says it ends where it begins': BASELINE[: scan_of(BASELINE) - 3]
    + b'\0\0\0' + BASELINE[scan_of(BASELINE) :],
}  # fmt: skip


@pytest.mark.parametrize('name', DRESSED)
def test_what_surrounds_a_picture_does_no_harm(name):
    np.testing.assert_array_equal(decode(DRESSED[name]), as_opencv(BASELINE))


ODD = encoded('.jpeg', PICTURE[:83, :117], cv2.IMWRITE_JPEG_RST_INTERVAL, 5)
WITH_RESTARTS = {
    **{name: (JPEGS[name], SIZE) for name in ('intervals', 'rows', 'grey intervals')},
    'blocks that are not whole': (ODD, (83, 117)),
}


@pytest.mark.parametrize('name', WITH_RESTARTS)
def test_what_webcams_write_before_restart_markers_does_no_harm(name):
    whole, size = WITH_RESTARTS[name]
    data = whole
    for place in restarts(whole)[::-2]:
        data = inserted(data, place, b'\x12' * 9)
    data = data[:-2] + b'\x12' * 9 + jpeg.END
    np.testing.assert_array_equal(decode(data, size), as_opencv(whole))


def test_strays_behind_a_progressive_picture_do_no_harm():
    data = PROGRESSIVE[:-2] + b'0123456789' + jpeg.END + bytes(100)
    np.testing.assert_array_equal(decode(data), as_opencv(PROGRESSIVE))


def test_scans_of_one_channel_each_are_decoded_and_missed():
    """Built of three grey pictures: a sequential JPEG whose channels are not interleaved."""
    greys = [encoded('.jpeg', PICTURE[..., i]) for i in range(3)]
    place = segments(greys[0], 0xC0)[0]
    components = b''.join(bytes([name, 0x11, 0]) for name in b'RGB')
    start = greys[0][place : place + 9] + bytes([3]) + components
    start = start[:2] + struct.pack('>H', len(start) - 2) + start[4:]
    scans = [
        b'\xff\xda\0\x08\1' + bytes([name]) + b'\0\0\x3f\0' + grey[scan_of(grey) : -2]
        for name, grey in zip(b'RGB', greys, strict=True)
    ]
    tables = b''.join(
        greys[0][i : i + 2 + int.from_bytes(greys[0][i + 2 : i + 4], 'big')]
        for marker in (0xDB, 0xC4)
        for i in segments(greys[0][: scan_of(greys[0])], marker)
    )
    whole = jpeg.BEGIN + tables + start + b''.join(scans) + jpeg.END
    pixels = decode(whole)
    for i in range(3):
        np.testing.assert_array_equal(pixels[..., i], as_opencv(greys[i])[..., 0])
    with pytest.raises(ObservationError, match='a JPEG that has lost a scan: it has 2'):
        decode(jpeg.BEGIN + tables + start + b''.join(scans[:2]) + jpeg.END)


# --- of other kinds --------------------------------------------------------------------------


def patched(data, offset, *values):
    """With other bytes in its start of frame."""
    place = segments(data, 0xC0)[0] + offset
    return data[:place] + bytes(values) + data[place + len(values) :]


@pytest.mark.parametrize(
    ('data', 'what'),
    [
        (patched(BASELINE, 1, 0xC3), 'lossless'),
        (patched(BASELINE, 1, 0xC5), 'hierarchical'),
        (patched(BASELINE, 1, 0xC9), 'arithmetic-coded'),
        (patched(BASELINE, 1, 0xCA), 'arithmetic-coded'),
        (patched(BASELINE, 1, 0xF7), 'JPEG-LS'),
        (patched(BASELINE, 1, 0xC1, 0, 17, 12), '12-bit'),
        (patched(BASELINE, 1, 0xC0, 0, 20, 8, 0, 96, 0, 128, 4), 'CMYK'),
        (patched(BASELINE, 1, 0xC0, 0, 14, 8, 0, 96, 0, 128, 2), '2-channel'),
    ],
)
def test_a_jpeg_of_another_kind_is_refused_by_name_before_it_is_decoded(data, what):
    with pytest.raises(ObservationError, match=rf'a JPEG of another kind \({what}\); publish'):
        check_image(frame(data), Framing(SIZE))


def test_a_real_cmyk_jpeg_is_refused(tmp_path):
    pillow = pytest.importorskip('PIL.Image')
    path = tmp_path / 'cmyk.jpg'
    pillow.fromarray(PICTURE).convert('CMYK').save(path)
    with pytest.raises(ObservationError, match=r'of another kind \(CMYK\)'):
        check_image(frame(path.read_bytes()), Framing(SIZE))


def test_unusual_sampling_is_refused_by_name():
    with pytest.raises(ObservationError, match='samples its colours in an unusual way; publish'):
        decode(patched(BASELINE, 11, 0x31))


LAST_SCAN = PROGRESSIVE[segments(PROGRESSIVE, 0xDA)[-1] : -2][:10]
TABLE = JPEGS['intervals'][slice(*segments(JPEGS['intervals'], 0xC4)[:2])]
BUSY = {
    # Each of them makes the decoder go through the whole picture.
    'scans': (lambda: inserted(PROGRESSIVE, -2, LAST_SCAN * 2_000), 'of 2010 scans, expected 100'),
    'more scans': (lambda: inserted(PROGRESSIVE, -2, LAST_SCAN * 50_000), 'more than 4096 seg'),
    'segments': (lambda: inserted(BASELINE, 2, b'\xff\xe1\0\2' * 100_000), 'more than 4096 seg'),
    'markers': (lambda: inserted(BASELINE, 2, b'\xff\xd0' * 100_000), 'more than 4096 segments'),
    # Each part between restart markers is decoded with them.
    'tables': (lambda: inserted(JPEGS['intervals'], 2, TABLE * 3_000), 'bytes of tables'),
    'chunks': (
        lambda: inserted(encoded('.png'), 33, chunk('IDAT', b'') * 100_000), 'more than 4096 chunk'
    ),
}  # fmt: skip


@pytest.mark.parametrize(('make', 'what'), BUSY.values(), ids=BUSY)
def test_a_small_file_cannot_keep_the_decoder_busy(make, what):
    data = make()
    started = time.process_time()
    with pytest.raises(ObservationError, match=what):
        decode(data)
    # The scans would take a minute.
    assert time.process_time() - started < 0.5


def test_without_simplejpeg_jpeg_frames_are_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(jpeg, 'AVAILABLE', False)
    with pytest.raises(ObservationError, match='pip install simplejpeg'):
        check_image(frame(BASELINE), Framing(SIZE))
    assert check_image(frame(encoded('.png')), Framing(SIZE))


@pytest.mark.parametrize(
    ('kind', 'data', 'text'),
    [
        ('jpeg', b'', "format 'jpeg' is neither JPEG nor PNG: its 0 bytes begin with nothing"),
        ('gif', b'GIF89a', "format 'gif' is neither JPEG nor PNG: its 6 bytes begin with 4749"),
        ('h264', b'\0\0\0\1\x67', "format 'h264' is neither JPEG nor PNG: its 5 bytes begin"),
        ('png', b'\x89PNG\r\n\x1a\n', 'its 8 bytes begin with 89504e470d0a1a0a'),
        ('jpeg', b'\xff\xd8', 'a JPEG without a size in its 2 bytes'),
        ('jpeg', b'\xff\xd8\xff\xe0', 'a JPEG without a size in its 4 bytes'),
        ('jpeg', b'\xff\xd8\xff\xd9', 'a JPEG without a size in its 4 bytes'),
        ('jpeg', b'\xff\xd8\xff\xc0\0\2', 'a JPEG whose header is damaged'),
        ('jpeg', b'\xff\xd8\xff\xc0\0\x0c\x08\0\4\0\6\1\1\x11\0\0',
         'a JPEG whose header is damaged'),
        ('jpeg', BASELINE[: segments(BASELINE, 0xC0)[0] + 9], 'a JPEG without a size in its'),
        ('16UC1; compressedDepth png', bytes(12) + b'\x89PNG\r\n\x1a\n' + bytes(40),
         "format '16UC1; compressedDepth png' is a depth picture; read the topic of a colour"),
        ('16UC1; compressedDepth', encoded('.png'), 'is a depth picture'),
        ('bayer_rggb8; jpeg compressed ', JPEGS['grey'], 'is a Bayer mosaic packed as a grey'),
        ('bayer_rggb8; png compressed ', encoded('.png', PICTURE[..., 0]), 'is a Bayer mosaic'),
    ],
)  # fmt: skip
def test_what_is_no_picture_in_colour_is_refused(kind, data, text):
    with pytest.raises(ObservationError) as caught:
        check_image(frame(data, kind), Framing(SIZE))
    assert text in str(caught.value)


def test_a_compressed_frame_of_another_size_is_refused_before_it_is_decoded():
    # The header of a bomb: 60,000 x 60,000 pixels that nobody will ever make room for.
    bomb = bytearray(encoded('.png'))
    bomb[16:24] = (60_000).to_bytes(4, 'big') * 2
    with pytest.raises(ObservationError, match='60000x60000 pixels, expected 96x128'):
        check_image(frame(bomb), Framing(SIZE))
    with pytest.raises(ObservationError, match='96x128 pixels, expected 480x640'):
        check_image(frame(BASELINE), Framing((480, 640)))


# --- PNG -------------------------------------------------------------------------------------


def chunk(name, data):
    body = name.encode() + data
    return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))


def png(colour_type, depth, rows, *, interlaced=False, **chunks):
    """A PNG of a kind that OpenCV reads but does not write; rows as they lie in the file.

    :param interlaced: rows are those of the seven passes, of a picture of the same size.
    """
    height, width = (2, 2) if interlaced else (len(rows), len(rows[0]) * 8 // depth)
    if colour_type in (2, 6) and not interlaced:
        width //= {2: 3, 6: 4}[colour_type]
    header = struct.pack('>IIBBBBB', width, height, depth, colour_type, 0, 0, interlaced)
    pixels = zlib.compress(b''.join(b'\0' + bytes(row) for row in rows))
    parts = [('IHDR', header), *chunks.items(), ('IDAT', pixels), ('IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts)


A, B, C, D = [10, 20, 30], [40, 50, 60], [70, 80, 90], [250, 120, 1]
PALETTE = bytes(A + B + C + D)
SQUARE = [[A, B], [C, D]]
PNGS = {
    'colour': (png(2, 8, [A + B, C + D]), SQUARE),
    'colour, interlaced': (png(2, 8, [A, B, C + D], interlaced=True), SQUARE),
    'colour and alpha': (png(6, 8, [[*A, 0, *B, 255], [*C, 9, *D, 9]]), SQUARE),
    'one colour transparent': (png(2, 8, [A + B, C + D], tRNS=b'\0\n\0\x14\0\x1e'), SQUARE),
    'palette': (png(3, 8, [[0, 1], [2, 3]], PLTE=PALETTE), SQUARE),
    'palette, transparent': (png(3, 8, [[0, 1], [2, 3]], PLTE=PALETTE, tRNS=b'\0\x80'), SQUARE),
    'palette of 4 bits': (png(3, 4, [[0x01], [0x23]], PLTE=PALETTE), SQUARE),
    'turned by its header': (png(2, 8, [A + B, C + D], eXIf=exif(6)[10:]), SQUARE),
    'palette of 2 bits': (
        png(3, 2, [[0b00011011], [0b11100100]], PLTE=PALETTE), [[A, B, C, D], [D, C, B, A]]
    ),
    'palette of 1 bit': (png(3, 1, [[0b01011111]], PLTE=PALETTE), [[A, B, A, B, B, B, B, B]]),
    'grey': (png(0, 8, [[7, 8], [9, 250]]), [[[7] * 3, [8] * 3], [[9] * 3, [250] * 3]]),
    'grey of 4 bits': (png(0, 4, [[0x0F]]), [[[0] * 3, [255] * 3]]),
    'grey of 2 bits': (png(0, 2, [[0b00011011]]), [[[v] * 3 for v in (0, 85, 170, 255)]]),
    'black and white': (png(0, 1, [[0b01000001]]), [[[255 * v] * 3 for v in (0, 1, *[0] * 5, 1)]]),
}  # fmt: skip
PNGS['grey and alpha'] = (
    bytes(PNGS['grey'][0][:8]) + chunk('IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 4, 0, 0, 0))
    + chunk('IDAT', zlib.compress(b'\0\x63\0')) + chunk('IEND', b''), [[[99] * 3]]
)  # fmt: skip


@pytest.mark.parametrize('name', PNGS)
def test_a_png_of_any_kind_of_8_bits_or_less_is_rgb(name):
    data, pixels = PNGS[name]
    size = np.shape(pixels)[:2]
    np.testing.assert_array_equal(decode(data, size), pixels)
    grey = name.startswith(('grey', 'black'))
    assert check_image(frame(data), Framing(size)) is not grey


def test_a_png_keeps_every_value():
    np.testing.assert_array_equal(decode(encoded('.png')), PICTURE[..., ::-1])


@pytest.mark.parametrize(
    'pixels',
    [PICTURE.astype(np.uint16) * 257, PICTURE[..., 0].astype(np.uint16) * 9],
    ids=['colour', 'depth'],
)
def test_a_png_of_16_bits_is_refused_as_such_an_image_is(pixels):
    with pytest.raises(ObservationError, match=r'a PNG of 16 bits a channel.*; publish 8 bits'):
        check_image(frame(encoded('.png', pixels)), Framing(SIZE))


def parts(data):
    """The chunks of a PNG."""
    found, place = [], 8
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], 'big')
        found.append(data[place:end])
        place = end
    return found


PNG_PARTS = parts(encoded('.png'))


def assembled(chunks):
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


@settings(deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), padded=st.booleans())
def test_a_png_cut_at_any_byte_is_refused(share, padded):
    whole = encoded('.png')
    with pytest.raises(ObservationError):
        # The checksum of its last, empty chunk says nothing.
        decode(whole[: int(share * (len(whole) - 4))] + bytes(50 if padded else 0))


@settings(deadline=None)
@given(share=st.floats(0.2, 0.9), flip=st.integers(1, 255))
def test_a_png_with_a_wrong_byte_is_refused(share, flip):
    data = bytearray(encoded('.png'))
    data[int(share * len(data))] ^= flip
    with pytest.raises(ObservationError, match='a PNG'):
        decode(bytes(data))


def test_a_png_that_lost_a_chunk_is_refused_though_all_the_others_are_right():
    pixels = [i for i, part in enumerate(PNG_PARTS) if part[4:8] == b'IDAT']
    assert len(pixels) > 2
    for lost in (pixels[0], pixels[1], pixels[-1]):
        with pytest.raises(ObservationError, match='a PNG that cannot be decoded from'):
            decode(assembled(PNG_PARTS[:lost] + PNG_PARTS[lost + 1 :]))
    # Fewer rows than the header says, in a stream that is whole.
    raw = zlib.decompress(b''.join(PNG_PARTS[i][8:-4] for i in pixels))
    short = chunk('IDAT', zlib.compress(raw[: len(raw) // 2]))
    with pytest.raises(ObservationError, match='a PNG that cannot be decoded from'):
        decode(assembled([PNG_PARTS[0], short, PNG_PARTS[-1]]))


def test_no_room_is_made_for_what_a_damaged_png_announces():
    place = 8 + len(PNG_PARTS[0])
    data = encoded('.png')
    data = data[:place] + b'\xf9\0\0\0' + data[place + 4 :]  # a chunk of 4 GB
    started = time.perf_counter()
    with pytest.raises(ObservationError, match='a PNG cut off: no end in its'):
        decode(data)
    assert time.perf_counter() - started < 1


def test_what_stands_around_a_png_does_no_harm():
    first, *rest = PNG_PARTS
    text = chunk('tEXt', b'Comment\0by a driver')
    wrong = text[:-1] + bytes([text[-1] ^ 1])
    data = assembled([first, text, wrong, *rest]) + b'padding' * 100
    np.testing.assert_array_equal(decode(data), PICTURE[..., ::-1])
