"""The inference thread: its observation is the newest when its turn at the model comes."""

import threading

import numpy as np
import pytest

from act_ros.control import Request
from act_ros.errors import PolicyError
from act_ros.nodes.inference import InferenceThread
from act_ros.observation import Snapshot
from test.waiting import wait_until


class Model:
    """A network whose turns come and whose passes end when a test says so.

    Observations are numbers: `qpos` holds the number of the request.
    """

    task, chunk_size = None, 1

    def __init__(self):
        self.turn, self.end = threading.Semaphore(0), threading.Semaphore(0)
        self.begun = []  # numbers of the observations
        self.gone = False
        self.resets = 0

    def reset(self):
        self.resets += 1

    def predict_newest(self, observe):
        assert self.turn.acquire(timeout=10)
        if self.gone:
            raise PolicyError('the inference process was ended')
        qpos, _ = observe()
        self.begun.append(int(qpos[0]))
        assert self.end.acquire(timeout=10)
        if qpos[0] == 13:
            raise SystemExit('not even this ends the thread')
        return np.zeros((1, 1))


def request(number, episode=1):
    now = number * 20_000_000
    snapshot = Snapshot(np.array([number]), {}, {'camera': now}, now)
    return Request(episode, number, now, now, snapshot)


@pytest.fixture
def inference():
    thread = InferenceThread(Model())
    thread.start()
    yield thread
    for gate in (thread._policy.turn, thread._policy.end):
        gate.release(100)
    thread.close(timeout=5)


def test_what_is_asked_while_somebody_else_has_the_model_is_answered_from_the_newest(inference):
    model = inference._policy
    inference.submit(request(1))
    wait_until(lambda: inference.busy, 5, 'a robot that waits')
    assert 'waiting for its turn' in inference.doing
    for number in (2, 3):
        inference.submit(request(number))
    model.turn.release()
    wait_until(lambda: model.begun == [3], 5, lambda: f'the newest: {model.begun}')
    assert inference.doing == 'running'
    model.end.release()
    inference.wait(5)
    ((arrival, error),) = inference.arrivals()
    assert (arrival.request.step, error, inference.count) == (3, None, 1)


def test_a_failed_pass_is_answered_without_a_chunk_and_the_next_one_is_taken(inference):
    model = inference._policy
    for gate in (model.turn, model.end):
        gate.release(2)
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


def test_where_no_turn_comes_any_more_each_request_is_answered_with_the_reason(inference):
    model = inference._policy
    model.gone = True
    model.turn.release(2)
    for number in (1, 2):
        inference.submit(request(number))
        inference.wait(5)
        ((arrival, error),) = inference.arrivals()
        assert (arrival.request.step, arrival.chunk) == (number, None)
        assert 'was ended' in str(error)


def test_a_thread_that_is_closed_while_it_waits_for_its_turn_takes_none(inference):
    model = inference._policy
    inference.submit(request(1))
    wait_until(lambda: inference.busy, 5, 'a robot that waits')
    inference.close()
    model.turn.release()
    wait_until(lambda: not inference.alive, 5, 'its end')
    assert model.begun == []
    assert list(inference.arrivals()) == []


def test_the_policy_is_told_of_each_episode_once_before_its_first_pass(inference):
    model = inference._policy
    for number, episode in ((1, 1), (2, 1), (3, 2)):
        inference.submit(request(number, episode))
        wait_until(lambda: inference.busy, 5, 'a robot that waits')
        assert model.resets == episode
        model.turn.release()
        model.end.release()
        wait_until(lambda: not inference.busy, 5, 'an answer')
    assert model.begun == [1, 2, 3]


def test_a_pass_for_an_episode_that_the_policy_does_not_know_of_is_not_made(inference):
    model = inference._policy
    inference.submit(request(1, episode=1))
    wait_until(lambda: inference.busy, 5, 'a robot that waits')
    inference.submit(request(2, episode=2))
    model.turn.release()
    wait_until(lambda: not inference.busy, 5, 'no answer')
    ((arrival, failure),) = inference.arrivals()
    assert arrival.request.episode == 2 and arrival.chunk is None
    assert 'no longer wanted' in str(failure) and model.begun == []
