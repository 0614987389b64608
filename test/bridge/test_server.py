"""The server over real sockets: answers, refusals, and that it survives both."""

import contextlib
import os
import pickle
import pickletools
import re
import socket
import struct
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq

from act_ros.bridge import protocol
from act_ros.bridge.client import PolicyClient
from act_ros.bridge.server import PolicyServer
from act_ros.errors import ActError
from act_ros.parameters import Settings
from test.bridge.servers import (
    ANY_PORT,
    PATIENCE,
    SIGHT,
    Requester,
    Steps,
    assert_step,
    good_request,
    serving,
)
from test.waiting import wait_until

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


@pytest.mark.parametrize('version', range(6))
def test_every_pickle_protocol_is_answered(requester, reference, version):
    qpos, images = reference.observation(0)
    assert requester.ask('RESET', version) == {'status': 'OK'}
    action = requester.ask({'qpos': qpos, 'images': images}, version)['action']
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


def test_clients_that_take_turns_have_an_episode_each(server, requester, reference):
    """Two documented clients, the same steps at another time: 35 of 36 differed once."""
    with Requester(server.endpoint) as other:
        other.act(reference.observation(11))
        other.reset()
        for i in range(12):
            requester_action = requester.act(reference.observation(i))
            other_action = other.act(reference.observation(11 - i))
            if i == 5:
                other.reset()
            np.testing.assert_allclose(
                requester_action, reference.aggregated[i], atol=1e-4, rtol=0
            )
            assert not np.allclose(other_action, requester_action, atol=1e-4)


@pytest.mark.parametrize('version', range(6))
def test_images_may_be_bytes_of_a_picture(requester, reference, version):
    qpos, images = reference.observation(0)
    pictures = {name: cv2.imencode('.png', image[..., ::-1])[1].tobytes()
                for name, image in images.items()}  # fmt: skip
    action = requester.ask({'qpos': qpos, 'images': pictures}, version)['action']
    np.testing.assert_allclose(action, reference.aggregated[0], atol=1e-4, rtol=0)
    name, *_ = pictures
    for wrong, text in (
        (b'no picture', 'neither JPEG nor PNG: its 10 bytes begin with 6e6f207069637475'),
        (bytes(70_000), 'neither JPEG nor PNG: its 70000 bytes begin with 0000000000000000'),
        (pictures[name][:200], 'a PNG cut off: no end in its 200 bytes'),
    ):
        request = {'qpos': qpos, 'images': {**pictures, name: wrong}}
        assert requester.refused(pickle.dumps(request, version)) == f"camera '{name}': {text}"


# --- other peers than clients


def test_messages_without_an_envelope_do_not_stop_the_server():
    with serving(Steps()) as server, Requester(server.endpoint, zmq.DEALER) as dealer:
        reset = [b'', pickle.dumps('RESET')]
        for _ in range(3):
            dealer.socket.send(b'no envelope')
            dealer.socket.send_multipart([b'two', b'frames'])
            dealer.socket.send_multipart(reset)
            assert dealer.socket.recv_multipart() == [b'', protocol.ok()]
        dealer.socket.send(b'no envelope')
    # `serving` has stopped the server, which no such message may hold up.


def test_a_flood_of_requests_is_answered_one_by_one(server, reference):
    with Requester(server.endpoint, zmq.DEALER) as dealer:
        for _ in range(500):
            dealer.socket.send_multipart([b'', pickle.dumps('RESET')])
        with Requester(server.endpoint) as requester:
            requester.reset()  # its turn comes before the flood has ended
        for _ in range(500):
            assert dealer.socket.recv_multipart() == [b'', protocol.ok()]


def test_what_is_no_zmq_does_not_disturb_the_server(server, requester, reference):
    host, port = server.endpoint.removeprefix('tcp://').split(':')
    noise = [b'GET / HTTP/1.1\r\n\r\n', b'\xff' * 5000, b'\0' * 5000, b'', os.urandom(5000)]
    for data in noise:
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(data)
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
            )  # closed by a reset
    half_open = [socket.create_connection((host, int(port))) for _ in range(50)]
    assert_step(requester, reference, 0)
    with Requester(server.endpoint) as other:
        assert_step(other, reference, 0)
    assert_step(requester, reference, 1)
    for connection in half_open:
        connection.close()


def test_a_peer_that_leaves_behind_no_request_costs_nobody_an_answer():
    # ZMTP 1.0, as whatever does not begin with 0xff is read: no name, then one frame too few.
    malformed = b'\x01\x00' + b'\x03\x01ab' + b'\x03\x00cd'
    with serving(Steps()) as server:
        host, port = server.endpoint.removeprefix('tcp://').split(':')
        for _ in range(30):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(malformed)
            with Requester(server.endpoint) as requester:
                requester.reset()


def test_a_client_that_leaves_before_its_answer_does_not_disturb_the_server():
    steps = Steps(blocked=True)
    with serving(steps) as server:
        with Requester(server.endpoint) as leaving:
            leaving.socket.send(good_request(*SIGHT))
            wait_until(lambda: steps.waiting, PATIENCE, 'the request in hand')
        steps.go.set()
        with Requester(server.endpoint) as requester:
            assert requester.act(SIGHT).tolist() == [2]


# --- faults


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        (
            RuntimeError('CUDA error: out of\n  memory\n'),
            'RuntimeError: CUDA error: out of memory',
        ),
        (KeyError('x'), "KeyError: 'x'"),
        (MemoryError(), 'MemoryError:'),
        (RecursionError('deep'), 'RecursionError: deep'),
    ],
)
def test_a_fault_in_the_policy_is_an_error_with_its_text_and_a_traceback_in_the_log(
    fault, message, caplog
):
    steps = Steps(fault=fault)
    with serving(steps) as server, Requester(server.endpoint) as requester:
        assert requester.refused(good_request(*SIGHT)) == f'the policy failed: {message}'
        assert caplog.records[-1].exc_info[1] is fault
        steps.fault = None
        assert requester.act(SIGHT).tolist() == [1]
        assert (server.requests, server.errors) == (2, 1)


def test_an_error_of_the_policy_is_passed_on_as_it_is(caplog):
    steps = Steps(fault=ActError("the policy's output is not finite"))
    with serving(steps) as server, Requester(server.endpoint) as requester:
        text = requester.refused(good_request(*SIGHT))
    assert text == "the policy's output is not finite"
    assert [record.exc_info for record in caplog.records] == [None]


def test_mistakes_in_turns_do_not_fill_the_log(caplog):
    good = good_request(*SIGHT)
    with (
        serving(Steps()) as server,
        Requester(server.endpoint) as one,
        Requester(server.endpoint) as other,
    ):
        for i in range(100):
            one.refused(b'')
            other.refused(pickle.dumps(f'x{i}'))
            one.raw(good)
        assert (server.requests, server.errors) == (300, 200)
    said = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    assert said[:2] == [
        'refused: cannot read the request: the pickle is cut short',
        "refused: the request is 'x0', expected 'RESET' or a dict with 'qpos' and 'images'",
    ]
    # At the end: how many they were.
    assert [re.match(r'refused: 99 more in \d s like this one: ', line) is not None
            for line in said[2:]] == [True, True]  # fmt: skip
    assert "'x99'" in said[3]


def test_a_fault_that_repeats_is_logged_with_one_traceback(caplog):
    steps = Steps(fault=RuntimeError('CUDA error'))
    with serving(steps) as server, Requester(server.endpoint) as requester:
        for _ in range(100):
            requester.refused(good_request(*SIGHT))
            requester.refused(b'')
    assert [record.exc_info is not None for record in caplog.records] == [True] + [False] * 3


@pytest.mark.parametrize('frames', [16, 17, 100])
@pytest.mark.parametrize('address', [b'proxy', b'a' * 256])
def test_an_envelope_that_no_proxy_writes_is_dropped(address, frames):
    with serving(Steps()) as server, Requester(server.endpoint, zmq.DEALER) as dealer:
        dealer.socket.send_multipart([address] * frames + [b'', pickle.dumps('RESET')])
        dealer.socket.send_multipart([*[b'proxy'] * 14, b'', pickle.dumps('RESET')])
        # The first answer is that to the second request.
        assert dealer.socket.recv_multipart() == [*[b'proxy'] * 14, b'', protocol.ok()]


# --- the endpoint, and the end


def test_an_address_in_use_is_named():
    with serving(Steps()) as server, pytest.raises(ActError) as caught:
        PolicyServer(server.endpoint)
    assert str(caught.value).startswith(f'address in use: {server.endpoint}; another server')


@pytest.mark.parametrize('endpoint', ['', '5555', 'tcp://', 'http://127.0.0.1:1', 'tcp://*:no'])
def test_an_endpoint_that_is_none_is_named_with_an_example(endpoint):
    with pytest.raises(ActError) as caught:
        PolicyServer(endpoint)
    assert str(caught.value).startswith(f'cannot listen on {endpoint!r}: ')
    assert str(caught.value).endswith('e.g. tcp://127.0.0.1:5555')


@pytest.mark.skipif(not Path('/proc/net/if_inet6').exists(), reason='this machine has no IPv6')
def test_an_ipv6_endpoint_is_served():
    with serving(Steps(), 'tcp://[::1]:*') as server, PolicyClient(server.endpoint) as client:
        client.reset()


def test_an_endpoint_open_to_the_network_needs_keys_or_a_word_and_a_warning(caplog):
    with pytest.raises(ActError, match=r'tcp://0\.0\.0\.0:\d+ is open to the network, and'):
        PolicyServer('tcp://*:*')
    PolicyServer(ANY_PORT).close()
    assert not caplog.records
    PolicyServer('tcp://*:*', Settings(zmq_insecure=True)).close()
    assert 'is open to the network and asks for no key' in caplog.text


STOPPING = {'status': 'ERROR', 'message': 'stopping'}


def test_stop_waits_for_the_request_in_hand_and_frees_the_address():
    steps = Steps(blocked=True)
    server = PolicyServer(ANY_PORT)
    server.begin(steps)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with Requester(server.endpoint) as requester, Requester(server.endpoint) as other:
        requester.socket.send(good_request(*SIGHT))
        wait_until(lambda: steps.waiting, PATIENCE, 'the request in hand')
        server.stop()
        assert other.ask('RESET') == STOPPING
        steps.go.set()
        assert pickle.loads(requester.socket.recv())['action'].tolist() == [1]
    thread.join(PATIENCE)
    assert not thread.is_alive() and server.failure is None
    server.stop()  # does nothing after the end
    PolicyServer(server.endpoint).close()


def test_stop_tells_all_who_wait_whatever_the_actor_does():
    """Also who waits for the actor's thread to begin, and who has sent many requests at once."""
    steps = Steps(blocked=True)
    server = PolicyServer(ANY_PORT)
    server.begin(steps)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(Requester(server.endpoint)) for _ in range(10)]
        many = stack.enter_context(Requester(server.endpoint, zmq.DEALER))
        large = good_request(np.zeros(17), {'a': np.zeros(2_000_000, np.uint8)})
        for requester in waiting:
            requester.socket.send(large)
        for _ in range(50):
            many.socket.send_multipart([b'', good_request(*SIGHT)])
        # Who has not got through to the server does not wait there.
        wait_until(lambda: server._front.counts.connections == 11, PATIENCE, 'all of them')
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < 1.5
        for requester in waiting:
            assert pickle.loads(requester.socket.recv()) == STOPPING
        for _ in range(50):
            assert pickle.loads(many.socket.recv_multipart()[1]) == STOPPING
    server.run()  # does nothing any more
    assert not steps.waiting


def test_a_peer_that_does_not_read_or_stops_in_the_middle_does_not_hold_up_the_end():
    server = PolicyServer(ANY_PORT)
    server.begin(Steps())
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    host, port = server.endpoint.removeprefix('tcp://').split(':')
    # ZMTP 3.0: the greeting, the READY of a REQ, then an empty frame with more to come.
    ready = b'\x05READY\x0bSocket-Type\x00\x00\x00\x03REQ'
    greeting = b'\xff' + bytes(8) + b'\x7f\x03\x00NULL' + bytes(16) + b'\x00' + bytes(31)
    hello = greeting + b'\x04' + bytes((len(ready),)) + ready
    reset = b'\x01\x00\x00\x08\x8c\x05RESET.'
    with contextlib.ExitStack() as stack:
        address = host, int(port)
        peers = [stack.enter_context(socket.create_connection(address)) for _ in range(6)]
        peers[0].sendall(greeting[:20])
        peers[1].sendall(greeting)
        peers[2].sendall(hello)
        peers[3].sendall(hello + b'\x01\x00')
        peers[4].sendall(hello + b'\x01\x00\x02' + (60_000_000).to_bytes(8, 'big') + bytes(99))
        peers[5].sendall(hello)
        answer = b''
        while b'READY' not in answer:  # until then it may not ask
            answer += peers[5].recv(1000)
        asking = memoryview(reset * 1_000_000)  # and reads nothing more
        peers[5].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while asking:
                asking = asking[peers[5].send(asking) :]
        with Requester(server.endpoint) as requester:
            requester.reset()
        wait_until(lambda: server.requests > 10, PATIENCE, 'requests of who does not read')
        started = time.monotonic()
        server.close()
        thread.join(PATIENCE)
        assert time.monotonic() - started < 1.5
    assert server.failure is None


def test_what_ends_the_server_is_known(monkeypatch):
    server = PolicyServer(ANY_PORT)
    with Requester(server.endpoint) as requester:
        requester.socket.setsockopt(zmq.RCVTIMEO, 100)
        fault = OSError('no more files')
        monkeypatch.setattr(server, '_note', mock_raising(fault))
        requester.socket.send(b'')
        with pytest.raises(OSError, match='no more files'):
            server.run()
        assert server.failure is fault
    PolicyServer(server.endpoint).close()


def mock_raising(fault):
    def raising(*_):
        raise fault

    return raising


def test_a_stop_before_the_start_counts():
    server = PolicyServer(ANY_PORT)
    server.stop()
    server.run()


def test_servers_leave_no_open_files():
    def open_files():
        return len([*Path('/proc/self/fd').iterdir()])

    PolicyServer(ANY_PORT).close()
    before = open_files()
    for _ in range(5):
        with serving(Steps()):
            pass
    wait_until(lambda: open_files() <= before, PATIENCE, 'files closed')
