"""Read a recorded bag: sqlite3 or MCAP, compressed or not, whole or as far as a crash left it."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from zstandard import ZstdDecompressor, ZstdError

from act_ros.bags.damage import Damage, reason
from act_ros.bags.folder import PACKED, Metadata, data_files, is_of_a_bag, read_metadata
from act_ros.bags.mcap_file import McapFile
from act_ros.bags.merging import merged
from act_ros.bags.sqlite_file import SqliteFile
from act_ros.bags.storage import Connection, RawMessage, Storage
from act_ros.bags.typestore import deserialize
from act_ros.errors import BagError

FIRST = 10  # messages of a topic; where none of them is of its type, the topic is not
ZSTD = b'\x28\xb5\x2f\xfd'  # begins what was compressed; no CDR begins so
# What is received within a second of 1970, with nothing in the minute after it, came before
# there was a clock; and no clock is in the year 2116.
CLOCK_BEGINS, PAUSE, CLOCK_ENDS = 1_000_000_000, 60_000_000_000, 2**62  # [ns]


class Recorded(NamedTuple):
    """One message of a bag.

    :ivar receipt: when it was recorded [ns].
    """

    topic: str
    receipt: int
    message: Any


class Bag:
    """A bag, open for reading until it is closed or forgotten.

    Its files may follow each other or overlap, as those of two recorders do: messages come in
    the order of their receipts.

    :param path: a bag's folder, or a single file.
    :ivar topics: name to type, as in 'sensor_msgs/msg/Image'; where a topic has messages of
        several, the one that most are of, or the one that was chosen. Others are left out.
    :ivar start: receipt of the first message [ns].
    :ivar end: receipt of the last message [ns].
    :ivar damage: what is broken, one line each; grows while messages are read.
    :raises BagError: there is nothing that can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage = Damage()
        self._fitting: dict[Connection, bool] = {}  # as far as it was asked
        try:
            self._storages = self._open()
        except OSError as error:
            raise BagError(f'{self.path} cannot be opened: {error.strerror or error}') from None
        self.start = min(storage.start for storage in self._storages)
        self.end = max(storage.end for storage in self._storages)
        self._counts = sum((Counter(s.counts) for s in self._storages), Counter())
        self._overlap = _overlap(self._storages)
        self.topics: dict[str, str] = {}
        for storage in self._storages:
            for topic, message_type in storage.counts:
                known = self.topics.setdefault(topic, message_type)
                if self._counts[topic, message_type] > self._counts[topic, known]:
                    self.topics[topic] = message_type
        self._leave_out_what_has_no_time()

    def __enter__(self) -> 'Bag':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        for storage in self._storages:
            storage.close()

    def choose(self, types: Mapping[str, str]) -> None:
        """Of topics with messages of several types, read those of these.

        :param types: topic to type; one that the bag has no message of changes nothing.
        """
        for topic, message_type in types.items():
            if self._counts[topic, message_type]:
                self.topics[topic] = message_type

    def count(self, topic: str) -> int:
        """How many messages a topic has, of its type."""
        return self._counts[topic, self.topics[topic]]

    def messages(
        self, topics: Iterable[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[Recorded]:
        """The messages of some topics, in the order in which they were recorded.

        :param start: of the receipts, or None for the first [ns].
        :param stop: the first receipt that is not wanted, or None [ns].
        :raises BagError: none of a topic's first messages is of its type.
        """
        for topic, receipt, raw in self.raw(topics, start, stop):
            try:
                message = self._decode(topic, raw)
            except BagError as error:
                if not self._fits(topic):
                    raise
                self.damage.note(f'{error}; left out')
                continue
            yield Recorded(topic, receipt, message)

    def raw(
        self, topics: Iterable[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[RawMessage]:
        """As `messages`, but the messages as they were serialised: CDR."""
        wanted = {(topic, self.topics[topic]) for topic in topics if topic in self.topics}
        self._tell_other_types(wanted)
        start = self.start if start is None else max(start, self.start)
        stop = self.end + 1 if stop is None else min(stop, self.end + 1)
        messages = self._merged(wanted, start, stop)
        yield from self._once(messages) if self._overlap else messages

    def _merged(self, wanted: Set[Connection], start: int, stop: int) -> Iterator[RawMessage]:
        """The messages of all files."""
        return merged(
            (max(start, storage.start), self._of(storage, wanted, start, stop))
            for storage in self._storages
        )

    def _of(
        self, storage: Storage, wanted: Set[Connection], start: int, stop: int
    ) -> Iterator[RawMessage]:
        """The messages of one file, as far as it can be read."""
        # Damage in the middle of an indexed file shows only in what it does not give.
        count = start <= storage.start and stop > storage.end
        counts = Counter[str]()
        try:
            for topic, receipt, data in storage.raw(wanted, start, stop):
                counts[topic] += 1
                if data[:4] == ZSTD:
                    try:
                        data = _unpacked(data)
                    except ZstdError as error:
                        self.damage.note(
                            f'{self.path}: a message of {topic} is damaged: {reason(error)}; '
                            f'left out'
                        )
                        continue
                yield topic, receipt, data
        except Exception as error:  # of many kinds: whatever wrong bytes make of it
            self.damage.note(
                f'{self.path.name} is damaged and was read up to there: {reason(error)}'
            )
            return
        for topic, message_type in wanted if count else ():
            expected = storage.counts.get((topic, message_type), 0)
            if counts[topic] < expected:
                self.damage.note(
                    f'{self.path.name} is damaged: of {expected} messages of {topic} '
                    f'{counts[topic]} can be read'
                )

    def _once(self, messages: Iterator[RawMessage]) -> Iterator[RawMessage]:
        """Without the second of two, where files hold the same message."""
        now, same = -1, []
        for message in messages:
            if message[1] != now:
                now, same = message[1], [message]
            elif message in same:
                self.damage.note(
                    f'{self.path.name} has files with the same messages: each counts once'
                )
                continue
            else:
                same.append(message)
            yield message

    def _tell_other_types(self, wanted: Set[Connection]) -> None:
        for (topic, message_type), count in self._counts.items():
            chosen = self.topics[topic]
            if message_type != chosen and (topic, chosen) in wanted:
                self.damage.note(
                    f'{self.path.name}: {count} messages of {topic} are of the type '
                    f'{message_type}, not {chosen}; left out'
                )

    def _leave_out_what_has_no_time(self) -> None:
        """The recording begins and ends with receipts that a clock gave."""

        def receipts(start: int, stop: int) -> Iterator[int]:
            return (receipt for _, receipt, _ in self._merged(set(self._counts), start, stop))

        begin, end = self.start, self.end
        if begin < CLOCK_BEGINS:
            first = next(receipts(CLOCK_BEGINS, end + 1), 0)
            begin = first if first > CLOCK_BEGINS + PAUSE else begin
        if begin < CLOCK_ENDS <= end:
            end = max(receipts(begin, CLOCK_ENDS), default=end)
        if (begin, end) == (self.start, self.end):
            return
        count = sum(1 for _ in receipts(self.start, begin))
        count += sum(1 for _ in receipts(end + 1, self.end + 1))
        self.damage.note(
            f'{self.path.name}: {count} messages have a receipt that no clock gave, as 0 is; '
            f'left out'
        )
        self.start, self.end = begin, end

    def _decode(self, topic: str, raw: bytes) -> Any:
        message_type = self.topics[topic]
        try:
            return deserialize(raw, message_type)
        except Exception as error:  # of the generated code
            raise BagError(
                f'{self.path}: a message of {topic} is no {message_type}: {reason(error)}'
            ) from None

    def _fits(self, topic: str) -> bool:
        """Whether any of a topic's first messages is of its type.

        Asked of the whole bag: what is read of it, and by which process, shall not matter.
        """
        asked = topic, self.topics[topic]
        if asked not in self._fitting:
            self._fitting[asked] = False
            for _, _, raw in islice(self.raw([topic]), FIRST):
                with suppress(BagError):
                    self._decode(topic, raw)
                    self._fitting[asked] = True
                    break
        return self._fitting[asked]

    # --- the files -------------------------------------------------------------------------

    def _open(self) -> list[Storage]:
        path, metadata = self.path, Metadata()
        if not path.exists():
            raise BagError(f'no bag {str(path)!r}; expected a folder, a .mcap or a .db3 file')
        if path.is_dir():
            metadata = read_metadata(path, self.damage)
            files = data_files(path, metadata, self.damage)
        elif is_of_a_bag(path):
            files = [[path]]
        else:
            raise BagError(f'{path} is no bag: expected a folder, a .mcap or a .db3 file')
        errors: list[str] = []
        # A crash may leave a last file without any message.
        storages = [s for twins in files if (s := self._open_one_of(twins, errors)) is not None]
        if not storages:
            what = f'no file of {path} can be read' if path.is_dir() else str(path)
            raise BagError(f'{what}: {"; ".join(errors)}')
        for error in errors:
            self.damage.note(error)
        found = sum(sum(storage.counts.values()) for storage in storages)
        if found < metadata.messages:
            self.damage.note(
                f'metadata.yaml does not fit: it tells of {metadata.messages} messages, and '
                f'{found} are there'
            )
        return storages

    def _open_one_of(self, twins: Sequence[Path], errors: list[str]) -> Storage | None:
        """A file that may be there unpacked and packed: the one that more can be read of."""
        found: list[tuple[Storage, list[str]]] = []
        before = len(self.damage)
        for file in twins:
            try:
                storage = self._open_file(file)
            except BagError as error:
                errors.append(f'{file.name} {error}')
                continue
            found.append((storage, self.damage[before:]))
            if len(self.damage) == before:
                break
            del self.damage[before:]
        if not found:
            return None
        storage, told = max(found, key=lambda item: sum(item[0].counts.values()))
        self.damage.extend(told)
        return storage

    def _open_file(self, path: Path) -> Storage:
        """Open a file of the bag.

        :raises BagError: there is no message that can be read.
        """
        try:
            if path.suffix != PACKED:
                path.open('rb').close()  # sqlite would not say why it cannot
                is_mcap = path.suffix == '.mcap'
                return McapFile(path, self.damage) if is_mcap else SqliteFile(path, self.damage)
            with TemporaryDirectory() as folder:
                copy = Path(folder, path.stem)
                with path.open('rb') as packed, copy.open('wb') as file:
                    ZstdDecompressor().copy_stream(packed, file)
                # Once it is open it needs no name: nothing stays, whatever ends the process.
                return self._open_file(copy)
        except OSError as error:
            raise BagError(f'cannot be opened: {error.strerror or error}') from None
        except (sqlite3.Error, ZstdError) as error:
            raise BagError(f'cannot be read: {reason(error)}') from None


def _unpacked(data: bytes) -> bytes:
    """A message that was compressed by itself.

    :raises ZstdError: it is damaged.
    """
    whole = ZstdDecompressor().decompressobj()
    content = whole.decompress(data)
    if not whole.eof:
        raise ZstdError('its end is missing')
    return content


def _overlap(storages: Iterable[Storage]) -> bool:
    """Whether messages of several files may have the same receipt."""
    spans = sorted((storage.start, storage.end) for storage in storages)
    return any(after[0] <= before[1] for before, after in pairwise(spans))
