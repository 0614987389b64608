"""Jerk and seams, on curves that are known."""

import time

import numpy as np
import pytest

from act_ros.control import MotionMeter
from act_ros.safety import TURN
from act_ros.task import Entry, Task

RATE = 50.0
NAMES = ('arm/elbow/position', 'arm/elbow/velocity', 'arm/wrist/position', 'arm/gripper/position')
ONE, OTHER, NONE = np.array([0, 3]), np.array([3]), np.empty(0, dtype=np.int64)


def task(*names):
    entries = tuple(Entry.parse(name) for name in names)
    return Task('t', ('camera',), entries, entries, RATE, (4, 6))


def meter(*names, **arguments):
    return MotionMeter(task(*(names or NAMES)), RATE, **arguments)


def play(meter, rows, chunks=ONE):
    for row in np.atleast_2d(rows):
        meter.look(row, chunks)


def curve(function, count=200):
    """Elbow, wrist and gripper, a message a tick."""
    return np.array([function(i / RATE) for i in range(count)])


def test_a_cubic_has_constant_jerk_and_no_seam():
    motion = meter()
    play(motion, curve(lambda t: (0.5 * t**3, -2 * t**3 + t, 3 + 4 * t - t * t)))
    np.testing.assert_allclose(motion.jerk_rms, [3, 12, 0], atol=1e-6)
    np.testing.assert_allclose(motion.jerk_max, [3, 12, 0], atol=1e-6)
    assert np.isnan(motion.seam).all()
    assert motion.arm_jerk_rms == pytest.approx(np.sqrt((3**2 + 12**2) / 2))


def test_a_step_of_one_joint():
    motion = meter()
    play(motion, np.zeros((50, 3)))
    play(motion, [[0, 0.01, 0]] * 53, OTHER)
    np.testing.assert_allclose(motion.seam, [0, 0.01, 0])
    np.testing.assert_allclose(motion.jerk_max, [0, 2 * 0.01 * RATE**3, 0])
    # Third differences of a step: 1, -2, 1; 100 of them were taken.
    np.testing.assert_allclose(motion.jerk_rms, [0, 0.01 * np.sqrt(6 / 100) * RATE**3, 0])
    value, entry = motion.worst()['seam']
    assert (value, str(entry)) == (pytest.approx(0.01), 'arm/wrist/position')


def test_a_seam_is_where_the_chunks_change_and_nowhere_else():
    motion = meter('arm/elbow/position')
    for position, chunks in ((0.0, ONE), (0.5, ONE), (0.6, OTHER), (0.9, OTHER), (0.85, NONE)):
        motion.look(np.array([position]), chunks)
    assert motion.seam == pytest.approx([0.1])
    motion.look(np.array([0.95]), np.array([7, 8, 9]))
    motion.look(np.array([1.15]), np.array([7, 8]))  # one has come to its end
    assert motion.seam == pytest.approx([0.2])


def test_nothing_is_measured_across_a_pause():
    motion = meter('arm/elbow/position')
    play(motion, np.zeros((10, 1)))
    motion.pause()
    play(motion, np.ones((3, 1)), OTHER)
    motion.pause()
    play(motion, np.zeros((10, 1)), ONE)
    assert motion.jerk_max == [0]
    assert np.isnan(motion.seam).all()


@pytest.mark.filterwarnings('error')
def test_what_was_not_sent_of_a_joint_is_no_motion_and_no_matter_of_the_others():
    rows = curve(lambda t: (0.5 * t**3, -2 * t**3, t), count=40)
    rows[20:25, 1] = np.nan
    rows[25:, 1] += 7.0
    motion = meter()
    for i, row in enumerate(rows):
        motion.look(row, np.array([i]))
    np.testing.assert_allclose(motion.jerk_rms, [3, 12, 0], atol=1e-6)
    np.testing.assert_allclose(motion.jerk_max, [3, 12, 0], atol=1e-6)
    assert motion.count.tolist() == [37, 17 + 12, 37]
    np.testing.assert_allclose(motion.seam, np.nanmax(np.abs(np.diff(rows, axis=0)), axis=0))


def test_fewer_messages_than_a_jerk_needs_have_none():
    motion = meter()
    play(motion, np.eye(3))
    assert np.isnan(motion.jerk_rms).all() and np.isnan(motion.jerk_max).all()
    assert motion.worst() == {}
    play(motion, np.zeros(3))
    assert set(motion.worst()) == {'jerk_rms', 'jerk_max'}


def test_a_turn_further_is_no_motion_where_a_joint_is_continuous():
    motion = meter(continuous=['arm/wrist/position'])
    rows = curve(lambda t: (3 * t, 3 * t, 0))
    rows[:, 1] = np.mod(rows[:, 1] + np.pi, TURN) - np.pi
    rows[90:, 1] += 3 * TURN
    for i, row in enumerate(rows):
        motion.look(row, np.array([i]))
    np.testing.assert_allclose(motion.jerk_max, [0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(motion.seam, [0.06, 0.06, 0])
    other = meter()
    play(other, rows)
    assert other.jerk_max[1] > 1e6


def test_a_gripper_is_not_compared_with_joints_but_counts_where_it_is_alone():
    snap = [[0.0, 0.0, 0.0]] * 5 + [[0.001, 0.0, 1.0]] * 5
    motion = meter()
    play(motion, snap[:5])
    play(motion, snap[5:], OTHER)
    assert {str(entry) for _, entry in motion.worst().values()} == {'arm/elbow/position'}
    assert motion.jerk_max[2] == pytest.approx(2 * RATE**3)
    alone = meter('hand/finger/position')
    play(alone, np.array(snap)[:, 2:])
    assert alone.worst()['jerk_max'] == (pytest.approx(2 * RATE**3), alone.entries[0])


def test_velocities_alone_have_no_figures():
    motion = meter('base/x/velocity')
    play(motion, np.empty((10, 0)))
    assert motion.worst() == {}


@pytest.mark.filterwarnings('error')
def test_the_largest_numbers_leave_figures_that_are_numbers():
    motion = meter('arm/elbow/position')
    largest = np.finfo(np.float64).max
    for i in range(20):
        motion.look(np.array([(-1) ** i * largest]), np.array([i]))
    assert np.isfinite([*motion.jerk_rms, *motion.jerk_max, *motion.seam]).all()


def test_the_rows_given_are_not_kept():
    motion, row = meter('arm/elbow/position'), np.zeros(1)
    for _ in range(10):
        motion.look(row, ONE)
        row += 1.0
    assert motion.jerk_max == pytest.approx([0])


def test_a_message_costs_little():
    motion = MotionMeter(task(*(f'arm/{i}/position' for i in range(8))), RATE)
    rows, chunks = np.random.default_rng(0).normal(size=(2000, 8)), np.arange(100)
    fastest = np.inf
    for _ in range(5):
        started = time.perf_counter()
        play(motion, rows, chunks)
        fastest = min(fastest, time.perf_counter() - started)
    assert fastest / len(rows) < 50e-6  # a few at rest; a busy machine is no failure
