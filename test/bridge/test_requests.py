"""Requests in both encodings: what is read, what is refused and how, and what replies hold."""

import math
import pickle

import msgpack
import numpy as np
import pytest

from act_ros.bridge import protocol, requests
from act_ros.bridge.requests import Echo, Request, RequestError
from act_ros.plain_msgpack import dumps

QPOS = np.arange(17, dtype=np.float32)
IMAGES = {'rgb_main': np.zeros((60, 80, 3), np.uint8)}
ACT = {'request': 'act', 'session': 'arm', 'qpos': QPOS, 'images': IMAGES}
ALL = {**ACT, 'id': 2**64 - 1, 'step': 3, 'stamp': 1.5, 'deadline': 0.25, 'reply': 'action'}
OLD = Echo('pickle', documented=True)
WRITERS = {'pickle': pickle.dumps, 'msgpack': dumps}


@pytest.fixture(params=WRITERS)
def encoding(request):
    return request.param


def parse(encoding, request) -> Request:
    return requests.parse(WRITERS[encoding](request))


def refused(data) -> RequestError:
    with pytest.raises(RequestError) as caught:
        requests.parse(data)
    text = str(caught.value)
    assert len(text) < 300 and text.isprintable()
    return caught.value


# --- the documented ones


@pytest.mark.parametrize('version', range(6))
def test_documented_requests_are_read_in_every_pickle_protocol(version):
    got = requests.parse(pickle.dumps('RESET', version))
    assert (got.kind, got.echo) == ('reset', OLD)
    got = requests.parse(pickle.dumps({'qpos': QPOS, 'images': IMAGES}, version))
    assert (got.kind, got.echo, got.reply, got.step) == ('act', OLD, 'action', None)
    assert got.deadline == math.inf
    np.testing.assert_array_equal(got.qpos, QPOS)
    np.testing.assert_array_equal(got.images['rgb_main'], IMAGES['rgb_main'])


def test_documented_replies_are_those_of_the_protocol():
    action = np.arange(16.0)
    assert requests.ok(OLD, 'e') == protocol.ok()
    assert requests.ok(OLD, 'e', step=3, queue=0.1, inference=0.2, action=action) == protocol.ok(
        action
    )
    assert requests.error(OLD, 'e', 'loading', 'a\nb') == protocol.error('a b')


# --- new ones


def test_every_field_is_read(encoding):
    got = parse(encoding, ALL)
    assert got.echo == Echo(encoding, False, id=2**64 - 1, session='arm', stamp=1.5)
    assert (got.kind, got.step, got.deadline, got.reply) == ('act', 3, 0.25, 'action')
    np.testing.assert_array_equal(got.qpos, QPOS)
    np.testing.assert_array_equal(got.images['rgb_main'], IMAGES['rgb_main'])


def test_what_may_be_left_out(encoding):
    request = {'request': 'act', 'reply': 'chunk', 'qpos': 1, 'images': {}, 'id': None}
    got = parse(encoding, request)
    assert (got.echo, got.reply) == (Echo(encoding, False), 'chunk')
    assert (got.step, got.deadline) == (None, math.inf)
    for kind in ('info', 'health'):
        got = parse(encoding, {'request': kind, 'id': 1, 'stamp': 2})
        assert (got.kind, got.echo) == (kind, Echo(encoding, False, id=1, stamp=2))
    assert parse(encoding, {'request': 'reset', 'session': 'a b'}).echo.session == 'a b'


def test_numpy_numbers_are_numbers():
    got = requests.parse(pickle.dumps({**ACT, 'step': np.int32(3), 'stamp': np.float64(1.5)}))
    assert (got.step, got.echo.stamp) == (3, 1.5)
    assert type(got.step) is int and type(got.echo.stamp) is float


@pytest.mark.parametrize('size', [9, 60_000, 200_000])
def test_pictures_of_any_length_are_views(encoding, size):
    data = WRITERS[encoding]({**ACT, 'images': {'a': bytes(size)}})
    image = requests.parse(data).images['a']
    assert bytes(image) == bytes(size)
    if size > 1 << 16:
        assert np.shares_memory(np.frombuffer(image, 'u1'), np.frombuffer(data, 'u1'))


@pytest.mark.parametrize('version', range(6))
def test_long_pictures_are_read_in_every_pickle_protocol(version):
    image = bytes(range(256)) * 1000
    request = pickle.dumps({**ACT, 'images': {'a': image, 'b': [image]}}, version)
    got = requests.parse(request).images
    assert got['a'] == image and got['b'] == [image]


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'request': 'go'}, "'request' is 'go', expected one of act, reset, info, health"),
        ({'request': 3}, "'request' is 3, expected one of act, reset, info, health"),
        ({'request': ['act']}, "'request' is a list, expected one of act, reset, info, health"),
        ({'speed': 3}, "unknown field 'speed'; 'act' has session, id, step, stamp, deadline, "
                       'reply, qpos, images'),
        ({'x' * 999: 3}, f"unknown field '{'x' * 76}...; 'act' has session, id, step, stamp, "
                         f'deadline, reply, qpos, images'),
        ({'session': ''}, "'session' is '', expected 1 to 64 printable ASCII characters"),
        ({'session': 'a\n'}, "'session' is 'a\\n', expected 1 to 64 printable ASCII characters"),
        ({'session': 'é'}, "'session' is 'é', expected 1 to 64 printable ASCII characters"),
        ({'session': 3}, "'session' is 3, expected 1 to 64 printable ASCII characters"),
        ({'session': b'arm'}, "'session' is b'arm', expected 1 to 64 printable ASCII characters"),
        ({'stamp': b'a' * 70_000}, f"'stamp' is b'{'a' * 75}..., expected a finite number"),
        ({'session': None}, "the request has no 'session', which 'act' needs"),
        ({'id': 1.0}, "'id' is 1.0, expected an integer of 64 bits"),
        ({'id': True}, "'id' is True, expected an integer of 64 bits"),
        ({'id': 'a' * 99}, f"'id' is '{'a' * 76}..., expected an integer of 64 bits"),
        ({'step': -1}, "'step' is -1, expected an integer from 0 to 9007199254740992"),
        ({'step': 2**53 + 1}, "'step' is 9007199254740993, expected an integer from 0 to "
                              '9007199254740992'),
        ({'step': 1.0}, "'step' is 1.0, expected an integer from 0 to 9007199254740992"),
        ({'stamp': 'now'}, "'stamp' is 'now', expected a finite number"),
        ({'stamp': math.nan}, "'stamp' is nan, expected a finite number"),
        ({'deadline': math.inf}, "'deadline' is inf, expected a finite number"),
        ({'deadline': [1]}, "'deadline' is a list, expected a finite number"),
        ({'reply': 'all'}, "'reply' is 'all', expected 'action' or 'chunk'"),
        ({'reply': QPOS}, "'reply' is a ndarray, expected 'action' or 'chunk'"),
        ({'qpos': None}, "the request has no 'qpos', which 'act' needs"),
        ({'images': None}, "the request has no 'images', which 'act' needs"),
    ],
)  # fmt: skip
def test_each_field_is_checked(encoding, change, text):
    error = refused(WRITERS[encoding]({**ALL, **change}))
    assert str(error) == text
    # The reply still says whose it is, as far as that can be told.
    assert error.echo == Echo(encoding, False, **{
        name: None if name in change else ALL[name] for name in ('id', 'session', 'stamp')
    })  # fmt: skip


@pytest.mark.parametrize(
    ('request_', 'text'),
    [
        ({'request': 'reset'}, "the request has no 'session', which 'reset' needs"),
        ({'request': 'reset', 'session': 'a', 'qpos': 1},
         "unknown field 'qpos'; 'reset' has session, id, stamp, deadline"),
        ({'request': 'info', 'session': 'a'}, "unknown field 'session'; 'info' has id, stamp"),
        ({'request': 'act', 'session': 'a'}, "the request has no 'qpos', which 'act' needs"),
    ],
)  # fmt: skip
def test_each_kind_has_fields_of_its_own(encoding, request_, text):
    assert str(refused(WRITERS[encoding](request_))) == text


def test_numbers_too_long_for_the_reply_are_refused():
    for name in ('id', 'stamp'):
        error = refused(pickle.dumps({**ALL, name: 2**64}))
        assert f"'{name}' is 18446744073709551616" in str(error)
        refused(pickle.dumps({**ALL, name: 2**8000}))


def test_what_begins_as_a_map_is_answered_as_one():
    new = Echo('msgpack', documented=False)
    for data, text in [
        (b'\x81\x01', 'cannot read the request: refused: a map with a key that is no text'),
        (b'\xdf\xff\xff\xff\xff', 'cannot read the request: refused: a map of more than 256'),
        (msgpack.packb({'qpos': 1, 'images': 2}), "the request has no 'request', which is one of"),
        (dumps({'dtype': '|u1', 'shape': [0], 'data': b''}), 'the request is an array, expected'),
    ]:
        error = refused(data)
        assert str(error).startswith(text) and error.echo == new
    for data in (b'', b'\x80', b'\x90', msgpack.packb('RESET'), b'{"request": "info"}'):
        assert refused(data).echo == OLD


# --- replies


def read(encoding, data):
    return pickle.loads(data) if encoding == 'pickle' else msgpack.unpackb(data)


def test_replies_come_in_the_encoding_of_the_request(encoding):
    echo = parse(encoding, ALL).echo
    action, chunk = np.arange(16.0), np.arange(32, dtype=np.float32).reshape(2, 16)
    got = read(encoding, requests.ok(echo, 'e', step=3, queue=0.5, inference=2.0, action=action))
    array = got.pop('action')
    assert got == {'status': 'OK', 'epoch': 'e', 'step': 3, 'queue': 0.5, 'inference': 2.0,
                   'id': 2**64 - 1, 'session': 'arm', 'stamp': 1.5}  # fmt: skip
    if encoding == 'pickle':
        np.testing.assert_array_equal(array, action)
    else:
        assert array == {'dtype': '<f8', 'shape': [16], 'data': action.tobytes()}
    got = read(encoding, requests.ok(Echo(encoding, False), 'e', chunk=chunk))
    assert list(got) == ['status', 'epoch', 'chunk']
    got = read(encoding, requests.ok(Echo(encoding, False), 'e', info={'chunk_size': 100}))
    assert got == {'status': 'OK', 'epoch': 'e', 'info': {'chunk_size': 100}}


def test_errors_are_one_short_line_with_a_code(encoding):
    echo = parse(encoding, ALL).echo
    got = read(encoding, requests.error(echo, 'e', 'old_step', 'of\ntwo \ud800 lines'))
    assert got == {'status': 'ERROR', 'epoch': 'e', 'error': 'old_step',
                   'message': 'of two ? lines', 'id': 2**64 - 1, 'session': 'arm',
                   'stamp': 1.5}  # fmt: skip
    got = read(encoding, requests.error(Echo(encoding, False), 'e', 'busy', 'x' * 10**6))
    assert list(got) == ['status', 'epoch', 'error', 'message'] and len(got['message']) == 500
