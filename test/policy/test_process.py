"""A policy in a process of its own."""

import ctypes
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from act_ros.errors import CheckpointError, ObservationError, PolicyError
from act_ros.policy import PolicyProcess, load_policy
from act_ros.policy.interface import check_finite
from act_ros.policy.process import LOAD
from test.processes import alive
from test.rule import vector, write_checkpoint
from test.waiting import wait_until

REFERENCE = vector('small')
LOG = logging.getLogger('act_ros.odd')
RAISE, NAN, LONG, STUCK = 101.0, 102.0, 103.0, 104.0  # in qpos[0]


def load_odd(*args, **options):
    """A policy that misbehaves where the observation says so."""
    policy = load_policy(*args, **options)
    predict = policy.predict

    def odd(qpos, images):
        if qpos[0] == RAISE:
            raise RuntimeError('out of\nmemory')
        chunk = predict(qpos, images)
        if qpos[0] == NAN:
            chunk[0, 0] = np.nan
            check_finite(policy.task, chunk)
        if qpos[0] == LONG:
            LOG.info('a long pass')
            time.sleep(30)
        if qpos[0] == STUCK:
            LOG.info('stuck with the interpreter')
            ctypes.PyDLL(None).sleep(600)
        return chunk

    policy.predict = odd
    return policy


def load_and_die():
    os._exit(3)


def load_counting(*args, **options):
    """A policy that says how many episodes there were."""
    policy = load_policy(*args, **options)
    policy.held, episodes = True, []
    policy.reset = lambda: episodes.append(1)
    policy.predict = lambda *_: np.full((policy.chunk_size, policy.action_dim), len(episodes))
    return policy


def load_beside_another(*args, **options):
    """Leave a process behind that has every end that the child has."""
    policy = load_odd(*args, **options)
    if not os.fork():
        time.sleep(5)
        os._exit(0)
    return policy


def observation(i=0, mark=None):
    qpos, images = REFERENCE.observation(i)
    if mark is not None:
        qpos = qpos.copy()
        qpos[0] = mark
    return qpos, images


@pytest.fixture(scope='module')
def ckpt(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('ckpt'))


@pytest.fixture(scope='module')
def direct(ckpt):
    """The policy in this process, with one thread as there."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_policy(ckpt, device='cpu')
    torch.set_num_threads(before)


@pytest.fixture
def process():
    """Start a process; closed whatever happens."""
    started = []

    def run(function=None):
        load = f'{__name__}:{function}' if function else LOAD
        started.append(PolicyProcess(load, torch_threads=1))
        return started[-1]

    yield run
    for policy in started:
        policy.close()


@pytest.fixture
def start(process, ckpt):
    """Start a process, and load."""

    def run(function=None):
        policy = process(function)
        policy.load(ckpt, device='cpu')
        return policy

    return run


@pytest.fixture(scope='module')
def odd(ckpt):
    """One process for the tests that leave it as it was."""
    policy = PolicyProcess(f'{__name__}:load_odd', torch_threads=1)
    try:
        policy.load(ckpt, device='cpu')
        yield policy
    finally:
        policy.close()


def test_it_is_the_policy_itself(start, direct):
    there = start()
    for i in range(3):
        np.testing.assert_array_equal(
            there.predict(*observation(i)), direct.predict(*observation(i))
        )
    assert there.task == direct.task
    assert there.chunk_size == direct.chunk_size
    assert (there.state_dim, there.action_dim, there.about.engine) == (17, 16, 'torch float32')
    np.testing.assert_array_equal(there.statistics.qpos_std, direct.statistics.qpos_std)
    there.warm_up()
    # Each warm-up has frames of its own: one that is timed must not find them known.
    before = [frames.copy() for frames in there._buffers.frames]
    there.warm_up()
    now = there._buffers.frames
    assert all((a != b).all() for a, b in zip(now, before, strict=True))


def test_callers_at_the_same_time_get_each_their_own_chunk(odd, direct):
    turns = [0, 1, 2] * 10
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda i: odd.predict(*observation(i)), turns))
    for i, chunk in zip(turns, found, strict=True):
        np.testing.assert_array_equal(chunk, direct.predict(*observation(i)))


def test_a_mistake_is_the_same_one_line_as_here(process, odd, tmp_path):
    errors = []
    for load in (process().load, load_policy):
        with pytest.raises(CheckpointError, match='no checkpoint folder') as caught:
            load(tmp_path / 'nowhere')
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    qpos, images = observation()
    with pytest.raises(ObservationError, match='qpos has shape'):
        odd.predict(qpos[:5], images)


def test_failures_are_policy_errors_and_the_next_pass_is_well(odd, direct):
    with pytest.raises(PolicyError, match=r'^out of memory$'):
        odd.predict(*observation(mark=RAISE))
    with pytest.raises(PolicyError, match='not finite at action entry'):
        odd.predict(*observation(mark=NAN))
    np.testing.assert_array_equal(
        odd.predict(*observation()), direct.predict(*observation())
    )


def test_signals_to_the_whole_group_leave_it_running(odd):
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(odd._helper.child.pid, number)
    odd.predict(*observation())


def test_its_log_is_ours(start, caplog):
    with caplog.at_level('INFO', logger='act_ros'):
        start()
    record = next(record for record in caplog.records if 'loaded' in record.message)
    assert (record.name, record.levelname) == ('act_ros.policy.policy', 'INFO')


def test_what_lies_in_the_working_directory_is_not_imported(process, tmp_path, monkeypatch):
    decoy = tmp_path / 'act_ros'
    decoy.mkdir()
    (decoy / '__init__.py').write_text('raise RuntimeError("the wrong one")')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match='no checkpoint folder'):
        process().load(tmp_path / 'nowhere')


def test_a_priority_of_the_caller_is_not_for_the_network(process):
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    except PermissionError:
        pytest.skip('this user may not have real-time priorities')
    try:
        policy = process()
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))
    assert os.sched_getscheduler(policy._helper.child.pid) == os.SCHED_OTHER


def in_a_pass(policy, caplog):
    """Begin a pass that takes half a minute; what it raised comes into the list."""
    raised = []

    def run():
        try:
            policy.predict(*observation(mark=LONG))
        except PolicyError as error:
            raised.append(str(error))

    caplog.set_level('INFO', logger='act_ros')
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until(lambda: 'a long pass' in caplog.text, 20, 'the pass')
    return thread, raised


def test_a_child_that_was_killed_is_named_at_once(start, caplog):
    policy = start('load_odd')
    thread, raised = in_a_pass(policy, caplog)
    started = time.monotonic()
    os.kill(policy._helper.child.pid, signal.SIGKILL)
    thread.join(5)
    assert time.monotonic() - started < 1
    named = 'the inference process was ended by SIGKILL; clean up and configure again'
    assert raised == [named]
    with pytest.raises(PolicyError, match=named):
        policy.predict(*observation())


def test_a_child_that_ends_in_its_load_is_named(process):
    with pytest.raises(PolicyError, match='ended with exit code 3'):
        process('load_and_die').load()


def test_closing_does_not_wait_for_a_pass(start, caplog):
    policy = start('load_odd')
    thread, raised = in_a_pass(policy, caplog)
    started = time.monotonic()
    policy.close()
    thread.join(5)
    assert time.monotonic() - started < 1
    assert raised == ['the inference process was ended']
    policy.close()
    with pytest.raises(PolicyError, match=r'^the inference process was ended$'):
        policy.predict(*observation())


def test_closing_does_not_wait_for_a_process_that_has_the_other_end(start, caplog):
    policy = start('load_beside_another')
    thread, raised = in_a_pass(policy, caplog)
    started = time.monotonic()
    policy.close()
    thread.join(3)
    assert time.monotonic() - started < 2
    assert raised == ['the inference process was ended']


def test_closing_does_not_wait_for_a_child_that_the_kernel_cannot_end(start, caplog):
    policy = start('load_odd')
    thread, raised = in_a_pass(policy, caplog)
    child, kill = policy._helper.child, policy._helper.child.kill
    child.kill = lambda: None  # as if it waited for a device that does not answer
    try:
        started = time.monotonic()
        policy.close()
        thread.join(3)
        assert time.monotonic() - started < 3
        assert raised == ['the inference process was ended']
        assert f'the inference process {child.pid} was killed and does not end' in caplog.text
    finally:
        kill()
        child.wait(5)


def test_an_interrupted_pass_is_not_the_answer_to_the_next(start):
    policy = start('load_odd')

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            policy.predict(*observation(mark=LONG))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(PolicyError, match='clean up and configure again'):
        policy.predict(*observation())


def test_rounds_leave_nothing_behind(start):
    def files():
        return len(list(Path('/proc/self/fd').iterdir()))

    def once():
        policy = start()
        policy.predict(*observation())
        policy.close()
        assert not Path(f'/proc/{policy._helper.child.pid}').exists()  # not even a zombie

    once()
    gc.collect()  # not during the rounds: what the tests before this one have left open
    before = files()
    for _ in range(3):
        once()
    assert files() <= before


ORPHAN = """
import logging, sys
from act_ros.policy import PolicyProcess
logging.basicConfig(level='INFO', stream=sys.stdout, format='%(message)s')
policy = PolicyProcess(sys.argv[2])
policy.load(sys.argv[1], device='cpu')
print('pid', policy._helper.child.pid, flush=True)
from test.policy.test_process import STUCK, observation
policy.predict(*observation(mark=STUCK))
"""


def test_a_child_ends_with_its_parent_whatever_it_is_in(ckpt):
    before = shared_memory()
    parent = subprocess.Popen(
        [sys.executable, '-c', ORPHAN, str(ckpt), f'{__name__}:load_odd'],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = dict.fromkeys(('pid', 'stuck'))
        while None in said.values():
            line = parent.stdout.readline()
            assert line, 'the parent has ended'
            word, _, rest = line.partition(' ')
            said[word] = rest
        child = int(said['pid'])
        assert alive(child)
        used = used_by(parent.pid) | used_by(child)
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not alive(child), 10, 'the child to end')
    assert not (shared_memory() - before) & used


def test_a_child_does_not_end_with_the_thread_that_started_it(ckpt):
    started = []
    thread = threading.Thread(target=lambda: started.append(PolicyProcess(torch_threads=1)))
    thread.start()
    thread.join()
    try:
        started[0].load(ckpt, device='cpu')
        started[0].predict(*observation())
    finally:
        started[0].close()


def shared_memory():
    return {path.name for path in Path('/dev/shm').iterdir()}


def used_by(pid):
    """Names of the shared memory that a process has mapped."""
    return set(re.findall(r'/dev/shm/(\S+)', Path(f'/proc/{pid}/maps').read_text()))



def test_a_policy_that_keeps_an_episode_is_told_where_one_begins(start):
    policy = start('load_counting')
    assert policy.predict(*observation()).max() == 0
    policy.reset()
    policy.reset()
    assert policy.predict(*observation()).max() == 2


def test_to_one_that_keeps_none_it_means_nothing(odd):
    before = odd.predict(*observation())
    odd.reset()
    np.testing.assert_array_equal(odd.predict(*observation()), before)
