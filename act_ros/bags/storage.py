"""What a file of a bag is to its reader."""

from collections import Counter
from collections.abc import Callable, Iterator, Set
from typing import Any, Protocol

Connection = tuple[str, str]  # topic and type, as 'sensor_msgs/msg/Image'
RawMessage = tuple[str, int, bytes]  # topic, receipt [ns], CDR


class Storage(Protocol):
    """One file of a bag, open for reading."""

    counts: Counter[Connection]  # its messages
    start: int  # receipt of the first message [ns]
    end: int  # and of the last

    @property
    def close(self) -> Callable[[], Any]: ...

    def raw(
        self, wanted: Set[Connection], start: int, stop: int
    ) -> Iterator[RawMessage]:
        """Messages from one receipt up to another, in the order of these."""
        ...


def full_type(name: str, encoding: str = 'cdr') -> str:
    """A type's name as 'package/msg/Type', told apart where its messages are no CDR."""
    full = name if name.count('/') == 2 else name.replace('/', '/msg/')
    return full if encoding in ('cdr', '') else f'{full} ({encoding})'
