"""What the server refuses: each with a reason, none of them run, none of them a step."""

import os
import pickle
import re

import numpy as np
import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from act_ros.bridge.protocol import MAX_MESSAGE_BYTES
from test.bridge.servers import PATIENCE, Requester, assert_step, good_request


def with_qpos(change):
    return lambda qpos, images: pickle.dumps({'qpos': change(qpos), 'images': images})


def with_images(change):
    return lambda qpos, images: pickle.dumps({'qpos': qpos, 'images': change(images)})


def with_left(change):
    return with_images(lambda images: {**images, 'rgb_left': change(images['rgb_left'])})


def always(message):
    return lambda qpos, images: message


class Command:
    """Asks the reader to run a command, as a hostile pickle does."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


MALFORMED = {
    'empty': (always(b''), 'the pickle is cut short'),
    'text': (always(b'hello, server'), 'cannot read the request'),
    'zeros': (always(b'\0' * 1000), 'cannot read the request: refused: pickle opcode 0x00'),
    'cut short': (lambda q, i: good_request(q, i)[:-500], 'the pickle is cut short'),
    'followed by more': (lambda q, i: good_request(q, i) + b'.', 'bytes follow the end'),
    'another word': (always(pickle.dumps('STOP')), "the request is 'STOP', expected 'RESET' or"),
    'None': (always(pickle.dumps(None)), 'the request is a NoneType'),
    'an array': (lambda q, i: pickle.dumps(q), 'the request is a ndarray'),
    'no keys': (always(pickle.dumps({})), "the request has no 'qpos'"),
    'no images': (lambda q, i: pickle.dumps({'qpos': q}), "the request has no 'images'"),
    'another key': (
        lambda q, i: pickle.dumps({'qpos': q, 'images': i, 'depth': i}),
        "unknown key 'depth'",
    ),
    'list as qpos': (with_qpos(np.ndarray.tolist), 'qpos is a list, expected a float32'),
    'int qpos': (with_qpos(lambda q: q.astype(int)), 'qpos is a int64 array, expected a float32'),
    'short qpos': (with_qpos(lambda q: q[:16]), r'qpos has shape \(16,\), expected \(17,\)'),
    'qpos of 2 dimensions': (with_qpos(lambda q: q[None]), r'qpos has shape \(1, 17\)'),
    'NaN': (
        with_qpos(lambda q: np.where(np.arange(17) == 9, np.nan, q)),
        r'qpos\[9\] \(arm/left_joint_1/position\) is nan, expected a number',
    ),
    'infinity': (
        with_qpos(lambda q: np.full_like(q, -np.inf)),
        r'qpos\[0\] \(base/x/position\) is -inf, expected a number',
    ),
    'qpos that leads to no number': (
        with_qpos(lambda q: np.full_like(q, 3e38)),
        r'qpos\[\d+\] \(\S+\) is 3e\+38, \S+ standard deviations from the training data',
    ),
    'one entry that leads to no number': (
        with_qpos(lambda q: np.where(np.arange(17) == 9, -1e30, q)),
        r'qpos\[9\] \(arm/left_joint_1/position\) is -1e\+30, \S+ standard deviations',
    ),
    'more than float32 holds': (
        with_qpos(lambda q: np.where(np.arange(17) == 9, 1e300, q.astype(float))),
        r'qpos\[9\] \(arm/left_joint_1/position\) is 1e\+300, expected a number that float32',
    ),
    'more than float32 holds, big-endian': (
        with_qpos(lambda q: np.where(np.arange(17) == 9, -1e39, q.astype('>f8'))),
        r'qpos\[9\] \(arm/left_joint_1/position\) is -1e\+39, expected a number that float32',
    ),
    'float16 qpos': (with_qpos(lambda q: q.astype('f2')), 'qpos is a float16 array, expected a'),
    'complex qpos': (with_qpos(lambda q: q.astype('c8')), 'qpos is a complex64 array, expected'),
    'bool qpos': (with_qpos(lambda q: q > 0), 'qpos is a bool array, expected a float32 or'),
    'scalar qpos': (with_qpos(lambda q: q[0]), 'qpos is a float32 scalar, expected a float32 or'),
    'qpos without dimensions': (with_qpos(lambda q: np.array(q[0])), r'qpos has shape \(\), ex'),
    'bytes as qpos': (with_qpos(lambda q: q.tobytes()), 'qpos is a bytes, expected a float32'),
    'list of images': (with_images(lambda i: [*i.values()]), 'images is a list, expected a dict'),
    'no camera': (with_images(lambda i: {}), "camera 'rgb_main' is missing"),
    'a camera less': (
        with_images(lambda i: {k: v for k, v in i.items() if k != 'rgb_under'}),
        "camera 'rgb_under' is missing",
    ),
    'a camera more': (
        with_images(lambda i: {**i, 'rgb_top': i['rgb_main']}),
        "unknown camera 'rgb_top'; expected rgb_main, rgb_left, rgb_under",
    ),
    'camera without a name': (
        with_images(lambda i: {**i, None: 0}),
        'refused: something of type NoneType as a dict key; keys are text',
    ),
    'image that is none': (with_left(lambda image: 5), "'rgb_left' is a int, expected an array"),
    'float image': (
        with_left(lambda image: image / np.float32(255)),
        r"camera 'rgb_left' is \(120, 160, 3\) float32, expected \(120, 160, 3\) uint8 RGB",
    ),
    'grey image': (with_left(lambda image: image[..., 0]), r'\(120, 160\) uint8, expected'),
    'planar image': (with_left(lambda image: image.transpose(2, 0, 1)), r'\(3, 120, 160\) uint8'),
    'larger image': (with_left(lambda image: image.repeat(2, 0)), r'\(240, 160, 3\) uint8'),
    'no pixels': (with_left(lambda image: image[:0]), r'\(0, 160, 3\) uint8, expected'),
}  # fmt: skip

# What follows {marker} would make that file, if it ran.
HOSTILE = {
    'os.system': (lambda m: Command(os.system, f'touch {m}'), r"the pickle names '\w+\.system'"),
    'eval': (lambda m: Command(eval, f'open({m!r}, "w")'), r"the pickle names '\w+\.eval'"),
    'open': (lambda m: Command(open, m, 'w'), r"the pickle names '\w+\.open'"),
    'numpy.save': (lambda m: Command(np.save, m, 1), "the pickle names 'numpy.save'"),
    'a class': (lambda m: Requester, r"the pickle names 'test\.bridge\.servers\.Requester'"),
    'object array': (
        lambda m: np.array([Command(os.system, f'touch {m}')]),
        "refused: NumPy dtype 'O8'",
    ),
    'structured array': (lambda m: np.zeros(17, 'f4,f4'), "refused: NumPy dtype 'V8'"),
    'text array': (lambda m: np.array(['1'] * 17), "refused: NumPy dtype 'U1'"),
}
BOMBS = {
    'huge memo index': b'Nr\xff\xff\xff\xff0N.',
    'huger memo index': b'Np' + b'9' * 1000 + b'\n0N.',
    '4 GB string': b'X\xff\xff\xff\xff.',
    'exabytes': b'\x8e' + b'\xff' * 8 + b'.',
    'deep lists': b'(' * 100_000 + b'l' * 100_000 + b'.',
    'doubling tuples': b'N' + b'2\x86' * 45_000 + b'.',
    'many opcodes': b'(' + b'N' * 1_000_000 + b'l.',
    'dtype with flags': pickle.dumps(np.zeros(3), 2).replace(b'K\x00t', b'K\x3ft'),
    'persistent id': b'Px\n.',
    'extension code': b'\x82\x01.',
}


@pytest.mark.parametrize(('spoil', 'message'), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_refused_by_name_and_is_no_step(
    requester, reference, spoil, message
):
    assert_step(requester, reference, 0)
    text = requester.refused(spoil(*reference.observation(1)))
    assert re.search(message, text), text
    assert_step(requester, reference, 1)


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize(('hostile', 'message'), HOSTILE.values(), ids=HOSTILE)
def test_what_a_pickle_names_is_refused_and_not_run(
    requester, reference, tmp_path, hostile, message, protocol
):
    marker = tmp_path / 'marker'
    request = hostile(str(marker))
    qpos, images = reference.observation(0)
    for outer in (request, {'qpos': request, 'images': images}, {'qpos': qpos, 'images': request}):
        text = requester.refused(pickle.dumps(outer, protocol))
        assert re.match(f'cannot read the request: .*{message}', text), text
    assert not marker.exists()
    assert_step(requester, reference, 0)


def test_a_stock_reader_runs_the_hostile_requests(tmp_path):
    """So that a missing marker proves something."""
    for name in ('os.system', 'eval', 'open', 'object array'):
        marker = tmp_path / name.replace(' ', '_')
        pickle.loads(pickle.dumps(HOSTILE[name][0](str(marker))))
        assert marker.exists()


@pytest.mark.parametrize('message', BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_and_is_no_step(requester, reference, message):
    requester.refused(message)
    assert_step(requester, reference, 0)


@pytest.mark.parametrize('frames', [2, 3, 1000])
def test_a_request_of_several_frames_is_refused(requester, reference, frames):
    message = good_request(*reference.observation(0))
    text = requester.refused(*[message, *[b''] * (frames - 1)])
    assert text == f'the request has {frames} frames, expected one pickled object'
    assert_step(requester, reference, 0)


def test_messages_up_to_64_mib_are_answered(requester, reference):
    qpos, images = reference.observation(0)
    for size in (MAX_MESSAGE_BYTES - 1000, MAX_MESSAGE_BYTES):
        message = pickle.dumps({'qpos': qpos, 'images': np.zeros(size - 1000, np.uint8)})
        message += b'.' * (size - len(message))
        assert len(message) == size
        assert 'bytes follow the end' in requester.refused(message)
    image = np.zeros((4000, 5000, 3), np.uint8)
    text = requester.refused(pickle.dumps({'qpos': qpos, 'images': {**images, 'rgb_main': image}}))
    assert "camera 'rgb_main' is (4000, 5000, 3) uint8, expected (120, 160, 3)" in text
    assert_step(requester, reference, 0)


def test_a_longer_message_is_dropped_with_its_connection(server, requester, reference):
    with Requester(server.endpoint) as other:
        monitor = other.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        other.socket.send(bytes(MAX_MESSAGE_BYTES + 1))
        assert monitor.poll(PATIENCE * 1000)
        assert recv_monitor_message(monitor)['event'] == zmq.EVENT_DISCONNECTED
        other.socket.disable_monitor()
    assert_step(requester, reference, 0)
    with Requester(server.endpoint) as following:
        assert_step(following, reference, 0)
    assert_step(requester, reference, 1)
