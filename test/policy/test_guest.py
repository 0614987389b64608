"""The robot and a guest at one loaded model, each at its own end of the inference process."""

import contextlib
import itertools
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from act_ros.errors import ObservationError, PolicyError
from act_ros.policy import GuestPolicy, PolicyProcess, load_policy
from act_ros.policy.guest import SOURCE
from test.rule import vector, write_checkpoint
from test.waiting import wait_until

REFERENCE = vector('small')
LOG = logging.getLogger('act_ros.paced')
SLOW, SLOWER, BAD = 101.0, 102.0, 103.0  # in qpos[0]
SECONDS = {SLOW: 0.02, SLOWER: 0.5}


def load_paced(*args, **options):
    """A policy that says which passes it runs, and takes its time where qpos says so."""
    policy = load_policy(*args, **options)
    forward = policy.forward

    def paced(observations, sources=None):
        qpos = observations[0][0]
        LOG.info('pass %d of %d', qpos[1], len(observations))
        time.sleep(SECONDS.get(float(qpos[0]), 0.0))
        if qpos[0] == BAD:
            raise RuntimeError('out of\nmemory')
        return forward(observations, sources)

    policy.forward = paced
    return policy


def observation(i=0, mark=None, number=None):
    qpos, images = REFERENCE.observation(i)
    qpos = qpos.copy()
    if mark is not None:
        qpos[0] = mark
    if number is not None:
        qpos[1] = number
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


@pytest.fixture(scope='module')
def robot(ckpt):
    policy = PolicyProcess(f'{__name__}:load_paced', torch_threads=1)
    try:
        policy.load(ckpt, device='cpu')
        yield policy
    finally:
        policy.close()


@pytest.fixture
def guest(robot):
    place = robot.admit(4)
    policy = GuestPolicy(place)
    place.close()
    yield policy
    policy.close()


@pytest.fixture
def passes(caplog):
    """Numbers of the passes so far, in their order."""
    caplog.set_level('INFO', logger='act_ros')

    def numbers():
        return [int(r.message.split()[1]) for r in caplog.records if r.message[:5] == 'pass ']

    return numbers


def test_a_guest_gets_what_the_robot_gets(robot, guest, direct):
    assert (guest.task, guest.chunk_size) == (robot.task, robot.chunk_size)
    for i in range(3):
        expected = direct.predict(*observation(i))
        np.testing.assert_array_equal(guest.predict(*observation(i)), expected)
        np.testing.assert_array_equal(robot.predict(*observation(i)), expected)


def test_what_waits_goes_through_in_one_pass_as_far_as_there_is_room(guest, direct, passes):
    observations = [observation(i % 3) for i in range(6)]
    chunks = guest.predict_batch(observations)
    expected = [direct.predict(*each) for each in observations]
    np.testing.assert_allclose(chunks, expected, rtol=0, atol=1e-5)
    wait_until(lambda: len(passes()) == 2, 5, lambda: f'two passes: {passes()}')
    assert guest.predict_batch([]).shape == (0, *expected[0].shape)


def test_one_that_leads_to_no_number_costs_the_others_of_its_pass_nothing(guest, direct):
    observations = [observation(0), observation(1, mark=1e38), observation(2)]
    chunks = guest.forward(observations, [0, 1, 2])
    for i in (0, 2):
        expected = direct.predict(*observations[i])
        np.testing.assert_allclose(chunks[i], expected, rtol=0, atol=1e-5)
    assert not np.isfinite(chunks[1]).all()


def test_a_mistake_of_the_guest_is_the_same_one_line_as_here(guest, direct):
    qpos, images = observation()
    with pytest.raises(ObservationError, match='qpos has shape'):
        guest.predict(qpos[:5], images)
    absurd = observation(mark=1e38)
    errors = []
    for policy in (guest, direct):
        with pytest.raises(ObservationError, match='standard deviations') as caught:
            policy.predict(*absurd)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    with pytest.raises(PolicyError, match=r'^out of memory$'):
        guest.predict(*observation(mark=BAD))
    np.testing.assert_array_equal(
        guest.predict(*observation()), direct.predict(*observation())
    )


def test_the_robot_predicts_from_what_there_is_when_its_turn_comes(robot, guest, passes):
    newest = 10
    with ThreadPoolExecutor(2) as pool:
        theirs = pool.submit(guest.predict, *observation(mark=SLOWER, number=1))
        wait_until(lambda: passes() == [1], 5, "the guest's pass")
        asked = []

        def observe():
            asked.append(newest)
            return observation(number=newest)

        ours = pool.submit(robot.predict_newest, observe)
        newest = 11
        assert not theirs.done() and not asked  # the guest's pass has time left
        ours.result(5)
        assert theirs.done() and asked == [11]


def test_a_guest_that_always_asks_has_every_other_turn(robot, guest, passes):
    ended = threading.Event()

    def ask(policy, number):
        while not ended.is_set():
            policy.predict(*observation(mark=SLOW, number=number))

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(ask, robot, 1), pool.submit(ask, guest, 2)]
        wait_until(lambda: len(passes()) >= 40, 20, 'some passes')
        ended.set()
        for each in running:
            each.result(5)
    order = passes()[4:-4]  # one may begin earlier, or end later
    # A client may be late with its next question once; on the whole they take turns.
    assert abs(order.count(1) - order.count(2)) <= 4
    assert sum(a == b for a, b in itertools.pairwise(order)) <= 4


def test_a_robot_that_thinks_better_of_its_turn_gives_it_back(robot, guest):
    def observe():
        raise KeyError('a frame that cannot be decoded')

    with pytest.raises(KeyError):
        robot.predict_newest(observe)
    with pytest.raises(ObservationError, match='qpos has shape'):
        robot.predict_newest(lambda: (np.zeros(3, np.float32), {}))
    guest.predict(*observation())
    robot.predict(*observation())


NONSENSE = {
    'too_many': bytes(5 * SOURCE.itemsize),
    'none': b'',
    'short': b'\1',
    'long': b'x' * 100_000,
}


@pytest.mark.parametrize('message', NONSENSE.values(), ids=NONSENSE)
def test_a_guest_that_makes_no_sense_has_to_leave(robot, direct, message):
    place = robot.admit(4)
    with socket.socket(fileno=os.dup(place.socket)) as end:
        place.close()
        end.send(message)
        end.settimeout(5)
        assert end.recv(10) == b''
    np.testing.assert_array_equal(
        robot.predict(*observation()), direct.predict(*observation())
    )


def test_a_guest_that_takes_no_answers_has_to_leave(robot, direct):
    place = robot.admit(1)
    with socket.socket(fileno=os.dup(place.socket)) as end:
        place.close()
        end.settimeout(5)
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                end.send(bytes(SOURCE.itemsize))
    np.testing.assert_array_equal(
        robot.predict(*observation()), direct.predict(*observation())
    )


def test_a_guest_cannot_cut_the_memory_off(robot):
    place = robot.admit(1)
    with pytest.raises(PermissionError):
        os.ftruncate(place.memory, 0)
    place.close()


GUEST = """
import pickle, sys, numpy as np
from act_ros.policy import GuestPolicy
from test.policy.test_guest import SLOWER, observation
policy = GuestPolicy(pickle.loads(bytes.fromhex(sys.argv[1])))
print('asking', flush=True)
policy.predict(*observation(mark=SLOWER, number=7))
"""


def test_a_guest_that_dies_costs_the_robot_nothing(robot, direct, passes):
    place = robot.admit(4)
    process = subprocess.Popen(
        [sys.executable, '-c', GUEST, pickle.dumps(place).hex()], pass_fds=place.files
    )
    place.close()
    try:
        wait_until(lambda: 7 in passes(), 20, 'its pass')
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    np.testing.assert_array_equal(
        robot.predict(*observation()), direct.predict(*observation())
    )


def test_a_new_guest_takes_the_place_of_the_one_before(robot, guest):
    place = robot.admit(2)
    with contextlib.closing(GuestPolicy(place)) as another:
        place.close()
        with pytest.raises(PolicyError, match='takes no guests'):
            guest.predict(*observation())
        another.predict(*observation())


def test_a_guest_is_told_of_the_end_of_the_inference_process(ckpt, passes):
    robot = PolicyProcess(f'{__name__}:load_paced', torch_threads=1)
    try:
        robot.load(ckpt, device='cpu')
        place = robot.admit(1)
        with contextlib.closing(GuestPolicy(place)) as guest, ThreadPoolExecutor(1) as pool:
            place.close()
            asked = pool.submit(guest.predict, *observation(mark=SLOWER, number=3))
            wait_until(lambda: 3 in passes(), 5, 'its pass')
            started = time.monotonic()
            robot.close()
            with pytest.raises(PolicyError, match='the inference process has ended'):
                asked.result(5)
            assert time.monotonic() - started < 1
        with pytest.raises(PolicyError, match='was ended'):
            robot.admit(1)
    finally:
        robot.close()
