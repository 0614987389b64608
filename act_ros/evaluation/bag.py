"""Read a recorded bag: sqlite3 or MCAP, compressed or not, whole or as far as a crash left it."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from act_ros.errors import BagError, shorten

try:
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    from act_ros.evaluation.damaged_mcap import DamagedMcap
    from act_ros.evaluation.damaged_sqlite import DamagedSqlite
except ImportError as error:
    raise BagError(
        f"reading bags needs {error.name}, which is not installed: pip install 'act_ros[bags]'"
    ) from None

SUFFIXES = ('.mcap', '.db3')


class Recorded(NamedTuple):
    """One message of a bag.

    :ivar receipt: when it was recorded [ns].
    """

    topic: str
    receipt: int
    message: Any


class Storage(Protocol):
    """One file of a bag, or all of them."""

    topics: dict[str, str]  # name to type
    counts: dict[str, int]  # topic to its messages, where that is known
    start: int  # receipt of the first message [ns]
    end: int  # and of the last

    def raw(
        self, topics: set[str], start: int | None, stop: int | None
    ) -> Iterator[tuple[str, int, bytes]]: ...


class Bag:
    """A bag, open for reading.

    :param path: a bag's folder, or a single .mcap or .db3 file.
    :ivar topics: name to type, as in 'sensor_msgs/msg/Image'.
    :ivar start: receipt of the first message [ns].
    :ivar end: receipt of the last message [ns].
    :ivar damage: what is broken, one line each; grows while messages are read.
    :raises BagError: there is nothing that can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage: list[str] = []
        self._storages = self._open()
        self.topics = {k: v for storage in self._storages for k, v in storage.topics.items()}
        self.start = min(storage.start for storage in self._storages)
        self.end = max(storage.end for storage in self._storages)
        if self.end < self.start:
            raise BagError(f'{self.path} is an empty bag: it holds no message')

    def messages(
        self, topics: Iterable[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[Recorded]:
        """The messages of some topics, in the order in which they were recorded.

        :param start: of the receipts, or None for the first [ns].
        :param stop: the first receipt that is not wanted, or None [ns].
        :raises BagError: the first message of a topic is none of its type.
        """
        decoded = set()
        for topic, receipt, raw in self.raw(topics, start, stop):
            try:
                message = self._decode(topic, raw)
            except BagError as error:
                if topic not in decoded:
                    raise
                self._note(f'{error}; left out')
                continue
            decoded.add(topic)
            yield Recorded(topic, receipt, message)

    def raw(
        self, topics: Iterable[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[str, int, bytes]]:
        """As `messages`, but the messages as they were serialised: CDR."""
        wanted = set(topics) & set(self.topics)
        all_of_it = (start is None or start <= self.start) and (stop is None or stop > self.end)
        for storage in self._storages:
            messages, counts = storage.raw(wanted, start, stop), dict.fromkeys(wanted, 0)
            while True:
                try:
                    message = next(messages)
                    counts[message[0]] += 1
                    yield message
                except StopIteration:
                    if all_of_it:
                        self._compare(counts, storage.counts)
                    break
                except Exception as error:  # of many kinds: whatever wrong bytes make of it
                    self._note(f'{self.path.name} is damaged and was read up to there: {error}')
                    break

    def _compare(self, found: dict[str, int], expected: dict[str, int]) -> None:
        """Damage in the middle of an indexed file shows only in what it does not give."""
        for topic, count in found.items():
            if count < expected.get(topic, 0):
                self._note(
                    f'{self.path.name} is damaged: of {expected[topic]} messages of {topic} '
                    f'{count} can be read'
                )

    def _decode(self, topic: str, raw: bytes) -> Any:
        kind = self.topics[topic]
        try:
            return types().deserialize_cdr(raw, kind)
        except Exception as error:  # of the generated code
            raise BagError(
                f'{self.path}: a message of {topic} is no {kind}: '
                f'{" ".join(str(error).split())[:200] or type(error).__name__}'
            ) from None

    def _note(self, text: str) -> None:
        if text not in self.damage:
            self.damage.append(text)

    def _open(self) -> list[Storage]:
        path = self.path
        if not path.exists():
            raise BagError(f'no bag {str(path)!r}; expected a folder, a .mcap or a .db3 file')
        if path.is_file():
            if path.suffix not in SUFFIXES:
                raise BagError(
                    f'{path} is no bag: expected a folder, a .mcap or a .db3 file, or the folder '
                    f'of a compressed one'
                )
            return [self._open_file(path)]
        if (path / 'metadata.yaml').exists():
            try:
                return [_Whole(path)]
            except Exception as error:
                self._note(f'metadata.yaml does not fit ({error}); read the files themselves')
        else:
            self._note('metadata.yaml is missing: the recording was not ended; read the files')
        files = sorted((p for p in path.iterdir() if p.suffix in SUFFIXES), key=_number)
        if not files:
            names = sorted(p.name for p in path.iterdir())
            compressed = any(name.endswith('.zstd') for name in names)
            hint = '; compressed files need their metadata.yaml' if compressed else ''
            raise BagError(
                f'{path} is no bag: it has no .mcap or .db3 file '
                f'(found {", ".join(names[:5]) or "nothing"}){hint}'
            )
        storages, errors = [], []
        for file in files:
            # A crash may leave a last file without any message.
            try:
                storages.append(self._open_file(file))
            except BagError as error:
                errors.append(str(error))
        if not storages:
            raise BagError(f'no file of {path} can be read: {"; ".join(errors)}')
        for error in errors:
            self._note(error)
        return storages

    def _open_file(self, path: Path) -> Storage:
        try:
            return _Whole(path)
        except PermissionError:
            raise BagError(f'{path} cannot be opened: permission denied') from None
        except Exception as error:
            reason = ' '.join(str(error).split()) or type(error).__name__
        damaged = DamagedMcap(path) if path.suffix == '.mcap' else DamagedSqlite(path)
        if damaged.end >= damaged.start:
            self._note(f'{path.name} has no intact end ({reason}); read as far as it goes')
            return damaged
        raise BagError(f'{path} cannot be read: {reason}')


class _Whole:
    """An intact bag or file, by its index."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        connections = self._reader.connections
        self.topics = {c.topic: _full(c.msgtype) for c in connections}
        self.counts = {}
        for connection in connections:
            self.counts.setdefault(connection.topic, 0)
            self.counts[connection.topic] += connection.msgcount
        self.start, self.end = self._reader.start_time, self._reader.end_time - 1
        if not self._reader.message_count:
            self.start, self.end = 0, -1

    def raw(
        self, topics: set[str], start: int | None, stop: int | None
    ) -> Iterator[tuple[str, int, bytes]]:
        wanted = [c for c in self._reader.connections if c.topic in topics]
        if wanted:  # none would mean all
            for connection, receipt, data in self._reader.messages(wanted, start, stop):
                yield connection.topic, receipt, data


def write_bag(path: Path, messages: Iterable[tuple[str, int, Any]]) -> Path:
    """Write messages of the standard types as a new MCAP bag.

    :param messages: topic, receipt [ns] and message, in the order of the receipts.
    """
    ends: dict[str, Any] = {}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, receipt, message in messages:
            kind = message.__msgtype__
            if topic not in ends:
                ends[topic] = writer.add_connection(topic, kind, typestore=types())
            writer.write(ends[topic], receipt, types().serialize_cdr(message, kind))
    return path


@cache
def types() -> Any:
    """The standard message types; those that are read here are alike in every distribution."""
    return get_typestore(Stores.ROS2_HUMBLE)


def check_topics(bag: Bag, wanted: dict[str, str]) -> None:
    """Refuse a bag that lacks a topic, or has it with another type.

    :param wanted: topic to type.
    :raises BagError: with what the bag has beside what was asked for.
    """
    lacking = [topic for topic in wanted if topic not in bag.topics]
    if lacking:
        found = ', '.join(f'{name} ({kind})' for name, kind in sorted(bag.topics.items()))
        raise BagError(
            f'{bag.path} has no {", ".join(lacking)}; it has {found or "no topic at all"} '
            f'(set camera_topics, state_topics and outputs in --params-file)'
        )
    for topic, kind in wanted.items():
        if bag.topics[topic] != kind:
            raise BagError(
                f'{bag.path}: {topic} is a {shorten(bag.topics[topic])}, expected {kind} '
                f'(set camera_types, state_types or outputs in --params-file)'
            )


def _full(name: str) -> str:
    """'package/Type', as some recorders write it, as 'package/msg/Type'."""
    return name if name.count('/') == 2 else name.replace('/', '/msg/')


def _number(path: Path) -> tuple[int, str]:
    """Files of one bag end in _0, _1, ... _10."""
    match = re.search(r'_(\d+)$', path.stem)
    return (int(match[1]) if match else -1, path.name)
