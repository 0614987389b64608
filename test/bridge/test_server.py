"""The server over real sockets: answers, refusals, and that it survives both."""

import logging
import os
import pickle
import pickletools
import socket
import struct
import threading

import numpy as np
import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from act_ros.bridge.protocol import MAX_MESSAGE_BYTES
from act_ros.bridge.server import PolicyServer
from act_ros.errors import ActError
from act_ros.policy import load_policy
from test.bridge.servers import ANY_PORT, PATIENCE, Requester, ServerProcess, serving, wait_until

# --- answers


def test_a_whole_episode_equals_the_reference(requester, reference):
    for i, expected in enumerate(reference.aggregated):
        action = requester.act(reference.observation(i))
        assert action.shape == (16,)
        np.testing.assert_allclose(action, expected, atol=1e-4, rtol=0)


def test_reset_begins_again_at_step_0(requester, reference):
    first = [requester.act(reference.observation(i)) for i in range(3)]
    requester.reset()
    again = [requester.act(reference.observation(i)) for i in range(3)]
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize('protocol', range(6))
def test_every_pickle_protocol_is_answered(requester, reference, protocol):
    qpos, images = reference.observation(0)
    assert requester.ask('RESET', protocol) == {'status': 'OK'}
    action = requester.ask({'qpos': qpos, 'images': images}, protocol)['action']
    np.testing.assert_allclose(action, reference.aggregated[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize('dtype', ['<f4', '<f8', '>f4', '>f8'])
def test_qpos_may_be_float32_or_float64_of_any_byte_order(requester, reference, dtype):
    qpos, images = reference.observation(0)
    action = requester.act((qpos.astype(dtype), images))
    np.testing.assert_allclose(action, reference.aggregated[0], atol=1e-4, rtol=0)


def test_images_may_lie_in_memory_in_any_order(requester, reference):
    qpos, images = reference.observation(0)
    turned = {name: np.asfortranarray(image) for name, image in reversed(images.items())}
    action = requester.act((qpos, turned))
    np.testing.assert_allclose(action, reference.aggregated[0], atol=1e-4, rtol=0)


def test_replies_use_pickle_protocol_4_at_most_and_the_numpy_1_names(requester, reference):
    qpos, images = reference.observation(0)
    requester.socket.send(pickle.dumps({'qpos': qpos, 'images': images}))
    reply = requester.socket.recv()
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(reply)) <= 4
    assert b'numpy.core.' in reply and b'numpy._core.' not in reply


def test_clients_share_the_episode(server, requester, reference):
    with Requester(server.endpoint) as other:
        for i in range(4):
            action = (requester, other)[i % 2].act(reference.observation(i))
            np.testing.assert_allclose(action, reference.aggregated[i], atol=1e-4, rtol=0)


@pytest.fixture(scope='module')
def chunk_server(ckpt):
    process = ServerProcess('--ckpt-dir', ckpt, '--no-temporal-aggregation', '--query-every', 3)
    yield process
    process.close()


def test_without_aggregation_equals_the_public_loop(chunk_server, ckpt, reference):
    policy = load_policy(ckpt, device='cpu')
    with Requester(chunk_server.endpoint) as requester:
        requester.reset()
        for t in range(12):
            if t % 3 == 0:
                all_actions = policy.predict(*reference.observation(t))
            action = requester.act(reference.observation(t))
            np.testing.assert_allclose(action, all_actions[t % 3], atol=1e-5, rtol=0)


def test_a_refused_request_is_no_step_without_aggregation_either(chunk_server, ckpt, reference):
    chunk = load_policy(ckpt, device='cpu').predict(*reference.observation(0))
    with Requester(chunk_server.endpoint) as requester:
        requester.reset()
        for t in range(3):
            qpos, images = reference.observation(t)
            spoilt = pickle.dumps({'qpos': qpos[:16], 'images': images})
            assert 'qpos has shape (16,)' in requester.refused(spoilt)
            np.testing.assert_allclose(requester.act((qpos, images)), chunk[t], atol=1e-5, rtol=0)


# --- refusals


def with_qpos(change):
    return lambda qpos, images: pickle.dumps({'qpos': change(qpos), 'images': images})


def with_images(change):
    return lambda qpos, images: pickle.dumps({'qpos': qpos, 'images': change(images)})


def with_left(change):
    return with_images(lambda images: {**images, 'rgb_left': change(images['rgb_left'])})


def always(message):
    return lambda qpos, images: message


def good(qpos, images):
    return pickle.dumps({'qpos': qpos, 'images': images})


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
    'cut short': (lambda q, i: good(q, i)[:-500], 'the pickle is cut short'),
    'followed by more': (lambda q, i: good(q, i) + b'.', 'bytes follow the end'),
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
    'infinity': (with_qpos(lambda q: q / np.float32(0)), r'qpos\[0\] \(base/x/position\) is -?inf'),
    'qpos that leads to no number': (
        with_qpos(lambda q: np.full_like(q, 3e38)),
        "the policy's output is not finite at action entry",
    ),
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
    'camera without a name': (with_images(lambda i: {**i, None: 0}), 'unknown camera None'),
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

HOSTILE = {
    'os.system': (Command(os.system, 'touch marker'), "the pickle names 'posix.system'"),
    'eval': (Command(eval, "open('marker', 'w')"), "the pickle names '(__builtin__|builtins).eval'"),
    'open': (Command(open, 'marker', 'w'), "the pickle names '(_pyio|io).open'"),
    'numpy.save': (Command(np.save, 'marker', 1), "the pickle names 'numpy.save'"),
    'object array': (np.array([Command(os.system, 'touch marker')]), "NumPy dtype 'O8'"),
    'structured array': (np.zeros(17, 'f4,f4'), "NumPy dtype 'V8'"),
    'text array': (np.array(['1'] * 17), "NumPy dtype 'U1'"),
    'set': ({1}, 'refused'),
    'class': (Requester, "the pickle names 'test.bridge.servers.Requester'"),
}
RAW_HOSTILE = {
    'huge memo index': b'Nr\xff\xff\xff\xff.',
    'huger memo index': b'Np' + b'9' * 1000 + b'\n.',
    '4 GB string': b'X\xff\xff\xff\xff.',
    'exabytes': b'\x8e' + b'\xff' * 8 + b'.',
    'deep lists': b'(' * 100_000 + b'l' * 100_000 + b'.',
    'doubling tuples': b'N' + b'2\x86' * 50_000 + b'.',
    'many opcodes': b'(' + b'N' * 1_000_000 + b'l.',
    'dtype with flags': pickle.dumps(np.zeros(3), 2).replace(b'K\x00tb', b'K\x3ftb'),
    'persistent id': b'Pmarker\n.',
    'extension': b'\x82\x01.',
}


@pytest.mark.parametrize(('spoil', 'message'), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_refused_by_name_and_is_no_step(
    requester, reference, spoil, message
):
    np.testing.assert_allclose(
        requester.act(reference.observation(0)), reference.aggregated[0], atol=1e-4, rtol=0
    )
    assert_refused_between_steps(requester, reference, spoil(*reference.observation(1)), message)


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize(('hostile', 'message'), HOSTILE.values(), ids=HOSTILE)
def test_what_a_pickle_names_is_not_run(
    requester, reference, tmp_path, monkeypatch, hostile, message, protocol
):
    monkeypatch.chdir(tmp_path)
    qpos, images = reference.observation(0)
    for request in (hostile, {'qpos': hostile, 'images': images}, {'qpos': qpos, 'images': hostile}):
        text = requester.refused(pickle.dumps(request, protocol))
        assert text.startswith('cannot read the request: '), text
    pattern = text.replace('posix.', 'posix.')
    assert_matches(pattern, message)
    np.testing.assert_allclose(
        requester.act((qpos, images)), reference.aggregated[0], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize('message', RAW_HOSTILE.values(), ids=RAW_HOSTILE)
def test_a_bomb_is_refused_and_is_no_step(requester, reference, message):
    requester.refused(message)
    np.testing.assert_allclose(
        requester.act(reference.observation(0)), reference.aggregated[0], atol=1e-4, rtol=0
    )
