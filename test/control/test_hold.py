"""What `hold` does about joints that do not follow: an arm, a wrist and a gripper."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.control import Arrival, ControlLoop, State
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


def make_loop(*, continuous=False, **changes):
    limits = Limits(
        np.array([-2.0, -4.0, 0.0]),
        np.array([2.0, 4.0, 1.0]),
        np.full(3, STEP),
        np.full(3, 100.0),
        np.array([ERROR, ERROR, np.inf]),
        np.array([False, continuous, False]),
        range_tolerance=0.01,
        ramp_time=0.0,
    )
    return ControlLoop(Settings(fade=0.0, **changes), TASK, K, limits)


class Robot:
    """A loop whose policy says the same all the time, and what it sends."""

    def __init__(self, loop, goal=GOAL):
        self.loop, self.goal, self.tick = loop, goal, 0

    def run(self, measured, ticks=1, *, seen=True):
        """Positions that were sent at each tick; NaN where nothing was."""
        sent = []
        for _ in range(ticks):
            now = self.tick * TICK
            self.tick += 1
            self.loop.begin_tick(now)
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
