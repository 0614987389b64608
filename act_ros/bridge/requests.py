"""Requests and replies, documented and new, as pickle and as MessagePack: docs/zmq.md.

The first byte of a message says which of the two it is. A reply comes in the encoding of its
request. What the documented requests get is what `act_ros.bridge.protocol` makes, to the byte.
"""

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from act_ros import plain_msgpack, plain_pickle
from act_ros.bridge import protocol
from act_ros.errors import kind_of, shorten

Kind = Literal['act', 'reset', 'info', 'health']
Code = Literal[
    'bad_request', 'bad_observation', 'policy_failed', 'loading', 'stopping', 'busy', 'expired',
    'replaced', 'no_session', 'old_step',
]  # fmt: skip
CODES: tuple[Code, ...] = get_args(Code)

# What MessagePack's maps begin with. No pickler begins with one of these opcodes.
_MAPS = frozenset((*range(0x81, 0x90), 0xDE, 0xDF))
FIELDS: dict[Kind, tuple[str, ...]] = {
    'act': ('session', 'id', 'step', 'stamp', 'deadline', 'reply', 'qpos', 'images'),
    'reset': ('session', 'id', 'stamp', 'deadline'),
    'info': ('id', 'stamp'),
    'health': ('id', 'stamp'),
}
_KINDS = f'one of {", ".join(FIELDS)}'
_NAME = re.compile('[ -~]{1,64}')
_MAX_STEP = 1 << 53  # what JavaScript can count to


@dataclass(frozen=True, slots=True)
class Echo:
    """What a reply takes over from its request, as far as that could be read.

    :ivar documented: the reply is one of the documented protocol.
    :ivar session: the name it gave.
    """

    encoding: Literal['pickle', 'msgpack']
    documented: bool
    id: int | None = None
    session: str | None = None
    stamp: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request whose fields are sound; `qpos` and `images` are for the policy to check.

    :ivar step: on the client's clock; None = the session counts.
    :ivar deadline: from the message's first byte [s]; none is infinite.
    :ivar reply: what an act asks for.
    :ivar images: camera name to array, or to bytes of a JPEG or PNG: `pictures.decode_images`.
        Arrays and bytes are views of the message.
    """

    kind: Kind
    echo: Echo
    step: int | None = None
    deadline: float = math.inf
    reply: Literal['action', 'chunk'] = 'action'
    qpos: Any = None
    images: Any = None


class RequestError(protocol.ProtocolError):
    """A message is no request that could be answered: `bad_request`.

    :ivar echo: for the reply.
    """

    def __init__(self, text: str, echo: Echo) -> None:
        super().__init__(text)
        self.echo = echo


def parse(data: bytes | memoryview) -> Request:
    """Read a request.

    :param data: the message's bytes.
    :raises RequestError: one line that says what was found and expected.
    """
    if len(data) and data[0] in _MAPS:
        echo = Echo('msgpack', documented=False)
        try:
            found = plain_msgpack.loads(data)
        except plain_msgpack.MsgpackError as error:
            raise RequestError(f'cannot read the request: {error}', echo) from None
        if not isinstance(found, dict):  # the map of an array
            raise RequestError('the request is an array, expected a map of fields', echo)
        return _new(found, echo)
    echo = Echo('pickle', documented=True)
    try:
        found = plain_pickle.loads(data, max_opcodes=protocol.MAX_OPCODES, long_bytes=True)
    except plain_pickle.UnsafePickleError as error:
        raise RequestError(f'cannot read the request: {error}', echo) from None
    if isinstance(found, dict) and 'request' in found:
        return _new(found, Echo('pickle', documented=False))
    try:
        checked = protocol.check_request(found)
    except protocol.ProtocolError as error:
        raise RequestError(str(error), echo) from None
    return Request('reset', echo) if isinstance(checked, str) else Request('act', echo, **checked)


def _new(request: Mapping[str, Any], echo: Echo) -> Request:
    """One of the new requests."""
    # A field that is None, or nil, is one that is not there.
    given = {name: value for name, value in request.items() if value is not None}
    repeated: dict[str, Any] = {}
    for name in ('id', 'session', 'stamp'):
        with contextlib.suppress(protocol.ProtocolError):
            repeated[name] = _read(name, given)
    echo = Echo(echo.encoding, documented=False, **repeated)
    try:
        return _checked(given, echo)
    except protocol.ProtocolError as error:
        raise RequestError(str(error), echo) from None


def _checked(given: Mapping[str, Any], echo: Echo) -> Request:
    kind = given.get('request')
    if kind is None:
        raise protocol.ProtocolError(f"the request has no 'request', which is {_KINDS}")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise _unlike('request', kind, _KINDS)
    known = FIELDS[kind]
    for name in given:
        if name != 'request' and name not in known:
            raise protocol.ProtocolError(
                f'unknown field {shorten(name)}; {kind!r} has {", ".join(known)}'
            )
    fields = {name: _read(name, given) for name in given if name != 'request'}
    _need_fields(kind, fields)
    return Request(kind, echo, **{
        name: value for name, value in fields.items() if name not in ('id', 'session', 'stamp')
    })  # fmt: skip


def _need_fields(kind: Kind, fields: Mapping[str, Any]) -> None:
    needed = ['qpos', 'images'] if kind == 'act' else []
    # A chunk belongs to no episode.
    if kind == 'reset' or (kind == 'act' and fields.get('reply') != 'chunk'):
        needed.append('session')
    for name in needed:
        if name not in fields:
            raise protocol.ProtocolError(f'the request has no {name!r}, which {kind!r} needs')


# --- fields


def _read(name: str, given: Mapping[str, Any]) -> Any:
    """A field; None where it is not there.

    :raises ProtocolError: it is not what it has to be.
    """
    value = given.get(name)
    if value is None or name not in _READERS:
        return value
    return _READERS[name](name, value.item() if isinstance(value, np.generic) else value)


def _unlike(name: str, value: object, expected: str) -> protocol.ProtocolError:
    # Not the repr of whatever it is: that of a long list would take long.
    plain = isinstance(value, str | bytes | memoryview | int | float)
    found = shorten(value) if plain else f'a {kind_of(value)}'
    return protocol.ProtocolError(f'{name!r} is {found}, expected {expected}')


def _session(name: str, value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise _unlike(name, value, '1 to 64 printable ASCII characters')


def _id(name: str, value: object) -> int:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
        raise _unlike(name, value, 'an integer of 64 bits')
    return value


def _step(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_STEP:
        raise _unlike(name, value, f'an integer from 0 to {_MAX_STEP}')
    return value


def _number(name: str, value: object) -> float:
    # Whole numbers stay what they are, for the reply repeats them.
    if type(value) is int and -(1 << 63) <= value < 1 << 64:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    raise _unlike(name, value, 'a finite number')


def _reply(name: str, value: object) -> str:
    if isinstance(value, str) and value in ('action', 'chunk'):
        return value
    raise _unlike(name, value, "'action' or 'chunk'")


_READERS: dict[str, Callable[[str, object], Any]] = {
    'session': _session,
    'id': _id,
    'step': _step,
    'stamp': _number,
    'deadline': _number,
    'reply': _reply,
}


# --- replies


def ok(
    echo: Echo,
    epoch: str,
    *,
    step: int | None = None,
    queue: float | None = None,
    inference: float | None = None,
    action: np.ndarray | None = None,
    chunk: np.ndarray | None = None,
    info: Mapping[str, Any] | None = None,
    health: Mapping[str, Any] | None = None,
) -> bytes:
    """An OK reply. What is None is not in it; the documented one has just the action.

    :param echo: of the request.
    :param epoch: of the server: another one after each start.
    :param step: that the action or the chunk is of; after a reset the next one.
    :param queue: how long the request waited for its pass [s].
    :param inference: how long its pass took [s].
    :param action: (action_dim,), in the policy's units.
    :param chunk: (chunk_size, action_dim), likewise.
    """
    if echo.documented:
        return protocol.ok(action)
    results = {'action': action, 'chunk': chunk, 'info': info, 'health': health}
    times = {'step': step, 'queue': queue, 'inference': inference}
    return _written('OK', echo, {'epoch': epoch, **times, **results})


def error(echo: Echo, epoch: str, code: Code, message: str) -> bytes:
    """An ERROR reply; the message is made one short line. The documented one has just that."""
    if echo.documented:
        return protocol.error(message)
    text = protocol.one_line(message).encode(errors='replace').decode()
    return _written('ERROR', echo, {'epoch': epoch, 'error': code, 'message': text})


def _written(status: str, echo: Echo, fields: Mapping[str, Any]) -> bytes:
    repeated = {'id': echo.id, 'session': echo.session, 'stamp': echo.stamp}
    reply = {'status': status, **fields, **repeated}
    write = plain_msgpack.dumps if echo.encoding == 'msgpack' else plain_pickle.dumps
    return write({name: value for name, value in reply.items() if value is not None})
