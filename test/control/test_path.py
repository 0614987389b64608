"""The way to a pose: together, without jerk, within half of the limits."""

import numpy as np
import pytest

from act_ros.control.path import PathPolicy, read_pose
from act_ros.errors import ActError
from act_ros.parameters import JointLimits, Settings
from act_ros.safety import Limits
from act_ros.task import Entry, Task

ENTRIES = tuple(map(Entry.parse, (
    'arm/a/velocity', 'arm/b/position scale=2 offset=1', 'arm/a/position', 'base/x/velocity',
)))  # fmt: skip
TASK = Task('t', ('c',), ENTRIES[1:3], ENTRIES, 50.0, (4, 6))
RATE = 100.0  # of the ticks [Hz]
EVERY = {'min_position': -9, 'max_position': 9, 'max_tracking_error': 0.1}
JOINTS = {
    'a': JointLimits(max_velocity=1, max_acceleration=4, **EVERY),
    'b': JointLimits(max_velocity=0.5, max_acceleration=1, **EVERY),
    'x': JointLimits(max_velocity=1, max_acceleration=1),
}


def make(goal, start, continuous=(), joints=JOINTS, unlimited=()):
    """Where its time is set by hand [ns]."""
    settings = Settings(joint_limits=joints, continuous=continuous, unlimited=unlimited)
    limits, now = Limits.from_settings(settings, TASK), [0]
    where = lambda: None if start is None else np.array(start)  # noqa: E731
    return PathPolicy(TASK, np.array(goal), limits, RATE, where, lambda: now[0]), now


def whole(policy, now):
    """All of the way, in robot units, (n, action_dim)."""
    rows = []
    for step in range(1000):
        now[0] = round(step * 1e9 / 50)
        rows.append(TASK.to_robot(policy.predict(np.empty(0), {}))[0])
        if policy.is_at(np.array([rows[-1][1], rows[-1][2]])):
            return np.array(rows)
    raise AssertionError('it never arrives')


def test_all_joints_begin_and_arrive_together_at_rest_within_half_of_the_limits():
    policy, now = make([1.0, -0.5], [0.2, 0.7])  # b and a, in the order of the action
    rows = whole(policy, now)
    assert rows[0, 1] == pytest.approx(0.2) and rows[-1, 1] == pytest.approx(1.0, abs=1e-3)
    assert rows[0, 2] == pytest.approx(0.7) and rows[-1, 2] == pytest.approx(-0.5, abs=1e-3)
    part = (rows[:, 1] - 0.2) / 0.8
    np.testing.assert_allclose(part, (rows[:, 2] - 0.7) / -1.2, atol=1e-5)
    for column, speed, acceleration in ((1, 0.5, 1), (2, 1, 4)):
        speeds = np.diff(rows[:, column]) * 50
        assert np.abs(speeds).max() <= speed / 2 + 1e-3
        assert np.abs(np.diff(speeds) * 50).max() <= acceleration / 2 + 0.05
    # The velocity beside a position is the path's; that of the base rests.
    np.testing.assert_allclose(rows[1:-1, 0], (rows[2:, 2] - rows[:-2, 2]) * 25, atol=5e-3)
    assert not rows[:, 3].any()


def test_chunks_are_of_one_way_and_a_new_episode_begins_anew():
    policy, now = make([1.0, -0.5], [0.2, 0.7])
    first = policy.predict(np.empty(0), {})
    now[0] = 200_000_000
    np.testing.assert_allclose(policy.predict(np.empty(0), {})[:50], first[10:60], atol=1e-5)
    policy.reset()
    np.testing.assert_allclose(policy.predict(np.empty(0), {}), first, atol=1e-6)


def test_a_joint_that_turns_for_ever_goes_the_shorter_way():
    endless = JointLimits(
        min_position=-np.inf, max_position=np.inf, max_velocity=1, max_acceleration=4,
        max_tracking_error=0.1,
    )  # fmt: skip
    policy, now = make([0.0, 3.0], [0.0, -3.0], ('arm/a/position',), {**JOINTS, 'a': endless})
    rows = whole(policy, now)
    assert rows[-1, 2] == pytest.approx(3.0 - 2 * np.pi, abs=1e-3)
    assert policy.is_at(np.array([0.0, 3.0]))  # as its encoder has it: from -pi to pi


def test_a_joint_that_is_measured_a_turn_further_stays_in_its_range():
    ends = JointLimits(
        min_position=0, max_position=6, max_velocity=1, max_acceleration=4, max_tracking_error=0.1
    )
    policy, now = make([0.0, -0.5], [0.0, 1.0], ('arm/a/position',), {**JOINTS, 'a': ends})
    rows = whole(policy, now)
    assert rows[0, 2] == pytest.approx(1.0) and rows[-1, 2] == pytest.approx(5.78, abs=0.01)


def test_it_is_there_only_where_the_robot_is():
    policy, now = make([0.0, 0.0], [0.0, 0.0])
    assert not policy.is_at(np.zeros(2))  # it has not begun
    policy.predict(np.empty(0), {})
    now[0] = 2_000_000_000
    assert policy.is_at(np.array([0.0, 0.04])) and not policy.is_at(np.array([0.0, 0.06]))
    # How near that is goes by the speed of a joint, not by its unit.
    assert policy.is_at(np.array([0.02, 0.0])) and not policy.is_at(np.array([0.03, 0.0]))
    assert policy.away(np.array([0.03, 0.04])) == {'arm/b/position': 0.03}


def test_a_small_step_counts_as_the_speed_that_it_is():
    slow = JointLimits(max_velocity=1, max_acceleration=4, max_step=0.002, **EVERY)
    policy, now = make([0.0, 1.0], [0.0, 0.0], joints={**JOINTS, 'a': slow})
    rows = whole(policy, now)
    assert np.abs(np.diff(rows[:, 2]) * 50).max() <= 0.002 * RATE / 2 + 1e-3


def test_a_start_that_was_measured_a_little_outside_is_gone_to_as_far_as_allowed():
    policy, now = make([9.005, 0.0], [8.0, 0.0])
    assert whole(policy, now)[-1, 1] == pytest.approx(9.0, abs=1e-6)


def test_what_cannot_be():
    with pytest.raises(ActError, match='start pose has arm/a/position at 10, outside its range'):
        make([0.0, 10.0], [0.0, 0.0])
    free = {**JOINTS, 'a': JointLimits(**{**EVERY, 'max_acceleration': 1})}
    with pytest.raises(ActError, match=r'set joint_limits\.a\.max_velocity'):
        make([0.0, 0.0], [0.0, 0.0], joints=free, unlimited=('arm/a/position',))
    policy, _ = make([0.0, 0.0], None)
    with pytest.raises(ActError, match='where the joints are is not known'):
        policy.predict(np.empty(0), {})


def test_a_pose_is_read_by_name():
    limits = Limits.from_settings(Settings(joint_limits=JOINTS), TASK)
    texts = ('arm/a/position 0.5', 'arm/b/position  -1e-1')
    assert read_pose(texts, TASK, limits, RATE).tolist() == [-0.1, 0.5]
    for wrong in ('arm/c/position 1', 'arm/a/position nan', 'arm/a/position', ''):
        with pytest.raises(ActError, match="'start_pose' has"):
            read_pose((wrong, *texts[1:]), TASK, limits, RATE)
    with pytest.raises(ActError, match='arm/a/position at 12, outside its range -9 to 9'):
        read_pose(('arm/a/position 12', texts[1]), TASK, limits, RATE)
