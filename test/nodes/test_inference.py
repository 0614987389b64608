"""The inference thread's turn at the model: its observation is the newest when the pass begins."""

import threading
import time

import numpy as np
import pytest

from act_ros.control import Request
from act_ros.errors import PolicyError
from act_ros.nodes.inference import InferenceThread
from act_ros.observation import Snapshot
from act_ros.policy import SharedPolicy
from test.waiting import wait_until


class Model:
    """A network whose passes end when a test says so, or by themselves after some time.

    Observations are numbers: `qpos` holds the number of the request.
    """

    task, chunk_size = None, 1

    def __init__(self, seconds=None):
        self.seconds = seconds
        self.gate = threading.Semaphore(0)
        self.begun = []  # numbers of the observations, -1 of a guest
        self.newest = 0  # of all requests so far
        self.ages = []  # how many requests newer than a robot's there were when its pass began

    def predict(self, qpos, images):
        number = int(qpos[0])
        self.begun.append(number)
        if number >= 0:
            self.ages.append(self.newest - number)
        if self.seconds is None:
            assert self.gate.acquire(timeout=10)
        else:
            time.sleep(self.seconds)
        if number == 13:
            raise SystemExit('not even this ends the thread')
        return np.zeros((1, 1))


def request(number):
    now = number * 20_000_000
    return Request(1, number, now, now, Snapshot(np.array([number]), {}, {'camera': now}, now))


@pytest.fixture
def shared(request):
    shared = SharedPolicy(Model(getattr(request, 'param', None)))
    inference = InferenceThread(shared)
    inference.start()
    yield shared, inference
    shared.policy.gate.release(100)
    inference.close(timeout=5)


def test_what_is_asked_while_a_guest_has_the_model_is_answered_from_the_newest(shared):
    shared, inference = shared
    model = shared.policy
    guest = threading.Thread(target=lambda: shared.guest().predict(np.array([-1]), {}))
    guest.start()
    wait_until(lambda: model.begun == [-1], 5, "the guest's pass")
    inference.submit(request(1))
    wait_until(lambda: inference.busy, 5, 'a robot that waits')
    assert 'waiting for its turn' in inference.doing
    for number in (2, 3):
        inference.submit(request(number))
    model.gate.release()
    wait_until(lambda: model.begun == [-1, 3], 5, lambda: f'the newest: {model.begun}')
    assert inference.doing == 'running'
    model.gate.release()
    inference.wait(5)
    ((arrival, error),) = inference.arrivals()
    assert (arrival.request.step, error, inference.count) == (3, None, 1)
    guest.join(5)


@pytest.mark.parametrize('shared', [0.02], indirect=True)
def test_beside_a_guest_that_always_asks_no_pass_begins_with_an_old_observation(shared):
    shared, inference = shared
    model, done = shared.policy, threading.Event()

    def ask():
        while not done.is_set():
            shared.guest().predict(np.array([-1]), {})

    guest = threading.Thread(target=ask)
    guest.start()
    try:
        while len(model.ages) < 20:
            model.newest += 1
            inference.submit(request(model.newest))
            time.sleep(0.002)
    finally:
        done.set()
        guest.join(5)
    # One may be counted and not be in the mailbox yet; a turn later it would be some ten.
    assert max(model.ages) <= 1
    assert 8 <= model.begun.count(-1) <= 32  # they took turns


def test_a_failed_pass_is_answered_without_a_chunk_and_the_next_one_is_taken(shared):
    shared, inference = shared
    shared.policy.gate.release(2)
    inference.submit(request(13))
    inference.wait(5)
    ((arrival, error),) = inference.arrivals()
    assert arrival.chunk is None
    assert isinstance(error, SystemExit)
    inference.submit(request(14))
    inference.wait(5)
    ((arrival, error),) = inference.arrivals()
    assert error is None
    assert inference.alive


def test_a_thread_that_is_closed_while_it_waits_for_its_turn_ends(shared):
    shared, inference = shared
    guest = threading.Thread(target=lambda: shared.guest().predict(np.array([-1]), {}))
    guest.start()
    wait_until(lambda: shared.policy.begun, 5, "the guest's pass")
    inference.submit(request(1))
    wait_until(lambda: inference.busy, 5, 'a robot that waits')
    inference.close(timeout=5)
    assert not inference.alive
    assert list(inference.arrivals()) == []
    shared.policy.gate.release()
    guest.join(5)
    with pytest.raises(PolicyError, match='no longer wanted'), shared.turn(
        robot=True, wanted=lambda: False
    ):
        pass
