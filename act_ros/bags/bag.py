"""Read a recorded bag: sqlite3 or MCAP, compressed or not, whole or as far as a crash left it."""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import yaml
from zstandard import ZstdDecompressor, ZstdError

from act_ros.bags.damage import Damage, reason
from act_ros.bags.mcap_file import McapFile
from act_ros.bags.sqlite_file import SqliteFile
from act_ros.bags.typestore import typestore
from act_ros.errors import BagError

SUFFIXES = ('.mcap', '.db3')
PACKED = '.zstd'  # after these: the whole file is compressed
FIRST = 10  # messages of a topic; where none of them is of its type, the topic is not


class Recorded(NamedTuple):
    """One message of a bag.

    :ivar receipt: when it was recorded [ns].
    """

    topic: str
    receipt: int
    message: Any


class Storage(Protocol):
    """One file of a bag."""

    topics: dict[str, str]  # name to type
    counts: Mapping[str, int]  # topic to its messages
    start: int  # receipt of the first message [ns]
    end: int  # and of the last
    close: Callable[[], Any]

    def raw(
        self, topics: set[str], start: int | None, stop: int | None
    ) -> Iterator[tuple[str, int, bytes]]: ...


class Bag:
    """A bag, open for reading until it is closed or forgotten.

    :param path: a bag's folder, or a single file.
    :ivar topics: name to type, as in 'sensor_msgs/msg/Image'.
    :ivar start: receipt of the first message [ns].
    :ivar end: receipt of the last message [ns].
    :ivar damage: what is broken, one line each; grows while messages are read.
    :raises BagError: there is nothing that can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage = Damage()
        self._packed = False  # each message by itself
        self._expected = 0  # at least so many messages
        self._fitting: dict[str, bool] = {}  # topic, as far as it was asked
        try:
            self._storages = self._open()
        except OSError as error:
            raise BagError(f'{self.path} cannot be opened: {error.strerror or error}') from None
        self.topics = {
            name: _full(kind)
            for storage in self._storages
            for name, kind in storage.topics.items()
        }
        self.start = min(storage.start for storage in self._storages)
        self.end = max(storage.end for storage in self._storages)

    def __enter__(self) -> 'Bag':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        for storage in self._storages:
            storage.close()

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
    ) -> Iterator[tuple[str, int, bytes]]:
        """As `messages`, but the messages as they were serialised: CDR."""
        wanted = set(topics) & set(self.topics)
        all_of_it = (start is None or start <= self.start) and (stop is None or stop > self.end)
        for storage in self._storages:
            counts = dict.fromkeys(wanted, 0)
            try:
                messages = storage.raw(wanted, start, stop)
                for message in self._unpacked(messages) if self._packed else messages:
                    counts[message[0]] += 1
                    yield message
            except Exception as error:  # of many kinds: whatever wrong bytes make of it
                self.damage.note(
                    f'{self.path.name} is damaged and was read up to there: {reason(error)}'
                )
            else:
                if all_of_it:
                    self._compare(counts, storage.counts)

    def _unpacked(
        self, messages: Iterator[tuple[str, int, bytes]]
    ) -> Iterator[tuple[str, int, bytes]]:
        """Messages that were compressed one by one."""
        for topic, receipt, data in messages:
            try:
                yield topic, receipt, ZstdDecompressor().decompressobj().decompress(data)
            except ZstdError as error:
                self.damage.note(
                    f'{self.path}: a message of {topic} is damaged: {reason(error)}; left out'
                )

    def _compare(self, found: dict[str, int], expected: Mapping[str, int]) -> None:
        """Damage in the middle of an indexed file shows only in what it does not give."""
        for topic, count in found.items():
            if count < expected.get(topic, 0):
                self.damage.note(
                    f'{self.path.name} is damaged: of {expected[topic]} messages of {topic} '
                    f'{count} can be read'
                )

    def _decode(self, topic: str, raw: bytes) -> Any:
        kind = self.topics[topic]
        try:
            return typestore().deserialize_cdr(raw, kind)
        except Exception as error:  # of the generated code
            raise BagError(
                f'{self.path}: a message of {topic} is no {kind}: {reason(error)}'
            ) from None

    def _fits(self, topic: str) -> bool:
        """Whether any of a topic's first messages is of its type.

        Asked of the whole bag: what is read of it, and by which process, shall not matter.
        """
        if topic not in self._fitting:
            self._fitting[topic] = False
            for _, _, raw in islice(self.raw([topic]), FIRST):
                with suppress(BagError):
                    self._decode(topic, raw)
                    self._fitting[topic] = True
                    break
        return self._fitting[topic]

    def _open(self) -> list[Storage]:
        path = self.path
        if not path.exists():
            raise BagError(f'no bag {str(path)!r}; expected a folder, a .mcap or a .db3 file')
        if path.is_dir():
            files = self._files()
        elif _is_of_a_bag(path):
            files = [path]
        else:
            raise BagError(f'{path} is no bag: expected a folder, a .mcap or a .db3 file')
        storages, errors = [], []
        for file in files:
            # A crash may leave a last file without any message.
            try:
                storages.append(self._open_file(file))
            except BagError as error:
                errors.append(f'{file.name} {error}')
        if not storages:
            what = f'no file of {path} can be read' if path.is_dir() else str(path)
            raise BagError(f'{what}: {"; ".join(errors)}')
        for error in errors:
            self.damage.note(error)
        found = sum(sum(storage.counts.values()) for storage in storages)
        if found < self._expected:
            self.damage.note(
                f'metadata.yaml does not fit: it tells of {self._expected} messages, and {found} '
                f'are there'
            )
        return storages

    def _files(self) -> list[Path]:
        """The files of a folder in the order of their numbers."""
        found = {file.name: file for file in self.path.iterdir() if _is_of_a_bag(file)}
        if not found:
            names = sorted(file.name for file in self.path.iterdir())
            raise BagError(
                f'{self.path} is no bag: it has no .mcap or .db3 file '
                f'(found {", ".join(names[:5]) or "nothing"})'
            )
        names = self._read_metadata()
        missing = [name for name in names if name not in found]
        if missing:
            self.damage.note(f'metadata.yaml does not fit: there is no {", ".join(missing)}')
        if missing or not names:
            # All that are there; the unpacked one where a file is there twice.
            names = {n.removesuffix(PACKED): n for n in sorted(found, reverse=True)}.values()
        return sorted((found[name] for name in names), key=_number)

    def _read_metadata(self) -> list[str]:
        """The names of a folder's files, as far as they are known."""
        file = self.path / 'metadata.yaml'
        if not file.exists():
            self.damage.note('metadata.yaml is missing: the recording was not ended')
            return []
        try:
            about = yaml.safe_load(file.read_text(encoding='utf-8'))['rosbag2_bagfile_information']
            self._packed = str(about.get('compression_mode')).lower() == 'message'
            self._expected = int(about['message_count'])
            return [PurePath(name).name for name in about['relative_file_paths']]
        except Exception as error:  # of many kinds: it may hold anything
            self.damage.note(f'metadata.yaml cannot be read: {reason(error)}')
            return []

    def _open_file(self, path: Path) -> Storage:
        """Open a file of the bag.

        :raises BagError: there is no message that can be read.
        """
        try:
            if path.suffix != PACKED:
                path.open('rb').close()  # sqlite would not say why it cannot
                kind = McapFile if path.suffix == '.mcap' else SqliteFile
                return kind(path, self.damage)
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


def files_of(path: Path) -> list[Path]:
    """Every file that is read of a bag, what a crash left beside them included."""
    found = path.iterdir() if path.is_dir() else [path]
    data = [file for file in found if _is_of_a_bag(file)]
    beside = [path / 'metadata.yaml', *(Path(f'{file}-wal') for file in data)]
    return sorted(file for file in data + beside if file.is_file())


def _full(name: str) -> str:
    """'package/Type', as some recorders write it, as 'package/msg/Type'."""
    return name if name.count('/') == 2 else name.replace('/', '/msg/')


def _is_of_a_bag(path: Path) -> bool:
    return path.name.removesuffix(PACKED).endswith(SUFFIXES)


def _number(path: Path) -> tuple[int, str]:
    """Files of one bag end in _0, _1, ... _10."""
    match = re.search(r'_(\d+)\.(?:mcap|db3)', path.name)
    return (int(match[1]) if match else -1, path.name)
