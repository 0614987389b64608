"""The front: listening sockets and connections that carry ZMTP, all of it bounded.

libzmq's ROUTER bounds neither the frames of an unfinished message, nor the number of connections,
nor the memory of all of them. Here each has a bound, and who breaks one loses its connection and
nobody else's: the work of a turn is the same small piece for every connection.
"""

import contextlib
import errno
import itertools
import logging
import os
import selectors
import time
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from socket import socket as Socket
from typing import Literal

from act_ros.bridge import zmtp
from act_ros.bridge.events import Bounds, Closed, Counts, Event, Message, Opened
from act_ros.bridge.keys import ServerKeys
from act_ros.bridge.listener import Listener
from act_ros.errors import ActError

__all__ = ['Bounds', 'Closed', 'Counts', 'Event', 'Front', 'Message', 'Opened']

log = logging.getLogger(__name__)

_BOUNDS = Bounds()
_PIECE = 256 * 1024  # bytes read from a connection in a turn, at most
_ACCEPTED = 16  # connections taken in a turn, at most
_BUFFERS = 64  # given to the kernel at once
_PERIOD = 0.25  # [s] between two looks at who is late
_STALL = 1.0  # [s] without a call of `poll`, after which nobody is blamed for being late
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class _Client:
    """A connection and its socket.

    :ivar held: bytes of it in `Counts.held`.
    :ivar unsent: bytes of what is outgoing.
    :ivar opened: when it came.
    :ivar since: when reading went on, or when it last took something of what it is sent.
    :ivar served: it has sent a message.
    """

    def __init__(
        self, peer: int, socket: Socket, connection: zmtp.Connection, now: float
    ) -> None:
        self.peer, self.socket, self.connection = peer, socket, connection
        self.held = self.unsent = 0
        self.opened = self.since = now
        self.interest = 0
        self.served = self.closed = False


class Front:
    """Takes messages of REQ and DEALER sockets, and sends replies.

    All of it is for one thread, except `wake`.

    :param endpoint: where to listen, as libzmq writes it: tcp:// or ipc://.
    :param bounds: what clients may take.
    :param keys: for CURVE; None lets everyone in.
    :ivar endpoint: where it listens, with the port's number.
    :ivar counts: what it has seen.
    :raises ActError: it cannot listen there, or CURVE needs a library.
    """

    def __init__(
        self, endpoint: str, *, bounds: Bounds = _BOUNDS, keys: ServerKeys | None = None
    ) -> None:
        self._mechanism = _mechanism(keys)
        self._bounds = bounds
        self._listener = Listener(endpoint)
        self.endpoint = self._listener.endpoint
        self.counts = Counts()
        self._clients: dict[int, _Client] = {}
        self._numbers = itertools.count(1)
        self._events: list[Event] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener.socket, _READ)
        self._accepting: float | Literal[True] = True  # or when to try again
        self._woken = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, _READ)
        # Not closed by `close`: `wake` may come after it, and must not write to another's file.
        closing = weakref.finalize(self, _close_pipe, self._wake_read, self._wake_write)
        closing.atexit = False  # the threads may still run then
        self._next_look = self._called = self._blameless = time.monotonic()

    def poll(self, timeout: float | None = None) -> list[Event]:
        """Receive, send, and wait until something has happened.

        :param timeout: the longest wait [s]; None = no end of it.
        :returns: in order; perhaps nothing, after `wake` or the time-out.
        """
        now = time.monotonic()
        if now - self._called > _STALL:
            self._blameless = now
        deadline = None if timeout is None else now + timeout
        while True:
            for key, mask in self._selector.select(self._wait(deadline)):
                if key.data is not None:
                    self._exchange(key.data, mask)
                elif key.fileobj is self._listener.socket:
                    self._accept()
                else:
                    self._woken = True
            now = self._called = time.monotonic()
            if now >= self._next_look:
                self._look(now)
            if self._woken:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            if self._events or self._woken or (deadline is not None and now >= deadline):
                self._woken = False
                events, self._events = self._events, []
                return events

    def done(self, peer: int) -> None:
        """One message of a client is answered or dropped: its memory and its place are free."""
        client = self._clients.get(peer)
        if client is not None:
            client.connection.done()
            self._proceed(client)

    def send(self, peer: int, frames: Iterable[bytes | memoryview]) -> None:
        """Send a message to a client. It never waits; a client that is gone gets nothing."""
        client = self._clients.get(peer)
        if client is None:
            return
        if client.unsent > self._bounds.unread:
            self._close(client, 'unread')
            return
        client.connection.send(frames)
        self._send(client)

    def wake(self) -> None:
        """Make `poll` return. For any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):  # it is awake
            os.write(self._wake_write, b'\0')

    def close(self, linger: float = 0.0) -> None:
        """Free the address and close all connections.

        :param linger: the longest wait for clients to take what is to be sent [s].
        """
        if self._selector.get_map() is None:
            return
        if self._accepting is True:
            self._selector.unregister(self._listener.socket)
        self._listener.close()
        deadline = time.monotonic() + linger
        while True:
            for client in [*self._clients.values()]:
                if not client.unsent:
                    self._close(client, 'stopped')
            left = deadline - time.monotonic()
            if not self._clients or left <= 0:
                break
            for key, _ in self._selector.select(min(left, _PERIOD)):
                if key.data is not None:
                    self._send(key.data)
        for client in [*self._clients.values()]:
            self._close(client, 'stopped')
        self._selector.close()

    # --- connections

    def _accept(self) -> None:
        for _ in range(_ACCEPTED):
            try:
                socket = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:  # ready all the time: look away for a while
                    self.counts.no_room += 1
                    self._selector.unregister(self._listener.socket)
                    self._accepting = time.monotonic() + _PERIOD
                    return
                continue  # it was gone before it was taken
            self.counts.accepted += 1
            if len(self._clients) >= self._bounds.connections and not self._make_place():
                self.counts.closed['full'] += 1
                socket.close()
                continue
            self._open(socket)

    def _make_place(self) -> bool:
        client = next((c for c in self._clients.values() if not c.served), None)
        if client is not None:
            self._close(client, 'crowded')
        return client is not None

    def _open(self, socket: Socket) -> None:
        connection = zmtp.Connection(
            self._mechanism(), max_frames=self._bounds.frames, max_message=self._bounds.message,
            max_waiting=self._bounds.waiting,
        )  # fmt: skip
        client = _Client(next(self._numbers), socket, connection, time.monotonic())
        self._clients[client.peer] = client
        self.counts.connections += 1
        self._send(client)

    def _close(self, client: _Client, reason: str) -> None:
        if client.closed:
            return
        client.closed = True
        del self._clients[client.peer]
        if client.interest:
            self._selector.unregister(client.socket)
        client.socket.close()
        self.counts.connections -= 1
        self.counts.held -= client.held
        self.counts.closed[reason] += 1
        log.debug('connection %d closed: %s', client.peer, reason)
        if client.connection.identity is not None:
            self._events.append(Closed(client.peer, reason))

    def _exchange(self, client: _Client, mask: int) -> None:
        if mask & _WRITE and not client.closed:
            self._send(client)
        if mask & _READ and not client.closed:
            self._receive(client)

    def _receive(self, client: _Client) -> None:
        try:
            count = client.socket.recv_into(client.connection.buffer()[:_PIECE])
        except BlockingIOError:
            return
        except OSError:
            self._close(client, 'lost')
            return
        if not count:
            self._close(client, 'left')
            return
        now = time.monotonic()
        self._take(client, partial(client.connection.received, count, now))

    def _proceed(self, client: _Client) -> None:
        """Read on where the connection had enough messages waiting, or more to take from us."""
        if not client.unsent:
            self._take(client, client.connection.proceed)

    def _take(self, client: _Client, read: Callable[[], list[zmtp.Received]]) -> None:
        """Let a connection read, and pass on what comes of it."""
        connection = client.connection
        known = connection.identity is not None
        try:
            messages = read()
        except zmtp.ViolationError as violation:
            self._close(client, violation.reason)
            return
        self._weigh(client)
        if client.closed:
            return
        if not known and connection.identity is not None:
            self._events.append(Opened(client.peer, connection.identity))
        for m in messages:
            client.served = True
            self._events.append(Message(client.peer, m.frames, m.started, m.received, m.dropped))
        if connection.outgoing:
            self._send(client)
        else:
            self._watch(client)

    def _send(self, client: _Client) -> None:
        """Give the kernel what it has room for."""
        outgoing = client.connection.outgoing
        if outgoing:
            try:
                sent = client.socket.sendmsg(itertools.islice(outgoing, _BUFFERS))
            except BlockingIOError:
                sent = 0
            except OSError:
                self._close(client, 'lost')
                return
            if sent:
                client.since = time.monotonic()
            while outgoing and sent >= len(outgoing[0]):
                sent -= len(outgoing.popleft())
            if sent:
                outgoing[0] = memoryview(outgoing[0])[sent:]
        client.unsent = sum(map(len, outgoing))
        self._weigh(client)
        if not client.closed:
            self._watch(client)
            self._proceed(client)

    def _watch(self, client: _Client) -> None:
        """Ask the kernel for what the connection can do next.

        Who does not take its replies is not read from.
        """
        interest = _WRITE if client.unsent else 0 if client.connection.paused else _READ
        if interest == client.interest:
            return
        if not interest:
            self._selector.unregister(client.socket)
        elif not client.interest:
            self._selector.register(client.socket, interest, client)
        else:
            self._selector.modify(client.socket, interest, client)
        client.interest = interest
        client.since = time.monotonic()

    # --- bounds

    def _weigh(self, client: _Client) -> None:
        """Count what a connection holds; where it is too much for all, one of them goes."""
        held = client.connection.held + client.unsent
        self.counts.held += held - client.held
        client.held = held
        while self.counts.held > self._bounds.memory and not client.closed:
            unfinished = [c for c in self._clients.values() if c.connection.begun is not None]
            oldest = min(unfinished, key=lambda c: c.connection.begun or 0, default=client)
            self._close(oldest, 'memory')

    def _look(self, now: float) -> None:
        """Close what is late, and accept again where there was no room."""
        self._next_look = now + _PERIOD
        if self._accepting is not True and now >= self._accepting:
            self._accepting = True
            self._selector.register(self._listener.socket, _READ)
        bounds = self._bounds
        for client in [*self._clients.values()]:
            waited = now - max(client.since, self._blameless)
            if client.connection.identity is None:
                if now - max(client.opened, self._blameless) > bounds.handshake_time:
                    self._close(client, 'handshake time')
            elif client.unsent:
                if waited > bounds.reply_time:
                    self._close(client, 'reply time')
            elif client.connection.begun is not None and not client.connection.paused:
                waited = min(waited, now - client.connection.begun)
                if waited > bounds.message_time:
                    self._close(client, 'message time')

    def _wait(self, deadline: float | None) -> float | None:
        """How long to wait for the sockets [s]."""
        if self._events:
            return 0.0
        late = self._clients or self._accepting is not True
        ends = [end for end in (deadline, self._next_look if late else None) if end is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None


def _mechanism(keys: ServerKeys | None) -> Callable[[], zmtp.Mechanism]:
    """What makes the mechanism of each connection."""
    if keys is None:
        return zmtp.Null
    try:
        from act_ros.bridge.curve import Curve
    except ImportError:
        raise ActError(
            "CURVE needs PyNaCl, which is not installed; pip install 'act_ros[curve]' or PyNaCl"
        ) from None
    return partial(Curve, keys)


def _close_pipe(*ends: int) -> None:
    for end in ends:
        os.close(end)
