"""A sqlite3 bag, whole or as a crash or a bad disk left it: what can be read is."""

import os
import shutil
import sqlite3
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from act_ros.bags.damage import Damage, reason
from act_ros.errors import BagError

# A column of sqlite holds anything, whatever its type.
VALID = "(typeof(timestamp) = 'integer' AND typeof(data) = 'blob')"


class SqliteFile:
    """A .db3 file, open for reading; it may be deleted once it is open.

    :param path: of the file.
    :param damage: is told what is broken.
    :ivar topics: name to type.
    :ivar counts: topic to its messages.
    :ivar start: receipt of the first message [ns].
    :ivar end: receipt of the last message [ns].
    :ivar close: closes it, as does forgetting the object.
    :raises BagError: there is no message that can be read.
    """

    def __init__(self, path: Path, damage: Damage) -> None:
        self._connection = _open(path, damage)
        self.close = weakref.finalize(self, self._connection.close)
        self._names: dict[int, str] = {}
        self.topics: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.start, self.end = 2**63 - 1, -1
        self._is_intact = True
        try:
            invalid, fault = self._measure(), ''
        except sqlite3.DatabaseError as error:
            invalid, fault = 0, reason(error)
            self._is_intact = False
            self._look()
        if self.end < self.start:
            raise BagError(
                f'cannot be read: {fault}' if fault else 'is an empty bag: it holds no message'
            )
        if fault:
            damage.note(f'{path.name} has no intact end ({fault}) and is read as far as it goes')
        if invalid:
            damage.note(f'{path.name} has {invalid} rows that are no messages; left out')

    def raw(
        self, topics: set[str], start: int | None, stop: int | None
    ) -> Iterator[tuple[str, int, bytes]]:
        """Messages between two receipts, in the order of these; of a damaged file as written."""
        # The index of the timestamps may be what a damaged file has lost.
        table, order = ('', 'timestamp') if self._is_intact else ('NOT INDEXED', 'id')
        numbers = [number for number, name in self._names.items() if name in topics]
        try:
            rows = self._connection.execute(
                f'SELECT topic_id, timestamp, data FROM messages {table} '
                f'WHERE topic_id IN ({", ".join("?" * len(numbers))}) '
                f'AND timestamp >= ? AND timestamp < ? AND {VALID} ORDER BY {order}',
                (*numbers, start or 0, 2**63 - 1 if stop is None else stop),
            )
            for number, receipt, data in rows:
                yield self._names[number], receipt, data
        except sqlite3.DatabaseError:
            # A damaged file ends at the first page that is not what it should be: that is told.
            if self._is_intact:
                raise

    def _read_topics(self) -> None:
        """The topics' numbers, names and types."""
        rows = self._connection.execute('SELECT id, name, type FROM topics')
        for number, name, kind in rows:
            if isinstance(name, str) and isinstance(kind, str):
                self._names[number], self.topics[name] = name, kind

    def _measure(self) -> int:
        """Counts and times of an intact file; how many rows are no messages."""
        self._read_topics()
        rows = self._connection.execute(
            f'SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages '
            f'WHERE {VALID} GROUP BY topic_id'
        ).fetchall()
        # By the table, not by its index: what is missing in one of them is damage.
        ((total,),) = self._connection.execute('SELECT count(*) FROM messages NOT INDEXED')
        known = [row for row in rows if row[0] in self._names]
        for number, count, first, last in known:
            self.counts[self._names[number]] += count
            self.start, self.end = min(self.start, first), max(self.end, last)
        return total - self.counts.total()

    def _look(self) -> None:
        """What a damaged file has, row by row."""
        try:
            # Nothing is written; without it sqlite refuses a file that is shorter than it says.
            self._connection.execute('PRAGMA writable_schema = ON')
            self._read_topics()
        except sqlite3.DatabaseError:
            return
        for topic, receipt, _ in self.raw(set(self.topics), None, None):
            self.counts[topic] += 1
            self.start, self.end = min(self.start, receipt), max(self.end, receipt)


def _open(path: Path, damage: Damage) -> sqlite3.Connection:
    """Open a file with what a crash left in its log, and write nothing beside it."""
    log = Path(f'{path}-wal')
    if not log.is_file() or not log.stat().st_size:
        return _connect(path)
    with TemporaryDirectory() as folder:
        copy = Path(folder, 'copy.db3')
        try:
            shutil.copyfile(path, copy)
            shutil.copyfile(log, f'{copy}-wal')
            with closing(sqlite3.connect(copy)) as both:
                both.execute('PRAGMA journal_mode = DELETE')  # takes the log into the file
            connection = _connect(copy)
        except (OSError, sqlite3.Error) as error:
            damage.note(f'{log.name} cannot be read ({reason(error)}); its messages are left out')
            return _connect(path)
    damage.note(f'{log.name} was left by a crash; its messages are read from a copy')
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file as it is: no log, no lock; the connection outlives the name."""
    uri = f'file:{quote(os.fsencode(path))}?mode=ro&immutable=1'
    return sqlite3.connect(uri, uri=True, check_same_thread=False)
