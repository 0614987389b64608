"""The ZMQ server: one request, one control step, one reply."""

import errno
import logging
import os
import re
import time
import weakref
from typing import Protocol

import numpy as np
import zmq

from act_ros.bridge import protocol
from act_ros.errors import ActError

log = logging.getLogger(__name__)

_LOOPBACK = re.compile(r'tcp://(127\.[\d.]+|localhost|\[::1\]):.*|(ipc|inproc)://.*')


class Actor(Protocol):
    """What the server serves: `act_ros.policy.Rollout`."""

    def act(self, qpos: np.ndarray, images: dict[str, np.ndarray]) -> np.ndarray: ...

    def reset(self) -> None: ...


class PolicyServer:
    """Serves an actor to REQ sockets, one request at a time.

    Every request gets a reply, whatever it holds; a frame above 64 MB is dropped with its
    connection. How many frames a peer strings together libzmq does not limit: whoever reaches
    the port can fill the memory. The socket lives in the thread that calls `run`.

    :param actor: gives the action of each step; one for the server alone.
    :param endpoint: where to listen, e.g. `tcp://127.0.0.1:5555`.
    :raises ActError: the endpoint cannot be bound.
    """

    def __init__(self, actor: Actor, endpoint: str = protocol.DEFAULT_ENDPOINT) -> None:
        self._actor = actor
        self.requests = 0
        self.errors = 0
        self._refusal = ''  # the latest, until a request is answered
        self._context = zmq.Context()
        # Not a REP: after a message without a REQ's envelope from a peer that is gone (a port
        # scanner will do) libzmq's REP loses its answer to whoever asks next.
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, protocol.MAX_MESSAGE_BYTES)
        # One message in hand and one waiting a client; more stay in the client's own buffers.
        self._socket.setsockopt(zmq.RCVHWM, 1)
        self._socket.setsockopt(zmq.LINGER, 200)
        # A robot that lost its network never says goodbye: its connection shall not stay for good.
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
        self._socket.setsockopt(zmq.IPV6, protocol.is_ipv6(endpoint))
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ActError(_bind_error(endpoint, error)) from None
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._wake_read, self._wake_write = os.pipe()
        # Not closed by `run`: `stop` may come after its end, and must not write to another's file.
        weakref.finalize(self, _close_pipe, self._wake_read, self._wake_write)
        if not _LOOPBACK.fullmatch(self.endpoint):
            log.warning(
                '%s is open to the network: the protocol knows no password, so whoever reaches '
                'it can ask for actions and reset the episode', self.endpoint,
            )  # fmt: skip

    def run(self) -> None:
        """Answer requests until `stop`, then close the socket."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_read, zmq.POLLIN)
        try:
            while self._wake_read not in dict(poller.poll()):
                self._serve_one()
        finally:
            self.close()

    def close(self) -> None:
        """Close the socket of a server that does not run; `run` does so at its end."""
        self._context.destroy()

    def stop(self) -> None:
        """Make `run` return after the request in hand. For any thread or signal handler."""
        os.write(self._wake_write, b'\0')

    def _serve_one(self) -> None:
        """Answer one request, if what has come is one."""
        frames = self._socket.recv_multipart(copy=False)
        started = time.perf_counter()
        # The peer's number, perhaps those of proxies on the way, an empty frame, the request.
        empty = next((i for i, frame in enumerate(frames) if i > 0 and not len(frame)), None)
        if empty is None or empty + 1 == len(frames):
            log.debug('dropped a message without an envelope')
            return
        reply = self._answer([frame.buffer for frame in frames[empty + 1 :]])
        self._socket.send_multipart([*frames[: empty + 1], reply])
        log.debug('answered in %.1f ms', (time.perf_counter() - started) * 1e3)

    def _answer(self, frames: list[memoryview]) -> bytes:
        """The reply to a request; never raises."""
        self.requests += 1
        try:
            if len(frames) != 1:
                raise protocol.ProtocolError(
                    f'the request has {len(frames)} frames, expected one pickled object'
                )
            request = protocol.parse_request(frames[0])
            if request == protocol.RESET:
                self._actor.reset()
                return protocol.ok()
            reply = protocol.ok(self._actor.act(request['qpos'], request['images']))
            self._refusal = ''
            return reply
        except ActError as error:
            self.errors += 1
            # A client that repeats its mistake at 50 Hz shall not fill the log with it.
            repeated, self._refusal = str(error) == self._refusal, str(error)
            log.log(logging.DEBUG if repeated else logging.WARNING, 'refused: %s', error)
            return protocol.error(str(error))
        except Exception as error:  # a fault in here must not take the server down
            self.errors += 1
            log.exception('the policy failed')
            return protocol.error(f'the policy failed: {type(error).__name__}: {error}')


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
