"""The end of an activation while a publisher hangs: who says the last word, and when.

No middleware hangs on demand, so the way out is a stand-in here; the rest is real.
"""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.clock import Clock

from act_ros.errors import ActError
from act_ros.nodes.act_node import ActNode
from act_ros.nodes.controller import LAST_WORD, Controller
from act_ros.nodes.wiring import Wiring as RealWiring
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.policy import SharedPolicy
from act_ros.safety import Limits
from act_ros.task import Task
from test.waiting import wait_until

SETTINGS = Settings(
    task_cameras=('front',), task_state=('arm/a/position',),
    task_action=('arm/a/position', 'arm/a/velocity'), command_timeout=5.0,
    position_min=(-1.0,), position_max=(1.0,), max_step=(0.1,), max_velocity=(5.0,),
    max_acceleration=(500.0,), max_tracking_error=(2.0,), ramp_time=0.0,
)  # fmt: skip
TASK = Task.from_settings(SETTINGS)


class Policy:
    task, chunk_size = TASK, 50

    def predict(self, qpos, images):
        return np.tile([0.5, 0.1], (50, 1))


class Store:
    def measured(self, now):
        return np.zeros(1), {}

    def snapshot(self, now):
        return Snapshot(np.zeros(1, np.float32), {}, {'front': now, 'arm': now}, now), {}

    def clear(self):
        pass


class Wiring:
    """Takes what is sent; a command hangs while a test wants it to."""

    needs_horizon, deadman, tick, chunk = False, None, None, None

    def __init__(self):
        self.store = Store()
        self.sent = []
        self.hanging, self.hang = threading.Event(), threading.Event()
        self.free = threading.Event()
        self.broken = False

    def send(self, values, stamp, wanted, horizon=None, slopes=None):
        if self.hang.is_set():
            self.hanging.set()
            assert self.free.wait(10)
            if self.broken:
                raise RuntimeError('the publisher is gone')
        self.sent.append('command')

    def send_stop(self, values, stamp, wanted, horizon=None, slopes=None):
        assert wanted()
        assert values[1] == 0.0
        self.sent.append('stop')


@pytest.fixture
def running():
    wiring = Wiring()
    controller = Controller(
        SETTINGS, Limits.from_settings(SETTINGS, TASK), clock=Clock(), simulated=False,
        policy=SharedPolicy(Policy()), wiring=wiring, wire=threading.Lock(),
    )  # fmt: skip
    controller.start()
    wait_until(lambda: wiring.sent.count('command') > 5, 10, lambda: f'commands: {wiring.sent}')
    yield controller, wiring
    wiring.free.set()
    controller.stop(timeout=5)


def test_the_last_word_is_the_stop_policys(running):
    controller, wiring = running
    controller.stop(timeout=5)
    controller.stop(timeout=5)
    count = len(wiring.sent)
    assert wiring.sent[-2:] == ['command', 'stop']
    assert not controller.ticker._thread.is_alive()
    time.sleep(0.1)  # nothing may come in this time
    assert len(wiring.sent) == count


@pytest.mark.parametrize('broken', [False, True])
def test_a_publisher_that_hangs_holds_up_no_end_and_has_not_the_last_word(running, broken):
    controller, wiring = running
    wiring.broken = broken
    wiring.hang.set()
    assert wiring.hanging.wait(10)
    started = time.monotonic()
    controller.stop(timeout=0.05)
    assert time.monotonic() - started < 1.0
    wiring.free.set()
    wait_until(lambda: not controller.ticker._thread.is_alive(), 10, 'the end of the thread')
    assert wiring.sent[-1] == 'stop'
    assert wiring.sent.count('stop') >= 1


def test_a_command_that_hung_is_followed_by_a_stop_at_once(running):
    controller, wiring = running
    wiring.hang.set()
    assert wiring.hanging.wait(10)
    wait_until(lambda: controller.guard.trouble, 10, 'the guard')
    before = len(wiring.sent)
    wiring.hang.clear()
    wiring.free.set()
    wait_until(lambda: wiring.sent[before + 3 :].count('command') > 5, 10, 'commands again')
    assert wiring.sent[before : before + 2] == ['command', 'stop']
    wait_until(lambda: not controller.guard.trouble, 10, 'a guard at rest')
    assert 'stood still' in controller.loop.status.last


def test_a_command_that_hung_until_long_after_the_end_is_followed_by_nothing(running, caplog):
    controller, wiring = running
    wiring.hang.set()
    assert wiring.hanging.wait(10)
    controller.stop(timeout=0.05)
    before = len(wiring.sent)
    # The node begins no other activation meanwhile.
    assert controller._wire.locked()
    time.sleep(LAST_WORD)
    assert len(wiring.sent) == before
    wiring.free.set()
    wait_until(lambda: not controller._wire.locked(), 10, 'the wire')
    wait_until(lambda: not controller.ticker._thread.is_alive(), 10, 'the end of the thread')
    assert wiring.sent[before:] == ['command']
    assert 'no stop message follows' in caplog.text


@pytest.mark.parametrize('stops', [False, True])
def test_an_output_that_hung_takes_no_other_output_along_when_it_comes_back_late(stops):
    late, sent = threading.Event(), []
    wiring = RealWiring.__new__(RealWiring)
    encoder = SimpleNamespace(encode=lambda values, *_: values)
    first = SimpleNamespace(publish=lambda _: (sent.append('first'), late.set()))
    second = SimpleNamespace(publish=lambda _: sent.append('second'))
    wiring._senders = [(encoder, first), (encoder, second)]
    send = wiring.send_stop if stops else wiring.send
    send(np.zeros(2), None, lambda: True)
    assert sent == ['first', 'second']
    late.clear()
    send(np.zeros(2), None, lambda: not late.is_set())
    assert sent == ['first', 'second', 'first']


def test_no_activation_begins_while_a_command_of_the_last_one_is_on_its_way():
    wire = threading.Lock()
    node = SimpleNamespace(_wire=wire, _wiring=object(), _policy=object())
    with wire, pytest.raises(ActError, match='of the last activation is still being published'):
        ActNode._activate(node)
