"""Limits on a command: by hand, and whatever comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.errors import LimitError
from act_ros.safety import CommandLimiter, Limits
from act_ros.task import Entry, Task

RATE = 50.0


def make_task(*action):
    entries = tuple(map(Entry.parse, action))
    return Task('t', ('camera',), entries, entries, RATE, (4, 6))


TASK = make_task('arm/a/position', 'arm/b/position', 'arm/a/velocity', 'arm/b/velocity')
VALUES = {
    'position_min': [-1.0, 0.0],
    'position_max': [1.0, 2.0],
    'max_step': [0.1, 0.2],
    'max_velocity': [3.0, 20.0],
    'max_tracking_error': [0.5, 0.5],
    'unlimited': [],
    'range_tolerance': 0.05,
    'ramp_time': 0.0,
}


def limits(task=TASK, **changes):
    return Limits.from_parameters({**VALUES, **changes}, task)


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
    assert made.hits == {'range': {}, 'step': {}, 'velocity': {}}


def test_a_position_outside_its_range_ends_at_it_with_the_velocity_of_its_step():
    made = limiter((0.97, 1.0))
    out = send(made, 5.0, 1.1, 2.0, -3.0)
    assert out == pytest.approx([1.0, 1.1, 0.03 * RATE, -3.0])
    assert made.hits == {'range': {'arm/a/position': 1}, 'step': {}, 'velocity': {}}
    assert send(made, 5.0, 1.1, 2.0, -3.0)[2] == 0.0


def test_a_step_is_bounded_by_max_step_and_by_the_velocity_limit():
    # 3 a second is 0.06 a tick, which is less than the 0.1 of max_step; b has 0.2 and 0.4.
    made = limiter()
    assert send(made, 0.9, 1.9, 0.0, 0.0) == pytest.approx([0.06, 1.2, 3.0, 10.0])
    assert made.hits['step'] == {'arm/a/position': 1, 'arm/b/position': 1}


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
    assert made.hits == {'range': {}, 'step': {}, 'velocity': {}}
    made.restart()
    assert send(made, 0.5, 0.5, 0.0, 0.0)[:2] == pytest.approx([0.02, 1.02])


def test_a_joint_of_which_only_the_velocity_is_commanded():
    task = make_task('base/x/velocity')
    made = CommandLimiter(task, limits(task, max_velocity=[2.0], position_min=[0.0],
                          position_max=[0.0], max_step=[1.0], max_tracking_error=[1.0],
                          ramp_time=1.0), RATE)  # fmt: skip
    made.start(np.empty(0))
    assert made.limit(np.array([1.0]), 0.0).tolist() == [0.0]
    assert made.limit(np.array([1.0]), 0.5).tolist() == [0.5]
    assert made.limit(np.array([9.0]), 1.0).tolist() == [2.0]


def test_hold_is_the_last_command_at_rest_and_a_retreat_goes_in_steps():
    made = limiter()
    send(made, 0.05, 1.1, 2.0, -3.0)
    assert made.hold().tolist() == [0.05, 1.1, 0.0, 0.0]
    made.retreat(np.array([-0.1, 5.0]))
    poses = [made.hold() for _ in range(10)]
    assert poses[0].tolist() == pytest.approx([-0.01, 1.3, 0.0, 0.0])
    assert poses[-1].tolist() == pytest.approx([-0.1, 2.0, 0.0, 0.0])  # within the range


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


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'max_step': [0.1]}, "'max_step' has 1 values, expected 2, one each for arm/a/position"),
        ({'max_step': None}, "arm/a/position has no limit in 'max_step'.*'unlimited'"),
        ({'position_max': [1.0, np.inf]}, "arm/b/position has no limit in 'position_max'"),
        ({'position_max': [1.0, np.nan]}, "'position_max' of arm/b/position is nan"),
        ({'position_max': [-1.0, 2.0]}, 'position_min of arm/a/position is -1 and'),
        ({'max_velocity': [0.0, 1.0]}, "'max_velocity' of arm/a/position is 0, expected more"),
        ({'unlimited': ['arm/a/positon']}, "did you mean 'arm/a/position'"),
    ],
)
def test_limits_that_are_none_are_refused_by_name(changes, message):
    with pytest.raises(LimitError, match=message):
        limits(**changes)


def test_an_entry_that_is_listed_may_go_without_limits():
    free = {'position_min': [-np.inf, 0.0], 'position_max': [np.inf, 2.0]}
    made = limiter(**free, unlimited=['arm/a/position'], max_step=[1e9, 0.2],
                   max_velocity=[1e12, 20.0])  # fmt: skip
    assert send(made, 1e6, 1.0, 0.0, 0.0)[0] == 1e6
    everything = limits(
        **dict.fromkeys(('position_min', 'position_max', 'max_step', 'max_velocity',
                         'max_tracking_error')),
        unlimited=['arm/a/position', 'arm/b/position'],
    )  # fmt: skip
    assert np.isinf(everything.max_step).all()


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


def test_a_live_limit_that_the_last_command_violates_is_refused():
    made = limiter()
    send(made, 0.05, 1.1, 0.0, 0.0)
    with pytest.raises(LimitError, match=r'last command of arm/a/position is 0\.05, outside'):
        made.set_limits(limits(position_min=[0.5, 0.0]))
    assert made.limits.position_min.tolist() == [-1.0, 0.0]
    made.set_limits(limits(position_min=[0.04, 0.0]))
    assert send(made, -9.0, 1.1, 0.0, 0.0)[0] == pytest.approx(0.04)


# --- whatever comes -------------------------------------------------------------------------

ANY = st.floats(allow_nan=True, allow_infinity=True)
BOUNDS = st.tuples(st.floats(-5, 5), st.floats(0.01, 5), st.floats(1e-3, 2), st.floats(0.01, 50))
ACTIONS = st.lists(ANY, min_size=4, max_size=4)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just('limit'), ACTIONS, st.floats(0, 2)),
        st.tuples(st.just('limits'), st.tuples(BOUNDS, BOUNDS), st.floats(0, 1)),
        st.tuples(st.just('hold'), st.none(), st.none()),
        st.tuples(st.just('restart'), st.none(), st.none()),
        st.tuples(st.just('retreat'), st.lists(st.floats(-9, 9), min_size=2, max_size=2),
                  st.none()),
    ),
    max_size=30,
)  # fmt: skip


def bounded(bounds, ramp_time):
    low, width, step, speed = map(list, zip(*bounds, strict=True))
    return limits(
        position_min=low, position_max=[a + b for a, b in zip(low, width, strict=True)],
        max_step=step, max_velocity=speed, ramp_time=ramp_time,
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    bounds=st.tuples(BOUNDS, BOUNDS),
    where=st.tuples(st.floats(-0.05, 1.05), st.floats(-0.05, 1.05)),
    operations=OPERATIONS,
)
def test_no_command_leaves_its_limits_whatever_comes(bounds, where, operations):
    current = bounded(bounds, 1.0)
    made = CommandLimiter(TASK, current, RATE)
    width = current.position_max - current.position_min
    pose = current.position_min + np.array(where) * width
    try:
        made.start(pose)
    except LimitError:
        return
    last = pose
    for operation, argument, number in operations:
        if operation == 'limits':
            wanted = bounded(argument, number)
            try:
                made.set_limits(wanted)
                current = wanted
            except LimitError:
                assert made.limits is current
            continue
        if operation == 'restart':
            made.restart()
            continue
        if operation == 'retreat':
            made.retreat(np.array(argument))
            continue
        if operation == 'limit':
            try:
                out = made.limit(np.array(argument), number)
            except LimitError:
                assert not np.isfinite(argument).all()
                continue
        else:
            out = made.hold()
            assert not out[2:].any()
        assert np.isfinite(out).all()
        assert (out[:2] >= current.position_min).all()
        assert (out[:2] <= current.position_max).all()
        step = np.minimum(current.max_step, current.max_velocity / RATE)
        assert (np.abs(out[:2] - last) <= step * (1 + 1e-9) + 1e-12).all()
        assert (np.abs(out[2:]) <= current.max_velocity).all()
        last = out[:2]
