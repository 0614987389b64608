"""A policy on a server, used as if it were here."""

import re
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from act_ros.bridge.client import PolicyClient
from act_ros.bridge.remote import load_remote
from act_ros.bridge.server import PolicyServer
from act_ros.config import load_task
from act_ros.errors import (
    ActError,
    LinkError,
    ObservationError,
    ParameterError,
    PolicyError,
)
from act_ros.policy import load_policy
from act_ros.policy.interface import About
from test.bridge.documented_server import DocumentedServer
from test.bridge.proxy import Proxy
from test.bridge.servers import ANY_PORT, PATIENCE, ROOT, SIGHT, Steps, serving, tiny_task
from test.waiting import wait_until

TASK = replace(load_task('astrobench_dual_arm'), image_size=(120, 160))


@pytest.fixture
def remote():
    """Load a remote policy; closed whatever happens."""
    loaded = []

    def load(endpoint, task=TASK, timeout=PATIENCE, **options):
        loaded.append(load_remote(endpoint, task=task, timeout=timeout, **options))
        return loaded[-1]

    yield load
    for policy in loaded:
        policy.close()


def test_it_is_the_policy_of_the_server(server, ckpt, reference, remote):
    there, here = remote(server.endpoint), load_policy(ckpt, device='cpu')
    assert (there.chunk_size, there.state_dim, there.action_dim) == (8, 17, 16)
    assert there.about.sha256 == here.about.sha256 and there.engine_name == 'remote'
    for name in ('qpos_mean', 'qpos_std', 'action_mean', 'action_std'):
        np.testing.assert_array_equal(
            getattr(there.statistics, name), getattr(here.statistics, name)
        )
    observations = [reference.observation(i) for i in range(3)]
    there.reset()
    chunks = there.predict_batch(observations)
    assert chunks.dtype == np.float32
    # Here with as many threads as there are cores, there with one: another rounding.
    np.testing.assert_allclose(chunks, here.predict_batch(observations), atol=1e-5, rtol=0)


def test_bad_observations_do_not_leave_the_robot(server, reference, remote):
    policy = remote(server.endpoint)
    qpos, images = reference.observation(0)
    with pytest.raises(ObservationError, match=r'qpos has shape \(3,\)'):
        policy.predict(qpos[:3], images)
    with pytest.raises(ObservationError, match="camera 'rgb_left' is missing"):
        policy.predict(qpos, {'rgb_main': images['rgb_main']})


def test_what_the_policy_has_no_action_for_is_told_as_here(server, reference, remote):
    policy = remote(server.endpoint)
    qpos, images = reference.observation(0)
    far = np.where(np.arange(17) == 2, 3e38, qpos).astype(np.float32)
    with pytest.raises(ObservationError, match=r'tcp://.*: qpos\[2\] .* standard deviations'):
        policy.predict(far, images)


def test_a_question_that_is_lost_is_given_up_by_who_moves_and_asked_again_by_who_does_not(remote):
    task = tiny_task()
    with serving(Steps()) as server, Proxy(server.endpoint) as proxy:
        live = remote(proxy.endpoint, task, live=True)
        patient = remote(proxy.endpoint, task)
        for policy in (live, patient):
            for _ in range(5):
                policy.predict(*SIGHT)
        proxy.out = True
        with pytest.raises(PolicyError, match=r'no answer from tcp://.* within 0\.\d+ s'):
            live.predict(*SIGHT)
        proxy.out, proxy.loss = False, 0.4
        for _ in range(10):
            patient.predict(*SIGHT)
        proxy.loss = 0.0
        live.predict(*SIGHT)


def test_a_line_that_becomes_slow_is_learnt_from_late_answers(remote):
    with serving(Steps()) as server, Proxy(server.endpoint) as proxy:
        policy = remote(proxy.endpoint, tiny_task(), live=True)
        for _ in range(20):
            policy.predict(*SIGHT)
        proxy.delay = 0.4  # sixteen times as long as it was waited for

        def answered():
            try:
                return policy.predict(*SIGHT) is not None
            except PolicyError:
                return False

        wait_until(answered, 10, 'an answer')
        policy.predict(*SIGHT)


def test_who_does_not_move_waits_for_a_line_that_becomes_slow(remote):
    with serving(Steps()) as server, Proxy(server.endpoint) as proxy:
        policy = remote(proxy.endpoint, tiny_task(), timeout=5.0)
        for _ in range(20):
            policy.predict(*SIGHT)
        proxy.delay = 0.4
        before = server.requests
        policy.predict(*SIGHT)
        first = server.requests - before
        policy.predict(*SIGHT)
        assert server.requests - before - first < first  # it has learnt how slow


def test_what_a_server_says_for_the_time_being_is_a_matter_of_the_line(remote):
    with serving(Steps()) as server:
        endpoint = server.endpoint
        policy = remote(endpoint, tiny_task())
        policy.predict(*SIGHT)
    server = PolicyServer(endpoint)  # started anew, and loading
    try:
        with pytest.raises(LinkError, match='loading'):
            policy.predict(*SIGHT)
    finally:
        server.close()


def test_a_policy_that_fails_is_no_matter_of_the_line(remote):
    with serving(Steps(fault=PolicyError('out of memory'))) as server:
        policy = remote(server.endpoint, tiny_task())
        with pytest.raises(PolicyError, match='out of memory') as caught:
            policy.predict(*SIGHT)
        assert not isinstance(caught.value, LinkError)


class Named(Steps):
    """With a checkpoint of that digest."""

    def __init__(self, sha256):
        super().__init__()
        self.about = About('policy_best.ckpt', sha256, 'torch float32', 'float32', 'cpu')


def test_the_same_checkpoint_after_a_restart_goes_on_and_another_one_does_not(remote):
    task = tiny_task()
    with serving(Named('a' * 64)) as server:
        endpoint = server.endpoint
        policy = remote(endpoint, task)
        policy.predict(*SIGHT)
    with serving(Named('a' * 64), endpoint):
        policy.predict(*SIGHT)
    with serving(Named('b' * 64), endpoint):
        for _ in range(2):  # it does not get used to it
            with pytest.raises(LinkError, match=r'another checkpoint .* bbbbbbbbbbbb, b'):
                policy.predict(*SIGHT)


def test_of_a_documented_server_actions_are_used_as_they_come(remote, caplog):
    with DocumentedServer() as server:
        policy = remote(server.endpoint, tiny_task(), hold=0.5, live=True)
        assert policy.held and policy.statistics is None and policy.chunk_size == 25
        assert caplog.text.count('knows the documented protocol alone') == 1
        policy.reset()
        for step in (1, 2, 3):
            assert (policy.predict(*SIGHT) == step).all()
        assert server.resets == 1
        policy.reset()
        assert (policy.predict(*SIGHT) == 1).all()


def test_who_needs_chunks_refuses_a_documented_server(remote):
    with DocumentedServer() as server, pytest.raises(ParameterError, match='gives no chunks: use'):
        remote(server.endpoint, tiny_task())


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'cameras': ('rgb_main',)}, r"task\.cameras' is \['rgb_main'\], but the checkpoint was"),
        ({'image_size': (48, 64)}, r"task\.image_size' is \[48, 64\], but the checkpoint was"),
        ({'state': TASK.state[:3]}, 'the policy has 17 state entries, task .* lists 3'),
        ({'action': TASK.action[:3]}, 'the policy has 16 action entries, task .* lists 3'),
    ],
)
def test_a_policy_of_another_robot_is_refused(server, remote, changes, says):
    with pytest.raises(ParameterError, match=f'{server.endpoint}: .*{says}'):
        remote(server.endpoint, replace(TASK, **changes))


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'task': [1]}, 'has no task'),
        ({'rate': float('nan')}, 'has no task with a rate'),
        ({'chunk_size': 0}, 'chunk_size is 0, expected 1 to'),
        ({'cameras': {}}, 'sizes {}'),
        ({'cameras': {'a': [120, 160], 'b': np.array([120, 160])}}, 'expected [height, width] of'),
        ({'state': [1]}, 'task entry 1 is not of the form'),
        ({'qpos_std': np.zeros(17)}, 'qpos_std are not finite, or not above 0'),
        ({'action_mean': np.full(16, 1e300)}, 'action_mean are not finite'),
        ({'action_std': [1.0] * 16}, 'no action_std of 16 numbers'),
    ],
)
def test_a_server_that_says_nonsense_of_its_policy_is_refused(
    server, remote, monkeypatch, changes, says
):
    def info(client, of=PolicyClient.info):
        told = of(client)
        for name, value in changes.items():
            parts = told['task'], told['statistics'], told
            next(part for part in parts if name in part)[name] = value
        return told

    monkeypatch.setattr(PolicyClient, 'info', info)
    for task in (None, TASK):
        with pytest.raises(ActError, match=f'{server.endpoint}: .*{re.escape(says)}') as caught:
            remote(server.endpoint, task)
        assert len(str(caught.value).splitlines()) == 1


def test_other_names_and_another_rate_are_said(server, remote, caplog):
    remote(server.endpoint, replace(TASK, state=TASK.state[::-1], rate=25.0))
    assert 'has other state entries, in name, order or units: first base/' in caplog.text
    assert 'a policy of 50 steps a second, control_rate here is 25 Hz' in caplog.text


def test_where_nobody_listens_that_is_said(remote):
    with DocumentedServer() as server:
        endpoint = server.endpoint
    with pytest.raises(PolicyError, match=f'no answer from {endpoint} within 3 times 0.2 s'):
        remote(endpoint, timeout=0.2)
    with pytest.raises(ActError, match="cannot connect to 'gpu'"):
        remote('gpu')


def test_a_server_that_loads_is_waited_for_as_long_as_the_timeout(remote):
    with closing(PolicyServer(ANY_PORT)) as server:
        text = f'{server.endpoint}: the server still loads its policy after 0.3 s; try again'
        with pytest.raises(LinkError, match=text):
            remote(server.endpoint, timeout=0.3)
        timer = threading.Timer(0.3, server.begin, [Steps()])
        thread = threading.Thread(target=server.run)
        timer.start()
        thread.start()
        try:
            assert remote(server.endpoint, tiny_task()).predict(*SIGHT) == [[1]]
        finally:
            timer.join()
            server.stop()
            thread.join(PATIENCE)


def test_it_needs_neither_torch_nor_ros():
    program = (
        'import sys\n'
        'for name in ("torch", "rclpy", "openvino"): sys.modules[name] = None\n'
        'import act_ros.bridge.player, act_ros.policy.worker\n'
    )
    subprocess.run([sys.executable, '-c', program], check=True, cwd=ROOT)
