"""JPEG frames: what the header says, and the pixels where none of them is lost.

Where data is missing libjpeg puts grey and warns; of the libraries around it simplejpeg hands
the warning on. It decodes by libjpeg-turbo, as OpenCV and Pillow do, to the same pixels. What
no decoder can see stays unseen: a changed byte after which the data still ends in its place.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from act_ros.errors import ObservationError

try:
    import simplejpeg
except ImportError:  # frames may all come as sensor_msgs/Image
    simplejpeg = None
AVAILABLE = simplejpeg is not None

BEGIN, END = b'\xff\xd8', b'\xff\xd9'
# Second bytes of the markers (ISO/IEC 10918-1, table B.1).
_BEGIN, _END, _SCAN, _RESTART_INTERVAL, _JFIF, _ADOBE = 0xD8, 0xD9, 0xDA, 0xDD, 0xE0, 0xEE
_TABLES = (0xC4, 0xDB)  # Huffman, quantisation
_ALONE = {0x01, *range(0xD0, 0xD8)}  # without a length
_PROGRESSIVE = 0xC2
_DECODED = (0xC0, 0xC1, _PROGRESSIVE)
_REFUSED = {
    **dict.fromkeys((0xC3,), 'lossless'),
    **dict.fromkeys((0xC5, 0xC6, 0xC7), 'hierarchical'),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), 'arithmetic-coded'),
    **dict.fromkeys((0xF7,), 'JPEG-LS'),
}
_MARKER = re.compile(rb'\xff[^\x00\xff]')
_RESTART = re.compile(rb'\xff([\xd0-\xd7])')
_AFTER_SCAN = re.compile(rb'\xff[^\x00\xff\xd0-\xd7]')  # FF 00 is a byte of the data
_STRAYS = re.compile('Corrupt JPEG data: ([0-9]+) extraneous bytes before marker 0xd9')
_PLAIN_JFIF = b'\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0'

# In one part of the data: webcams write up to ten bytes more than it needs, while of damaged
# data some thirty are left over, as a rule.
MOST_STRAYS = 16
# Ten are usual. Each takes the decoder a millisecond, and a small file has room for thousands.
MOST_SCANS = 100
# Some kilobytes and dozens are usual. Each part of the data is decoded with all of its tables.
_MOST_TABLES = 1 << 14  # bytes
_MOST_SEGMENTS = 4096
_LARGEST = 65500  # side of a picture that libjpeg takes [px]


@dataclass(frozen=True)
class Header:
    """What a JPEG says of itself.

    :ivar size: height and width [px].
    :ivar progressive: it comes in scans, each of which refines the whole picture.
    :ivar components: identifier, sampling across and down of each.
    """

    size: tuple[int, int]
    progressive: bool
    components: tuple[tuple[int, int, int], ...]


def read_header(data: bytes | memoryview) -> Header:
    """What a JPEG says of itself, without decoding it.

    :raises ObservationError: it ends too early, or is of a kind that is not decoded.
    """
    for marker, begin, end in _segments(data):
        if marker in _DECODED or marker in _REFUSED:
            return _header(marker, bytes(data[begin:end]))
        if marker == _SCAN:
            break
    raise ObservationError(f'a JPEG without a size in its {len(data)} bytes')


def decode_jpeg(data: bytes) -> np.ndarray:
    """Decode a JPEG whose size has been checked.

    What stands around the picture does no harm: previews, bytes of a driver's own, padding.

    :returns: (H, W, 3) uint8 RGB.
    :raises ObservationError: part of its data is lost or damaged.
    """
    header = read_header(data)
    segments = _cleaned(header, data)
    _check_scans(header, [segment for marker, segment in segments if marker == _SCAN])
    whole = _join(segments)
    try:
        return simplejpeg.decode_jpeg(whole, 'RGB')
    except ValueError as error:
        reason = str(error)
    if 'subsampling' in reason:
        raise ObservationError(
            'a JPEG that samples its colours in an unusual way; publish 4:2:0, 4:2:2 or 4:4:4'
        )
    if 'extraneous bytes' not in reason or not _is_whole_but_for_strays(header, segments):
        raise ObservationError(f'a JPEG that has lost part of its data: {reason}')
    return simplejpeg.decode_jpeg(whole, 'RGB', strict=False)


def _segments(data: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of each segment up to the end marker; a scan's with its data.

    Bytes between them are passed over, as libjpeg does. Where data ends before the end marker
    there is none.

    :raises ObservationError: there are more than any picture has.
    """
    end = count = 2
    while found := _MARKER.search(data, end):
        count += 1
        if count > _MOST_SEGMENTS:
            raise ObservationError(f'a JPEG of more than {_MOST_SEGMENTS} segments')
        begin, marker = found.start(), found[0][1]
        end = begin + 2
        if marker in _ALONE:
            continue
        if marker == _END:
            yield marker, begin, end
        if marker in (_BEGIN, _END):  # what a new picture begins in was cut off
            return
        length = int.from_bytes(data[end : end + 2], 'big')
        if length < 2 or end + length > len(data):
            return
        end += length
        if marker == _SCAN:
            found = _AFTER_SCAN.search(data, end)
            if found is None or length < 6 or length != 6 + 2 * data[begin + 4]:
                return
            end = found.start()
        yield marker, begin, end


def _header(marker: int, segment: bytes) -> Header:
    """Read a start of frame."""
    count, rest = divmod(len(segment) - 10, 3)
    if count < 1 or rest or count != segment[9]:
        raise ObservationError('a JPEG whose header is damaged')
    depth, height, width = struct.unpack('>BHH', segment[4:9])
    what = _REFUSED.get(marker) or (
        f'{depth}-bit' if depth != 8 else 'CMYK' if count == 4 else f'{count}-channel'
    )
    if marker in _REFUSED or depth != 8 or count not in (1, 3):
        raise ObservationError(
            f'a JPEG of another kind ({what}); publish a baseline or progressive one of 8 bits '
            f'in colour'
        )
    components = tuple(
        (segment[i], segment[i + 1] >> 4, segment[i + 1] & 15) for i in range(10, len(segment), 3)
    )
    return Header((height, width), marker == _PROGRESSIVE, components)


def _cleaned(header: Header, data: bytes) -> list[tuple[int, bytes]]:
    """Marker and bytes of the segments that pixels are made of, in their order.

    What the decoder would only warn of is set right, so that all its warnings count.

    :raises ObservationError: there is no end marker.
    """
    kept: list[tuple[int, bytes]] = []
    tables = 0
    for marker, begin, end in _segments(data):
        segment = data[begin:end]
        if marker == _END:
            return kept
        if marker == _SCAN and not header.progressive:
            # Of a sequential JPEG these three are constant, and some encoders write others.
            last = _data_of(segment)
            segment = segment[: last - 3] + b'\0\x3f\0' + segment[last:]
        elif marker == _JFIF:
            segment = _PLAIN_JFIF if segment[4:9] == b'JFIF\0' else b''
        elif marker == _ADOBE:  # says whether three channels are RGB or YCbCr
            known = segment[4:9] == b'Adobe' and segment[15:16] in (b'\0', b'\1')
            segment = segment if known else b''
        elif marker not in (*_TABLES, _RESTART_INTERVAL, _SCAN, *_DECODED):
            continue
        tables += len(segment) if marker in _TABLES else 0
        if tables > _MOST_TABLES:
            raise ObservationError(f'a JPEG of more than {_MOST_TABLES} bytes of tables')
        kept.append((marker, segment))
    raise ObservationError(f'a JPEG cut off: no end marker in its {len(data)} bytes')


def _check_scans(header: Header, scans: Sequence[bytes]) -> None:
    """Refuse a picture that lacks a scan: of that the decoder says nothing.

    :raises ObservationError: naming how many there are.
    """
    # Bits of each coefficient of each component that have not come yet; 99: none has come.
    missing = {name: np.full(64, 99) for name, _, _ in header.components}
    for scan in scans:
        data = _data_of(scan)
        first, last, bits = scan[data - 3 : data]
        for name in scan[5 : data - 3 : 2]:
            if name in missing:
                missing[name][first : last + 1] = bits & 15 if header.progressive else 0
    if any(bits.any() for bits in missing.values()):
        raise ObservationError(f'a JPEG that has lost a scan: it has {len(scans)}')
    if len(scans) > MOST_SCANS:
        raise ObservationError(f'a JPEG of {len(scans)} scans, expected {MOST_SCANS} at most')


def _is_whole_but_for_strays(header: Header, segments: Sequence[tuple[int, bytes]]) -> bool:
    """Whether nothing is wrong but a few bytes too many at the end of each part of the data.

    The decoder tells no more than its last warning, so each part is decoded by itself.
    """
    *before, (_, scan) = segments
    data = _data_of(scan)
    parts = [(header.size, scan[data:])]
    if all(marker != _SCAN for marker, _ in before):
        intervals = [segment for marker, segment in before if marker == _RESTART_INTERVAL]
        parts = _parts(header, intervals, scan[data:])
        before = [each for each in before if each[0] != _RESTART_INTERVAL]
    return bool(parts) and all(
        _is_whole_part(_join([*_resized(before, size), (_SCAN, scan[:data])], b''), part)
        for size, part in parts
    )


def _parts(
    header: Header, intervals: Sequence[bytes], data: bytes
) -> list[tuple[tuple[int, int], bytes]]:
    """What stands between restart markers, with the size of a picture of just that.

    :returns: none where the markers are not those of the picture.
    """
    across = down = 8
    if len(header.components) > 1:
        across = 8 * max(component[1] for component in header.components)
        down = 8 * max(component[2] for component in header.components)
    height, width = header.size
    columns, rows = -(-width // across), -(-height // down)
    interval = int.from_bytes(intervals[-1][4:6], 'big') if intervals else 0
    if interval == 0:
        return [(header.size, data)]
    ends = [found[1][0] & 7 for found in _RESTART.finditer(data)]
    parts = _RESTART.split(data)[::2]
    counts = [min(interval, columns * rows - i) for i in range(0, columns * rows, interval)]
    if ends != [i % 8 for i in range(len(ends))] or len(parts) != len(counts):
        return []
    # A row of blocks as long as the part, or of the picture's width where it fills whole rows.
    widths = [columns if count % columns == 0 else count for count in counts]
    if max(widths) * across > _LARGEST:
        return []
    return [
        ((count // width * down, width * across), part)
        for count, width, part in zip(counts, widths, parts, strict=True)
    ]


def _is_whole_part(before: bytes, part: bytes) -> bool:
    part, strays = part.rstrip(b'\xff'), 0
    # The decoder looks ahead, so that it may count one or two less than there are.
    for _ in range(4):
        reason = _flaw(before + part + END)
        found = _STRAYS.fullmatch(reason)
        if found is None:
            return not reason
        count = int(found[1])
        strays += count
        # Zeros are padding, however many.
        if strays > MOST_STRAYS and part[-count:].strip(b'\0'):
            return False
        part = part[:-count]
    return False


def _flaw(data: bytes) -> str:
    """What the decoder says of a picture; nothing where it is whole."""
    try:
        simplejpeg.decode_jpeg(data, 'GRAY')
    except ValueError as error:
        return str(error)
    return ''


def _join(segments: Sequence[tuple[int, bytes]], end: bytes = END) -> bytes:
    return b''.join((BEGIN, *(segment for _, segment in segments), end))


def _resized(
    segments: Sequence[tuple[int, bytes]], size: tuple[int, int]
) -> list[tuple[int, bytes]]:
    return [
        (marker, segment[:5] + struct.pack('>HH', *size) + segment[9:])
        if marker in _DECODED
        else (marker, segment)
        for marker, segment in segments
    ]


def _data_of(scan: bytes) -> int:
    """Where in a scan its data begins."""
    return 2 + int.from_bytes(scan[2:4], 'big')
