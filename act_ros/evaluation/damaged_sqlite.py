"""A sqlite3 bag that is cut or damaged, as a crash or a full disk leaves it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path


class DamagedSqlite:
    """The rows that can be read, in the order in which they were written.

    :param path: of the file.
    :ivar topics: name to type.
    :ivar start: receipt of the first message [ns].
    :ivar end: receipt of the last message [ns]; before the start where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.start, self.end = 2**63 - 1, -1
        for _, receipt, _ in self._scan():
            self.start, self.end = min(self.start, receipt), max(self.end, receipt)

    def raw(
        self, topics: set[str], start: int | None, stop: int | None
    ) -> Iterator[tuple[str, int, bytes]]:
        """Messages between two receipts."""
        for topic, receipt, data in self._scan():
            late_enough = start is None or receipt >= start
            if topic in topics and late_enough and (stop is None or receipt < stop):
                yield topic, receipt, data

    def _scan(self) -> Iterator[tuple[str, int, bytes]]:
        """Row by row until the first page that is not what it should be."""
        connection = sqlite3.connect(f'file:{self._path}?immutable=1', uri=True)
        try:
            # Nothing is written; without it sqlite refuses a file that is shorter than it says.
            connection.execute('PRAGMA writable_schema = ON')
            names = {}
            for number, name, kind in connection.execute('SELECT id, name, type FROM topics'):
                names[number], self.topics[name] = name, kind
            # By the table itself: the index of the timestamps may be what is missing.
            rows = connection.execute(
                'SELECT topic_id, timestamp, data FROM messages ORDER BY id'
            )
            for number, receipt, data in rows:
                if number in names:
                    yield names[number], receipt, data
        except sqlite3.DatabaseError:
            return
        finally:
            connection.close()
