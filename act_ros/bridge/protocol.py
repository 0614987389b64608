"""Messages of the documented protocol: one pickled Python object each.

Requests are `'RESET'` or `{'qpos': array, 'images': {name: array}}`; replies are dicts with a
`status` of OK or ERROR. Both are read and written as plain data (`act_ros.plain_pickle`).
"""

from typing import Any

import numpy as np

from act_ros import plain_pickle
from act_ros.errors import ActError, kind_of, shorten

DEFAULT_ENDPOINT = 'tcp://127.0.0.1:5555'
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
RESET = 'RESET'
STOPPING = 'stopping'  # what a request is told that the server answers no more

MAX_OPCODES = 10_000  # a request with thirty cameras has some 1,000
_MAX_ERROR = 500  # characters


def is_ipv6(endpoint: str) -> bool:
    """Whether an endpoint's address is written as IPv6; libzmq wants to be told."""
    return '[' in endpoint


class ProtocolError(ActError):
    """A message is not what the protocol says."""


def check_request(request: object) -> str | dict[str, Any]:
    """Refuse what is no documented request.

    :param request: as it was read.
    :returns: `'RESET'`, or a dict with exactly the keys `qpos` and `images`, whose contents
        are for the policy to check.
    :raises ProtocolError: one line that says what was found and expected.
    """
    if isinstance(request, str) and request == RESET:
        return request
    if not isinstance(request, dict):
        found = shorten(request) if isinstance(request, str) else f'a {kind_of(request)}'
        raise ProtocolError(
            f"the request is {found}, expected 'RESET' or a dict with 'qpos' and 'images'"
        )
    for key in ('qpos', 'images'):
        if key not in request:
            raise ProtocolError(f'the request has no {key!r}')
    for key in request:
        if key not in ('qpos', 'images'):
            raise ProtocolError(f"unknown key {shorten(key)}; expected 'qpos' and 'images'")
    return request


def ok(action: np.ndarray | None = None) -> bytes:
    """An OK reply, with the action [policy units] where one was asked for."""
    reply: dict[str, Any] = {'status': 'OK'}
    if action is not None:
        reply['action'] = action
    return plain_pickle.dumps(reply)


def error(message: str) -> bytes:
    """An ERROR reply; the message is made one short line."""
    return plain_pickle.dumps({'status': 'ERROR', 'message': one_line(message)})


def one_line(message: str) -> str:
    """A message for a reply or a log, whatever it was made from."""
    line = ' '.join(message[: 2 * _MAX_ERROR].split())
    return line if len(line) <= _MAX_ERROR else line[: _MAX_ERROR - 3] + '...'


def parse_reply(data: bytes | memoryview) -> dict[str, Any]:
    """Read a reply.

    :raises ProtocolError: it is no dict with a status, or says ERROR without a message.
    """
    try:
        reply = plain_pickle.loads(data, max_opcodes=MAX_OPCODES)
    except plain_pickle.UnsafePickleError as error:
        raise ProtocolError(f'cannot read the reply: {error}') from None
    status = reply.get('status') if isinstance(reply, dict) else None
    if not isinstance(reply, dict) or not isinstance(status, str) or status not in ('OK', 'ERROR'):
        raise ProtocolError('the reply has no status OK or ERROR')
    if status == 'ERROR' and not isinstance(reply.get('message'), str):
        raise ProtocolError('the reply is an ERROR without a message')
    return reply
