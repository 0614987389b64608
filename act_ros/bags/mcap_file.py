"""An MCAP file, whole or as a crash or a bad disk left it: what can be read is."""

import os
import struct
import weakref
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lz4.frame import LZ4FrameDecompressor
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Schema
from mcap.stream_reader import MAGIC_SIZE, get_chunk_data_stream
from mcap.writer import MCAP0_MAGIC
from zstandard import ZstdDecompressor

from act_ros.bags.damage import Damage, reason
from act_ros.bags.merging import merged
from act_ros.bags.storage import Connection, RawMessage, full_type
from act_ros.errors import BagError

HEADER = struct.Struct('<BQ')  # of a record: opcode and length
MESSAGE = struct.Struct('<H4xQ8x')  # before its data: channel, a number, receipt, sent
LOOSE = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)  # may stand outside of chunks
CUT = 'has no intact end and is read as far as it goes'
NO_TYPE = 'unknown'
RUN = 1 << 20  # loose records that are read at once [bytes]


class Part(NamedTuple):
    """A chunk, or a run of loose records.

    :ivar begin: its first byte in the file.
    :ivar end: the first byte after it.
    :ivar first: receipt of its first message [ns].
    :ivar last: and of its last.
    :ivar channels: that have a message in it; empty where that is not known.
    """

    begin: int
    end: int
    first: int
    last: int
    channels: frozenset[int]


@dataclass
class Index:
    """Where in a file its messages are.

    :ivar parts: in the order of their first receipts.
    :ivar schemas: number to type, while it is made.
    :ivar channels: number to topic and type.
    :ivar counts: of the messages of each topic and type.
    :ivar nameless: messages that no topic is known of.
    :ivar faults: what is broken, one line each.
    """

    parts: list[Part] = field(default_factory=list)
    schemas: dict[int, str] = field(default_factory=dict)
    channels: dict[int, Connection] = field(default_factory=dict)
    counts: Counter[Connection] = field(default_factory=Counter)
    nameless: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, channel: Channel, schema: str) -> None:
        """Take in a channel, with the name of its schema; '' where there is none."""
        message_type = full_type(schema, channel.message_encoding) if schema else NO_TYPE
        self.channels[channel.id] = channel.topic, message_type
        self.counts[self.channels[channel.id]] += 0


class McapFile:
    """An MCAP file, open for reading.

    Each chunk is read by itself: one that is damaged costs no other. The file may be deleted
    once it is open.

    :param path: of the file.
    :param damage: is told what is broken.
    :ivar counts: of the messages of each topic and type.
    :ivar start: receipt of the first message [ns].
    :ivar end: receipt of the last message [ns].
    :ivar close: closes it, as does forgetting the object.
    :raises BagError: there is no message that can be read.
    """

    def __init__(self, path: Path, damage: Damage) -> None:
        self._name, self._damage = path.name, damage
        self._file = path.open('rb')
        self.close = weakref.finalize(self, self._file.close)
        about = os.fstat(self._file.fileno())
        self._index = _index(path, about.st_size, about.st_mtime_ns)
        if not self._index.parts:
            faults = self._index.faults or ['is an empty bag: it holds no message']
            raise BagError('; '.join(faults))
        for fault in self._index.faults:
            damage.note(f'{path.name} {fault}')
        self.counts = self._index.counts
        self.start = min(part.first for part in self._index.parts)
        self.end = max(part.last for part in self._index.parts)

    def raw(
        self, wanted: Set[Connection], start: int, stop: int
    ) -> Iterator[RawMessage]:
        """Messages between two receipts, in the order of these."""
        channels = {n: found[0] for n, found in self._index.channels.items() if found in wanted}
        return merged(
            (part.first, self._find(part, channels, start, stop))
            for part in self._index.parts
            if not (part.channels and part.channels.isdisjoint(channels))
            and part.last >= start
            and part.first < stop
        )

    def _find(
        self, part: Part, wanted: dict[int, str], start: int, stop: int
    ) -> Iterator[RawMessage]:
        """The messages of a part that are wanted; none where it is damaged."""
        found = []
        try:
            for opcode, content in _records(self._file, part.begin, part.end):
                if opcode == Opcode.MESSAGE:
                    channel, receipt = MESSAGE.unpack_from(content)
                    if channel in wanted and start <= receipt < stop:
                        found.append((receipt, wanted[channel], content[MESSAGE.size :]))
        except Exception as error:  # of many kinds: whatever wrong bytes make of it
            self._damage.note(f'{self._name} {_left_out(part.begin, error)}')
            return
        found.sort(key=itemgetter(0))
        for receipt, topic, data in found:
            yield topic, receipt, bytes(data)


@lru_cache(maxsize=128)
def _index(path: Path, size: int, changed: int) -> Index:
    """A file's index, or what a look at all of it finds; once for all episodes.

    :param size: and time of change: with others it is another file.
    """
    with path.open('rb') as file:
        if file.read(MAGIC_SIZE) != MCAP0_MAGIC:
            return Index(faults=['is no MCAP file'])
        file.seek(max(size - MAGIC_SIZE, 0))
        if file.read() != MCAP0_MAGIC:
            return _look(file, CUT)
        try:
            return _summary(file) or _look(file)
        except Exception as error:  # of many kinds: whatever wrong bytes make of it
            return _look(file, f'has no intact index ({reason(error)}) and is read without it')


def _summary(file: BinaryIO) -> Index | None:
    """The index that an intact file has at its end; None if it was recorded without."""
    file.seek(0)
    summary = SeekingReader(file).get_summary()
    if summary is None or summary.statistics is None or not summary.chunk_indexes:
        return None
    statistics = summary.statistics
    if len(summary.chunk_indexes) != statistics.chunk_count:
        raise McapError(f'{len(summary.chunk_indexes)} of {statistics.chunk_count} chunks')
    channels, schemas = summary.channels, summary.schemas
    counts = statistics.channel_message_counts
    used = set(counts).union(*(chunk.message_index_offsets for chunk in summary.chunk_indexes))
    if not used <= set(channels) or not {c.schema_id for c in channels.values()} <= {0, *schemas}:
        return None  # they stand among the messages, if anywhere
    index = Index()
    for number, channel in channels.items():
        index.add(channel, schemas[channel.schema_id].name if channel.schema_id else '')
        index.counts[index.channels[number]] += counts.get(number, 0)
    if statistics.message_count:
        index.parts = [
            Part(
                chunk.chunk_start_offset,
                chunk.chunk_start_offset + chunk.chunk_length,
                chunk.message_start_time,
                chunk.message_end_time,
                frozenset(chunk.message_index_offsets),
            )
            for chunk in summary.chunk_indexes
            # One without a message has no times either.
            if chunk.message_index_offsets or chunk.message_end_time
        ]
    index.parts.sort(key=_by_time)
    return index


def _look(file: BinaryIO, *faults: str) -> Index:
    """An index by reading everything."""
    index = Index(faults=list(faults))
    parts, is_whole = _parts(file)
    if not is_whole and CUT not in faults:
        index.faults.append('is damaged between its records and is read as far as it goes')
    for begin, end in parts:
        try:
            _take_in(index, begin, end, _records(file, begin, end))
        except Exception as error:  # of many kinds: whatever wrong bytes make of it
            index.faults.append(_left_out(begin, error))
    if index.nameless:
        index.faults.append(f'does not say of what topic {index.nameless} messages are; left out')
    index.parts.sort(key=_by_time)
    return index


def _take_in(
    index: Index, begin: int, end: int, records: list[tuple[int, memoryview]]
) -> None:
    """Add a part to an index.

    :raises Exception: of many kinds: it is damaged.
    """
    messages = []
    for opcode, content in records:
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(ReadDataStream(BytesIO(content)))
            index.schemas[schema.id] = schema.name
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(ReadDataStream(BytesIO(content)))
            index.add(channel, index.schemas.get(channel.schema_id, ''))
        elif opcode == Opcode.MESSAGE:
            messages.append(MESSAGE.unpack_from(content))
    known = [(number, receipt) for number, receipt in messages if number in index.channels]
    index.nameless += len(messages) - len(known)
    index.counts.update(index.channels[number] for number, _ in known)
    if known:
        channels, times = zip(*known, strict=True)
        index.parts.append(Part(begin, end, min(times), max(times), frozenset(channels)))


def _parts(file: BinaryIO) -> tuple[list[tuple[int, int]], bool]:
    """First byte and end of each chunk, and of each run of loose records that are all there.

    :returns: them, and whether one record led to the next until the end of the data.
    """
    size = file.seek(0, os.SEEK_END)
    parts, run, position, opcode, is_whole = [], None, MAGIC_SIZE, None, True
    while position + HEADER.size <= size and opcode != Opcode.DATA_END:
        file.seek(position)
        opcode, length = HEADER.unpack(file.read(HEADER.size))
        end = position + HEADER.size + length
        is_loose = opcode in LOOSE and end <= size
        if run is not None and (not is_loose or position - run >= RUN):
            parts.append((run, position))
            run = None
        if is_loose and run is None:
            run = position
        if opcode == Opcode.CHUNK:
            parts.append((position, min(end, size)))
        if not opcode:  # which no record has
            is_whole = False
            if not length:  # zeros, as a bad disk gives: they lead nowhere
                break
        position = end
    if run is not None:
        parts.append((run, position))
    return parts, is_whole and opcode == Opcode.DATA_END


def _records(file: BinaryIO, begin: int, end: int) -> list[tuple[int, memoryview]]:
    """The records of a part of a file: opcode and content.

    :raises Exception: of many kinds: it is damaged.
    """
    data, is_cut = _content(file, begin, end)
    records, view, position = [], memoryview(data), 0
    while position + HEADER.size <= len(data):
        opcode, length = HEADER.unpack_from(data, position)
        after = position + HEADER.size + length
        if after > len(data):
            break
        records.append((opcode, view[position + HEADER.size : after]))
        position = after
    if position < len(data) and not is_cut:
        raise McapError('its records are not what they were')
    return records


def _content(file: BinaryIO, begin: int, end: int) -> tuple[bytes, bool]:
    """What is in a part of a file, decompressed; and whether its end is missing."""
    file.seek(begin)
    opcode, length = HEADER.unpack(file.read(HEADER.size))
    if opcode in LOOSE:
        file.seek(begin)
        return file.read(end - begin), False
    if opcode != Opcode.CHUNK:
        raise McapError('no chunk is there')
    chunk = Chunk.read(ReadDataStream(file))
    if begin + HEADER.size + length > end:
        return _until_cut(chunk), True
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    if size != chunk.uncompressed_size:
        raise McapError(f'it has {size} bytes of {chunk.uncompressed_size}')
    return (stream.read(size) if size else b''), False


def _until_cut(chunk: Chunk) -> bytes:
    """What there is of a chunk whose end is missing.

    The checksum is of all of it and cannot be checked, but a cut changes nothing before it.
    """
    if chunk.compression == 'zstd':
        return ZstdDecompressor().decompressobj().decompress(chunk.data)
    if chunk.compression == 'lz4':
        return LZ4FrameDecompressor().decompress(chunk.data)
    return chunk.data


def _by_time(part: Part) -> tuple[int, int]:
    return part.first, part.begin


def _left_out(position: int, error: Exception) -> str:
    return f'is damaged at byte {position} ({reason(error)}); that part is left out'
