"""Limits on a command: by hand, and whatever comes."""

import itertools
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from act_ros.errors import LimitError, ParameterError
from act_ros.parameters import LIMITED, JointLimits, Settings
from act_ros.parameters.joint_limits import unused_limits
from act_ros.safety import TURN, CommandLimiter, Limits, action_turns
from act_ros.safety.limiter import RETREAT
from act_ros.task import Entry, Task
from test.limits import by_joint, keys

RATE = 50.0


def make_task(*action):
    entries = tuple(map(Entry.parse, action))
    return Task('t', ('camera',), entries, entries, RATE, (4, 6))


TASK = make_task('arm/a/position', 'arm/b/position', 'arm/a/velocity', 'arm/b/velocity')
VALUES = {
    'min_position': [-1.0, 0.0],
    'max_position': [1.0, 2.0],
    'max_step': [0.1, 0.2],
    'max_velocity': [3.0, 20.0],
    'max_acceleration': [1e6, 1e6],  # of no account but where a test is about it
    'max_tracking_error': [0.5, 0.5],
    'unlimited': [],
    'range_tolerance': 0.05,
    'ramp_time': 0.0,
}
NO_HITS = {kind: {} for kind in ('range', 'step', 'velocity', 'acceleration')}


def limits(task=TASK, **changes):
    values = {**VALUES, **changes}
    arrays = {name: values.pop(name) for name in LIMITED}
    values['continuous'] = tuple(values.get('continuous', ()))
    given = by_joint(keys(task), **arrays)
    return Limits.from_settings(Settings(**values, joint_limits=given), task)


def limiter(pose=(0.0, 1.0), **changes):
    made = CommandLimiter(TASK, limits(**changes), RATE)
    made.start(np.array(pose))
    return made


def send(made, *values, elapsed=0.0):
    return made.limit(np.array(values), elapsed).tolist()


# --- one stage at a time --------------------------------------------------------------------


def test_what_is_within_all_limits_passes_as_it_is():
    made = limiter()
    assert send(made, 0.05, 1.1, 2.0, -3.0) == [0.05, 1.1, 2.0, -3.0]
    assert made.hits == NO_HITS


def test_a_position_outside_its_range_ends_at_it_with_the_velocity_of_its_step():
    made = limiter((0.97, 1.0))
    out = send(made, 5.0, 1.1, 2.0, -3.0)
    assert out == pytest.approx([1.0, 1.1, 0.03 * RATE, -3.0])
    assert made.hits == {**NO_HITS, 'range': {'arm/a/position': 1}}
    assert send(made, 5.0, 1.1, 2.0, -3.0)[2] == 0.0


def test_a_step_is_bounded_by_max_step_and_by_the_velocity_limit():
    # 3 a second is 0.06 a tick, which is less than the 0.1 of max_step; b has 0.2 and 0.4.
    made = limiter()
    assert send(made, 0.9, 1.9, 0.0, 0.0) == pytest.approx([0.06, 1.2, 3.0, 10.0])
    assert made.hits['step'] == {'arm/a/position': 1, 'arm/b/position': 1}
    assert made.limited_actions == 1  # by two limits
    send(made, *made.last, 0.0, 0.0)
    assert made.limited_actions == 1


def test_the_velocity_of_a_step_is_no_hit_of_the_velocity_limit():
    # Both limits allow the same step, as in the task's file: rounding alone decides.
    made = limiter(max_step=[0.06, 0.2], max_velocity=[3.0, 10.0])
    for _ in range(20):
        out = send(made, 1.0, 2.0, 99.0, 99.0)
        assert out[2] <= 3.0
        assert out[3] <= 10.0
    assert made.hits['velocity'].get('arm/a/velocity', 0) < 5  # only once it has arrived


def test_a_velocity_is_bounded_where_its_position_is_not_changed():
    made = limiter()
    assert send(made, 0.05, 1.0, 7.0, -99.0) == [0.05, 1.0, 3.0, -20.0]
    assert made.hits['velocity'] == {'arm/a/velocity': 1, 'arm/b/velocity': 1}


def test_the_ramp_begins_where_the_robot_is_and_ends_at_the_policy():
    made = limiter(ramp_time=1.0)
    goal = (0.02, 1.02, 1.0, 1.0)
    assert send(made, *goal) == pytest.approx([0.0, 1.0, 0.0, 0.0])
    half = send(made, *goal, elapsed=0.5)
    assert half[:2] == pytest.approx([0.01, 1.01])
    assert half[2:] == pytest.approx([0.01 * RATE] * 2)
    assert send(made, *goal, elapsed=1.0) == pytest.approx(list(goal))
    assert made.hits == NO_HITS
    made.restart()
    assert send(made, 0.5, 0.5, 0.0, 0.0)[:2] == pytest.approx([0.02, 1.02])


def test_a_joint_of_which_only_the_velocity_is_commanded():
    task = make_task('base/x/velocity')
    made = CommandLimiter(task, limits(task, max_velocity=[2.0], min_position=[0.0],
                          max_acceleration=[50.0], max_position=[0.0], max_step=[1.0],
                          max_tracking_error=[1.0], ramp_time=1.0), RATE)  # fmt: skip
    made.start(np.empty(0))
    assert made.limit(np.array([1.0]), 0.0).tolist() == [0.0]
    assert made.limit(np.array([1.0]), 0.5).tolist() == [0.5]
    assert made.hits == NO_HITS
    assert made.limit(np.array([9.0]), 1.0).tolist() == [1.5]  # a second more each tick
    assert made.limit(np.array([9.0]), 1.0).tolist() == [2.0]
    assert made.hits == {**NO_HITS, 'velocity': {'base/x/velocity': 2},
                         'acceleration': {'base/x/velocity': 1}}  # fmt: skip
    assert [made.hold().item() for _ in range(4)] == [1.0, 0.0, 0.0, 0.0]


def test_a_joint_of_which_only_the_position_is_commanded():
    task = make_task('arm/a/position')
    one = {name: VALUES[name][:1] for name in VALUES if isinstance(VALUES[name], list)}
    made = CommandLimiter(task, limits(task, **one), RATE)
    made.start(np.zeros(1))
    assert made.limit(np.array([9.0]), 0.0).tolist() == [0.06]
    assert made.hold().tolist() == [0.06]


def test_entries_may_come_in_any_order_and_from_sources_with_the_same_names():
    # Joints: left/a, base/x (velocity only), right/a. A velocity before its position.
    task = make_task('left/a/velocity', 'base/x/velocity', 'right/a/position', 'left/a/position',
                     'right/a/velocity')  # fmt: skip
    made = CommandLimiter(
        task,
        limits(task, min_position=[-1.0, 7.0, -2.0], max_position=[1.0, -7.0, 2.0],
               max_step=[0.1, -1.0, 0.2], max_velocity=[50.0, 3.0, 50.0],
               max_acceleration=[1e6] * 3, max_tracking_error=[0.3, 0.0, 0.5]),
        RATE,
    )  # fmt: skip
    assert [str(e) for e in made.position_entries] == ['right/a/position', 'left/a/position']
    assert made.max_tracking_error.tolist() == [0.5, 0.3]
    made.start(np.array([0.5, -0.5]))
    out = made.limit(np.array([0.0, 9.0, 2.0, 1.0, 0.0]), 0.0)
    assert out == pytest.approx([0.1 * RATE, 3.0, 0.7, -0.4, 0.2 * RATE])
    assert made.last == pytest.approx([0.7, -0.4])
    assert made.hits['velocity'] == {'base/x/velocity': 1}


BOTH, NEITHER = np.array([True, True]), np.array([False, False])


def test_hold_is_the_last_command_at_rest_and_a_retreat_goes_in_steps_without_velocity():
    made = limiter(max_tracking_error=[0.5, 5.0])
    send(made, 0.05, 1.1, 2.0, -3.0)
    assert made.hold().tolist() == [0.05, 1.1, 0.0, 0.0]
    assert made.retreat(np.array([-0.1, 5.0]), BOTH).tolist() == [True, True]
    poses = [made.hold() for _ in range(10)]
    assert poses[0].tolist() == pytest.approx([-0.01, 1.3, 0.0, 0.0])
    assert poses[-1].tolist() == pytest.approx([-0.1, 2.0, 0.0, 0.0])  # within the range
    made.retreat(np.zeros(2), BOTH)
    send(made, -0.1, 2.0, 0.0, 0.0)
    assert made.hold()[:2].tolist() == pytest.approx([-0.1, 2.0])  # a command ends the retreat


def test_only_joints_that_do_not_follow_retreat():
    made = limiter()
    assert made.retreat(np.array([0.3, 1.5]), np.array([False, True])).tolist() == [False, True]
    for _ in range(10):
        held = made.hold()
    assert held.tolist() == [0.0, 1.5, 0.0, 0.0]
    assert made.retreat(np.array([0.3, 1.5]), NEITHER).tolist() == [False, False]
    assert made.hold().tolist() == [0.0, 1.5, 0.0, 0.0]


@pytest.mark.parametrize('pose', [-3.07, 2.0, -2.0, np.nan, np.inf, 1e300])
def test_a_joint_that_is_said_to_be_far_away_is_held_where_it_was_told_to_be(pose):
    # 0.45 is what four times max_tracking_error allows.
    made = limiter(max_tracking_error=[0.45 / RETREAT, 0.5], min_position=[-5.0, 0.0],
                   max_position=[5.0, 2.0])  # fmt: skip
    assert made.retreat(np.array([pose, 1.0]), BOTH).tolist() == [False, True]
    for _ in range(20):
        assert made.hold()[0] == 0.0


def test_a_joint_that_moves_on_is_followed_no_further_than_that_from_the_last_command():
    made = limiter(max_tracking_error=[0.45 / RETREAT, 0.5], min_position=[-5.0, 0.0],
                   max_position=[5.0, 2.0])  # fmt: skip
    held = []
    for place in np.arange(0.1, 2.0, 0.1):
        made.retreat(np.array([place, 1.0]), np.array([True, False]))
        held += [made.hold()[0] for _ in range(10)]
    assert max(held) == pytest.approx(0.4)


def test_without_a_last_command_there_is_nothing_to_limit_to_hold_or_to_leave():
    made = CommandLimiter(TASK, limits(), RATE)
    for act in (
        lambda: send(made, 0.0, 1.0, 0.0, 0.0),
        lambda: made.preview(np.zeros((3, 4)), 0.0),
        lambda: made.retreat(np.zeros(2), BOTH),
        lambda: made.nearest(np.zeros(2)),
        made.hold,
        made.restart,
    ):
        with pytest.raises(RuntimeError, match='call start first'):
            act()
    made.set_limits(limits(min_position=[0.5, 1.5]))  # there is no command to violate it


def test_no_ramp_time_is_no_ramp_also_before_its_start():
    assert send(limiter(ramp_time=0.0), 0.05, 1.1, 0.0, 0.0, elapsed=-0.1)[:2] == [0.05, 1.1]
    assert send(limiter(ramp_time=1.0), 0.05, 1.1, 0.0, 0.0, elapsed=-0.1)[:2] == [0.0, 1.0]


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('place', range(4))
def test_nothing_that_is_not_finite_passes(value, place):
    made = limiter()
    values = np.array([0.05, 1.1, 2.0, -3.0])
    values[place] = value
    with pytest.raises(LimitError, match=f'not finite at {TASK.action[place]}'):
        made.limit(values, 0.0)
    assert made.last.tolist() == [0.0, 1.0]


def test_a_preview_is_what_the_coming_ticks_would_send():
    made, twin = limiter(ramp_time=0.1), limiter(ramp_time=0.1)
    actions = np.random.default_rng(1).normal(size=(12, 4))
    for one in (made, twin):
        one.limit(actions[0], 0.0)
    preview = made.preview(actions[1:], 1 / RATE)
    assert made.last.tolist() == twin.last.tolist()
    for i, row in enumerate(actions[1:], start=1):
        np.testing.assert_allclose(twin.limit(row, i / RATE), preview[i - 1])


# --- joints that turn for ever ---------------------------------------------------------------

FOR_EVER = {'continuous': ['arm/a/position'],
            'min_position': [-np.inf, 0.0], 'max_position': [np.inf, 2.0]}  # fmt: skip
# A wrist with stops at +-4, whose encoder wraps at pi.
WRIST = {**FOR_EVER, 'min_position': [-4.0, 0.0], 'max_position': [4.0, 2.0]}


def test_a_continuous_joint_goes_to_an_action_by_the_shorter_way():
    made = limiter((3.13, 1.0), **FOR_EVER)
    assert send(made, -3.13, 1.0, 0.5, 0.0) == pytest.approx([TURN - 3.13, 1.0, 0.5, 0.0])
    assert made.hits == NO_HITS
    assert send(made, -3.0, 1.0, 0.5, 0.0)[0] == pytest.approx(TURN - 3.13 + 0.06)
    back = limiter((3.2, 1.0), **FOR_EVER)
    assert send(back, 3.1, 1.0, 0.0, 0.0)[0] == pytest.approx(3.14)


def test_so_does_the_ramp():
    made = limiter((3.13, 1.0), **FOR_EVER, ramp_time=1.0)
    path = [send(made, -3.13, 1.0, 0.0, 0.0, elapsed=t)[0] for t in np.arange(0, 1.02, 0.02)]
    assert (np.diff([3.13, *path]) >= 0).all()
    assert path[-1] == pytest.approx(TURN - 3.13)


def test_where_its_range_ends_a_continuous_joint_does_not_turn_back_the_long_way():
    made = limiter((3.08, 1.0), continuous=['arm/a/position'], min_position=[-3.14, 0.0],
                   max_position=[3.14, 2.0])  # fmt: skip
    send(made, 3.13, 1.0, 0.0, 0.0)
    for _ in range(200):
        assert send(made, -3.13, 1.0, 0.0, 0.0)[0] == pytest.approx(3.14, abs=0.011)


@pytest.mark.parametrize(
    ('measured', 'begins'),
    [(2.0, 2.0), (-2.0, -2.0), (-4.5, TURN - 4.5), (8.0, 8.0 - TURN), (-TURN, 0.0),
     (100 * TURN + 0.5, 0.5)],
)  # fmt: skip
def test_a_continuous_joint_is_measured_within_its_range_whatever_turn_it_is_in(
    measured, begins
):
    made = limiter((measured, 1.0), **WRIST)
    assert made.last[0] == pytest.approx(begins)
    made.check_measured(np.array([measured, 1.0]))


def test_a_continuous_joint_outside_its_range_in_every_turn_is_refused_as_it_is_measured():
    narrow = {**FOR_EVER, 'min_position': [-1.0, 0.0], 'max_position': [1.0, 2.0]}
    for measured in (3.5, -1.2, 1e18):
        with pytest.raises(LimitError, match=re.escape(f'measured at {measured:.4g}, ')):
            limiter((measured, 1.0), **narrow)
    assert limiter((1.0 - TURN, 1.0), **narrow).last[0] == pytest.approx(1.0)


def test_after_many_turns_a_start_unwinds_none_of_them():
    made = limiter((3 * TURN + 0.1, 1.0), **FOR_EVER)
    made.start(np.array([0.12, 1.0]))
    assert made.last[0] == pytest.approx(3 * TURN + 0.12)
    made.retreat(made.nearest(np.array([0.2, 1.0])), BOTH)
    assert made.hold()[0] == pytest.approx(3 * TURN + 0.18)


@pytest.mark.parametrize(
    ('first', 'begins'), [(3.2, TURN - 3.07), (-3.0, -3.07), (0.0, -3.07), (0.3, TURN - 3.07)]
)
def test_a_joint_that_turns_for_ever_begins_in_the_turn_of_the_first_action(first, begins):
    made = CommandLimiter(TASK, limits(**FOR_EVER), RATE)
    made.start(np.array([-3.07, 1.0]), np.array([first, 1.0, 0.0, 0.0]))
    assert made.last[0] == pytest.approx(begins)
    # Where the range leaves no choice, it is the one that is in it.
    made = CommandLimiter(TASK, limits(**{**WRIST, 'max_position': [3.0, 2.0]}), RATE)
    made.start(np.array([-3.07, 1.0]), np.array([first, 1.0, 0.0, 0.0]))
    assert made.last[0] == pytest.approx(-3.07)


@pytest.mark.parametrize('measured', [-3.07, 3.21, 2.29, 3.5 + TURN, -4.005])
@pytest.mark.parametrize('first', [None, 3.2, -3.0])
def test_a_pose_that_the_range_holds_in_two_turns_begins_nothing(measured, first):
    made = CommandLimiter(TASK, limits(**WRIST), RATE)
    action = None if first is None else np.array([first, 1.0, 0.0, 0.0])
    message = f'{measured:.4g}, and its range -4 to 4 holds that in more than one turn: move it'
    for attempt in (made.check_measured, lambda pose: made.start(pose, action)):
        with pytest.raises(LimitError, match=re.escape(message)) as caught:
            attempt(np.array([measured, 1.0]))
        assert caught.value.joints == ('arm/a/position',)
    assert made.last is None


def test_after_silence_a_joint_that_stayed_is_in_the_turn_of_its_last_command():
    made = limiter((2.2, 1.0), **WRIST)
    while made.last[0] < 3.2:
        send(made, 3.21, 1.0, 0.0, 0.0)
    made.start(np.array([3.3 - TURN, 1.0]))
    assert made.last[0] == pytest.approx(3.3)
    # One that somebody has moved may be anywhere.
    with pytest.raises(LimitError, match='more than one turn'):
        made.start(np.array([2.5, 1.0]))
    made.start(np.array([2.0, 1.0]))
    assert made.last[0] == pytest.approx(2.0)


def test_nor_does_a_joint_that_sank_below_its_range_turn_into_it_from_the_other_end():
    made = limiter((2.2, 1.0), **WRIST)
    while made.last[0] < 3.9:
        send(made, min(made.last[0] + 0.05, 3.95), 1.0, 0.0, 0.0)
    with pytest.raises(LimitError, match=r'measured at 4\.2, outside its range -4 to 4'):
        made.start(np.array([4.2 - TURN, 1.0]))


def test_what_is_no_angle_is_cut_to_a_step_as_any_other_position():
    made = limiter((3.13, 1.0), **FOR_EVER)
    for absurd in (1e18, -1e300, 1.7e308):
        before = made.last[0]
        assert abs(send(made, absurd, 1.0, 0.0, 0.0)[0] - before) <= 0.06 + 1e-12


def test_a_turn_of_the_policy_is_in_its_own_units():
    task = make_task('arm/a/position scale=-0.5 offset=3.0', 'arm/a/velocity', 'arm/b/position')
    turns = action_turns(task, ['arm/a/position'])
    assert turns.tolist() == [TURN / 2, np.inf, np.inf]
    assert np.isinf(action_turns(task, [])).all()
    with pytest.raises(LimitError, match="no position of the action; did you mean 'arm/b/pos"):
        action_turns(task, ['arm/b/positio'])


# --- a gripper on an object ------------------------------------------------------------------

GRIPPER = {'max_tracking_error': [0.5, np.inf]}


@pytest.mark.parametrize(
    ('stood', 'measured', 'begins'),
    [
        (0.6, 0.6, 0.0),  # on its object
        (0.9, 0.6, 0.0),  # it was still closing
        (0.6, 0.1, 0.0),  # the object is gone
        (0.6, 1.5, 1.5),  # somebody has opened it
    ],
)
def test_a_gripper_that_nobody_moved_keeps_its_force_also_after_silence(stood, measured, begins):
    made = limiter((0.0, 0.0), **GRIPPER)
    made.start(np.array([0.3, measured]), stood=np.array([0.0, stood]))
    assert made.last.tolist() == [0.3, begins]
    assert made.hold()[1] == begins


def test_other_joints_begin_where_they_are_measured():
    made = limiter((0.0, 0.0))
    made.start(np.array([0.3, 0.6]), stood=np.array([0.3, 0.6]))
    assert made.last.tolist() == [0.3, 0.6]
    first = CommandLimiter(TASK, limits(**GRIPPER), RATE)
    first.start(np.array([0.3, 0.6]), stood=np.array([0.3, 0.6]))  # nothing was commanded before
    assert first.last.tolist() == [0.3, 0.6]


# --- refusals -------------------------------------------------------------------------------


# --- acceleration -----------------------------------------------------------------------------

# a: 0.06 a tick, 0.01 more or less a tick; b: 0.2 and 0.04. In speeds 0.5 and 2 a tick.
ACCELERATION = {'max_acceleration': [25.0, 100.0]}


def moving(*goal, ticks=4, **changes):
    """A limiter whose joints are on their way to a goal."""
    made = limiter(**{**ACCELERATION, **changes})
    for _ in range(ticks):
        send(made, *goal)
    return made


def test_joints_speed_up_go_on_and_slow_down_within_their_acceleration():
    made = limiter(**ACCELERATION)
    sent = np.array([send(made, 0.5, 1.5, 0.0, 0.0) for _ in range(40)])
    steps = np.diff(np.vstack([[0.0, 1.0], sent[:, :2]]), axis=0)
    assert steps[:6, 0] == pytest.approx(0.01 * np.arange(1, 7))
    assert steps[6, 0] == pytest.approx(0.06)
    change = np.abs(np.diff(np.vstack([[0, 0], steps, [0, 0]]), axis=0)).max(axis=0)
    assert (change <= np.array([0.01, 0.04]) * (1 + 1e-9)).all()
    assert (steps >= 0).all()
    assert sent[-1].tolist() == [0.5, 1.5, 0.0, 0.0]
    # Each velocity is that of its step, so it changes within the acceleration too.
    places = np.flatnonzero(sent[:, 0] != 0.5)
    assert sent[places, 2] == pytest.approx(steps[places, 0] * RATE)
    assert np.abs(np.diff(sent[:, 2:], axis=0)).max(axis=0) == pytest.approx([0.5, 2.0])


def test_what_is_within_the_acceleration_passes_as_it_is():
    made = limiter(**ACCELERATION)
    t = np.arange(1, 200) / RATE
    actions = np.column_stack([0.4 - 0.4 * np.cos(5 * t), 1 + 0.3 * np.sin(3 * t) ** 3,
                               2 * np.sin(5 * t), 0.7 * np.sin(9 * t)])  # fmt: skip
    for action in actions:
        assert made.limit(action, 0.0).tolist() == action.tolist()
    assert made.hits == NO_HITS


def test_a_hit_of_the_acceleration_is_what_the_other_limits_would_have_let_through():
    made = limiter(**ACCELERATION)
    send(made, 0.03, 1.0, 0.0, 0.0)  # 0.03 is no step too far, and three times what it may be
    assert made.hits == {**NO_HITS, 'acceleration': {'arm/a/position': 1}}
    made = limiter(**ACCELERATION)
    send(made, 0.9, 1.0, 0.0, 0.0)
    assert made.hits == {**NO_HITS, 'step': {'arm/a/position': 1},
                         'acceleration': {'arm/a/position': 1}}  # fmt: skip
    made = limiter(**ACCELERATION)
    send(made, 0.0, 1.0, 0.6, -1.9)  # of a velocity whose position is not changed
    assert made.hits == {**NO_HITS, 'acceleration': {'arm/a/velocity': 1}}


def test_rounding_is_no_hit_and_changes_no_velocity():
    # Positions whose differences are the limit, but for their last digits.
    made = limiter((0.7, 1.0), **ACCELERATION)
    path = np.cumsum(np.concatenate([np.arange(1, 6), np.arange(5, -6, -1)])) * 0.01
    for place in path:
        assert send(made, 0.7 + place, 1.0, 0.123, 0.0) == [0.7 + place, 1.0, 0.123, 0.0]
    assert made.hits == NO_HITS


def test_a_policy_whose_velocities_are_not_those_of_its_positions_is_no_jump():
    """Where limits begin and end to change a position, its velocity is another's word."""
    made = limiter(**ACCELERATION)
    rng = np.random.default_rng(4)
    sent = []
    for i in range(300):
        jump = 0.3 * (i // 50 % 2)
        sent.append(send(made, jump, 1 + 0.001 * i, *rng.uniform(-9, 9, size=2)))
    assert (np.abs(np.diff(sent, axis=0)[:, 2:]) <= np.array([0.5, 2.0]) * (1 + 1e-9)).all()


def test_before_the_end_of_its_range_a_joint_brakes():
    made = limiter((0.5, 1.0), **ACCELERATION)
    sent = np.array([send(made, 9.0, 1.0, 0.0, 0.0)[0] for _ in range(40)])
    steps = np.diff(sent)
    assert sent[-1] == 1.0
    assert (np.diff(steps) >= -0.01 * (1 + 1e-9)).all()


def test_hold_comes_to_rest_within_the_acceleration_and_stays_there():
    made = moving(0.9, 1.9, 0.0, 0.0)
    assert made.commands_to_rest == 4
    last = made.last
    sent = np.array([made.hold() for _ in range(8)])
    steps = np.diff(np.vstack([last, sent[:, :2]]), axis=0)
    assert steps[:, 0] == pytest.approx([0.03, 0.02, 0.01, 0, 0, 0, 0, 0])
    assert steps[:, 1] == pytest.approx([0.12, 0.08, 0.04, 0, 0, 0, 0, 0])
    assert sent[:, 2:] == pytest.approx(steps * RATE)
    assert not sent[4:, 2:].any()  # no rounding: at rest
    assert made.commands_to_rest == 0


def test_hold_may_be_told_to_be_at_rest_in_fewer_commands():
    made = moving(0.9, 1.9, 0.0, 0.0)
    sent = np.array([made.hold(left) for left in (2, 1)])
    assert sent[:, 2:] == pytest.approx(np.array([[1.0, 4.0], [0.0, 0.0]]))
    assert not sent[1, 2:].any()
    assert moving(0.9, 1.9, 0.0, 0.0).hold(1).tolist() == [
        *moving(0.9, 1.9, 0.0, 0.0).last, 0.0, 0.0
    ]  # fmt: skip


def test_a_joint_that_does_not_follow_stops_at_once_while_others_brake():
    made = moving(0.9, 1.9, 0.0, 0.0, max_tracking_error=[0.3, 5.0])
    last = made.last
    assert made.retreat(np.array([-0.1, 1.0]), np.array([True, False])).tolist() == [True, False]
    sent = np.array([made.hold() for _ in range(30)])
    steps = np.diff(np.vstack([last, sent[:, :2]]), axis=0)
    assert steps[0].tolist() == pytest.approx([-0.01, 0.12])  # from rest, towards its refuge
    assert (np.abs(np.diff(steps[:, 0])) <= 0.01 * (1 + 1e-9)).all()
    assert sent[-1, 0] == -0.1
    assert not sent[:, 2].any()  # it is there already
    # At the end of an activation it stops on its way.
    made.retreat(np.array([0.4, 1.0]), np.array([True, False]))
    places = [*(made.hold()[0] for _ in range(3)), *(made.hold(left)[0] for left in (2, 1))]
    assert np.diff([-0.1, *places]) == pytest.approx([0.01, 0.02, 0.03, 0.015, 0.0])
    assert made.commands_to_rest == 0


def test_a_ramp_that_begins_in_motion_begins_where_the_joints_come_to_rest():
    made = moving(0.9, 1.0, 0.0, 0.0, ramp_time=1.0, ticks=0)
    made.set_limits(limits(**ACCELERATION))
    for _ in range(4):
        send(made, 0.9, 1.0, 0.0, 0.0)
    made.hold()
    made.set_limits(limits(**ACCELERATION, ramp_time=1.0))
    made.restart()
    sent = np.array([send(made, 0.5, 1.0, 0.0, 0.0, elapsed=i / RATE)[0] for i in range(60)])
    assert (np.diff(sent) >= 0).all()  # it does not go back to where it was
    assert np.abs(np.diff(sent, n=2)).max() <= 0.01 * (1 + 1e-9)
    assert sent[-1] == 0.5


@pytest.mark.parametrize('changes', [{}, {'ramp_time': 0.2}, FOR_EVER])
def test_a_preview_in_motion_is_what_the_coming_ticks_would_send(changes):
    made, twin = (moving(0.9, 1.9, 0.0, 0.0, **changes) for _ in range(2))
    actions = np.random.default_rng(1).normal(size=(30, 4))
    preview = made.preview(actions, 0.04)
    assert made.motion == twin.motion
    followed = [twin.limit(row, 0.04 + i / RATE).tolist() for i, row in enumerate(actions)]
    assert preview.tolist() == followed


def test_a_continuous_joint_turns_round_within_its_acceleration():
    made = limiter((3.0, 1.0), **FOR_EVER, **ACCELERATION)
    rng = np.random.default_rng(5)
    sent = np.array([made.limit(np.array([g, 1, 0, 0]), 0.0) for g in rng.uniform(-9, 9, 300)])
    assert np.abs(np.diff(sent[:, 0], n=2)).max() <= 0.01 * (1 + 1e-9)


def test_limits_that_are_lowered_in_motion_are_kept_at_once():
    made = moving(0.9, 1.9, 3.0, 0.0)
    made.set_limits(limits(**ACCELERATION, max_step=[0.005, 0.2], max_velocity=[0.5, 20.0]))
    before = made.last
    sent = send(made, 0.9, 1.9, 3.0, 0.0)
    assert sent[0] - before[0] == pytest.approx(0.005)
    assert sent[2] == 0.5


def test_a_range_that_is_narrowed_in_motion_is_kept_by_braking_evenly():
    made = moving(0.9, 1.0, 0.0, 0.0, ticks=6)
    last = made.last[0]
    made.set_limits(limits(**ACCELERATION, max_position=[last + 0.09, 2.0]))
    steps = np.diff([last] + [send(made, 0.9, 1.0, 0.0, 0.0)[0] for _ in range(6)])
    assert steps == pytest.approx([0.045, 0.03, 0.015, 0, 0, 0], abs=1e-12)


def test_what_begins_outside_its_range_is_commanded_to_its_end_and_moves_from_there():
    made = limiter((1.04, 1.0), **ACCELERATION)
    sent = [send(made, 0.9, 1.0, 0.0, 0.0)[0] for _ in range(3)]
    assert sent == pytest.approx([1.0 - 0.01, 1.0 - 0.03, 1.0 - 0.06])
    made = limiter((1.04, 1.0), **ACCELERATION)
    assert [made.hold()[0] for _ in range(3)] == [1.0] * 3


# --- limits as parameters ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'max_position': [1.0, np.inf]}, 'b/position has no max_position: set joint_limits.b'),
        ({'max_position': [1.0, np.nan]}, 'max_position of arm/b/position is nan'),
        ({'max_step': [0.0, 0.2]}, 'max_step of arm/a/position is 0, expected more'),
        ({'max_position': [-1.0, 2.0]}, 'min_position of arm/a/position is -1 and'),
        ({'max_velocity': [0.0, 1.0]}, 'max_velocity of arm/a/position is 0, expected more'),
        ({'max_acceleration': None}, "arm/a/position has no max_acceleration: .*'unlimited'"),
        ({'max_acceleration': [6.0, np.inf]}, 'arm/b/position has no max_acceleration'),
        ({'max_acceleration': [6.0, 0.0]}, 'max_acceleration of arm/b/position is 0, expected'),
        ({'max_acceleration': [np.nan, 6.0]}, 'max_acceleration of arm/a/position is nan'),
        ({'unlimited': ['arm/a/positon']}, "did you mean 'arm/a/position'"),
        ({'max_tracking_error': None}, 'arm/a/position has no max_tracking_error'),
        ({'max_tracking_error': [-np.inf, 1.0]}, 'max_tracking_error of arm/a/position is -inf'),
        ({'continuous': ['arm/a']}, "'continuous' lists 'arm/a', which is no position of the"),
        ({'continuous': ['arm/a/velocity']}, 'which is no position of the action'),
        ({'continuous': ['arm/a/position'], 'max_position': None}, 'has no max_position'),
        ({'continuous': ['arm/a/position'], 'max_position': [np.inf, 2.0]}, 'ends on both sides'),
        ({'continuous': ['arm/a/position'], 'min_position': [-np.inf, 0.0]}, 'min_position of arm'
         '/a/position is -inf and max_position 1; a joint in continuous ends'),
        ({'continuous': ['arm/a/position'], 'max_position': [1.0, np.inf]}, 'arm/b/position has'),
    ],
)
def test_limits_that_are_none_are_refused_by_name(changes, message):
    with pytest.raises(LimitError, match=message):
        limits(**changes)


# As arrays are not: by name.
SINGLE = {
    'min_position': -1.0, 'max_position': 1.0, 'max_velocity': 1.0, 'max_acceleration': 6.0,
    'max_tracking_error': 0.5,
}  # fmt: skip


def named(*action, **joints):
    given = {joint: JointLimits(**{**SINGLE, **its}) for joint, its in joints.items()}
    return Limits.from_settings(Settings(joint_limits=given), make_task(*action))


def test_each_joint_keeps_its_limits_whatever_the_order_of_the_action():
    entries = ['arm/a/position', 'arm/b/velocity', 'arm/b/position', 'arm/c/velocity']
    speeds = {'a': 1.0, 'b': 2.0, 'c': 3.0}
    for order in itertools.permutations(entries):
        limits = named(*order, **{joint: {'max_velocity': v} for joint, v in speeds.items()})
        joints = dict.fromkeys(entry.split('/')[1] for entry in order)
        assert limits.max_velocity.tolist() == [speeds[joint] for joint in joints]


def test_a_joint_that_several_sources_have_is_named_with_its_source():
    both = ['left/a/position', 'right/a/position']
    limits = named(*both, **{'left/a': {'max_velocity': 2.0}, 'right/a': {'max_velocity': 3.0}})
    assert limits.max_velocity.tolist() == [2.0, 3.0]
    assert named('left/a/position', **{'left/a': {}}).max_velocity.tolist() == [1.0]
    # A joint may be called as another is with its source.
    assert named('x/left/a/position', **{'left/a': {}}).max_velocity.tolist() == [1.0]
    both = {'a': {}, 'x/left/a': {'max_velocity': 2.0}}
    assert named('left/a/position', 'x/left/a/position', **both).max_velocity.tolist() == [1, 2]


@pytest.mark.parametrize(
    ('action', 'joints', 'message'),
    [
        (['left/a/position', 'right/a/position'], {'a': {}},
         "has 'a', which several sources have: write left/a and right/a instead"),
        (['left/a/position', 'x/left/a/position'], {'left/a': {}}, 'write a and x/left/a instead'),
        (['left/a/position', 'right/a/position'], {'left/a': {}},
         'right/a/position has no min_position: set joint_limits.right/a.min_position to a'),
        (['arm/a/position'], {'a': {}, 'arm/a': {}}, "has 'a' and 'arm/a': keep one"),
        (['arm/elbow/position'], {'elbo': {}}, "'elbo', which is no joint of the action; did you "
         "mean 'elbow'"),
        (['arm/a/position'], {'wheel': {}}, r"'wheel', which is no joint of the action \(a\)"),
        (['arm/a/position'], {'a': {'has_position_limits': False}}, 'has no min_position: set '
         'joint_limits.a.has_position_limits to true, or list arm/a/position in'),
        (['arm/a/position'], {'a': {'has_velocity_limits': False}}, 'has no max_velocity'),
        (['arm/a/position'], {'a': {'has_acceleration_limits': False}}, 'has no max_acceleration'),
    ],
)
def test_names_that_do_not_fit_are_refused(action, joints, message):
    with pytest.raises(LimitError, match=message):
        named(*action, **joints)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('joint_limits.a.max_velocty', "did you mean 'joint_limits.a.max_velocity'"),
        ('joint_limits.max_velocity', 'names no joint; expected joint_limits.JOINT.LIMIT'),
        ('position_min', "did you mean 'joint_limits.JOINT.min_position'"),
        ('position_max', "did you mean 'joint_limits.JOINT.max_position'"),
        ('max_step', "did you mean 'joint_limits.JOINT.max_step'"),
    ],
)
def test_a_parameter_that_is_no_limit_is_refused_with_what_it_may_be(name, message):
    with pytest.raises(ParameterError, match=message):
        Settings.from_parameters({name: 1.0})


def test_what_planners_and_controllers_say_beside_it_means_nothing():
    values = {f'joint_limits.a.{name}': value for name, value in SINGLE.items()}
    extra = {'has_jerk_limits': True, 'max_jerk': 100.0, 'max_effort': 7, 'has_effort_limits': 1}
    others = {f'joint_limits.a.{name}': value for name, value in extra.items()}
    found = Settings.from_parameters({**values, **others})
    assert found.joint_limits == {'a': JointLimits(**SINGLE)}
    assert found.parameters().keys() >= values.keys()
    assert unused_limits([*values, *others]) == list(others)


def test_a_joint_may_be_exempt_from_tracking_and_one_that_turns_for_ever_needs_no_range():
    assert limits(max_tracking_error=[0.5, np.inf]).max_tracking_error.tolist() == [0.5, np.inf]
    free = limits(continuous=['arm/a/position'], min_position=[-np.inf, 0.0],
                  max_position=[np.inf, 2.0])  # fmt: skip
    assert free.continuous.tolist() == [True, False]


def test_a_refusal_knows_the_joints_that_stand_outside():
    with pytest.raises(LimitError) as caught:
        limiter((1.06, -3.0))
    assert caught.value.joints == ('arm/a/position', 'arm/b/position')


def test_an_entry_that_is_listed_may_go_without_limits():
    free = {'min_position': [-np.inf, 0.0], 'max_position': [np.inf, 2.0]}
    made = limiter(**free, unlimited=['arm/a/position'], max_step=[1e9, 0.2],
                   max_velocity=[1e12, 20.0], max_acceleration=[np.inf, 1e6])  # fmt: skip
    assert send(made, 1e6, 1.0, 0.0, 0.0)[0] == 1e6
    everything = limits(
        **dict.fromkeys(('min_position', 'max_position', 'max_step', 'max_velocity',
                         'max_acceleration', 'max_tracking_error')),
        unlimited=['arm/a/position', 'arm/b/position'],
    )  # fmt: skip
    assert np.isinf(everything.max_step).all()
    made = CommandLimiter(TASK, everything, RATE)
    for far in (1.7e308, -1.7e308, 1.7e308):
        made.start(np.array([-far, -far]))
        out = made.limit(np.array([far, far, 0.0, 0.0]), 0.0)
        assert out[:2].tolist() == [far, far]
        assert np.isfinite(out).all()
    made.set_limits(replace(everything, ramp_time=1.0))
    made.start(np.array([-1.7e308, -1.7e308]))
    out = made.limit(np.array([1.7e308, 1.7e308, 0.0, 0.0]), 0.5)  # velocity of a huge step
    assert np.isfinite(out).all()
    with pytest.raises(LimitError, match='arm/a/position is measured at inf'):
        made.start(np.array([np.inf, 0.0]))


def test_a_joint_without_position_needs_limits_of_its_velocity_only():
    task = make_task('base/x/velocity')
    others = {'min_position': [9.0], 'max_position': [-9.0], 'max_step': [0.0],
              'max_tracking_error': [np.inf]}  # fmt: skip
    its = {'max_velocity': [2.0], 'max_acceleration': [4.0]}
    assert limits(task, **others, **its).max_velocity.tolist() == [2.0]
    for name in its:
        with pytest.raises(LimitError, match=f'has no {name}: set joint_limits.x.{name}'):
            limits(task, **others, **{**its, name: None})
    with pytest.raises(LimitError, match='max_step of base/x/velocity is nan'):
        limits(task, **{**others, 'max_step': [np.nan]}, **its)
    free = limits(task, **others, **dict.fromkeys(its), unlimited=['base/x/velocity'])
    made = CommandLimiter(task, free, RATE)
    made.start(np.empty(0))
    assert made.limit(np.array([1e300]), 0.0).tolist() == [1e300]


def test_a_pose_further_outside_than_the_tolerance_or_a_step_is_refused_by_name():
    made = CommandLimiter(TASK, limits(), RATE)
    made.start(np.array([1.04, 1.0]))
    assert send(made, 1.04, 1.0, 0.0, 0.0)[0] == 1.0
    with pytest.raises(LimitError, match=r'arm/a/position is measured at 1\.06, outside'):
        made.check_measured(np.array([1.06, 1.0]))
    made.set_limits(limits(max_step=[0.01, 0.2]))
    with pytest.raises(LimitError, match=r'1\.04'):
        made.check_measured(np.array([1.04, 1.0]))
    with pytest.raises(LimitError, match='arm/b/position'):
        made.check_measured(np.array([0.0, np.nan]))


def test_rounding_does_not_lead_a_joint_past_its_range():
    # From a whole step outside, where last - step may lie a rounding above the range.
    rounded = 0
    for high, step in np.random.default_rng(2).uniform(0.01, 1.0, size=(200, 2)):
        made = CommandLimiter(
            TASK,
            limits(max_position=[high, 2.0], max_step=[step, 1.0], max_velocity=[99.0, 99.0],
                   range_tolerance=9.0),
            RATE,
        )  # fmt: skip
        made.start(np.array([high + step, 1.0]))
        rounded += (high + step) - step > high
        assert send(made, 9.0, 1.0, 0.0, 0.0)[0] <= high
    assert rounded


def test_a_live_limit_that_the_last_command_violates_is_refused():
    made = limiter()
    send(made, 0.05, 1.1, 0.0, 0.0)
    with pytest.raises(LimitError, match=r'last command of arm/a/position is 0\.05, outside'):
        made.set_limits(limits(min_position=[0.5, 0.0]))
    assert made.limits.min_position.tolist() == [-1.0, 0.0]
    made.set_limits(limits(min_position=[0.04, 0.0]))
    assert send(made, -9.0, 1.1, 0.0, 0.0)[0] == pytest.approx(0.04)


def test_before_the_first_command_a_live_limit_is_measured_as_the_pose_was():
    made = limiter((1.04, 1.0))
    made.set_limits(limits(max_position=[0.995, 2.0]))  # 0.045 outside, 0.05 allowed
    with pytest.raises(LimitError, match=r'arm/a/position is 1\.04, outside .* to 0\.98'):
        made.set_limits(limits(max_position=[0.98, 2.0]))
    with pytest.raises(LimitError, match=r'1\.04'):
        made.set_limits(limits(max_step=[0.03, 0.2]))  # its step no longer reaches the range
    assert made.hold()[0] == 0.995
    with pytest.raises(LimitError, match=r'arm/a/position is 0\.995'):
        made.set_limits(limits(max_position=[0.99, 2.0]))


def test_limits_that_are_refused_never_hold_not_even_for_a_moment():
    made = limiter((0.0, 1.0))
    wide, narrow = limits(), limits(max_step=[0.01, 0.01])
    refused = limits(min_position=[0.5, 0.0], max_step=[1e-9, 1e-9])
    problems, rounds, done = [], [], threading.Event()

    def change():
        while not done.is_set():
            made.set_limits(narrow)
            try:
                made.set_limits(refused)
                problems.append('taken')
            except LimitError:
                made.set_limits(wide)
            rounds.append(None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        last = made.last
        for i in range(3000):
            goal = 0.4 if i // 20 % 2 else -0.4
            sent = made.limit(np.array([goal, 1.0, 0.0, 0.0]), 0.0)[:2]
            step = abs(sent[0] - last[0])
            assert any(step == pytest.approx(s) for s in (0.01, 0.06)) or sent[0] == goal
            last = sent
    finally:
        done.set()
        thread.join(10)
    assert rounds
    assert not problems


# --- whatever comes -------------------------------------------------------------------------

ORDERS = make_task('arm/b/velocity', 'arm/a/position', 'base/x/velocity', 'arm/b/position',
                   'arm/c/position', 'arm/a/velocity')  # fmt: skip
JOINTS = 4  # b, a, x, c
POSITIONS, VELOCITIES = [1, 3, 4], [0, 2, 5]
OF_POSITION, OF_VELOCITY = [1, 0, 3], [0, 2, 1]  # joints
FREE = 'arm/c/position'  # may be without any limit

ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
USUAL = st.floats(-6, 6)
ACTIONS = st.lists(USUAL | ANY, min_size=6, max_size=6).map(np.array)
FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True)
ELAPSED = st.floats(0, 2)
POSES = st.lists(st.floats(-9, 9) | ANY, min_size=3, max_size=3).map(np.array)
LOST = st.lists(st.booleans(), min_size=3, max_size=3).map(np.array)
TURNS = st.lists(st.integers(-3, 3), min_size=3, max_size=3).map(np.array)
# Low end, width, step, speed and acceleration of each joint.
BOUNDS = st.tuples(
    st.floats(-5, 5),
    st.floats(0.01, 5),
    st.floats(1e-3, 2),
    st.floats(0.01, 50),
    st.floats(0.01, 1e4),
)


@st.composite
def any_limits(draw):
    low, width, step, speed, acceleration = np.array(draw(st.tuples(*[BOUNDS] * JOINTS))).T
    arrays = {'min_position': low, 'max_position': low + width, 'max_step': step,
              'max_velocity': speed, 'max_acceleration': acceleration,
              'max_tracking_error': step}  # fmt: skip
    continuous = draw(st.sets(st.sampled_from(['arm/a/position', FREE])))
    without = draw(st.sets(st.sampled_from(sorted(arrays))))
    ends = {'min_position', 'max_position'}
    if FREE in continuous and without & ends:
        without |= ends
    for name in without:
        arrays[name][3] = -np.inf if name == 'min_position' else np.inf
    return limits(
        ORDERS,
        **{name: array.tolist() for name, array in arrays.items()},
        unlimited=[FREE],
        continuous=continuous,
        range_tolerance=draw(st.floats(0, 3)),
        ramp_time=draw(st.sampled_from([0.0, 0.5, 1.0])),
    )


def way_to_rest(step, change):
    """How far a joint goes on that brakes as hard as it may; own arithmetic."""
    ticks = np.floor(np.abs(step) / change)
    return np.sign(step) * (ticks * np.abs(step) - change * ticks * (ticks + 1) / 2)


class WhateverComes(RuleBasedStateMachine):
    """No command leaves its limits, its step or its acceleration, in any order of events."""

    @initialize(first=any_limits())
    def make(self, first):
        self.limits = first
        self.made = CommandLimiter(ORDERS, first, RATE)
        self.last = None
        self.fresh = False
        self.step = np.zeros(3)  # that led to the last command
        self.velocity = np.zeros(3)
        self.lost = np.zeros(3, dtype=bool)  # joints that retreat
        self.planned = None  # the last command before that
        self.reach = 0.0  # how far a retreat may have led from it

    def ready(self):
        return self.last is not None

    def longest(self):
        return np.minimum(self.limits.max_step, self.limits.max_velocity / RATE)[OF_POSITION]

    def ranged(self, pose):
        low, high = self.limits.min_position[OF_POSITION], self.limits.max_position[OF_POSITION]
        return np.clip(pose, low, high)

    def outside(self, pose):
        """How far each position is outside its range."""
        return np.abs(pose - self.ranged(pose))

    def check(self, out, hardest=0.0):
        """Compare a command with the one before.

        :param hardest: how much of the last step, and velocity, it may take away at least.
        """
        assert np.isfinite(out).all()
        sent, velocity = out[POSITIONS], out[VELOCITIES]
        assert not self.outside(sent).any()
        rounding = 1e-15 * np.maximum(np.abs(sent), np.abs(self.last))
        longest, largest = self.longest(), self.limits.max_velocity[OF_VELOCITY]
        with np.errstate(over='ignore'):
            assert (np.abs(sent - self.last) <= longest * (1 + 1e-9) + rounding).all()
            assert (np.abs(velocity) <= largest).all()
            # One that began outside its range began to move at its end.
            step = sent - self.ranged(self.last)
        for i, allowed in enumerate(self.limits.max_acceleration[OF_POSITION] / RATE**2):
            before = self.step[i]
            allowed = max(allowed, abs(before) * hardest if hardest else 0.0)
            slack = allowed * 1e-9 + 2 * rounding[i]
            if allowed == np.inf or abs(step[i] - before) <= allowed + slack:
                continue
            # Limits that were set anew are kept at once, by nothing but braking.
            cut = abs(before) > longest[i] * (1 + 1e-9) + slack
            rest = self.last + way_to_rest(before, allowed)
            assert cut or self.outside(rest)[i] > slack
            assert -slack <= step[i] * np.sign(before) <= abs(before) + slack
        for i, allowed in enumerate(self.limits.max_acceleration[OF_VELOCITY] / RATE):
            before = self.velocity[i]
            allowed = max(allowed, abs(before) * hardest if hardest else 0.0)
            if abs(before) > largest[i]:
                assert largest[i] == pytest.approx(velocity[i] * np.sign(before), abs=allowed)
            elif allowed < np.inf:
                assert abs(velocity[i] - before) <= allowed * (1 + 1e-8)
        self.last, self.step, self.velocity, self.fresh = sent, step, velocity, False

    def plan(self):
        """The last command was none of a retreat."""
        self.lost = np.zeros(3, dtype=bool)

    @rule(where=st.lists(st.floats(-1.1, 2.1), min_size=3, max_size=3), turns=TURNS)
    def start(self, where, turns):
        """Below 0 and above 1: outside, by this much of what is tolerated."""
        low, high = self.limits.min_position[OF_POSITION], self.limits.max_position[OF_POSITION]
        low, high = np.maximum(low, -10.0), np.minimum(high, 10.0)
        low, high = np.minimum(low, high), np.maximum(low, high)
        tolerance = np.minimum(self.limits.range_tolerance, self.longest())
        where = np.array(where)
        pose = low + np.clip(where, 0, 1) * (high - low)
        beyond = where - np.clip(where, 0, 1)
        pose += beyond * np.where(np.isfinite(tolerance), tolerance, 0.0)
        continuous = self.limits.continuous[OF_POSITION]
        measured = pose + np.where(continuous, turns * TURN, 0.0)
        try:
            self.made.start(measured)
        except LimitError as error:
            slack = tolerance * (1 + 1e-9) + 1e-12
            if 'more than one turn' in str(error):
                further = [self.outside(pose + sign * TURN) <= slack for sign in (-1, 1)]
                assert (continuous & np.any(further, axis=0)).any()
                return
            outside = self.outside(pose) > tolerance * (1 - 1e-9) - 1e-13
            if self.last is not None:  # one that stayed where it was is turned into no range
                turns = np.where(continuous, np.rint((self.last - pose) / TURN), 0.0)
                outside |= self.outside(pose + turns * TURN) > tolerance * (1 - 1e-9) - 1e-13
            assert outside.any()
            return
        begin = self.made.last
        assert (self.outside(begin) <= tolerance * (1 + 1e-9) + 1e-13).all()
        turned = (begin - pose) / TURN
        assert np.abs(turned - np.rint(turned)).max() < 1e-9
        assert (continuous | (begin == pose)).all()
        self.last, self.fresh = begin, True
        self.step, self.velocity = np.zeros(3), np.zeros(3)
        self.plan()

    @precondition(ready)
    @rule(values=ACTIONS, elapsed=ELAPSED)
    def limit(self, values, elapsed):
        try:
            out = self.made.limit(values, elapsed)
        except LimitError:
            assert not np.isfinite(values).all()
            assert self.made.last.tolist() == self.last.tolist()
            return
        assert np.isfinite(values).all()
        self.check(out)
        self.plan()

    @precondition(ready)
    @rule(rows=st.lists(st.lists(USUAL | FINITE, min_size=6, max_size=6), min_size=1, max_size=4),
          elapsed=ELAPSED)  # fmt: skip
    def preview_and_follow(self, rows, elapsed):
        rows = np.array(rows)
        before, hits = self.made.motion, self.made.hits
        preview = self.made.preview(rows, elapsed)
        assert self.made.motion == before
        assert self.made.hits == hits
        for i, row in enumerate(rows):
            out = self.made.limit(row, elapsed + i / RATE)
            self.check(out)
            assert out.tolist() == preview[i].tolist()
            self.plan()

    @precondition(ready)
    @rule(values=ACTIONS, count=st.integers(2, 30))
    def insist(self, values, count):
        """So that joints come to move fast."""
        for _ in range(count):
            self.limit(values, 9.0)

    @precondition(ready)
    @rule(count=st.integers(1, 10))
    def hold(self, count):
        for _ in range(count):
            before = self.step
            self.check(self.made.hold())
            assert (self.lost | (np.sign(self.step) * np.sign(before) >= 0)).all()
            with np.errstate(over='ignore'):
                most = np.abs(before) * (1 + 1e-9) + 1e-15 * np.abs(self.last)
            assert (self.lost | (np.abs(self.step) <= most)).all()
            if self.lost.any():
                moved = np.abs(self.last - self.planned)[self.lost]
                slack = 1e-15 * np.abs(self.planned)
                assert (moved <= (self.reach * (1 + 1e-9) + slack)[self.lost]).all()

    @precondition(ready)
    @rule(commands=st.integers(1, 20))
    def come_to_rest(self, commands):
        for left in range(commands, 0, -1):
            self.check(self.made.hold(left), 1 / left)
        assert not self.velocity.any()
        assert self.made.commands_to_rest == 0
        at_rest = self.last.tolist()
        if not self.lost.any():
            assert self.made.hold()[POSITIONS].tolist() == at_rest

    @precondition(ready)
    @rule(pose=POSES, lost=LOST, count=st.integers(0, 3))
    def retreat(self, pose, lost, count):
        """Whatever is measured, no further than this from the last command."""
        met = self.made.retreat(pose, lost)
        assert not (met & ~lost).any()
        new = lost & ~self.lost
        reach = RETREAT * self.made.max_tracking_error
        before = np.zeros(3) if self.planned is None else self.planned
        self.planned = np.where(new, self.last, before)
        # Before the first command, what is measured may lead back into the range first.
        least = np.maximum(reach, self.outside(self.last) if self.fresh else 0.0)
        self.reach = np.where(new, least, np.maximum(self.reach, reach))
        self.step = np.where(new, 0.0, self.step)
        beside = np.isin(OF_VELOCITY, np.array(OF_POSITION)[new])
        self.velocity = np.where(beside, 0.0, self.velocity)
        self.lost = self.lost | lost
        if count:
            self.hold(count)

    @precondition(ready)
    @rule()
    def restart(self):
        self.made.restart()
        self.plan()

    @precondition(ready)
    @rule(beyond=st.floats(-1.1, 1.1), tolerance=st.floats(0, 1))
    def narrow(self, beyond, tolerance):
        """The range ends a little before or behind where the joints are."""
        low, high = self.limits.min_position.copy(), self.limits.max_position.copy()
        high[OF_POSITION[:2]] = self.last[:2] - beyond * np.minimum(tolerance, self.longest())[:2]
        if (low < high).all():
            self.change(replace(self.limits, max_position=high, range_tolerance=tolerance))

    @rule(wanted=any_limits())
    def change(self, wanted):
        before = self.limits
        self.limits = wanted
        try:
            self.made.set_limits(wanted)
        except LimitError:
            assert self.outside(self.last).any()
            assert self.made.limits is before
            self.limits = before
            return
        # What is on its way to a refuge may have to brake behind it now, or come back to a range.
        self.reach = np.full(3, np.inf)
        if not self.fresh and self.last is not None:
            assert not self.outside(self.last).any()


TestWhateverComes = WhateverComes.TestCase
TestWhateverComes.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
