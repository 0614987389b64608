"""A sqlite3 bag that is cut or damaged, as a crash or a full disk leaves it."""

import sqlite3
from collections.abc import Iterator

from act_ros.evaluation.damaged import Damaged


class DamagedSqlite(Damaged):
    """The rows that can be read."""

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
