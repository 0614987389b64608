"""Whether the robot goes where it is told."""

import numpy as np

from act_ros.control.tracking import TrackingMonitor
from act_ros.task import Entry

MS = 1_000_000
HERE, THERE = np.array([0.0, 1.0]), np.array([0.0, 1.3])
LIMIT = np.array([0.25, 0.25])


def make():
    return TrackingMonitor([Entry('arm', 'a', 'position'), Entry('arm', 'b', 'position')])


def test_a_joint_that_stays_too_far_is_named_with_both_values():
    monitor = make()
    assert monitor.check(HERE, THERE, LIMIT, 0) is None
    assert monitor.check(HERE, THERE, LIMIT, 199 * MS) is None
    assert monitor.check(HERE, THERE, LIMIT, 200 * MS) == (
        'arm/b/position is at 1.000, commanded 1.300: further apart than max_tracking_error '
        '0.25 for 0.2 s'
    )


def test_one_that_comes_near_in_between_begins_anew():
    monitor = make()
    monitor.check(HERE, THERE, LIMIT, 0)
    monitor.check(HERE, HERE, LIMIT, 100 * MS)
    assert monitor.check(HERE, THERE, LIMIT, 250 * MS) is None
    monitor.reset()
    assert monitor.check(HERE, THERE, LIMIT, 500 * MS) is None


def test_not_known_is_not_near():
    monitor = make()
    monitor.check(HERE, THERE, LIMIT, 0)
    assert monitor.check(None, THERE, LIMIT, 100 * MS) is None
    assert monitor.check(HERE, THERE, LIMIT, 200 * MS) is not None


def test_exactly_the_limit_is_near_and_an_infinite_limit_is_never_exceeded():
    monitor = make()
    far = np.array([0.25, 1e9])
    for now in range(0, 1000 * MS, 50 * MS):
        assert monitor.check(np.zeros(2), far, np.array([0.25, np.inf]), now) is None


def test_each_joint_keeps_its_own_time_also_while_another_is_reported():
    monitor = make()
    both = np.array([1.0, 2.0])
    monitor.check(HERE, both, LIMIT, 0)
    assert 'arm/a/position' in monitor.check(HERE, both, LIMIT, 200 * MS)
    only_a = np.array([1.0, 1.0])
    assert 'arm/a/position' in monitor.check(HERE, only_a, LIMIT, 210 * MS)
    # b was near at 210 ms, a is near now: b's time began anew.
    assert monitor.check(HERE, THERE, LIMIT, 220 * MS) is None
    assert monitor.check(HERE, THERE, LIMIT, 419 * MS) is None
    assert 'arm/b/position' in monitor.check(HERE, THERE, LIMIT, 420 * MS)


def test_a_value_that_is_no_number_is_not_near():
    monitor = make()
    monitor.check(HERE, THERE, LIMIT, 0)
    lost = np.array([0.0, np.nan])
    assert monitor.check(lost, THERE, LIMIT, 100 * MS) is None
    assert monitor.check(HERE, THERE, LIMIT, 200 * MS) is not None
