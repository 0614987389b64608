"""A policy in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from act_ros.errors import CheckpointError, ObservationError, PolicyError
from act_ros.policy import PolicyProcess, load_policy
from test.rule import vector, write_checkpoint
from test.waiting import wait_until

REFERENCE = vector('small')


def load_slow(*args, **options):
    policy = load_policy(*args, **options)
    predict = policy.predict

    def slow(*observation):
        time.sleep(30)
        return predict(*observation)

    policy.predict = slow
    return policy


def load_broken(*args, **options):
    policy = load_policy(*args, **options)

    def broken(*observation):
        raise RuntimeError('out of memory')

    policy.predict = broken
    return policy


@pytest.fixture(scope='module')
def ckpt(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('ckpt'))


@pytest.fixture
def start(ckpt):
    """Start and load; closed whatever happens."""
    started = []

    def run(function=None, **options):
        load = f'{__name__}:{function}' if function else 'act_ros.policy:load_policy'
        policy = PolicyProcess(load, torch_threads=1)
        started.append(policy)
        policy.load(ckpt, device='cpu', **options)
        return policy

    yield run
    for policy in started:
        policy.close()


def test_it_is_the_policy_itself(start, ckpt):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        direct, there = load_policy(ckpt, device='cpu'), start()
        for i in range(3):
            observation = REFERENCE.observation(i)
            np.testing.assert_array_equal(
                there.predict(*observation), direct.predict(*observation)
            )
    finally:
        torch.set_num_threads(before)
    assert there.task == direct.task
    assert there.chunk_size == direct.chunk_size
    assert (there.state_dim, there.action_dim) == (17, 16)
    there.warm_up()


def test_a_mistake_is_the_same_one_line_as_here(start, tmp_path):
    policy = PolicyProcess()
    try:
        with pytest.raises(CheckpointError, match='no checkpoint folder'):
            policy.load(tmp_path / 'nowhere')
    finally:
        policy.close()
    qpos, images = REFERENCE.observation(0)
    with pytest.raises(ObservationError, match='qpos has shape'):
        start().predict(qpos[:5], images)


def test_its_log_is_ours(start, caplog):
    with caplog.at_level('INFO', logger='act_ros'):
        start()
    assert 'loaded' in caplog.text


def test_another_failure_is_a_policy_error(start):
    with pytest.raises(PolicyError, match='out of memory'):
        start('load_broken').predict(*REFERENCE.observation(0))


def in_a_pass(policy):
    """Begin a pass that takes half a minute; what it raised comes into the list."""
    raised = []

    def run():
        try:
            policy.predict(*REFERENCE.observation(0))
        except PolicyError as error:
            raised.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until(policy._exchange.locked, 5, 'the pass')
    return thread, raised


def test_a_child_that_was_killed_is_named_at_once(start):
    policy = start('load_slow')
    thread, raised = in_a_pass(policy)
    os.kill(policy._child.pid, signal.SIGKILL)
    thread.join(5)
    assert raised == [
        'the inference process was ended by SIGKILL; clean up and configure again'
    ]


def test_closing_does_not_wait_for_a_pass(start):
    policy = start('load_slow')
    thread, raised = in_a_pass(policy)
    started = time.monotonic()
    policy.close()
    thread.join(5)
    assert time.monotonic() - started < 2
    assert raised == ['the inference process was ended']


def test_rounds_leave_nothing_behind(start):
    def files():
        return len(list(Path('/proc/self/fd').iterdir()))

    start().close()
    before = files()
    for _ in range(3):
        start().close()
    assert files() == before


ORPHAN = """
import sys, time
from act_ros.policy import PolicyProcess
policy = PolicyProcess()
policy.load(sys.argv[1], device='cpu')
print(policy._child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_ends_with_its_parent(ckpt):
    parent = subprocess.Popen(
        [sys.executable, '-c', ORPHAN, str(ckpt)], stdout=subprocess.PIPE, text=True
    )
    try:
        child = int(parent.stdout.readline())
        assert Path(f'/proc/{child}').exists()
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not is_running(child), 10, 'the child to end')


def is_running(pid):
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != 'Z'
