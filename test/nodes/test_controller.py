"""The end of an activation while a publisher hangs: who says the last word, and when.

No middleware hangs on demand, so the way out is a stand-in here; the rest is real.
"""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.clock import Clock

from act_ros.errors import ActError
from act_ros.nodes.act_node import ActNode
from act_ros.nodes.controller import BRAKING, LAST_WORD, Controller
from act_ros.nodes.wiring import Wiring as RealWiring
from act_ros.observation import Snapshot
from act_ros.parameters import JointLimits, Settings
from act_ros.safety import Limits
from act_ros.task import Task
from test.limits import changed
from test.waiting import wait_until

SETTINGS = Settings(
    task_cameras=('front',), task_state=('arm/a/position',),
    task_action=('arm/a/position', 'arm/a/velocity'), command_timeout=5.0,
    ramp_time=0.0, joint_limits={'a': JointLimits(
        min_position=-1e6, max_position=1e6, max_step=0.1, max_velocity=5.0,
        max_acceleration=25.0, max_tracking_error=1e6,
    )},
)  # fmt: skip
TASK = Task.from_settings(SETTINGS)
PERIOD = 1 / SETTINGS.control_rate


class Policy:
    """Far away: the joint goes on and on, at its full speed of 0.1 a tick."""

    task, chunk_size = TASK, 50

    def reset(self):
        pass

    def predict_newest(self, observe):
        observe()
        return np.tile([1e5, 5.0], (50, 1))


class Store:
    def measured(self, now):
        return np.zeros(1), {}

    def snapshot(self, now):
        return Snapshot(np.zeros(1, np.float32), {}, {'front': now, 'arm': now}, now), {}

    def clear(self):
        pass


class Wiring:
    """Takes what is sent; a command hangs while a test wants it to."""

    horizon, deadman, tick, chunk = (), None, None, None

    def __init__(self):
        self.store = Store()
        self.sent = []
        self.values, self.times = [], []  # of each [s]
        self.hanging, self.hang = threading.Event(), threading.Event()
        self.free = threading.Event()
        self.broken = False

    def send(self, values, stamp, wanted, ahead=None):
        if self.hang.is_set():
            self.hanging.set()
            assert self.free.wait(10)
            if self.broken:
                raise RuntimeError('the publisher is gone')
        self._note('command', values)
        return True

    def send_stop(self, values, stamp, wanted, ahead=None):
        assert wanted()
        self._note('stop', values)

    def _note(self, what, values):
        self.sent.append(what)
        self.values.append(values.tolist())
        self.times.append(time.monotonic())


def begin(limits=None, **changes):
    wiring, settings = Wiring(), changed(replace(SETTINGS, **changes), **(limits or {}))
    controller = Controller(
        settings, Limits.from_settings(settings, TASK), clock=Clock(), simulated=False,
        policy=Policy(), wiring=wiring, wire=threading.Lock(),
    )  # fmt: skip
    controller.start()
    moving = lambda: wiring.sent and wiring.values[-1][1] > 4.9  # noqa: E731
    wait_until(moving, 10, lambda: f'full speed: {wiring.values}')
    return controller, wiring


@pytest.fixture
def running():
    controller, wiring = begin()
    yield controller, wiring
    wiring.free.set()
    controller.stop(timeout=5)


def first_stop(wiring):
    """Of the last ones: a machine that stands still has others."""
    return len(wiring.sent) - wiring.sent[::-1].index('command')


def check_motion(wiring, since=0, acceleration=25.0):
    """One motion, within the acceleration; each velocity that of its step."""
    positions, velocities = np.array(wiring.values[since:]).T
    steps = np.diff(positions)
    assert np.abs(np.diff(steps)).max() <= acceleration * PERIOD**2 * (1 + 1e-9)
    assert velocities[1:] == pytest.approx(steps / PERIOD, abs=1e-9)
    return steps


def test_at_the_end_the_robot_brakes_and_the_last_word_is_at_rest(running):
    controller, wiring = running
    controller.stop(timeout=5)
    controller.stop(timeout=5)
    count = len(wiring.sent)
    last = first_stop(wiring)
    # From full speed it takes ten commands, each a tick after the one before it.
    assert wiring.sent[last - 1 :] == ['command'] + ['stop'] * 10
    assert check_motion(wiring)[-10:] == pytest.approx(np.arange(9, -1, -1) * 0.01)
    assert wiring.values[-1][1] == 0.0
    assert np.diff(wiring.times[last:]).min() > 0.9 * PERIOD
    assert wiring.times[-1] - wiring.times[last - 1] < 10 * PERIOD + 0.2
    assert not controller.ticker._thread.is_alive()
    time.sleep(0.1)  # nothing may come in this time
    assert len(wiring.sent) == count


def test_what_rests_is_told_so_once_and_at_once(running):
    controller, wiring = running
    controller.loop.new_episode()
    controller.loop.plan.wants = lambda step: False
    wait_until(lambda: wiring.values[-1][1] == 0.0, 10, 'an arm at rest')
    controller.ticker.stop(5)
    before = len(wiring.sent)
    controller.stop(timeout=5)
    assert wiring.sent[before:] == ['stop']


def test_where_the_limits_would_take_long_it_brakes_as_much_harder():
    controller, wiring = begin({'max_acceleration': 5.0})  # from full speed to rest in a second
    try:
        begun = time.monotonic()
        controller.stop(timeout=5)
        assert time.monotonic() - begun < BRAKING + 0.2
    finally:
        controller.stop(timeout=5)
    last = first_stop(wiring)
    assert len(wiring.sent[last:]) == round(BRAKING / PERIOD)
    assert check_motion(wiring, last - 3, acceleration=10.0)[-1] == 0.0
    assert wiring.values[-1][1] == 0.0


def test_at_a_low_rate_the_first_word_does_not_wait_for_a_tick():
    controller, wiring = begin({'max_step': 3.0}, control_rate=2.0)
    begun = time.monotonic()
    controller.stop(timeout=1)
    assert wiring.times[first_stop(wiring)] - begun < 0.1 + 0.1
    assert time.monotonic() - begun < BRAKING + 0.2
    assert wiring.values[-1][1] == 0.0


def test_a_dead_thread_of_the_ticks_keeps_the_robot_from_no_braking(running):
    controller, wiring = running
    controller.ticker.stop(5)
    controller.stop(timeout=5)
    assert wiring.sent[-11:] == ['command'] + ['stop'] * 10
    check_motion(wiring)


def test_before_the_first_command_nothing_is_said_at_the_end():
    wiring = Wiring()
    wiring.store.snapshot = lambda now: (None, {'front': 'stale'})
    controller = Controller(
        SETTINGS, Limits.from_settings(SETTINGS, TASK), clock=Clock(), simulated=False,
        policy=Policy(), wiring=wiring, wire=threading.Lock(),
    )  # fmt: skip
    controller.start()
    wait_until(lambda: controller.ticks > 5, 10, 'ticks')
    controller.stop(timeout=5)
    assert not wiring.sent


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
    assert wiring.sent[-2:] == ['command', 'stop']
    assert wiring.values[-1] == [wiring.values[-2][0], 0.0]


def test_a_command_that_hung_is_followed_by_a_stop_at_once(running):
    controller, wiring = running
    wiring.hang.set()
    assert wiring.hanging.wait(10)
    wait_until(lambda: controller.guard.trouble, 10, 'the guard')
    before = len(wiring.sent)
    wiring.hang.clear()
    wiring.free.set()
    wait_until(lambda: wiring.sent[before:].count('command') > 5, 10, 'commands again')
    assert wiring.sent[before : before + 2] == ['command', 'stop']
    check_motion(wiring)
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


def test_a_command_that_has_not_gone_out_is_none_that_the_next_goes_on_from(running):
    controller, wiring = running
    send, failures = wiring.send, []

    def fail_now_and_then(*what):
        if len(wiring.sent) % 7 == 0 and len(failures) < 3:
            failures.append(len(wiring.sent))
            raise RuntimeError('the publisher is gone')
        return send(*what)

    before = len(wiring.sent)
    wiring.send = fail_now_and_then
    wait_until(lambda: failures, 10, 'a failure')
    wait_until(lambda: len(wiring.sent) > before + 40, 10, 'messages')
    controller.stop(timeout=5)
    assert 'stop' in wiring.sent[before:-10]
    check_motion(wiring)


def test_a_signal_waits_for_a_deactivation_that_is_under_way(running):
    controller, wiring = running
    node = SimpleNamespace(
        _ending=threading.Event(), _at_rest=threading.Event(), _switching=threading.Lock(),
        _controller=controller, _server=None,
    )  # fmt: skip
    node._at_rest.set()
    node._stop_controller = lambda: ActNode._stop_controller(node)
    deactivation = threading.Thread(target=node._stop_controller)
    deactivation.start()
    wait_until(lambda: 'stop' in wiring.sent, 10, 'braking')
    assert wiring.values[-1][1] > 0.0
    ActNode.halt(node)
    assert wiring.values[-1][1] == 0.0
    deactivation.join()
