"""A client of the documented protocol."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import zmq

from act_ros import plain_pickle
from act_ros.bridge import protocol
from act_ros.errors import ActError


class ServerError(ActError):
    """The server answered ERROR; the text is its own."""


class PolicyTimeoutError(ActError):
    """No answer within the time-out. The client stays usable."""


class PolicyClient:
    """Asks a server for actions.

    A request that gets no answer in time closes its socket, so that a late answer is never
    taken for that of a later request; the next call opens a new one.

    :param endpoint: of the server.
    :param timeout: longest wait for an answer [s].
    :raises ActError: the time-out is none.
    """

    def __init__(
        self, endpoint: str = protocol.DEFAULT_ENDPOINT, *, timeout: float = 5.0
    ) -> None:
        if not 0.001 <= timeout <= 86_400:
            raise ActError(f'timeout is {timeout:g} s, expected 0.001 to 86400')
        self.endpoint = endpoint
        self._timeout_ms = round(timeout * 1000)
        self._context = zmq.Context()
        self._socket: zmq.Socket | None = None

    def reset(self) -> None:
        """Begin a new episode.

        :raises PolicyTimeoutError: no answer within the time-out.
        :raises ServerError: the server refused.
        """
        self.call(protocol.RESET)

    def act(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The action of the current step.

        :param qpos: (state_dim,) float32 or float64, as the policy was trained.
        :param images: camera name to (H, W, 3) uint8 RGB.
        :returns: (action_dim,) float64, no limits applied.
        :raises PolicyTimeoutError: no answer within the time-out.
        :raises ServerError: the server refused, with its reason.
        """
        action = self.call({'qpos': qpos, 'images': dict(images)}).get('action')
        if not isinstance(action, np.ndarray):
            raise protocol.ProtocolError('the reply has no action')
        return np.array(action)

    def call(self, request: object) -> dict[str, Any]:
        """Send one request of plain data and return the reply.

        :raises PolicyTimeoutError: no answer within the time-out.
        :raises ServerError: the reply's status is ERROR.
        """
        socket = self._connected()
        try:
            socket.send(plain_pickle.dumps(request))
            reply = protocol.parse_reply(socket.recv())
        except zmq.Again:
            self._disconnect()
            raise PolicyTimeoutError(
                f'no answer from {self.endpoint} within {self._timeout_ms / 1000:g} s; '
                f'is the server running there?'
            ) from None
        except BaseException:
            self._disconnect()
            raise
        if reply['status'] == 'ERROR':
            raise ServerError(reply['message'])
        return reply

    def close(self) -> None:
        """Close the connection; unsent requests are dropped."""
        self._disconnect()
        self._context.destroy(linger=0)

    def __enter__(self) -> 'PolicyClient':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _connected(self) -> zmq.Socket:
        if self._socket is None:
            socket = self._context.socket(zmq.REQ)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, self._timeout_ms)
            socket.setsockopt(zmq.SNDTIMEO, self._timeout_ms)
            socket.setsockopt(zmq.MAXMSGSIZE, protocol.MAX_MESSAGE_BYTES)
            socket.setsockopt(zmq.IPV6, protocol.is_ipv6(self.endpoint))
            try:
                socket.connect(self.endpoint)
            except zmq.ZMQError as error:
                socket.close()
                raise ActError(
                    f'cannot connect to {self.endpoint!r}: {error}; expected tcp://HOST:PORT'
                ) from None
            self._socket = socket
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None
