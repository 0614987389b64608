"""The motion of one joint: how it goes to targets, and how it comes to rest."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.safety.braking import (
    ROUNDING,
    JointBounds,
    begin,
    brake,
    braking_step,
    commands_to_rest,
    follow,
    rest_of,
    standing,
    stopping_distance,
    velocity_towards,
)

# A joint of the simulated arm: 1.2 rad/s and 6 rad/s^2 at 50 Hz.
STEP, CHANGE = 0.024, 0.0024
JOINT = JointBounds(-1.8, 1.8, STEP, CHANGE, ROUNDING * CHANGE)
TICKS = np.arange(1, 401)
SIZES = st.floats(1e-6, 1e3)


def run(targets, motion=None, joint=JOINT):
    """The positions that follow targets; every command within the limits."""
    motion = motion or standing(0.0)
    path = [motion]
    for target in targets:
        motion = follow(joint, motion, float(target))
        path.append(motion)
    positions, steps = (np.array(column) for column in list(zip(*path, strict=True))[:2])
    assert (np.abs(steps) <= joint.step * (1 + 1e-9)).all()
    assert (np.abs(np.diff(steps)) <= joint.change * (1 + 1e-8)).all()
    assert ((joint.low <= positions) & (positions <= joint.high)).all()
    return positions[1:]


def fastest(distance, step=STEP, change=CHANGE):
    """How many commands the quickest motion from rest to rest takes: any whole number n of them
    that covers the distance speeding up, going on and slowing down.
    """
    for n in itertools.count(1):
        rising = np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) * change
        if np.minimum(rising, step).sum() >= distance - 1e-12:
            return n


# --- the arithmetic ---------------------------------------------------------------------------


def braked(step, change):
    """The way after a step, tick by tick."""
    total, size = 0.0, abs(step) - change
    while size > 0:
        total, size = total + size, size - change
    return math.copysign(total, step)


@settings(max_examples=200, deadline=None)
@given(change=SIZES, ratio=st.floats(0, 1e4), sign=st.sampled_from([-1, 1]))
def test_the_way_to_rest_is_the_sum_of_the_steps_that_are_left(change, ratio, sign):
    step = sign * ratio * change
    assert stopping_distance(step, change) == pytest.approx(braked(step, change), rel=1e-9)
    assert commands_to_rest(step, change) == pytest.approx(ratio, abs=1 + 1e-8)


@settings(max_examples=200, deadline=None)
@given(change=SIZES, ratio=st.floats(0, 1e6))
def test_the_braking_step_is_the_longest_that_leaves_room_to_brake(change, ratio):
    room = ratio * change
    step = braking_step(room, change)
    assert step + stopping_distance(step, change) == pytest.approx(room, rel=1e-9)
    # After it the next, one change shorter, is allowed too.
    assert braking_step(room - step, change) >= step - change - 1e-9 * step


# --- to a target ------------------------------------------------------------------------------


@pytest.mark.parametrize('goal', [0.0005, 0.003, 0.1, 0.3, 1.0, -0.7, 1.8, -1.8])
def test_a_target_that_jumps_is_met_in_the_least_time_and_not_passed(goal):
    path = run([goal] * 400)
    arrived = int(np.flatnonzero(path == goal)[0])
    assert arrived + 1 <= fastest(abs(goal)) + 1
    assert (path[arrived:] == goal).all()
    assert (np.abs(path) <= abs(goal)).all()


MOVING = {
    'sine': 0.2 * (1 - np.cos(0.1 * TICKS)),
    'slow sine': 0.7 * (1 - np.cos(0.02 * TICKS)),
    'full acceleration': np.minimum(CHANGE * TICKS * (TICKS + 1) / 2, 2)[:9],
    'even': 0.002 * np.minimum(TICKS, 100),
}


@pytest.mark.parametrize('name', MOVING)
def test_a_target_that_moves_within_the_limits_is_met_to_the_last_digit(name):
    assert run(MOVING[name]).tolist() == MOVING[name].tolist()


@pytest.mark.parametrize(('name', 'after'), [('sine', 60), ('slow sine', 35), ('even', 20)])
@pytest.mark.parametrize('ahead', [0.2, -0.2])
def test_a_joint_that_is_behind_catches_up_with_a_target_that_moves_on(name, after, ahead):
    targets = MOVING[name] + ahead
    path = run(targets)
    assert path[after:].tolist() == targets[after:].tolist()
    # It overshoots where the target turns meanwhile, by little.
    assert np.max((path - targets) * np.sign(ahead)) < 0.05


def test_a_target_that_is_too_fast_is_followed_at_full_speed_and_not_passed_where_it_ends():
    path = run(np.minimum(0.05 * TICKS, 1.0))
    assert path[fastest(1.0)] == 1.0
    assert path.max() == 1.0


@pytest.mark.parametrize('size', [3, 10, 50])
def test_noise_far_above_the_limit_excites_nothing_larger_than_itself(size):
    noise = np.random.default_rng(size).normal(size=400) * size * CHANGE
    assert run(0.3 + noise)[40:].std() < 1.2 * noise.std()
    # Nor does what jumps to and fro lead further away than it jumps.
    jumping = np.where(TICKS % 2, 1, -1) * size * CHANGE
    assert np.abs(run(jumping)).max() <= (size + 1) * CHANGE
    assert np.abs(run(0.3 + jumping) - 0.3)[40:].max() <= (size + 10) * CHANGE


def test_a_joint_is_never_faster_than_it_can_brake_before_the_end_of_its_range():
    path = run(np.concatenate([np.full(200, 9.0), np.full(200, -9.0)]).clip(-1.8, 1.8))
    assert path[199] == 1.8 and path[-1] == -1.8
    # Whatever comes, also just before the end.
    end = JointBounds(-1.0, 1.0, STEP, CHANGE, ROUNDING * CHANGE)
    rng = np.random.default_rng(3)
    run(rng.choice([-1.0, 1.0, 0.99, 0.3], size=2000), joint=end)


@pytest.mark.parametrize('huge', [1e9, 1.7e308])
def test_without_a_range_what_is_far_away_is_gone_after_at_full_speed(huge):
    free = JointBounds(-1.7e308, 1.7e308, STEP, CHANGE, ROUNDING * CHANGE)
    path = run([huge] * 50 + [-huge] * 50, joint=free)
    assert path[49] - path[48] == pytest.approx(STEP)


def test_without_an_acceleration_limit_only_the_step_counts():
    free = JointBounds(-1.8, 1.8, STEP, math.inf, 0.0)
    motion = follow(free, standing(0.0), 0.1)
    assert motion[:2] == (STEP, STEP)
    assert brake(free, motion)[:2] == (STEP, 0.0)
    assert rest_of(free, motion) == STEP
    assert commands_to_rest(STEP, math.inf) == 0


def test_a_joint_that_is_measured_outside_its_range_begins_at_its_end():
    for target in (-1.8, -1.79, 0.0):
        motion = begin(JOINT, standing(-1.81), target)
        assert motion[0] == max(-1.8, min(target, -1.8 + CHANGE))
        assert motion[1] == pytest.approx(motion[0] + 1.8)
    # No further than a step from where it is.
    assert begin(JOINT, standing(-1.8 - STEP), 0.0)[0] == pytest.approx(-1.8)


# --- to rest ----------------------------------------------------------------------------------


def moving(step=STEP):
    return (0.0, step, 0.0, step, 0.0)


@pytest.mark.parametrize('sign', [-1, 1])
def test_a_joint_comes_to_rest_within_its_acceleration_and_stays(sign):
    motion, path = moving(sign * STEP), [0.0]
    place = rest_of(JOINT, motion)
    for _ in range(20):
        motion = brake(JOINT, motion)
        path.append(motion[0])
    steps = np.diff(path)
    assert steps[:9] == pytest.approx(sign * np.arange(9, 0, -1) * CHANGE)
    assert not steps[10:].any()
    assert path[-1] == pytest.approx(place)


def test_where_there_are_few_commands_left_braking_is_as_much_harder():
    motion, steps = moving(), []
    for left in (4, 3, 2, 1):
        motion = brake(JOINT, motion, left)
        steps.append(motion[1])
    assert steps == pytest.approx([0.75 * STEP, 0.5 * STEP, 0.25 * STEP, 0.0])
    assert brake(JOINT, moving(), 20)[1] == pytest.approx(STEP - CHANGE)


def test_what_stopped_goes_on_from_the_velocity_that_there_is():
    targets = (0.012 * TICKS).tolist()
    motion = (0.0, 0.012, 0.0, 0.012, 0.0)
    for target in targets[:5]:
        motion = follow(JOINT, motion, target)
    motion = brake(JOINT, motion)  # one command is missing
    path = run(targets[6:20], motion)
    assert path[4:].tolist() == targets[10:20]


@settings(max_examples=100, deadline=None)
@given(
    speed=st.floats(-1, 1),
    room=st.floats(0, 1),
    weaker=st.floats(0.05, 1),
    held=st.booleans(),
)
def test_a_range_that_is_set_anew_is_kept_by_braking_evenly(speed, room, weaker, held):
    """And so is an acceleration that is."""
    step = speed * STEP
    end = math.copysign(room * 0.1, speed)
    low, high = min(end, -1.8 if end > 0 else end), max(end, 1.8 if end < 0 else end)
    change = weaker * CHANGE
    joint = JointBounds(low, high, STEP, change, ROUNDING * change)
    motion, steps = moving(step), [step]
    for _ in range(250):
        motion = brake(joint, motion) if held else follow(joint, motion, end)
        steps.append(motion[1])
        assert low <= motion[0] <= high
    assert motion[1] == 0.0
    hardest = np.max(-np.diff(steps) * math.copysign(1, speed))
    # The least that a joint can brake with that stops at the end, in whole ticks.
    needed = abs(step) / math.floor(2 * abs(end) / max(abs(step), 1e-12) + 1)
    assert hardest <= max(change, needed) * (1 + 1e-6) + 1e-12


def test_a_velocity_changes_within_its_acceleration_and_its_limit_counts_first():
    limit = (1.0, 0.25)
    assert velocity_towards(limit, 0.0, 9.0) == 0.25
    assert velocity_towards(limit, 0.9, 9.0) == 1.0
    assert velocity_towards(limit, 0.0, -0.2) == -0.2
    assert velocity_towards(limit, -1.0, 9.0) == -0.75
    assert velocity_towards(limit, 3.0, 3.0) == 1.0  # the limit was lowered
    assert velocity_towards(limit, -3.0, 3.0) == -1.0
