"""A file without its index: what is in it shows only in reading it from the beginning."""

from collections.abc import Iterator
from pathlib import Path


class Damaged:
    """What can be read of a file, as far as it goes.

    :param path: of the file.
    :ivar topics: name to type.
    :ivar counts: nothing: how many messages there should be is not known.
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
        """Messages between two receipts, in the order in which they were written."""
        for topic, receipt, data in self._scan():
            late_enough = start is None or receipt >= start
            if topic in topics and late_enough and (stop is None or receipt < stop):
                yield topic, receipt, data

    def _scan(self) -> Iterator[tuple[str, int, bytes]]:
        """Every message: topic, receipt, CDR; fills `topics`."""
        raise NotImplementedError
