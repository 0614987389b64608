"""An MCAP file without its end, as a crash or a full disk leaves it."""

import heapq
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.exceptions import EndOfFile
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import MAGIC_SIZE, StreamReader, breakup_chunk

from act_ros.evaluation.damaged import Damaged

RECORD_HEADER = 9  # a byte of opcode, eight of length


class DamagedMcap(Damaged):
    """The whole records at the beginning; within a chunk in the order of their receipts."""

    def __init__(self, path: Path) -> None:
        self._whole = _whole_records(path)
        self._channels: dict[int, str] = {}
        super().__init__(path)

    def _scan(self) -> Iterator[tuple[str, int, bytes]]:
        """Everything there is; stops where a chunk is damaged though it is all there."""
        schemas: dict[int, str] = {}
        with self._path.open('rb') as file:
            reader = StreamReader(_Limited(file, self._whole), emit_chunks=True)
            records = reader.records
            while True:
                try:
                    record = next(records)
                    inner = (
                        breakup_chunk(record, validate_crc=True)
                        if isinstance(record, Chunk)
                        else [record]
                    )
                except (StopIteration, EndOfFile):
                    return
                except Exception:  # of the decompressors, too: the bytes are not what they were
                    return
                messages = []
                for i, part in enumerate(inner):
                    if isinstance(part, Schema):
                        schemas[part.id] = part.name
                    elif isinstance(part, Channel):
                        self._channels[part.id] = part.topic
                        self.topics[part.topic] = schemas.get(part.schema_id, '')
                    elif isinstance(part, Message) and part.channel_id in self._channels:
                        heapq.heappush(messages, (part.log_time, i, part))
                while messages:
                    receipt, _, message = heapq.heappop(messages)
                    yield self._channels[message.channel_id], receipt, message.data


def _whole_records(path: Path) -> int:
    """Where the last record ends that is all there [bytes from the beginning]."""
    size = path.stat().st_size
    position = MAGIC_SIZE
    with path.open('rb') as file:
        while True:
            file.seek(position)
            header = file.read(RECORD_HEADER)
            if len(header) < RECORD_HEADER:
                return min(position, size)
            after = position + RECORD_HEADER + int.from_bytes(header[1:], 'little')
            if after > size:
                return position
            position = after


class _Limited(BytesIO):
    """The first bytes of a file, as a stream that ends after them."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        size = self._left if size is None or size < 0 else min(size, self._left)
        data = self._file.read(size)
        self._left -= len(data)
        return data
