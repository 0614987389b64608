"""ZMTP 3.0 and 3.1, the side of a ROUTER that listens, without I/O: bytes in, messages out.

RFC 23 and RFC 37 of ZeroMQ. Peers are REQ and DEALER sockets, as libzmq 4 and newer have them.
Whoever has the socket asks `Connection.buffer` where the next bytes go, puts them there, and
tells `received` how many they are; what is to be sent stands in `outgoing`.

A large frame is received into the buffer that it stays in. That buffer grows with the bytes that
have come: a length that a peer claims costs nothing.
"""

import struct
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

MORE, LONG, COMMAND = 1, 2, 4  # flags of a frame

GREETING = 64
_SIGNATURE = b'\xff' + bytes(8) + b'\x7f'
_VERSION = b'\x03\x01'
_PEERS = ('REQ', 'DEALER')

_STAGING = 16 * 1024  # bytes of a connection's own buffer, for all but large frames
_MAX_COMMAND = 4096  # bytes; must fit into it
_FIRST = 64 * 1024  # bytes of a large frame's buffer to begin with,
_STEP = 4 * 1024 * 1024  # and by how many it grows at most
_MAX_NAME = 255  # bytes of an identity

T = TypeVar('T')
# Parts of the conversation: each yields where it needs bytes that have not come.
Talk = Generator[None, None, T]


class ViolationError(Exception):
    """The peer did what it must not: its connection is to be closed.

    :ivar reason: a word or two, the same for the same fault.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Received:
    """A message, whole.

    :ivar frames: each in memory of its own.
    :ivar dropped: how many further frames it had that were above the bounds.
    :ivar started: when its first byte came, on the caller's clock.
    :ivar received: when its last came.
    """

    frames: list[memoryview]
    dropped: int
    started: float
    received: float


class Mechanism(Protocol):
    """A security mechanism: one object a connection.

    :ivar name: in the greeting.
    :ivar overhead: bytes by which `seal` makes a frame longer; 0 where frames go as they are.
    """

    name: bytes
    overhead: int

    def begin(self) -> bytes:
        """The command that follows the greeting unasked; empty where there is none."""
        ...

    def answer(self, command: bytes) -> tuple[bytes, bytes | None]:
        """The answer to a command of the handshake, empty where there is none.

        :returns: it, and the peer's metadata where this was the last.
        :raises ViolationError: the peer may not go on.
        """
        ...

    def seal(self, flags: int, data: bytes | memoryview) -> bytes:
        """The body of the frame that carries a frame."""
        ...

    def unseal(self, body: memoryview) -> tuple[int, memoryview]:
        """The frame that a frame's body carries: its flags and its body, in the same memory."""
        ...


class Null:
    """The mechanism NULL: whoever comes is welcome."""

    name = b'NULL'
    overhead = 0

    def begin(self) -> bytes:
        return b'\x05READY' + METADATA

    def answer(self, command: bytes) -> tuple[bytes, bytes | None]:
        if not command.startswith(b'\x05READY'):
            raise ViolationError('handshake')
        return b'', command[6:]

    def seal(self, flags: int, data: bytes | memoryview) -> bytes:
        raise NotImplementedError

    def unseal(self, body: memoryview) -> tuple[int, memoryview]:
        raise NotImplementedError


class Connection:
    """One connection, from its first byte on.

    :param mechanism: of the handshake.
    :param max_frames: how many frames of a message are kept; others are dropped as they come.
    :param max_message: bytes of a message that are kept, and the most that a frame may have.
    :param max_waiting: messages that may wait; then no more are read until one is `done`.
    :ivar identity: what the peer calls itself, perhaps nothing; None until the handshake is done.
    :ivar outgoing: what is to be sent, in order; whoever sends takes it away.
    :ivar begun: when the message began that has come in part; None where there is none.
    :ivar paused: no more bytes are wanted until `done`.
    """

    def __init__(
        self, mechanism: Mechanism, *, max_frames: int, max_message: int, max_waiting: int
    ) -> None:
        self._mechanism = mechanism
        self._max_frames, self._max_message = max_frames, max_message
        self._max_waiting = max_waiting
        self.identity: bytes | None = None
        self.outgoing: deque[bytes | memoryview] = deque([greeting(mechanism.name)])
        self.begun: float | None = None
        self.paused = False
        self._now = 0.0
        self._staging = bytearray(_STAGING)
        self._start = self._end = 0  # what of it has come and is not yet read
        self._body: bytearray | None = None  # of a large frame that has come in part
        self._filled = 0
        self._kept = 0  # bytes of the whole frames of the message that has come in part
        self._messages: list[Received] = []
        self._waiting: deque[int] = deque()  # sizes of the messages that are not `done`
        self._held = 0  # their sum
        self._talk = self._converse()
        next(self._talk)

    def buffer(self) -> memoryview:
        """Where the next bytes go; not to be kept. Not to be asked for where `paused`."""
        if self._body is not None:
            return memoryview(self._body)[self._filled :]
        if self._end == len(self._staging) or self._start == self._end:
            left = self._end - self._start
            self._staging[:left] = self._staging[self._start : self._end]
            self._start, self._end = 0, left
        return memoryview(self._staging)[self._end :]

    def received(self, count: int, now: float) -> list[Received]:
        """Read on: bytes have been put into `buffer`.

        :param count: how many.
        :param now: when they came.
        :returns: the messages that are whole by now.
        :raises ViolationError: the connection is to be closed.
        """
        self._now = now
        if self._body is not None:
            self._filled += count
        else:
            self._end += count
        return self._read_on()

    def done(self) -> None:
        """A message, the oldest, is answered or dropped."""
        self._held -= self._waiting.popleft()

    def proceed(self) -> list[Received]:
        """Read on after `done` where that was `paused`.

        :returns: the messages that are whole by now.
        :raises ViolationError: the connection is to be closed.
        """
        return self._read_on() if self.paused else []

    def send(self, frames: Iterable[bytes | memoryview]) -> None:
        """Put a message behind what is outgoing."""
        frames = list(frames)
        for i, frame in enumerate(frames):
            flags = MORE if i + 1 < len(frames) else 0
            if self._mechanism.overhead:
                flags, frame = 0, self._mechanism.seal(flags, frame)
            self.outgoing.append(_header(flags, len(frame)))
            if len(frame):
                self.outgoing.append(frame)

    @property
    def held(self) -> int:
        """Bytes of messages: those that are not `done`, and the one that has come in part."""
        return self._held + self._kept + (len(self._body) if self._body is not None else 0)

    def _read_on(self) -> list[Received]:
        next(self._talk)
        messages, self._messages = self._messages, []
        return messages

    # --- the conversation, from top to bottom

    def _converse(self) -> Talk[None]:
        yield from self._read_greeting()
        self._send_command(self._mechanism.begin())
        metadata = None
        while metadata is None:
            command = yield from self._read_handshake()
            answer, metadata = self._mechanism.answer(command)
            if metadata is not None:
                identity = _check_metadata(metadata)
            self._send_command(answer)
        self.identity = identity
        while True:
            yield from self._read_message()
            while self._is_full():
                self.paused = True
                yield
            self.paused = False

    def _read_greeting(self) -> Talk[None]:
        signature = yield from self._take(1)
        if signature != b'\xff':  # ZMTP 1.0, or something else
            raise ViolationError('not zmtp 3')
        signature = yield from self._take(9)
        if signature[8] != 0x7F:
            raise ViolationError('not zmtp 3')
        version = yield from self._take(1)
        if version < b'\x03':
            raise ViolationError('not zmtp 3')
        rest = yield from self._take(GREETING - 11)
        if rest[1:21] != self._mechanism.name.ljust(20, b'\0'):
            raise ViolationError('mechanism')

    def _read_handshake(self) -> Talk[bytes]:
        flags, size = yield from self._read_header()
        if not flags & COMMAND:
            raise ViolationError('handshake')
        return (yield from self._take(size))

    def _read_message(self) -> Talk[None]:
        """One message, and the commands before it and in it."""
        frames: list[memoryview] = []
        dropped, more = 0, True
        while more:
            flags, size = yield from self._read_header()
            if self.begun is None:
                self.begun = self._now
            if self._mechanism.overhead:
                body = yield from self._read_body(size)
                flags, body = self._mechanism.unseal(body)
                size = len(body)
            elif flags & COMMAND:
                body = memoryview((yield from self._take(size)))
            elif dropped or not self._fits(len(frames), size):
                yield from self._skip(size)
            else:
                body = yield from self._read_body(size)
            if flags & COMMAND:
                self._obey(bytes(body))
                if not frames:
                    self.begun = None
                continue
            more = bool(flags & MORE)
            if dropped or not self._fits(len(frames), size):
                dropped += 1
            else:
                frames.append(body)
                self._kept += size
        self._messages.append(Received(frames, dropped, self.begun or self._now, self._now))
        self._waiting.append(self._kept)
        self._held += self._kept
        self._kept, self.begun = 0, None

    def _fits(self, frames: int, size: int) -> bool:
        """Whether a frame can be kept behind so many others of its message."""
        return frames < self._max_frames and self._kept + size <= self._max_message

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._max_waiting or self._held > self._max_message

    def _obey(self, command: bytes) -> None:
        """A command between messages: PING is answered, ERROR ends it, others are for others."""
        if command.startswith(b'\x04PING'):
            self._send_command(b'\x04PONG' + command[7:23])
        elif command.startswith(b'\x05ERROR'):
            raise ViolationError('error')

    # --- reading

    def _read_header(self) -> Talk[tuple[int, int]]:
        """Flags and size of the next frame."""
        flags, size = yield from self._take(2)
        if flags & LONG:
            rest = yield from self._take(7)
            size = int.from_bytes(bytes([size]) + rest, 'big')
        if flags > 7 or (flags & COMMAND and flags & MORE):
            raise ViolationError('frame')
        sealed = self._mechanism.overhead if self.identity is not None else 0
        if flags & MORE and sealed:
            raise ViolationError('frame')
        small = flags & COMMAND and not sealed
        if size > (_MAX_COMMAND if small else self._max_message + sealed):
            raise ViolationError('too large')
        return flags, size

    def _take(self, count: int) -> Talk[bytes]:
        """The next bytes, few enough for the staging buffer."""
        while self._end - self._start < count:
            yield
        start = self._start
        self._start += count
        return bytes(self._staging[start : self._start])

    def _skip(self, count: int) -> Talk[None]:
        while True:
            here = min(count, self._end - self._start)
            self._start += here
            count -= here
            if not count:
                return
            yield

    def _read_body(self, size: int) -> Talk[memoryview]:
        here = min(size, self._end - self._start)
        body = bytearray(size if here == size else min(size, _FIRST))
        body[:here] = self._staging[self._start : self._start + here]
        self._start += here
        if here < size:
            self._body, self._filled = body, here
            while self._filled < size:
                if self._filled == len(body):
                    body += bytes(min(len(body), _STEP, size - len(body)))
                yield
            self._body = None
        return memoryview(body)

    def _send_command(self, body: bytes) -> None:
        if not body:
            return
        flags = COMMAND
        if self._mechanism.overhead and self.identity is not None:
            flags, body = 0, self._mechanism.seal(COMMAND, body)
        self.outgoing.append(_header(flags, len(body)) + body)


def greeting(mechanism: bytes) -> bytes:
    """The first bytes of a server with a mechanism."""
    start = _SIGNATURE + _VERSION + mechanism.ljust(20, b'\0')
    return (start + bytes([mechanism != b'NULL'])).ljust(GREETING, b'\0')


def metadata(**properties: bytes) -> bytes:
    """Properties as READY carries them; `_` in a name stands for `-`."""
    data = b''
    for name, value in properties.items():
        data += struct.pack('>B', len(name)) + name.replace('_', '-').encode()
        data += struct.pack('>I', len(value)) + value
    return data


METADATA = metadata(Socket_Type=b'ROUTER', Identity=b'')


def _header(flags: int, size: int) -> bytes:
    if size <= 255:
        return bytes((flags, size))
    return struct.pack('>BQ', flags | LONG, size)


def _check_metadata(data: bytes) -> bytes:
    """The identity of a peer that may be served.

    :raises ViolationError: it may not.
    """
    properties = {}
    while data:
        name, data = _split(data, 1)
        value, data = _split(data, 4)
        properties[name.lower()] = value
    if properties.get(b'socket-type', b'').decode('ascii', 'replace') not in _PEERS:
        raise ViolationError('socket type')
    identity = properties.get(b'identity', b'')
    if len(identity) > _MAX_NAME:
        raise ViolationError('metadata')
    return identity


def _split(data: bytes, width: int) -> tuple[bytes, bytes]:
    """A string behind its length of so many bytes, and the rest."""
    end = width + int.from_bytes(data[:width], 'big')
    if len(data) < end:
        raise ViolationError('metadata')
    return data[width:end], data[end:]
