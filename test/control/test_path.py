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
EVERY = {'min_position': -9, 'max_position': 9, 'max_tracking_error': 0.1}
JOINTS = {
    'a': JointLimits(max_velocity=1, max_acceleration=4, **EVERY),
    'b': JointLimits(max_velocity=0.5, max_acceleration=1, **EVERY),
    'x': JointLimits(max_velocity=1, max_acceleration=1),
}


def make(goal, start, continuous=(), joints=JOINTS):
    """Where its time is set by hand [ns]."""
    settings = Settings(joint_limits=joints, continuous=continuous)
    limits, now = Limits.from_settings(settings, TASK), [0]
    where = lambda: None if start is None else np.array(start)  # noqa: E731
    return PathPolicy(TASK, np.array(goal), limits, where, lambda: now[0]), now


def whole(policy, now):
    """All of the way, in robot units, (n, action_dim)."""
    rows = []
    for step in range(500):
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


def test_it_is_there_only_where_the_robot_is():
    policy, now = make([0.0, 0.0], [0.0, 0.0])
    assert not policy.is_at(np.zeros(2))  # it has not begun
    policy.predict(np.empty(0), {})
    now[0] = 2_000_000_000
    assert policy.is_at(np.array([0.04, 0.0])) and not policy.is_at(np.array([0.0, 0.06]))


def test_what_cannot_be():
    with pytest.raises(ActError, match='start pose has 10 for arm/a/position, outside its range'):
        make([0.0, 10.0], [0.0, 0.0])
    policy, _ = make([0.0, 0.0], None)
    with pytest.raises(ActError, match='where the joints are is not known'):
        policy.predict(np.empty(0), {})


def test_a_pose_is_read_by_name():
    texts = ('arm/a/position 0.5', 'arm/b/position  -1e-1')
    assert read_pose(texts, TASK).tolist() == [-0.1, 0.5]
    for wrong in ('arm/c/position 1', 'arm/a/position nan', 'arm/a/position', ''):
        with pytest.raises(ActError, match="'start_pose' has"):
            read_pose((wrong, *texts[1:]), TASK)
