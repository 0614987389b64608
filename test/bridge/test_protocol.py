"""Messages: what is read, what is refused and how, and who can read the replies."""

import pickle
import pickletools

import numpy as np
import pytest

from act_ros.bridge import protocol, requests

QPOS = np.arange(17, dtype=np.float32)
IMAGES = {'rgb_main': np.zeros((60, 80, 3), np.uint8)}


def test_images_are_views_of_the_message():
    images = {'rgb_main': np.zeros((480, 640, 3), np.uint8)}
    message = pickle.dumps({'qpos': QPOS, 'images': images})
    image = requests.parse(message).images['rgb_main']
    assert np.shares_memory(image, np.frombuffer(message, np.uint8))


@pytest.mark.parametrize(
    ('request_', 'message'),
    [
        ('reset', "the request is 'reset', expected 'RESET' or a dict with 'qpos' and 'images'"),
        (b'RESET', "the request is a bytes, expected 'RESET' or a dict"),
        (bytes(70_000), "the request is a bytes, expected 'RESET' or a dict"),
        (None, 'the request is a NoneType'),
        (QPOS, 'the request is a ndarray'),
        ({}, "the request has no 'qpos'"),
        ({'qpos': QPOS}, "the request has no 'images'"),
        ({'images': IMAGES}, "the request has no 'qpos'"),
        ({'qpos': QPOS, 'images': IMAGES, 'step': 3}, "unknown key 'step'; expected 'qpos' and"),
        ({'qpos': QPOS, 'images': IMAGES, 'x' * 999: 3}, r"unknown key 'x+\.\.\.; expected"),
        ({'qpos': QPOS, 'images': IMAGES, 'a\nb': 3}, r"unknown key 'a\\nb'; expected"),
        ('x' * 9999, r"the request is 'x+\.\.\., expected"),
        ({'qpos': {1, 2}}, 'cannot read the request: refused: '),
    ],
)
def test_names_what_is_wrong_with_a_request(request_, message):
    with pytest.raises(requests.RequestError, match=f'^{message}') as caught:
        requests.parse(pickle.dumps(request_))
    assert caught.value.echo == requests.Echo('pickle', documented=True)
    text = str(caught.value)
    assert len(text) < 300 and len(text.splitlines()) == 1


@pytest.mark.parametrize(
    'reply',
    [protocol.ok(), protocol.ok(np.arange(16.0)), protocol.error('no')],
    ids=['reset', 'action', 'error'],
)
def test_every_python_and_numpy_can_read_the_replies(reply):
    assert all(opcode.proto <= 4 for opcode, _, _ in pickletools.genops(reply))
    assert b'numpy._core' not in reply


def test_replies_are_those_documented():
    assert pickle.loads(protocol.ok()) == {'status': 'OK'}
    assert pickle.loads(protocol.error('no')) == {'status': 'ERROR', 'message': 'no'}
    reply = pickle.loads(protocol.ok(np.arange(16.0)))
    assert list(reply) == ['status', 'action'] and reply['status'] == 'OK'
    np.testing.assert_array_equal(reply['action'], np.arange(16.0))


def test_an_error_is_one_short_line():
    reply = pickle.loads(protocol.error('of\r\nthree\u2028\n lines\n'))
    assert reply['message'] == 'of three lines'
    for text in ('ab' * 1_000_000, 'a ' * 1_000_000, '\n' * 1_000_000, '\ud800' * 1_000_000):
        message = pickle.loads(protocol.error(text))['message']
        assert len(message) <= 500 and len(message.splitlines()) <= 1


@pytest.mark.parametrize(
    ('reply', 'message'),
    [
        (b'', 'cannot read the reply: the pickle is cut short'),
        (pickle.dumps([]), 'no status OK or ERROR'),
        (pickle.dumps({}), 'no status OK or ERROR'),
        (pickle.dumps({'status': 'FINE'}), 'no status OK or ERROR'),
        (pickle.dumps({'status': 'ERROR'}), 'an ERROR without a message'),
        (pickle.dumps({'status': 'ERROR', 'message': [1]}), 'an ERROR without a message'),
        (pickle.dumps({'status': np.arange(2)}), 'no status OK or ERROR'),
        (pickle.dumps({'status': print}), 'cannot read the reply: refused'),
    ],
)
def test_refuses_what_is_no_reply(reply, message):
    with pytest.raises(protocol.ProtocolError, match=message):
        protocol.parse_reply(reply)
