"""INFO and health: what they say, and that they disturb nothing."""

import hashlib
import json

import msgpack
import numpy as np
import pytest

from act_ros.bridge.client import PolicyClient, ServerError
from act_ros.bridge.info import Times, describe
from act_ros.bridge.server import PolicyServer
from act_ros.parameters import Settings
from act_ros.policy import PolicyProcess
from act_ros.policy.guest import GuestPolicy
from test.bridge import vectors
from test.bridge.servers import ANY_PORT, PATIENCE, SIGHT, Requester, Steps, good_request, serving

MESSAGES = json.loads(vectors.FILE.read_text())


@pytest.fixture(scope='module')
def told(server):
    with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
        return client.info()


def test_info_tells_what_a_client_needs(told, ckpt, reference):
    assert told['protocol'] == 1
    qpos, images = reference.observation(0)
    assert told['task']['cameras'] == {name: list(images[name].shape[:2]) for name in images}
    assert len(told['task']['state']) == told['state_dim'] == len(qpos) == 17
    assert len(told['task']['action']) == told['action_dim'] == 16
    assert 'base/x/velocity' in told['task']['state']
    assert (told['chunk_size'], told['rate']) == (8, 50.0)
    assert told['aggregation'] == {
        'temporal_aggregation': True, 'query_every': 0, 'decay': 0.01
    }  # fmt: skip
    digest = hashlib.sha256((ckpt / 'policy_best.ckpt').read_bytes()).hexdigest()
    assert told['checkpoint'] == {'name': 'policy_best.ckpt', 'sha256': digest}
    assert (told['engine'], told['precision']) == ('torch float32', 'float32')
    assert told['device'] == 'cpu' and told['deviation'] is None


def test_info_tells_the_statistics_of_training(told, ckpt):
    saved = np.load(ckpt / 'dataset_stats.pkl', allow_pickle=True)
    for name in ('qpos_mean', 'qpos_std', 'action_mean', 'action_std'):
        np.testing.assert_array_equal(told['statistics'][name], saved[name])


def test_the_test_vectors_tell_what_a_server_tells(server, told):
    with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
        found = {'info': told, 'health': client.health()}
    examples = {what: MESSAGES['replies'][f'reply to {what}']['value'][what] for what in found}
    for what, fields in found.items():
        assert examples[what].keys() == fields.keys()
    for name in ('task', 'checkpoint', 'aggregation', 'statistics'):
        assert examples['info'][name].keys() == told[name].keys()


def test_a_guest_of_the_inference_process_tells_the_same(told, ckpt):
    policy = PolicyProcess(torch_threads=1)
    try:
        policy.load(ckpt, device='cpu')
        place = policy.admit(1)
        guest = GuestPolicy(place)
        place.close()
        there = describe(guest, Settings())
        guest.close()
    finally:
        policy.close()
    np.testing.assert_equal({**there, 'version': ''}, {**told, 'version': ''})


def test_health_counts_and_measures():
    with serving(Steps()) as server, Requester(server.endpoint) as requester:
        for _ in range(3):
            requester.act(SIGHT)
        with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
            assert client.health()['latest_error'] is None
            message = requester.refused(b'nonsense')
            found = client.health()
        assert found['state'] == 'ready' and 0 < found['uptime'] < 60
        assert (found['connections'], found['sessions'], found['waiting']) == (2, 1, 0)
        assert found['requests'] == {'ok': 4, 'bad_request': 1}
        assert found['batches'] == {'1': 3}
        error = found['latest_error']
        assert error.pop('age') < PATIENCE
        assert error == {'error': 'bad_request', 'message': message}
        for name in ('queue_ms', 'inference_ms'):
            assert 0 <= found[name]['p50'] <= found[name]['p99'] <= found[name]['max'] < 60e3
        requester.socket.close()
        with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
            later = client.health()
        assert later['requests']['ok'] == 5 and later['closed']['left'] >= 1


def test_neither_is_a_step_of_any_episode():
    with serving(Steps()) as server, Requester(server.endpoint) as requester:
        for i in range(4):
            assert requester.ask({'request': 'health'})['health']['state'] == 'ready'
            reply = requester.ask({'request': 'info', 'id': i, 'stamp': 0.5})
            assert (reply['info']['chunk_size'], reply['id'], reply['stamp']) == (1, i, 0.5)
            packed = requester.raw(msgpack.packb({'request': 'info'}))
            assert packed['info']['task']['name'] == 'tiny' and 'statistics' not in packed['info']
            assert requester.act(SIGHT).item() == i + 1


def test_while_it_loads_health_says_so_and_info_is_refused():
    server = PolicyServer(ANY_PORT)
    try:
        with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
            assert client.health()['state'] == 'loading'
            with pytest.raises(ServerError) as caught:
                client.info()
            assert caught.value.code == 'loading'
    finally:
        server.close()


def test_during_a_pass_both_are_answered():
    policy = Steps(blocked=True)
    with serving(policy) as server, Requester(server.endpoint) as requester:
        requester.socket.send(msgpack.packb({'request': 'act', 'reply': 'chunk', 'images': {},
                                             'qpos': {'dtype': '<f4', 'shape': [0], 'data': b''}}))
        with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
            assert client.info()['chunk_size'] == 1
            assert client.health()['state'] == 'ready'
        policy.go.set()
        requester.socket.recv()


def test_an_error_that_is_no_unicode_is_told_of():
    steps = Steps(fault=RuntimeError('in \udcff'))
    with serving(steps) as server, Requester(server.endpoint) as requester:
        requester.refused(good_request(*SIGHT))
        reply = requester.raw(msgpack.packb({'request': 'health'}))
    message = reply['health']['latest_error']['message']
    assert message == 'the policy failed: RuntimeError: in ?'
    assert reply['health']['inference_ms'] == {}  # a pass that gave nothing has taken no time


def test_percentiles_are_in_ms_and_of_nothing_there_are_none():
    times = Times()
    assert times.percentiles_ms() == {}
    for seconds in [0.001] * 99 + [0.1]:
        times.add(seconds)
    assert times.percentiles_ms() == pytest.approx(
        {'p50': 1.0, 'p90': 1.0, 'p99': 1.99, 'max': 100.0}
    )


def test_times_are_counted_by_how_long_they_were():
    times = Times()
    for seconds in (0.0, 0.001, 0.0011, 10.0, 10.1, 99.0):
        times.add(seconds)
    copy = times.copy()
    times.add(1.0)
    assert copy.counts == [2, 1, *[0] * 10, 1, 2] and len(copy.counts) == len(Times.BOUNDS) + 1
    assert copy.total == pytest.approx(119.1021)
    assert list(copy.latest) == [0.0, 0.001, 0.0011, 10.0, 10.1, 99.0]
