"""Whether the robot goes where it is told."""

import numpy as np
import pytest

from act_ros.control.tracking import TrackingMonitor, say_lost
from act_ros.task import Entry

MS = 1_000_000
HERE, THERE = np.array([0.0, 1.0]), np.array([0.0, 1.3])
LIMIT = np.array([0.25, 0.25])
B = [False, True]


class Monitor(TrackingMonitor):
    """Answers with lists, at times in milliseconds."""

    def __init__(self):
        super().__init__(2)

    def check(self, measured, commanded, max_error, now):
        lost = super().check(measured, commanded, max_error, now * MS)
        return None if lost is None else lost.tolist()


def test_a_joint_that_stays_too_far_for_long_enough_does_not_follow():
    monitor = Monitor()
    assert monitor.check(HERE, THERE, LIMIT, 0) is None
    assert monitor.check(HERE, THERE, LIMIT, 199) is None
    assert monitor.check(HERE, THERE, LIMIT, 200) == B


def test_one_that_comes_near_in_between_begins_anew():
    monitor = Monitor()
    monitor.check(HERE, THERE, LIMIT, 0)
    monitor.check(HERE, HERE, LIMIT, 100)
    assert monitor.check(HERE, THERE, LIMIT, 250) is None
    monitor.reset()
    assert monitor.check(HERE, THERE, LIMIT, 500) is None


def test_exactly_the_limit_is_near_and_an_infinite_limit_is_never_exceeded():
    monitor = Monitor()
    far = np.array([0.25, 1e9])
    for now in range(0, 1000, 50):
        assert monitor.check(np.zeros(2), far, np.array([0.25, np.inf]), now) is None


def test_each_joint_keeps_its_own_time_also_while_another_is_reported():
    monitor = Monitor()
    both = np.array([1.0, 2.0])
    monitor.check(HERE, THERE, LIMIT, 0)
    assert monitor.check(HERE, both, LIMIT, 200) == B
    assert monitor.check(HERE, np.array([1.0, 1.0]), LIMIT, 210) is None
    # b was near at 210 ms, a is near now: b's time began anew.
    assert monitor.check(HERE, THERE, LIMIT, 220) is None
    assert monitor.check(HERE, THERE, LIMIT, 419) is None
    assert monitor.check(HERE, THERE, LIMIT, 420) == B


@pytest.mark.parametrize('value', [np.nan, np.inf, -1.7e308])
def test_a_value_that_is_no_position_is_not_near(value):
    monitor = Monitor()
    monitor.check(HERE, THERE, LIMIT, 0)
    lost = np.array([0.0, value])
    assert monitor.check(lost, THERE, LIMIT, 100) is None
    assert monitor.check(lost, np.array([0.0, 1.7e308]), LIMIT, 200) == B


ENTRY = Entry('arm', 'b', 'position')


def test_what_is_said_names_the_joint_and_both_values():
    assert say_lost(ENTRY, 1.0, 1.3, 0.25, met=True) == (
        'arm/b/position is at 1.000, commanded 1.300: further apart than max_tracking_error '
        '0.25 for 0.2 s'
    )
    assert say_lost(ENTRY, -1.7e308, 1.7e308, 0.25, met=False).endswith('too far to go there')
    far = say_lost(ENTRY, 5.0, 1.3, 0.25, met=False)
    assert far.endswith('the last command is held, since it is too far to go there')
    assert 'continuous' not in far


def test_a_whole_turn_looks_like_an_encoder_that_wraps():
    assert 'list it in continuous' in say_lost(ENTRY, -3.07, 3.21, 0.25, met=False)
