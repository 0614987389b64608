"""Messages of docs/zmq.md, byte for byte: for the tests here, and for clients in other languages.

`python -m test.bridge.vectors` writes messages.json beside this file anew. Each entry there has
`value`, what the message says, and `pickle` and `msgpack`, its bytes as hexadecimal digits. In a
`value` an array is {"dtype", "shape", "numbers"}, and bytes are {"bytes": hexadecimal digits}. A
reply has `of`, the name of its request; an error the `code` and `message` that a request gets.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from act_ros import plain_msgpack, plain_pickle
from act_ros.bridge import requests
from act_ros.bridge.info import Health, Times
from act_ros.bridge.requests import RequestError

FILE = Path(__file__).with_name('messages.json')
EPOCH = '5f3c9a7e12d840b6'
QPOS = np.array([0.5, -1.25, 3e-5], np.float32)
IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
# The same as a PNG.
PNG = bytes.fromhex(
    '89504e470d0a1a0a0000000d49484452000000030000000208020000001216f14d'
    '0000001549444154081d63646064620603464e2e6e663000000286004844e43aa7'
    '0000000049454e44ae426082'
)
ACTION = np.array([0.25, -0.5, 1e-3])
CHUNK = np.array([[0.25, -0.5, 1e-3], [0.5, -1.0, 2e-3]], np.float32)
_TIMES = Times()
for _milliseconds in (0.25, 0.5, 0.75, 1.0):
    _TIMES.add(_milliseconds / 1000)
HEALTH = Health(
    'ready', uptime=12.5, sessions=1, waiting=0, connections=2, memory=0, accepted=3,
    closed={'left': 1}, requests={'ok': 9, 'expired': 1, 'bad_request': 1}, batches={1: 2, 2: 1},
    queue=_TIMES, inference=Times(), error=(3.25, 'bad_request', 'the pickle is cut short'),
)  # fmt: skip

DOCUMENTED: dict[str, Any] = {
    'documented reset': 'RESET',
    'documented act': {'qpos': QPOS, 'images': {'front': IMAGE}},
}
REQUESTS: dict[str, Any] = {
    'reset': {'request': 'reset', 'session': 'arm', 'id': 1},
    'act': {
        'request': 'act', 'session': 'arm', 'id': 2, 'step': 0, 'stamp': 1700000000.125,
        'deadline': 0.2, 'qpos': QPOS, 'images': {'front': IMAGE, 'wrist': PNG},
    },
    'act, the least': {'request': 'act', 'session': 'a', 'qpos': QPOS, 'images': {}},
    'act, in numbers of 64 bits': {
        'request': 'act', 'session': ' ~' * 32, 'id': 2**64 - 1, 'step': 2**53, 'stamp': -(2**63),
        'deadline': 1, 'reply': 'action', 'qpos': QPOS.astype(float), 'images': {},
    },
    'chunk': {'request': 'act', 'reply': 'chunk', 'id': -1, 'qpos': QPOS, 'images': {}},
    'info': {'request': 'info', 'id': 3},
    'health': {'request': 'health', 'stamp': 7},
}  # fmt: skip
# What is replied to which, without what the reply repeats.
REPLIES: dict[str, tuple[str, dict[str, Any]]] = {
    'reply to documented reset': ('documented reset', {}),
    'reply to documented act': ('documented act', {'action': ACTION}),
    'reply to reset': ('reset', {'step': 0, 'queue': 0.0, 'inference': 0.0}),
    'reply to act': ('act', {'step': 0, 'queue': 0.0005, 'inference': 0.0125, 'action': ACTION}),
    'reply to info': ('info', {'info': {
        'protocol': 1, 'version': '0.1.0',
        'task': {'name': 'tiny', 'cameras': {'front': [2, 3]},
                 'state': [f'arm/{name}/position' for name in 'abc'],
                 'action': ['arm/a/position', 'arm/a/velocity', 'arm/b/position']},
        'state_dim': 3, 'action_dim': 3, 'chunk_size': 2, 'rate': 50.0,
        'aggregation': {'temporal_aggregation': True, 'query_every': 0, 'decay': 0.01},
        'checkpoint': {'name': 'policy_best.ckpt', 'sha256': 64 * '0'},
        'engine': 'torch float32', 'precision': 'float32', 'device': 'cpu', 'deviation': None,
        'own_settings': {},
        'statistics': {name: QPOS for name in (
            'qpos_mean', 'qpos_std', 'action_mean', 'action_std')},
    }}),
    'reply to health': ('health', {'health': HEALTH.as_map()}),
    'reply to chunk': ('chunk', {'queue': 0.0, 'inference': 0.0125, 'chunk': CHUNK}),
    'error reply to documented act': (
        'documented act', {'code': 'loading', 'message': 'the policy is loading'}),
    'error reply to act': ('act', {
        'code': 'old_step', 'message': 'step 0 is over: the session is at step 12'}),
    'error reply to act, not ASCII': ('act, the least', {
        'code': 'bad_observation', 'message': "unknown camera 'höhe'; expected front"}),
}  # fmt: skip
WRONG: dict[str, Any] = {
    'no request': {'session': 'arm', 'id': 4, 'qpos': QPOS, 'images': {}},
    'unknown request': {'request': 'go', 'id': 4},
    'unknown field': {**REQUESTS['act'], 'speed': 1.5},
    'no session': {'request': 'act', 'id': 4, 'stamp': 0.5, 'qpos': QPOS, 'images': {}},
    'session with a letter that is not ASCII': {**REQUESTS['reset'], 'session': 'höhe'},
    'session that is too long': {**REQUESTS['reset'], 'session': 'a' * 65},
    'step that is a float': {**REQUESTS['act'], 'step': 1.5},
    'negative step': {**REQUESTS['act'], 'step': -1},
    'unknown reply': {**REQUESTS['act'], 'reply': 'all'},
}
WRITERS = {'pickle': plain_pickle.dumps, 'msgpack': plain_msgpack.dumps}


def encodings(name: str) -> tuple[str, ...]:
    return ('pickle',) if name in DOCUMENTED else ('pickle', 'msgpack')


def request(name: str, encoding: str) -> bytes:
    return WRITERS[encoding]((DOCUMENTED | REQUESTS)[name])


def reply(name: str, encoding: str) -> bytes:
    """What a server replies."""
    of, fields = REPLIES[name]
    echo = requests.parse(request(of, encoding)).echo
    if 'code' in fields:
        return requests.error(echo, EPOCH, **fields)
    return requests.ok(echo, EPOCH, **fields)


def refusal(data: bytes) -> str:
    """Why a request is refused."""
    try:
        requests.parse(data)
    except RequestError as error:
        return str(error)
    raise AssertionError('it is not refused')


def as_json(value: Any) -> Any:
    """What a message says."""
    if isinstance(value, np.ndarray):
        dtype = value.dtype.str
        return {'dtype': dtype, 'shape': [*value.shape], 'numbers': value.ravel().tolist()}
    if isinstance(value, bytes):
        return {'bytes': value.hex()}
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value


def both(name: str, make: Any) -> dict[str, str]:
    return {encoding: make(name, encoding).hex() for encoding in encodings(name)}


def messages() -> dict[str, Any]:
    """All that the file holds."""
    return {
        'requests': {
            name: {'value': as_json(value), **both(name, request)}
            for name, value in (DOCUMENTED | REQUESTS).items()
        },
        'replies': {
            name: {
                'of': of,
                'value': as_json(plain_pickle.loads(reply(name, 'pickle'))),
                **{each: reply(name, each).hex() for each in encodings(of)},
            }
            for name, (of, _) in REPLIES.items()
        },
        'refused': {
            name: {
                'value': as_json(value),
                'code': 'bad_request',
                'message': refusal(plain_msgpack.dumps(value)),
                'msgpack': plain_msgpack.dumps(value).hex(),
            }
            for name, value in WRONG.items()
        },
    }


def write() -> None:
    """A line for each message."""
    groups = (
        f'"{name}": {{\n'
        + ',\n'.join(f'{json.dumps(key)}: {json.dumps(entry)}' for key, entry in group.items())
        + '\n}'
        for name, group in messages().items()
    )
    FILE.write_text('{\n' + ',\n'.join(groups) + '\n}\n')
