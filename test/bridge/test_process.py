"""The endpoint in a process of its own, at a real inference process; no ROS is needed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from act_ros.bridge import child, process
from act_ros.bridge.client import PolicyClient, ServerError
from act_ros.bridge.process import EndpointProcess
from act_ros.errors import ActError, ParameterError
from act_ros.parameters import Settings
from act_ros.policy import PolicyProcess, Rollout, load_policy
from test.bridge.servers import ANY_PORT, Requester
from test.processes import alive
from test.waiting import wait_until


@pytest.fixture(scope='module')
def policy(ckpt):
    policy = PolicyProcess(torch_threads=1)
    try:
        policy.load(ckpt, device='cpu')
        yield policy
    finally:
        policy.close()


@pytest.fixture
def listen():
    """Listen, for a model that is to come; closed whatever happens."""
    started = []

    def run(endpoint=ANY_PORT, **settings):
        started.append(EndpointProcess(Settings(zmq_endpoint=endpoint, **settings)))
        return started[-1]

    yield run
    for endpoint in started:
        endpoint.close()


@pytest.fixture
def serve(listen, policy):
    """Serve."""

    def run(endpoint=ANY_PORT, **settings):
        serving = listen(endpoint, **settings)
        serving.begin(lambda: policy.admit(2))
        return serving

    return run


def pid(endpoint):
    return endpoint._helper.child.pid


def test_a_client_gets_what_the_policy_gives_here(serve, ckpt, reference):
    endpoint = serve()
    rollout = Rollout(load_policy(ckpt, device='cpu'))
    with PolicyClient(endpoint.endpoint, timeout=20) as client:
        for i in range(4):
            action = client.act(*reference.observation(i))
            expected = rollout.act(*reference.observation(i))
            np.testing.assert_allclose(action, expected, rtol=0, atol=1e-6)
        with pytest.raises(ServerError, match='qpos has shape'):
            client.act(np.zeros(3, np.float32), reference.observation(0)[1])
    assert endpoint.fault == ''
    counts = {'requests': 5, 'errors': 1}
    wait_until(lambda: endpoint.counts.items() >= counts.items(), 5, lambda: f'{endpoint.counts}')


def test_before_there_is_a_model_requests_are_told_so(listen, policy, ckpt, reference):
    endpoint = listen()
    endpoint.set_decay(1.5)
    with Requester(endpoint.endpoint) as requester:
        assert requester.ask('RESET') == {'status': 'ERROR', 'message': 'loading'}
        assert requester.ask({'request': 'health'})['health']['state'] == 'loading'
        assert (endpoint.fault, endpoint.counts) == ('', {})
        endpoint.begin(lambda: policy.admit(1))
        assert requester.ask({'request': 'health'})['health']['state'] == 'ready'
        rollout = Rollout(load_policy(ckpt, device='cpu'), Settings(decay=1.5))
        for i in range(3):
            expected = rollout.act(*reference.observation(i))
            action = requester.act(reference.observation(i))
            np.testing.assert_allclose(action, expected, rtol=0, atol=1e-6)


def test_one_that_is_killed_before_there_is_a_model_is_started_again(
    listen, policy, reference, caplog, monkeypatch
):
    monkeypatch.setattr(process, 'SHORTEST', 0.1)
    endpoint = listen()
    os.kill(pid(endpoint), signal.SIGKILL)
    endpoint.begin(lambda: policy.admit(1))
    wait_until(lambda: endpoint.restarts == 1, 20, 'another process')
    assert caplog.text.count('was ended by SIGKILL') == 1
    with PolicyClient(endpoint.endpoint, timeout=20) as client:
        client.act(*reference.observation(0))


def test_settings_that_do_not_fit_the_model_are_one_line(listen, policy):
    endpoint = listen(temporal_aggregation=False, query_every=9)
    child = pid(endpoint)
    with pytest.raises(ParameterError, match=r'^query_every is 9, but a chunk has 8 actions'):
        endpoint.begin(lambda: policy.admit(1))
    assert not alive(child)


def test_the_decay_is_set_live_and_outlives_the_process(serve, ckpt, reference, monkeypatch):
    monkeypatch.setattr(process, 'SHORTEST', 0.1)
    endpoint = serve(decay=0.01)
    policy = load_policy(ckpt, device='cpu')

    def check(decay):
        rollout = Rollout(policy, Settings(decay=decay))
        with PolicyClient(endpoint.endpoint, timeout=20) as client:
            client.reset()
            for i in range(3):
                action = client.act(*reference.observation(i))
                expected = rollout.act(*reference.observation(i))
                np.testing.assert_allclose(action, expected, rtol=0, atol=1e-6)

    check(0.01)
    endpoint.set_decay(1.5)
    wait_until(lambda: endpoint.counts.get('requests') == 4, 5, 'the child to have heard it')
    check(1.5)
    os.kill(pid(endpoint), signal.SIGKILL)
    wait_until(lambda: endpoint.restarts == 1, 20, 'another process')
    check(1.5)


def test_it_is_a_process_without_network_or_ros_and_its_memory_is_bounded(serve, reference):
    endpoint = serve()
    with PolicyClient(endpoint.endpoint, timeout=20) as client:
        client.act(*reference.observation(0))
    maps = Path(f'/proc/{pid(endpoint)}/maps').read_text()
    assert 'numpy' in maps  # what it does load is there
    assert not re.search('torch|rclpy|librcl', maps)
    limits = Path(f'/proc/{pid(endpoint)}/limits').read_text()
    assert re.search(rf'Max data size +{child.MEMORY} +{child.MEMORY} ', limits)
    status = Path(f'/proc/{pid(endpoint)}/status').read_text()
    used = int(re.search(r'VmData:\s+(\d+) kB', status)[1]) * 1024
    assert used < child.MEMORY / 4  # the rest is for the requests
    ours, theirs = (os.getpriority(os.PRIO_PROCESS, each) for each in (0, pid(endpoint)))
    assert theirs == min(ours + child.NICE, 19)


@pytest.mark.parametrize(
    ('endpoint', 'message'),
    [('taken', '^address in use: '), ('nonsense', "^cannot listen on 'nonsense'")],
)
def test_an_endpoint_that_cannot_be_bound_is_one_line(serve, endpoint, message):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        if endpoint == 'taken':
            endpoint = f'tcp://127.0.0.1:{taken.getsockname()[1]}'
        with pytest.raises(ActError, match=message) as caught:
            serve(endpoint)
    assert len(str(caught.value).splitlines()) == 1


def test_what_it_logs_is_in_our_log(serve, caplog):
    caplog.set_level('INFO', logger='act_ros')
    endpoint = serve()
    with Requester(endpoint.endpoint) as requester:
        requester.refused(b'nonsense')
    wait_until(lambda: 'refused: ' in caplog.text, 5, 'the line')
    record = next(r for r in caplog.records if 'refused: ' in r.message)
    assert (record.name, record.levelname) == ('act_ros.bridge.refusals', 'WARNING')


def test_one_that_is_killed_is_told_of_and_started_again_at_the_same_address(
    serve, reference, caplog, monkeypatch
):
    monkeypatch.setattr(process, 'SHORTEST', 0.3)
    caplog.set_level('INFO', logger='act_ros')
    endpoint = serve()
    address, first = endpoint.endpoint, pid(endpoint)
    began = time.monotonic()
    for times in (1, 2):
        os.kill(pid(endpoint), signal.SIGKILL)
        wait_until(lambda: endpoint.fault, 5, 'the fault')
        assert endpoint.fault == (
            f'{address} is not served (the ZMQ endpoint was ended by SIGKILL); it is tried again'
        )
        wait_until(lambda times=times: endpoint.restarts == times, 20, 'another process')
    assert time.monotonic() - began > 0.3 + 0.6  # the second time it waits for longer
    assert (endpoint.endpoint, endpoint.fault) == (address, '')
    assert pid(endpoint) != first and not alive(first)
    with PolicyClient(address, timeout=20) as client:
        client.act(*reference.observation(0))
    assert caplog.text.count('is not served') == caplog.text.count('again\n') / 2 == 2


def test_its_restart_waits_for_a_port_that_somebody_else_has_taken(serve, monkeypatch):
    monkeypatch.setattr(process, 'SHORTEST', 0.3)
    monkeypatch.setattr(process, 'LONGEST', 0.3)
    endpoint = serve()
    port = int(endpoint.endpoint.rpartition(':')[2])
    os.kill(pid(endpoint), signal.SIGKILL)
    wait_until(lambda: endpoint.fault, 5, 'the fault')
    with socket.create_server(('127.0.0.1', port)):
        wait_until(lambda: 'address in use' in endpoint.fault, 10, lambda: endpoint.fault)
    wait_until(lambda: not endpoint.fault, 10, lambda: endpoint.fault)
    with Requester(endpoint.endpoint) as requester:
        requester.reset()


@pytest.mark.parametrize('begun', [True, False])
def test_closing_tells_who_waits_and_frees_the_address(serve, listen, begun):
    endpoint = serve() if begun else listen()
    child = pid(endpoint)
    with Requester(endpoint.endpoint) as requester:
        requester.ask('RESET')
        began = time.monotonic()
        endpoint.close()
        assert time.monotonic() - began < 1.5
    assert not alive(child)
    assert endpoint.fault == ''
    serve(endpoint.endpoint)
    endpoint.close()  # once more is no mistake


def test_signals_to_the_whole_group_are_the_parents_affair(serve):
    endpoint = serve()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid(endpoint), number)
    with Requester(endpoint.endpoint) as requester:
        requester.reset()


def test_without_the_inference_process_requests_are_refused_with_the_reason(ckpt, reference):
    policy = PolicyProcess(torch_threads=1)
    try:
        policy.load(ckpt, device='cpu')
        endpoint = EndpointProcess(Settings(zmq_endpoint=ANY_PORT))
        try:
            endpoint.begin(lambda: policy.admit(1))
            os.kill(policy._helper.child.pid, signal.SIGKILL)
            with PolicyClient(endpoint.endpoint, timeout=20) as client, pytest.raises(
                ServerError, match='the inference process has ended'
            ):
                client.act(*reference.observation(0))
        finally:
            endpoint.close()
    finally:
        policy.close()


PARENT = """
import sys, time
from act_ros.bridge.process import EndpointProcess
from act_ros.parameters import Settings
from act_ros.policy import PolicyProcess
policy = PolicyProcess(torch_threads=1)
policy.load(sys.argv[1], device='cpu')
endpoint = EndpointProcess(Settings(zmq_endpoint='tcp://127.0.0.1:*'))
endpoint.begin(lambda: policy.admit(1))
print(endpoint._helper.child.pid, policy._helper.child.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_with_its_parent(ckpt):
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT, str(ckpt)], stdout=subprocess.PIPE, text=True
    )
    try:
        children = [int(each) for each in parent.stdout.readline().split()]
        assert len(children) == 2 and all(map(alive, children))
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not any(map(alive, children)), 10, 'their end')
