"""What clients may take of the front, what it tells of them, and what it counts."""

from collections import Counter
from dataclasses import dataclass, field

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Bounds:
    """What clients may take.

    :ivar connections: at once. One more takes the place of the oldest that has not yet sent a
        message; where all have, it is refused.
    :ivar frames: of a message that are kept: an envelope of 16, the empty one, the request. Those
        above are counted and dropped as they come.
    :ivar message: bytes of a message that are kept, likewise, and the longest frame.
    :ivar memory: bytes that all connections hold together. Whoever has been longest at an
        unfinished message goes when they are used up.
    :ivar waiting: messages of a connection that are not `done`; then it is not read from.
    :ivar unread: bytes that a connection has not taken, when one more reply breaks it off.
    :ivar handshake_time: until a connection can send a message [s].
    :ivar message_time: from a message's first byte to its last, while it is being read [s].
    :ivar reply_time: in which a client must take something of what it is sent [s].
    """

    connections: int = 256
    frames: int = 18
    message: int = 64 * _MIB
    memory: int = 512 * _MIB
    waiting: int = 4
    unread: int = _MIB
    handshake_time: float = 5.0
    message_time: float = 30.0
    reply_time: float = 30.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A client is there.

    :ivar peer: its number, never used twice.
    :ivar identity: what it calls itself, mostly nothing.
    """

    peer: int
    identity: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A client sent a message.

    :ivar frames: as sent: mostly an empty one, and the request.
    :ivar started: when its first byte came [s, `time.monotonic`].
    :ivar received: when its last came.
    :ivar dropped: how many further frames it had, above the bounds.
    """

    peer: int
    frames: list[memoryview]
    started: float
    received: float
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """A client is gone. Its messages need not be `done`.

    :ivar reason: as in `Counts.closed`.
    """

    peer: int
    reason: str


Event = Opened | Message | Closed


@dataclass
class Counts:
    """What the front has seen.

    :ivar connections: open now.
    :ivar held: bytes held now, of `Bounds.memory`.
    :ivar accepted: connections since the start.
    :ivar closed: how many of them were closed, by reason: `left` and `lost` are the client's own
        end, `full` were refused, `stopped` closed by `close`.
    :ivar no_room: how often the system had no room for another connection.
    """

    connections: int = 0
    held: int = 0
    accepted: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    no_room: int = 0
