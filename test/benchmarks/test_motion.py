"""The benchmark of motion: its policy by rule, and what its figures say of known rules."""

from dataclasses import replace

import numpy as np
import pytest

from act_ros.config import DEFAULT_TASK, task_file
from act_ros.parameter_file import read_parameter_file
from act_ros.sim.robot import HOME, JOINT_COUNT, POSITION_LIMITS
from benchmarks import motion
from benchmarks.motion_policy import DRIFT, PAUSE, RETURN, STATED, Expert, Route, minimum_jerk

RATE = 50.0


def test_a_move_of_minimum_jerk_begins_and_ends_at_rest():
    way, speed = minimum_jerk(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]))
    np.testing.assert_allclose(way, [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(speed, [0, 0, 1.875, 0, 0])


def test_the_route_goes_on_from_pose_to_pose_within_the_range_at_its_velocities():
    route = Route(np.random.default_rng(0), 20.0)
    times = np.arange(0, 22, 1e-3)
    positions, velocities = route.at(times)
    np.testing.assert_allclose(positions[0], HOME)
    np.testing.assert_allclose(np.gradient(positions, 1e-3, axis=0), velocities, atol=2e-3)
    low, high = POSITION_LIMITS.T
    assert ((low < positions) & (positions < high)).all()
    for end in route.ends:
        there, speeds = route.at(np.array([end, end + PAUSE / 2]))
        np.testing.assert_allclose(speeds, 0, atol=1e-9)
        np.testing.assert_allclose(there[0], there[1])


def test_chunks_disagree_by_the_stated_amount_and_their_velocities_are_their_own():
    route = Route(np.random.default_rng(0), 20.0)
    expert = Expert(route, np.random.default_rng(1), 100, RATE)
    seen = route.at(np.array([3.0]))[0][0]
    chunks = np.array([expert.predict(seen, 3.0) for _ in range(2000)])
    positions, velocities = np.split(chunks, [JOINT_COUNT], axis=2)
    path = route.at(3.0 + np.arange(100) / RATE)[0]
    offsets = positions - path
    assert np.abs(offsets.mean(axis=0)).max() < 2e-3
    assert 1e3 * np.sqrt(np.mean(offsets**2)) == pytest.approx(STATED['offset_mrad'], rel=0.02)
    assert np.std(offsets[:, -1] - offsets[:, 0]) == pytest.approx(DRIFT, rel=0.05)
    steps = np.diff(positions, axis=1) * RATE
    np.testing.assert_allclose(steps, (velocities[:, 1:] + velocities[:, :-1]) / 2, atol=0.01)


def test_a_chunk_leads_from_where_the_arm_is_seen_to_the_path():
    route, away = Route(np.random.default_rng(0), 20.0), np.full(JOINT_COUNT, 0.3)
    there = route.at(np.array([3.0]))[0][0]
    one, other = (
        Expert(route, np.random.default_rng(1), 100, RATE).predict(seen, 3.0)
        for seen in (there, there + away)
    )
    left = (other - one)[:, :JOINT_COUNT]
    np.testing.assert_allclose(left[0], away)
    np.testing.assert_allclose(left[round(RETURN * RATE) :], 0, atol=1e-12)


def shipped(**changes):
    settings = read_parameter_file(task_file(DEFAULT_TASK))
    return replace(settings, command_timeout=motion.TIMEOUT, **changes)


def row(latency, settings, episodes=2):
    return motion.measure_row(latency, 'some rule', settings, 100, episodes, motion.SECONDS)


def test_an_expert_that_does_not_err_leads_along_its_path(monkeypatch):
    monkeypatch.setattr('benchmarks.motion_policy.CONSTANT', 0.0)
    monkeypatch.setattr('benchmarks.motion_policy.DRIFT', 0.0)
    found = row(200, shipped())
    path, step = motion.path_figures(2, motion.SECONDS, RATE)
    assert path / 2 < found['jerk_rms'] < 2 * path
    assert found['seam_mrad'] == pytest.approx(1e3 * step, rel=0.3)
    assert found['limit_hits'] == 0
    assert found['error_mrad'] < 2
    assert found['reached_percent'] == 100


def test_the_same_seeds_give_the_same_row():
    assert row(500, shipped(), 1) == row(500, shipped(), 1)


def test_passes_back_to_back_overlap_as_far_as_the_chunk_lasts():
    fast, slow = row(60, shipped(), 1), row(1000, shipped(), 1)
    assert 20 < fast['chunks'] < 40 and fast['without_plan'] == 0
    # Observed a tick before the last pass ended, and it lasts 50: a tick is left to the next.
    assert 0.9 < slow['chunks'] < 1.1 and slow['without_plan'] >= 4


@pytest.mark.parametrize('latency', [60, 200, 500])
def test_the_default_leaves_a_fraction_of_the_jerk_and_costs_next_to_no_error(latency):
    rules = motion.rules(shipped())
    public, default = row(latency, rules['public']), row(latency, rules['default'])
    assert default['jerk_rms'] < public['jerk_rms'] / 20
    assert default['limit_hits'] == 0
    assert default['seam_mrad'] < public['seam_mrad']
    assert default['error_mrad'] < 1.15 * public['error_mrad']
    assert default['speed_error'] < public['speed_error'] / 2


def test_without_any_overlap_the_limit_of_the_acceleration_leaves_a_quarter_at_most():
    rules = motion.rules(shipped())
    public, default = row(1000, rules['public']), row(1000, rules['default'])
    assert 'acceleration' in default['hits'] and public['hits']['acceleration'] == 0
    assert default['jerk_rms'] < public['jerk_rms'] / 4
    assert default['error_mrad'] < 1.15 * public['error_mrad']
