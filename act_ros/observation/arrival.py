"""When something arrived, and whether that makes it too old."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Arrival(NamedTuple):
    """When a message came, and how old what it says is.

    :ivar header: the stamp in its header [ns]; 0 where it has none.
    :ivar stamp: that its age counts from [ns].
    :ivar receipt: when it came, or the newest that repeats its header stamp [ns].
    :ivar repeated: messages with the same header stamp since.
    """

    header: int
    stamp: int
    receipt: int
    repeated: int = 0

    def again(self, receipt: int) -> 'Arrival':
        """The same, and a message that repeats its stamp."""
        return Arrival(self.header, self.stamp, receipt, self.repeated + 1)


class Lateness(NamedTuple):
    """What is wrong with an arrival's time.

    :ivar kind: alike for arrivals that one remedy helps.
    :ivar text: behind the name of what is late.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Ageing:
    """From what on an arrival is too old.

    :ivar by_header: whether ages count from header stamps, or from receipts.
    :ivar max_age: [ns].
    """

    by_header: bool
    max_age: int

    @property
    def window(self) -> int:
        """Within which a publisher that is there sends again [ns]."""
        return max(1_000_000_000, 2 * self.max_age)

    def arrival(self, message: Any, receipt: int) -> Arrival:
        """The arrival of a message that came at `receipt` [ns]."""
        header = stamp_ns(message)
        return Arrival(header, (header if self.by_header else 0) or receipt, receipt)

    def lateness(self, arrival: Arrival, now: int) -> Lateness | None:
        """What is wrong with an arrival at `now` [ns], or None."""
        _, stamp, receipt, repeated = arrival
        age, delay = now - stamp, receipt - stamp
        if -self.max_age <= age <= self.max_age and delay <= self.max_age:
            return None
        coming, limit = now - receipt <= self.max_age, f'max_age {self.max_age / 1e9:g} s'
        if age > self.max_age and repeated and coming:
            return Lateness(
                'frozen',
                f'is frozen: {repeated} messages with the same stamp, {age / 1e9:.3f} s old, '
                f'{limit}',
            )
        if delay > self.max_age and coming:
            return Lateness(
                'late',
                f'is stamped {delay / 1e9:.3f} s before it arrived, {limit}: the clocks differ, '
                f'or its driver is late (synchronise them, or set stamp_source: receipt)',
            )
        if age > self.max_age:
            return Lateness('stale', f'is stale: {age / 1e9:.3f} s old, {limit}')
        if age < -self.max_age:
            return Lateness(
                'future',
                f'is stamped {-age / 1e9:.3f} s in the future: the clocks differ (synchronise '
                f'them, or set stamp_source: receipt)',
            )
        return None


def stamp_ns(message: Any) -> int:
    """The header stamp of a message [ns]; 0 of one that has no header."""
    header = getattr(message, 'header', None)
    if header is None:
        return 0
    stamp = header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec
