"""What `hold` does about joints that do not follow: an arm, a wrist and a gripper."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.control import Arrival, ControlLoop, State, Veto
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.safety import TURN, Limits
from act_ros.safety.limiter import RETREAT
from act_ros.task import Entry, Task

TICK = 20_000_000
K = 20
NAMES = ('elbow', 'wrist', 'gripper')
ENTRIES = tuple(
    Entry('arm', name, quantity) for quantity in ('position', 'velocity') for name in NAMES
)
TASK = Task('t', ('camera',), ENTRIES, ENTRIES, 50.0, (4, 6))
STEP, ERROR = 0.05, 0.25
HOME = np.array([0.0, 2.2, 1.0])
GOAL = np.array([0.1, 3.21, 0.0])
WRAPPED = np.array([0.1, 3.21 - TURN, 0.0])


def away(*by):
    return np.array(by)


def make_loop(*, task=TASK, continuous=False, acceleration=1e6, **changes):
    limits = Limits(
        np.array([-2.0, -4.0, 0.0]),
        np.array([2.0, 4.0, 1.0]),
        np.full(3, STEP),
        np.full(3, 100.0),
        np.full(3, acceleration),
        np.array([ERROR, ERROR, np.inf]),
        np.array([False, continuous, False]),
        range_tolerance=0.01,
        ramp_time=0.0,
    )
    return ControlLoop(Settings(fade=0.0, **changes), task, K, limits)


class Robot:
    """A loop whose policy says the same all the time, and what it sends."""

    def __init__(self, loop, goal=GOAL):
        self.loop, self.goal, self.tick = loop, goal, 0
        self.veto = None

    def run(self, measured, ticks=1, *, seen=True):
        """Positions that were sent at each tick; NaN where nothing was."""
        sent = []
        for _ in range(ticks):
            now = self.tick * TICK
            self.tick += 1
            self.loop.begin_tick(now, veto=self.veto)
            shot = Snapshot(np.zeros(3, np.float32), {}, {'camera': now}, now) if seen else None
            request = self.loop.request(shot)
            if request is not None:
                chunk = np.tile([*self.goal, 0.0, 0.0, 0.0], (K, 1))
                self.loop.accept(Arrival(request, chunk))
            self.command = self.loop.command(np.array(measured, dtype=float))
            sent.append([np.nan] * 3 if self.command is None else self.command.values[:3])
        return np.array(sent)

    def at_goal(self):
        """Run until every joint is where it shall be, as far as a gripper gets."""
        place = HOME
        for _ in range(40):
            place = self.run(np.where([True, True, False], place, HOME))[-1]
        np.testing.assert_allclose(place, self.goal)
        return self


def test_an_encoder_that_wraps_does_not_drive_a_wrist_back_through_its_arm(caplog):
    robot = Robot(make_loop()).at_goal()
    held = robot.run(WRAPPED, 200)
    assert robot.loop.state is State.LATCHED
    np.testing.assert_allclose(held, [GOAL] * 200)
    assert robot.command.action is None
    for words in ('arm/wrist/position is at -3.073, commanded 3.210', 'continuous', 'is held'):
        assert words in robot.loop.status.reason
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_nor_does_it_stop_one_that_is_declared_continuous():
    robot = Robot(make_loop(continuous=True)).at_goal()
    np.testing.assert_allclose(robot.run(WRAPPED, 50), [GOAL] * 50)
    assert robot.loop.state is State.RUNNING


def test_a_continuous_joint_that_does_not_follow_is_met_where_it_is():
    robot = Robot(make_loop(continuous=True)).at_goal()
    held = robot.run(WRAPPED + away(0, 0.4, 0), 50)
    assert robot.loop.state is State.LATCHED
    np.testing.assert_allclose(held[-1], GOAL + away(0, 0.4, 0))
    assert np.abs(np.diff(held, axis=0)).max() <= STEP + 1e-12


def test_only_the_joint_at_fault_retreats_and_the_gripper_keeps_its_force():
    robot = Robot(make_loop()).at_goal()
    on_object = GOAL + away(0, 0, 0.6)
    robot.run(on_object, 100)
    assert robot.loop.state is State.RUNNING  # an object is no fault of the arm
    held = robot.run(on_object + away(0.3, 0.2, 0), 50)
    assert robot.loop.state is State.LATCHED
    np.testing.assert_allclose(held[-1], GOAL + away(0.3, 0, 0))
    assert 'gripper' not in robot.loop.status.reason
    robot.loop.new_episode()
    again = robot.run(on_object + away(0.3, 0.2, 0), 8)
    assert robot.loop.state is State.RUNNING
    assert (again[:, 2] == 0.0).all()


def test_a_gripper_keeps_its_force_also_through_silence():
    robot = Robot(make_loop(stop_policy='silent', recovery_window=60.0)).at_goal()
    on_object = GOAL + away(0, 0, 0.6)
    robot.run(on_object, 20)
    assert np.isnan(robot.run(on_object, 100, seen=False)[-1]).all()
    np.testing.assert_allclose(robot.run(on_object + away(0.2, 0, 0), 1)[0, [0, 2]], [0.25, 0.0])


def test_a_joint_that_moves_on_is_told_again_and_met_only_within_reach(caplog):
    robot = Robot(make_loop()).at_goal()
    held = [robot.run(GOAL + away(0.3 * i, 0, 0), 40)[-1, 0] for i in range(1, 6)]
    # 1.0 from the last command is the furthest; from there on it is held where it got to.
    np.testing.assert_allclose(held, GOAL[0] + away(0.3, 0.6, 0.9, 0.9, 0.9))
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 2
    assert 'too far to go there' in errors[1] and 'too far' not in errors[0]


def test_a_joint_that_fails_later_retreats_too():
    robot = Robot(make_loop()).at_goal()
    robot.run(GOAL + away(0.3, 0, 0), 20)
    assert 'wrist' not in robot.loop.status.reason
    held = robot.run(GOAL + away(0.3, 0.3, 0), 40)
    np.testing.assert_allclose(held[-1], GOAL + away(0.3, 0.3, 0))
    assert 'wrist' in robot.loop.status.reason


def test_a_hand_that_lets_go_leaves_the_joint_where_the_retreat_led():
    robot = Robot(make_loop()).at_goal()
    robot.run(GOAL + away(0.3, 0, 0), 40)
    np.testing.assert_allclose(robot.run(GOAL + away(0.15, 0, 0), 40)[-1], GOAL + away(0.3, 0, 0))


PLACE = st.floats(-7, 7) | st.sampled_from([0.1, 3.21, -3.07, np.nan, np.inf, -1.7e308])


@settings(max_examples=60, deadline=None)
@given(
    poses=st.lists(st.tuples(st.tuples(PLACE, PLACE, PLACE), st.integers(1, 30)), max_size=6),
    continuous=st.booleans(),
    reset=st.booleans(),
)
def test_whatever_is_measured_no_command_leads_further_than_its_bounds(poses, continuous, reset):
    robot = Robot(make_loop(continuous=continuous)).at_goal()
    last, planned = GOAL, GOAL
    for place, ticks in poses:
        for sent in [robot.run(place)[0] for _ in range(ticks)]:
            assert (np.abs(sent - last) <= STEP + 1e-12).all()
            assert (np.abs(sent[:2]) <= [2.0, 4.0]).all()
            assert 0 <= sent[2] <= 1
            last = sent
            if robot.command.action is not None:
                planned = sent
            assert (np.abs(sent[:2] - planned[:2]) <= RETREAT * ERROR + 1e-12).all()
            assert sent[2] == planned[2]  # nothing but the policy moves the gripper
        if reset:
            robot.loop.new_episode()


@pytest.mark.parametrize('policy', ['hold', 'silent'])
def test_a_stop_begins_at_once_whatever_the_stop_policy(policy):
    robot = Robot(make_loop(stop_policy=policy)).at_goal()
    sent = robot.run(WRAPPED, 20)
    assert robot.loop.state is State.LATCHED
    assert (robot.command is None) == (policy == 'silent')
    assert np.isnan(sent).any() == (policy == 'silent')


# --- braking ----------------------------------------------------------------------------------

ACCELERATION = 20.0  # 0.008 more or less a tick, 0.4 a second in speed
CHANGE = ACCELERATION / 50**2
FAR = np.array([1.9, 2.2, 0.0])
# So that a finite action may be none in the robot's units.
SCALE = 0.1
SCALED = replace(TASK, action=(replace(ENTRIES[0], scale=SCALE), *ENTRIES[1:]))


class MovingRobot(Robot):
    """A robot on its way to a place that is far off; it goes where it is told."""

    def __init__(self, **changes):
        loop = make_loop(task=SCALED, acceleration=ACCELERATION, **changes)
        super().__init__(loop, FAR * [SCALE, 1, 1])
        self.place, self.sent, self.planned = HOME, [], []

    def go(self, count, **how):
        """Some commands; all positions so far."""
        for _ in range(count):
            self.note(self.run(self.place, **how)[0])
        return np.array(self.sent)

    def note(self, place):
        self.place = place
        self.sent.append(place)
        self.planned.append(self.command.action is not None)
        self.velocity = self.command.values[3:]


def miss_inputs(robot):
    robot.go(30, seen=False)


def say_nonsense(robot):
    robot.goal = robot.goal.copy()
    robot.goal[0] = 1.7e308
    robot.go(16)


def forbid(robot):
    robot.veto = Veto('enable_topic says false', attended=True)
    robot.go(16)


def fail(robot):
    robot.command = robot.loop.fail('the control tick failed', robot.tick * TICK)
    robot.note(robot.command.values[:3])
    robot.tick += 1
    robot.go(16, seen=False)


def jump(robot):
    robot.loop.clock_jumped('the clock jumped by -9.000 s')
    robot.tick = 0
    robot.go(16, seen=False)


def reset(robot):
    robot.loop.new_episode()
    robot.go(16, seen=False)


@pytest.mark.parametrize('stop', [miss_inputs, say_nonsense, forbid, fail, jump, reset])
def test_whatever_stops_the_commands_the_arm_brakes_and_stays(stop):
    robot = MovingRobot(command_timeout=0.1)
    robot.go(8)
    stop(robot)
    last = robot.planned.index(False) - 1
    assert not any(robot.planned[last + 1 :])
    steps = np.diff(robot.sent, axis=0)
    assert np.abs(np.diff(steps, axis=0)).max() <= CHANGE * (1 + 1e-9)
    speed = steps[last - 1, 0]
    assert speed == pytest.approx(STEP)
    braking = np.maximum(speed - CHANGE * np.arange(1, len(steps) - last + 1), 0)
    assert steps[last:, 0] == pytest.approx(braking, abs=1e-12)
    assert not steps[-5:].any()
    assert not robot.velocity.any()


def test_an_arm_that_braked_for_one_tick_without_a_plan_goes_on_from_there():
    robot = MovingRobot()
    robot.go(4)
    robot.go(K, seen=False)  # the plan ends
    assert robot.planned == [True] * (K + 3) + [False]
    sent = robot.go(40)
    assert robot.planned.count(False) == 1
    steps = np.diff(sent, axis=0)
    assert np.abs(np.diff(steps, axis=0)).max() <= CHANGE * (1 + 1e-9)
    assert steps[K + 2 : K + 6, 0] == pytest.approx([STEP - CHANGE, STEP, STEP, STEP])
    assert sent[-1] == pytest.approx(FAR)


def test_a_joint_that_does_not_follow_stops_at_once_and_the_others_brake():
    robot = MovingRobot()
    robot.goal = np.array([1.9 * SCALE, 4.0, 0.0])
    robot.go(1)
    for _ in range(60):
        robot.place = np.array([HOME[0], *robot.sent[-1][1:]])  # the elbow is blocked
        robot.note(robot.run(robot.place)[0])
        if robot.loop.state is State.LATCHED:
            break
    else:
        pytest.fail('never lost')
    steps = np.diff(robot.sent, axis=0)
    assert steps[-2, 0] > 3 * CHANGE and steps[-2, 1] > 3 * CHANGE
    # The elbow begins its way back from rest, without a velocity; the wrist slows down.
    assert steps[-1, 0] == pytest.approx(-CHANGE)
    assert steps[-1, 1] == pytest.approx(steps[-2, 1] - CHANGE)
    assert robot.command.values[3] == 0.0
    assert robot.command.values[4] == pytest.approx(steps[-1, 1] * 50)
    held = robot.run(np.array([HOME[0], *robot.place[1:]]), 60)
    assert np.abs(np.diff(held[:, 0], n=2)).max() <= CHANGE * (1 + 1e-9)
    assert held[-1, 0] == HOME[0]
