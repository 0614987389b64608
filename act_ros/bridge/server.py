"""The ZMQ server: one request, one control step, one reply."""

import errno
import logging
import math
import os
import queue
import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np
import zmq

from act_ros.bridge import protocol
from act_ros.bridge.refusals import Refusals
from act_ros.errors import ActError

log = logging.getLogger(__name__)

_GRACE = 0.5  # [s] that `stop` leaves to the request in hand
_QUIET = 0.05  # [s] without a further request, after which nobody waits any more
_MAX_ENVELOPE = 16  # frames of an envelope: the client, proxies, and the empty one
_MAX_ADDRESS = 255  # bytes in one of them, as ZMQ itself has it

_LOOPBACK = re.compile(r'tcp://(127\.[\d.]+|localhost|\[::1\]):.*|(ipc|inproc)://.*')


class Actor(Protocol):
    """What the server serves: `act_ros.policy.Rollout`."""

    def act(self, qpos: np.ndarray, images: dict[str, np.ndarray]) -> np.ndarray: ...

    def reset(self) -> None: ...


@dataclass(slots=True)
class _Message:
    """A message from a client.

    :ivar envelope: the client's number, perhaps those of proxies on the way, an empty frame.
    :ivar size: how many frames follow, of which `request` is the first.
    """

    envelope: list[zmq.Frame]
    size: int
    request: zmq.Frame


class PolicyServer:
    """Serves an actor to REQ sockets, one request at a time.

    Every request gets a reply, whatever it holds; a frame above 64 MB is dropped with its
    connection. How many frames a peer strings together libzmq does not limit: whoever reaches
    the port can fill the memory.

    The socket has a thread of its own from the beginning, which never waits for the actor: so
    that `stop` is answered at once to all who wait. `run` is the actor's thread.

    :param actor: gives the action of each step; one for the server alone.
    :param endpoint: where to listen, e.g. `tcp://127.0.0.1:5555`.
    :ivar endpoint: where it listens, with the port's number.
    :ivar requests: how many the actor's thread has answered.
    :ivar errors: how many of them with ERROR.
    :ivar failure: what ended the server without `stop`; None while it serves.
    :raises ActError: the endpoint cannot be bound.
    """

    def __init__(self, actor: Actor, endpoint: str = protocol.DEFAULT_ENDPOINT) -> None:
        self._actor = actor
        self.requests = 0
        self.errors = 0
        self.failure: BaseException | None = None
        self._refusals = Refusals()
        self._context = zmq.Context()
        self._socket = _bound_socket(self._context, endpoint)
        self.endpoint: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        if not _LOOPBACK.fullmatch(self.endpoint):
            log.warning(
                '%s is open to the network: the protocol knows no password, so whoever reaches '
                'it can ask for actions and reset the episode', self.endpoint,
            )  # fmt: skip
        self._wake_read, self._wake_write = os.pipe()
        # Not closed by `run`: `stop` may come after its end, and must not write to another's file.
        closing = weakref.finalize(self, _close_pipe, self._wake_read, self._wake_write)
        closing.atexit = False  # the threads may still run then
        self._stopping = False
        # One request at a time goes to the actor's thread, None at the end, and its reply back.
        self._requests: SimpleQueue[_Message | None] = SimpleQueue()
        self._replies: deque[bytes] = deque()
        self._in_hand: list[zmq.Frame] | None = None  # the envelope of that request
        self._courier = threading.Thread(target=self._carry, name='zmq socket', daemon=True)
        self._courier.start()

    def run(self) -> None:
        """Answer requests until `stop`.

        :raises Exception: what ended the server otherwise; also in `failure`.
        """
        try:
            while not self._stopping and self._answer_next():
                pass
            self._refusals.tell()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self.close()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Answer no more requests. For any thread or signal handler; returns at once.

        Those that wait get an ERROR that says so. The one in hand has half a second left, and
        then gets the same. The address is free within a second, whatever the actor does.
        """
        self._stopping = True
        os.write(self._wake_write, b'\0')

    def close(self, timeout: float | None = None) -> None:
        """Stop, and wait until the address is free.

        :param timeout: the longest wait [s]; None = as long as it takes, a second at most.
        """
        self.stop()
        self._courier.join(timeout)

    # --- the actor's thread

    def _answer_next(self) -> bool:
        """Answer the next request; False at the end."""
        try:
            message = self._requests.get(timeout=self._refusals.tell_when_due())
        except queue.Empty:
            return True
        if message is None:
            return False
        started = time.perf_counter()
        self._replies.append(self._answer(message))
        os.write(self._wake_write, b'\0')
        log.debug('answered in %.1f ms', (time.perf_counter() - started) * 1e3)
        return True

    def _answer(self, message: _Message) -> bytes:
        """The reply to a request; never raises."""
        self.requests += 1
        try:
            if message.size != 1:
                raise protocol.ProtocolError(
                    f'the request has {message.size} frames, expected one pickled object'
                )
            request = protocol.parse_request(message.request.buffer)
            if isinstance(request, str):
                self._actor.reset()
                return protocol.ok()
            return protocol.ok(self._actor.act(request['qpos'], request['images']))
        except ActError as error:
            return self._refuse(str(error))
        except Exception as error:  # a fault in here must not take the server down
            return self._refuse(f'the policy failed: {type(error).__name__}: {error}', error)

    def _refuse(self, text: str, fault: Exception | None = None) -> bytes:
        self.errors += 1
        text = protocol.one_line(text)
        self._refusals.add(text, fault)
        return protocol.error(text)

    # --- the socket's thread

    def _carry(self) -> None:
        """Bring requests to the actor's thread, and its replies back, until `stop`."""
        poller = zmq.Poller()
        poller.register(self._wake_read, zmq.POLLIN)
        try:
            while not self._stopping:
                # Further requests wait in the socket, and in their clients.
                poller.register(self._socket, 0 if self._in_hand else zmq.POLLIN)
                self._exchange(dict(poller.poll()), self._hand_over)
            poller.register(self._socket, zmq.POLLIN)
            self._take_leave(poller)
        except Exception as error:
            self.failure = error
        finally:
            self._context.destroy()
            self._requests.put(None)

    def _hand_over(self, message: _Message) -> None:
        self._in_hand = message.envelope
        self._requests.put(message)

    def _take_leave(self, poller: zmq.Poller) -> None:
        """Tell all who wait that they do so in vain."""
        reply = protocol.error(protocol.STOPPING)

        def refuse(message: _Message) -> None:
            self._send(message.envelope, reply)

        deadline = time.monotonic() + _GRACE
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(math.ceil(min(left, _QUIET) * 1e3)))
            if not ready and not self._in_hand:
                break
            self._exchange(ready, refuse)
        if self._in_hand:
            self._send(self._in_hand, reply)

    def _exchange(
        self, ready: Mapping[object, int], deliver: Callable[[_Message], None]
    ) -> None:
        """Send the reply that is there, and receive a message if one is."""
        if self._wake_read in ready:
            os.read(self._wake_read, 64)
        if self._in_hand and self._replies:
            self._send(self._in_hand, self._replies.popleft())
            self._in_hand = None
        if self._socket in ready and (message := self._receive()):
            deliver(message)

    def _receive(self) -> _Message | None:
        """A message with an envelope; others are dropped."""
        frames, count = [], 0
        more = True
        while more:
            frame = self._socket.recv(copy=False)
            more = bool(self._socket.getsockopt(zmq.RCVMORE))
            count += 1
            if count <= _MAX_ENVELOPE + 1:  # what is too much is counted
                frames.append(frame)
        empty = next((i for i, frame in enumerate(frames) if i > 0 and not len(frame)), count)
        # What is sent back to a peer that does not read shall not fill the memory.
        short = all(len(frame) <= _MAX_ADDRESS for frame in frames[:empty])
        if empty + 1 >= len(frames) or not short:
            log.debug('dropped a message without an envelope')
            return None
        return _Message(frames[: empty + 1], count - empty - 1, frames[empty + 1])

    def _send(self, envelope: list[zmq.Frame], reply: bytes) -> None:
        # It never waits: a ROUTER drops what a peer that does not read has no room for.
        self._socket.send_multipart([*envelope, reply])


def _bound_socket(context: zmq.Context, endpoint: str) -> zmq.Socket:
    # Not a REP: after a message without a REQ's envelope from a peer that is gone (a port
    # scanner will do) libzmq's REP loses its answer to whoever asks next.
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.MAXMSGSIZE, protocol.MAX_MESSAGE_BYTES)
    # One message in hand and one waiting a client; more stay in the client's own buffers.
    socket.setsockopt(zmq.RCVHWM, 1)
    socket.setsockopt(zmq.LINGER, 200)
    # A robot that lost its network never says goodbye: its connection shall not stay for good.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    socket.setsockopt(zmq.IPV6, protocol.is_ipv6(endpoint))
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        context.destroy()
        raise ActError(_bind_error(endpoint, error)) from None
    return socket


def _close_pipe(*ends: int) -> None:
    for end in ends:
        os.close(end)


def _bind_error(endpoint: str, error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f'address in use: {endpoint}; another server runs there, stop it or choose another '
            f'port with --endpoint'
        )
    return (
        f'cannot listen on {endpoint!r}: {error.strerror or error}; expected '
        f'tcp://ADDRESS:PORT, e.g. {protocol.DEFAULT_ENDPOINT}'
    )
