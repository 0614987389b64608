"""A sqlite3 bag, whole or as a crash or a bad disk left it: what can be read is."""

import os
import shutil
import sqlite3
import weakref
from array import array
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import numpy as np

from act_ros.bags.damage import Damage, reason
from act_ros.bags.storage import Connection, RawMessage, full_type
from act_ros.errors import BagError

# A column of sqlite holds anything, whatever its type.
VALID = (
    "(typeof(topic_id) = 'integer' AND typeof(timestamp) = 'integer' AND timestamp >= 0 "
    "AND typeof(data) = 'blob')"
)


class SqliteFile:
    """A .db3 file, open for reading; it may be deleted once it is open.

    :param path: of the file.
    :param damage: is told what is broken.
    :ivar counts: of the messages of each topic and type.
    :ivar start: receipt of the first message [ns].
    :ivar end: receipt of the last message [ns].
    :ivar close: closes it, as does forgetting the object.
    :raises BagError: there is no message that can be read.
    """

    def __init__(self, path: Path, damage: Damage) -> None:
        self._connection = _open(path, damage)
        self.close = weakref.finalize(self, self._connection.close)
        self._topics: dict[int, Connection] = {}  # by their numbers
        self.counts: Counter[Connection] = Counter()
        self.start, self.end = 2**63 - 1, -1
        self._nameless: Counter[int] = Counter()  # messages by their number of no topic
        # Of a damaged file: the rows' numbers, topics and receipts, in the order of these.
        self._found: np.ndarray | None = None
        invalid, fault = 0, ''
        try:
            invalid = self._measure()
        except sqlite3.DatabaseError as error:
            fault = reason(error)
            self._look()
        if self._nameless:
            numbers = ', '.join(map(str, list(self._nameless)[:3]))
            damage.note(
                f'{path.name} does not say of what topic {self._nameless.total()} messages are '
                f'(topic_id {numbers}); left out'
            )
        if self.end < self.start:
            empty = 'holds no message of a topic' if self._nameless else 'holds no message'
            raise BagError(f'cannot be read: {fault}' if fault else f'is an empty bag: it {empty}')
        if fault:
            damage.note(f'{path.name} has no intact end ({fault}) and is read as far as it goes')
        if invalid:
            damage.note(f'{path.name} has {invalid} rows that are no messages; left out')

    def raw(
        self, wanted: Set[Connection], start: int, stop: int
    ) -> Iterator[RawMessage]:
        """Messages between two receipts, in the order of these."""
        names = {n: found[0] for n, found in self._topics.items() if found in wanted}
        if self._found is not None:
            return self._rows_of(self._found, names, start, stop)
        rows = self._connection.execute(
            f'SELECT topic_id, timestamp, data FROM messages '
            f'WHERE topic_id IN ({", ".join("?" * len(names))}) '
            f'AND timestamp BETWEEN ? AND ? AND {VALID} ORDER BY timestamp, id',
            (*names, start, min(stop, 2**63) - 1),
        )
        return ((names[number], receipt, data) for number, receipt, data in rows)

    def _rows_of(
        self, found: np.ndarray, names: dict[int, str], start: int, stop: int
    ) -> Iterator[RawMessage]:
        """Row by row: the index of the times may be what a damaged file has lost."""
        rows, topics, receipts = found
        inside = np.isin(topics, list(names)) & (receipts >= start) & (receipts < stop)
        for row in rows[inside].tolist():
            query = 'SELECT topic_id, timestamp, data FROM messages NOT INDEXED WHERE id = ?'
            for number, receipt, data in self._connection.execute(query, (row,)):
                yield names[number], receipt, data

    def _read_topics(self) -> None:
        """The topics' numbers, names and types."""
        rows = self._connection.execute('SELECT * FROM topics')
        columns = [column[0] for column in rows.description]
        for row in rows:
            topic = dict(zip(columns, row, strict=True))
            name, message_type = topic['name'], topic['type']
            if isinstance(name, str) and isinstance(message_type, str):
                encoding = str(topic.get('serialization_format') or '')
                connection = name, full_type(message_type, encoding)
                self._topics[topic['id']] = connection
                self.counts[connection] += 0

    def _count(self, number: int, count: int, first: int, last: int) -> None:
        """Take in messages of a topic."""
        if number not in self._topics:
            self._nameless[number] += count
            return
        self.counts[self._topics[number]] += count
        self.start, self.end = min(self.start, first), max(self.end, last)

    def _measure(self) -> int:
        """Counts and times of an intact file; how many rows are no messages."""
        self._read_topics()
        rows = self._connection.execute(
            f'SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages '
            f'WHERE {VALID} GROUP BY topic_id'
        ).fetchall()
        # By the table, not by its index: what is missing in one of them is damage.
        ((total,),) = self._connection.execute('SELECT count(*) FROM messages NOT INDEXED')
        for row in rows:
            self._count(*row)
        return total - self.counts.total() - self._nameless.total()

    def _look(self) -> None:
        """What a damaged file has, row by row until the first page that is not what it was."""
        self.counts.clear()
        found: list[array] = [array('q'), array('q'), array('q')]
        with suppress(sqlite3.DatabaseError):
            # Nothing is written; without it sqlite refuses a file that is shorter than it says.
            self._connection.execute('PRAGMA writable_schema = ON')
            self._read_topics()
            rows = self._connection.execute(
                f'SELECT id, topic_id, timestamp, data FROM messages NOT INDEXED '
                f'WHERE {VALID} ORDER BY id'
            )
            for row, number, receipt, _ in rows:
                self._count(number, 1, receipt, receipt)
                for column, value in zip(found, (row, number, receipt), strict=True):
                    column.append(value)
        table = np.array([np.frombuffer(column, np.int64) for column in found])
        self._found = table[:, np.argsort(table[2], kind='stable')]


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
