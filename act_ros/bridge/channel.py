"""A client's end of the new requests: questions with an id, over a line that may lose some."""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from act_ros import plain_msgpack
from act_ros.bridge.keys import KeyPair, load_pair, load_public
from act_ros.bridge.protocol import ProtocolError, is_ipv6
from act_ros.errors import ActError

MAX_REPLY = 16 * 1024 * 1024  # bytes; a chunk of a thousand steps of sixty entries has 240,000
_UNSENT = 4  # questions, on a line that takes none
LONGEST = 86_400  # wait [s]
SILENCE = 3.0  # after which a connection is made anew, by default [s]


class ServerError(ActError):
    """The server answered ERROR; the text is its own.

    :ivar code: as docs/zmq.md has it; '' from a server of the documented protocol alone.
    """

    def __init__(self, text: str, code: str = '') -> None:
        super().__init__(text)
        self.code = code


class SessionLostError(ServerError):
    """The episode is gone: the server was started anew, or has ended it. `reset` begins one."""


class PolicyTimeoutError(ActError):
    """No answer within the time-out. The client stays usable."""


class Channel:
    """Sends requests and gives their replies, one at a time; not for several threads at once.

    :param endpoint: of the server.
    :param keys: for CURVE, as `client_keys` has them; None = no CURVE.
    :param silence: how long nothing may come before the connection is made anew: perhaps nobody
        is at its other end. What comes later than that is lost [s].
    :ivar epoch: of the server, as it said last; '' before.
    :ivar took: how long answers have taken, those included that came when nobody waited for them
        any more [s]; to be emptied by whoever looks at it.
    :raises ActError: no such endpoint.
    """

    def __init__(
        self,
        endpoint: str,
        keys: tuple[bytes, KeyPair] | None = None,
        silence: float = SILENCE,
    ) -> None:
        self.endpoint = endpoint
        self.epoch = ''
        self.took: list[float] = []
        self._keys = keys
        self._id = secrets.randbits(62)  # not again that of an earlier run
        self._silence = silence
        self._waiting_since: float | None = None  # when the first question after an answer was
        self._context = zmq.Context()
        self._socket = self._connected()

    def next_id(self) -> int:
        """The id of another request."""
        self._id = self._id + 1 & (1 << 62) - 1
        return self._id

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send a request and wait for its reply.

        :param request: as docs/zmq.md has it, with its `id`; arrays are NumPy's. One with an id
            that was sent before is the same request, sent again.
        :param timeout: longest wait [s].
        :returns: the reply; its arrays are views of the message.
        :raises PolicyTimeoutError: none has come.
        :raises ServerError: it is an ERROR; `SessionLostError` where the episode is gone.
        :raises ProtocolError: it is no reply.
        """
        now = time.monotonic()
        deadline = now + timeout
        # By the stamp an answer tells when it was asked for, and which time of several.
        message = plain_msgpack.dumps({**request, 'stamp': now})
        self._connect_anew(now)
        if not self._socket.poll(_ms(deadline), zmq.POLLOUT):
            raise PolicyTimeoutError(f'no connection to {self.endpoint} within {timeout:.3g} s')
        self._socket.send_multipart([b'', message], zmq.DONTWAIT, copy=len(message) < 65536)
        while self._socket.poll(_ms(deadline), zmq.POLLIN):
            reply = self._receive()
            if reply is not None and self._is_of(reply, request['id']):
                return _checked(reply)
        raise PolicyTimeoutError(f'no answer from {self.endpoint} within {timeout:.3g} s')

    def close(self) -> None:
        """Close the connection; what is not sent yet is dropped."""
        self._context.destroy(linger=0)

    def _connect_anew(self, now: float) -> None:
        """Where nothing has come for long, on another connection."""
        if self._waiting_since is None:
            self._waiting_since = now
        elif now - self._waiting_since > self._silence and not self._socket.poll(0):
            self._socket.close(linger=0)
            self._socket = self._connected()
            self._waiting_since = now

    def _receive(self) -> dict[str, Any] | None:
        """A reply; None for what has no envelope."""
        frames = self._socket.recv_multipart(copy=False)
        self._waiting_since = None
        if len(frames) != 2 or len(frames[0]):
            return None
        try:
            reply = plain_msgpack.loads(frames[1].buffer)
        except plain_msgpack.MsgpackError as error:
            raise ProtocolError(f'cannot read the reply of {self.endpoint}: {error}') from None
        status = reply.get('status') if isinstance(reply, dict) else None
        if not isinstance(reply, dict) or status not in ('OK', 'ERROR'):
            raise ProtocolError(f'the reply of {self.endpoint} has no status OK or ERROR')
        return reply

    def _is_of(self, reply: Mapping[str, Any], id: int) -> bool:
        """Whether a reply is of a request; that of an earlier one says how slow the line is."""
        replied, stamp, epoch = (reply.get(name) for name in ('id', 'stamp', 'epoch'))
        if isinstance(stamp, float) and 0 <= (took := time.monotonic() - stamp) < LONGEST:
            self.took.append(took)
        if replied is None and reply['status'] == 'ERROR':  # it could not be read, nor its id
            return True
        if type(replied) is not int or replied != id:
            return False
        self.epoch = epoch if isinstance(epoch, str) else ''
        return True

    def _connected(self) -> zmq.Socket:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing queues up where nobody is connected
        socket.setsockopt(zmq.SNDHWM, _UNSENT)
        try:
            connect(socket, self.endpoint, self._keys, MAX_REPLY)
        except ActError:
            self._context.destroy(linger=0)
            raise
        return socket


def connect(
    socket: zmq.Socket, endpoint: str, keys: tuple[bytes, KeyPair] | None, most: int
) -> None:
    """Connect a client's socket.

    :param keys: for CURVE: the server's public key, and the client's own.
    :param most: bytes of a reply.
    :raises ActError: no such endpoint; the socket is closed.
    """
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, most)
    socket.setsockopt(zmq.IPV6, is_ipv6(endpoint))
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    if keys is not None:
        server, own = keys
        socket.setsockopt(zmq.CURVE_SERVERKEY, server)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ActError(
            f'cannot connect to {endpoint!r}: {error}; expected tcp://HOST:PORT'
        ) from None


def encoded(images: Mapping[str, np.ndarray], quality: int) -> dict[str, Any]:
    """Images for a request.

    :param images: camera name to (H, W, 3) uint8 RGB.
    :param quality: of JPEG, 1 to 100; 0 = as they are.
    :raises ActError: there is no encoder.
    """
    if not quality:
        return dict(images)
    try:
        import simplejpeg
    except ImportError:
        raise ActError('simplejpeg, which makes JPEG, is not importable: pip install it') from None
    return {
        name: simplejpeg.encode_jpeg(
            np.ascontiguousarray(image), quality, 'RGB', '444' if quality >= 90 else '420'
        )
        for name, image in images.items()
    }  # fmt: skip


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    """:raises ServerError: it is an ERROR."""
    if reply['status'] == 'OK':
        return reply
    code, text = reply.get('error'), reply.get('message')
    if not isinstance(code, str) or not isinstance(text, str):
        raise ProtocolError('the reply is an ERROR without a code and a message')
    raise (SessionLostError if code == 'no_session' else ServerError)(text, code)


def client_keys(folder: Path) -> tuple[bytes, KeyPair]:
    """The server's public key, and a client's own.

    :param folder: with `server.key` and one `NAME.key_secret`.
    :raises ActError: it has not.
    """
    own = [path for path in folder.glob('*.key_secret') if path.stem != 'server']
    if len(own) != 1:
        raise ActError(
            f'{folder} has {len(own)} *.key_secret of a client, expected one, and server.key '
            f'beside it: python -m act_ros.make_keys makes them at the server'
        )
    return load_public(folder / 'server.key'), load_pair(own[0])


def _ms(deadline: float) -> int:
    """Until a time, as poll wants it."""
    return max(0, round((deadline - time.monotonic()) * 1000))
