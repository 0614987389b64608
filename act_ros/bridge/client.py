"""A client of a policy server: of the documented protocol, and of the new requests."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zmq

from act_ros import plain_pickle
from act_ros.bridge import protocol
from act_ros.bridge.channel import (
    LONGEST,
    SILENCE,
    Channel,
    PolicyTimeoutError,
    ServerError,
    SessionLostError,
    client_keys,
    connect,
    encoded,
)
from act_ros.bridge.patience import Patience
from act_ros.errors import ActError

_GROWTH = 1.5  # of the wait for an answer, each time that a request is sent again

__all__ = ['PolicyClient', 'PolicyTimeoutError', 'ServerError', 'SessionLostError']


class PolicyClient:
    """Asks a server for actions.

    Without a `session` it speaks the documented protocol: each call of `act` is the next step of
    the connection's episode, and after one that gets no answer in time there is another
    connection, where the server may begin another episode. With a session, a request
    that gets no answer is sent again under the same id within the time-out, and is never two
    steps; the episode outlives the connection, and where the server has lost it, that is said.

    :param endpoint: of the server.
    :param timeout: longest wait for an answer [s].
    :param session: name of the episode, 1 to 64 printable ASCII characters; '' = the documented
        protocol, which every server knows.
    :param curve_dir: folder with the client's `NAME.key_secret` and `server.key`; '' = no CURVE.
    :param jpeg_quality: of images in new requests, 1 to 100; 0 = as they are. From 90 on colours
        are as sharp as the rest.
    :raises ActError: the time-out or the endpoint is none, or there are no such keys.
    """

    def __init__(
        self,
        endpoint: str = protocol.DEFAULT_ENDPOINT,
        *,
        timeout: float = 5.0,
        session: str = '',
        curve_dir: str | Path = '',
        jpeg_quality: int = 0,
    ) -> None:
        if not 0.001 <= timeout <= LONGEST:
            raise ActError(f'timeout is {timeout:g} s, expected 0.001 to {LONGEST}')
        if not 0 <= jpeg_quality <= 100:
            raise ActError(f'jpeg_quality is {jpeg_quality}, expected 0 to 100')
        self.endpoint = endpoint
        self._timeout, self._session = timeout, session
        self._quality = jpeg_quality
        self._keys = client_keys(Path(curve_dir)) if curve_dir else None
        self._context = zmq.Context()
        self._socket: zmq.Socket | None = None
        self._channel: Channel | None = None
        self._patience = Patience(timeout)
        self._begun = ''  # epoch of the server that has the episode; '' = whichever

    def reset(self) -> None:
        """Begin a new episode.

        :raises PolicyTimeoutError: no answer within the time-out.
        :raises ServerError: the server refused.
        """
        if self._session:
            self._begun = ''
            self._ask('reset', session=self._session)
            self._begun = self.epoch
        else:
            self.call(protocol.RESET)

    def act(
        self, qpos: np.ndarray, images: Mapping[str, np.ndarray], step: int | None = None
    ) -> np.ndarray:
        """The action of a step.

        :param qpos: (state_dim,) float32 or float64, as the policy was trained.
        :param images: camera name to (H, W, 3) uint8 RGB.
        :param step: that the observation is of, in a session; None = one after the last.
        :returns: (action_dim,) float64, no limits applied.
        :raises PolicyTimeoutError: no answer within the time-out.
        :raises SessionLostError: the episode of the session is gone.
        :raises ServerError: the server refused, with its reason.
        """
        if not self._session:
            if step is not None:
                raise ActError('a step belongs to a session: PolicyClient(session=NAME)')
            reply = self.call({'qpos': qpos, 'images': dict(images)})
        else:
            given: dict[str, Any] = {} if step is None else {'step': step}
            reply = self._ask(
                'act', session=self._session, qpos=qpos,
                images=encoded(images, self._quality), **given,
            )  # fmt: skip
            self._check_episode()
        return _array(reply, 'action')

    def chunk(
        self, qpos: np.ndarray, images: Mapping[str, np.ndarray], *, once: bool = False
    ) -> np.ndarray:
        """What the policy predicts from an observation, as `act` takes one; of no episode.

        :param once: ask once, and give up when an answer takes much longer than usual: whoever
            moves has a newer observation by then.
        :returns: (chunk_size, action_dim) float32, the first row for the step of the observation.
        :raises ActError: as `act`.
        """
        reply = self._ask(
            'act', once=once, reply='chunk', qpos=qpos, images=encoded(images, self._quality)
        )
        return _array(reply, 'chunk')

    def info(self) -> dict[str, Any]:
        """What the server says of its policy, as docs/zmq.md has it.

        :raises ActError: as `reset`.
        """
        return _map(self._ask('info'), 'info')

    def health(self) -> dict[str, Any]:
        """What the server says of itself, as docs/zmq.md has it.

        :raises ActError: as `reset`.
        """
        return _map(self._ask('health'), 'health')

    @property
    def epoch(self) -> str:
        """Of the server, in its last reply to a new request: another one after each start."""
        return '' if self._channel is None else self._channel.epoch

    def call(self, request: object) -> dict[str, Any]:
        """Send one request of plain data as a pickle, and return the reply.

        A request that gets no answer in time closes its socket, so that a late answer is never
        taken for that of a later request; the next call opens a new one.

        :raises PolicyTimeoutError: no answer within the time-out.
        :raises ServerError: the reply's status is ERROR.
        """
        socket = self._connected()
        try:
            socket.send(plain_pickle.dumps(request))
            reply = protocol.parse_reply(socket.recv())
        except zmq.Again:
            self._disconnect()
            raise self._silence() from None
        except BaseException:
            self._disconnect()
            raise
        if reply['status'] == 'ERROR':
            code = reply.get('error', '')
            raise ServerError(reply['message'], code if isinstance(code, str) else '')
        return reply

    def close(self) -> None:
        """Close the connections; unsent requests are dropped."""
        self._disconnect()
        self._context.destroy(linger=0)
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __enter__(self) -> 'PolicyClient':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, kind: str, *, once: bool = False, **fields: Any) -> dict[str, Any]:
        """Send a new request, several times if need be: in a session it is run once."""
        if self._channel is None:
            self._channel = Channel(self.endpoint, self._keys, max(SILENCE, self._timeout))
        channel, patience = self._channel, self._patience
        request = {'request': kind, 'id': channel.next_id(), **fields}
        deadline = time.monotonic() + (patience.seconds if once else self._timeout)
        wait = 0.0
        while (left := deadline - time.monotonic()) > 0:
            if kind in ('act', 'reset'):
                request['deadline'] = left
            # Ever longer, for a server that has become slow: what is sent again makes it slower.
            wait = max(_GROWTH * wait, patience.seconds)
            try:
                return channel.ask(request, min(left, wait))
            except PolicyTimeoutError:
                patience.lost()
                if once:
                    raise
            except ServerError as error:
                if error.code == 'expired':
                    raise PolicyTimeoutError(f'{self.endpoint}: {error}') from None
                raise
            finally:
                for took in channel.took:
                    patience.answered(took)
                channel.took.clear()
        raise self._silence()

    def _check_episode(self) -> None:
        """Whether the action is of the episode that was begun, and of no other of its name."""
        if self._begun not in ('', self.epoch):
            raise SessionLostError(
                f'{self.endpoint} was started anew, where session {self._session!r} is another '
                f'episode',
                'no_session',
            )
        self._begun = self.epoch

    def _silence(self) -> PolicyTimeoutError:
        return PolicyTimeoutError(
            f'no answer from {self.endpoint} within {self._timeout:g} s; is the server running '
            f'there?'
        )

    def _connected(self) -> zmq.Socket:
        if self._socket is None:
            socket = self._context.socket(zmq.REQ)
            socket.setsockopt(zmq.RCVTIMEO, round(self._timeout * 1000))
            socket.setsockopt(zmq.SNDTIMEO, round(self._timeout * 1000))
            connect(socket, self.endpoint, self._keys, protocol.MAX_MESSAGE_BYTES)
            self._socket = socket
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None


def _array(reply: Mapping[str, Any], name: str) -> np.ndarray:
    value = reply.get(name)
    if not isinstance(value, np.ndarray):
        raise protocol.ProtocolError(f'the reply has no {name}')
    return np.array(value)  # its own, aligned


def _map(reply: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = reply.get(name)
    if not isinstance(value, dict):
        raise protocol.ProtocolError(f'the reply has no {name}')
    return value
