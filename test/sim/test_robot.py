import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.sim.robot import (
    ACCELERATION_LIMITS,
    HOME,
    JOINT_COUNT,
    POSITION_LIMITS,
    VELOCITY_LIMITS,
    SimulatedRobot,
)
from act_ros.sim.scene import rotation_from_rpy

NAMES = [f'joint_{letter}' for letter in 'abcdefg'] + ['fingers']
STILL = np.zeros(JOINT_COUNT)
TICK = 0.01


def run(robot, begin, seconds, command=None):
    """Advance at 100 Hz, commanding each tick if given; return the states (N, 2, 8)."""
    states = []
    for i in range(round(seconds / TICK)):
        now = begin + i * TICK
        if command is not None:
            robot.command(now, *command)
        robot.advance(now)
        states.append((robot.positions, robot.velocities))
    return np.array(states)


@pytest.mark.parametrize('count', [0, 7, 9])
def test_wrong_number_of_names_is_refused(count):
    with pytest.raises(ValueError, match=rf'found {count} .*expected 8'):
        SimulatedRobot([f'j{i}' for i in range(count)])


def test_repeated_name_is_refused():
    with pytest.raises(ValueError, match='not unique'):
        SimulatedRobot([*NAMES[:7], NAMES[0]])


@pytest.mark.parametrize('timeout', [0.0, -1.0, math.nan])
def test_timeout_must_be_positive(timeout):
    with pytest.raises(ValueError, match='command_timeout'):
        SimulatedRobot(NAMES, command_timeout=timeout)


def test_home_is_well_inside_the_limits():
    low, high = POSITION_LIMITS.T
    share = (HOME - low) / (high - low)
    assert share.min() > 0.1
    assert share.max() < 0.9


def test_limits_are_copies():
    robot = SimulatedRobot(NAMES)
    robot.position_limits[:] = 0.0
    robot.velocity_limits[:] = 0.0
    robot.positions[:] = 9.0
    np.testing.assert_array_equal(robot.position_limits, POSITION_LIMITS)
    np.testing.assert_array_equal(robot.velocity_limits, VELOCITY_LIMITS)
    np.testing.assert_array_equal(robot.positions, HOME)


def test_without_command_the_arm_holds_home_while_the_base_drifts():
    robot = SimulatedRobot(NAMES)
    states = run(robot, 100.0, 2.0)
    np.testing.assert_array_equal(states[:, 0], np.tile(HOME, (len(states), 1)))
    assert not states[:, 1].any()
    assert np.linalg.norm(robot.base_linear_velocity) > 1e-3


def test_constant_target_is_reached_without_overshoot():
    robot = SimulatedRobot(NAMES)
    target = np.array([0.9, 0.3, -1.2, 0.4, 1.5, 0.8, -1.6, 0.1])
    states = run(robot, 5.0, 4.0, (target, STILL))
    np.testing.assert_allclose(states[-1, 0], target, atol=1e-4)
    np.testing.assert_allclose(states[-1, 1], 0.0, atol=1e-3)
    beyond = (states[:, 0] - target) * np.sign(target - HOME)
    assert beyond.max() < 0.01


def test_target_beyond_the_limits_ends_at_the_limit():
    robot = SimulatedRobot(NAMES)
    run(robot, 0.0, 6.0, (np.full(JOINT_COUNT, 50.0), STILL))
    np.testing.assert_allclose(robot.positions, POSITION_LIMITS[:, 1], atol=1e-3)


def test_streamed_trajectory_is_tracked_closely():
    robot = SimulatedRobot(NAMES)
    amplitude = np.full(JOINT_COUNT, 0.2)
    errors = []
    for i in range(400):
        now = i * TICK
        positions = HOME + amplitude * (1.0 - math.cos(1.5 * now)) * 0.5
        robot.command(now, positions, amplitude * 0.75 * math.sin(1.5 * now))
        robot.advance(now)
        errors.append(np.abs(robot.positions - positions).max())
    assert max(errors) < 0.02


values = st.floats(-4.0, 4.0)
commands = st.lists(
    st.tuples(st.lists(values, min_size=8, max_size=8), st.lists(values, min_size=8, max_size=8),
              st.floats(0.001, 0.5)),
    min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(commands)
def test_limits_hold_under_any_commands(sequence):
    robot = SimulatedRobot(NAMES)
    now = 0.0
    robot.advance(now)
    before = robot.velocities
    for positions, velocities, duration in sequence:
        robot.command(now, positions, velocities)
        ticks = math.ceil(duration / TICK)
        for _ in range(ticks):
            now += duration / ticks
            robot.advance(now)
            assert np.all(robot.positions >= POSITION_LIMITS[:, 0])
            assert np.all(robot.positions <= POSITION_LIMITS[:, 1])
            assert np.all(np.abs(robot.velocities) <= VELOCITY_LIMITS + 1e-12)
            change = np.abs(robot.velocities - before)
            assert np.all(change <= ACCELERATION_LIMITS * duration / ticks + 1e-9)
            before = robot.velocities


def test_arm_stops_and_holds_after_the_last_command():
    robot = SimulatedRobot(NAMES, command_timeout=0.2)
    moving = run(robot, 0.0, 0.5, (POSITION_LIMITS[:, 1], STILL))
    assert np.abs(moving[-1, 1]).max() > 0.5
    longest_braking = (VELOCITY_LIMITS / ACCELERATION_LIMITS).max()
    run(robot, 0.5, 0.2 + longest_braking + 0.05)
    assert not robot.velocities.any()
    held = robot.positions
    run(robot, 1.5, 1.0)
    np.testing.assert_array_equal(robot.positions, held)


def test_target_velocity_moves_the_target_only_until_the_timeout():
    robot = SimulatedRobot(NAMES, command_timeout=0.2)
    robot.advance(0.0)
    robot.command(0.0, HOME, np.full(JOINT_COUNT, 0.3))
    run(robot, 0.0, 2.0)
    moved = robot.positions - HOME
    assert np.all(moved > 0.02)
    assert np.all(moved < 0.3 * 0.2 + 0.03)


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('argument', ['position', 'velocity'])
def test_command_that_is_not_finite_is_refused_and_the_target_stays(bad, argument):
    robot = SimulatedRobot(NAMES)
    target = HOME + 0.1
    robot.command(0.0, target, STILL)
    arguments = {'position': HOME.copy(), 'velocity': STILL.copy()}
    arguments[argument][2] = bad
    with pytest.raises(ValueError, match=f'{argument} target of joint_c'):
        robot.command(0.0, arguments['position'], arguments['velocity'])
    robot.command_timeout = 10.0
    run(robot, 0.0, 3.0)
    np.testing.assert_allclose(robot.positions, target, atol=1e-3)


def test_command_of_wrong_length_is_refused_naming_the_joint():
    robot = SimulatedRobot(NAMES)
    with pytest.raises(ValueError, match=r'found 7 .*expected 8.*fingers'):
        robot.command(0.0, HOME[:7], STILL)
    with pytest.raises(ValueError, match=r'found 9 .*expected 8.*fingers'):
        robot.command(0.0, HOME, np.zeros(9))
    with pytest.raises(ValueError, match='shape'):
        robot.command(0.0, HOME[None], STILL)


def test_command_keeps_no_reference_to_its_arguments():
    robot = SimulatedRobot(NAMES)
    target = HOME + 0.1
    robot.command(0.0, target, STILL)
    target[:] = 0.0
    robot.command_timeout = 10.0
    run(robot, 0.0, 3.0)
    np.testing.assert_allclose(robot.positions, HOME + 0.1, atol=1e-3)


def test_blocked_joint_stays_and_moves_again_once_released():
    robot = SimulatedRobot(NAMES)
    target = HOME + 0.2
    run(robot, 0.0, 0.1, (target, STILL))
    robot.block('joint_d')
    assert robot.blocked == {'joint_d'}
    jammed = robot.positions[3]
    run(robot, 0.1, 2.0, (target, STILL))
    assert robot.positions[3] == jammed
    assert robot.velocities[3] == 0.0
    np.testing.assert_allclose(np.delete(robot.positions, 3), np.delete(target, 3), atol=1e-3)
    robot.release('joint_d')
    assert robot.blocked == frozenset()
    run(robot, 2.1, 2.0, (target, STILL))
    np.testing.assert_allclose(robot.positions, target, atol=1e-3)


def test_unknown_joint_cannot_be_blocked():
    robot = SimulatedRobot(NAMES)
    with pytest.raises(ValueError, match='elbow'):
        robot.block('elbow')
    with pytest.raises(ValueError, match='elbow'):
        robot.release('elbow')


def test_base_velocities_are_the_derivatives_of_the_pose():
    robot = SimulatedRobot(NAMES)
    half = 1e-4
    robot.advance(0.0)
    for middle in np.arange(1.0, 40.0, 1.7):
        poses = []
        for now in (middle - half, middle, middle + half):
            robot.advance(now)
            poses.append((robot.base_position, rotation_from_rpy(robot.base_orientation)))
            if now == middle:
                linear, angular = robot.base_linear_velocity, robot.base_angular_velocity
        np.testing.assert_allclose((poses[2][0] - poses[0][0]) / (2 * half), linear, atol=1e-7)
        spin = (poses[2][1] - poses[0][1]) / (2 * half) @ poses[1][1].T
        np.testing.assert_allclose([spin[2, 1], spin[0, 2], spin[1, 0]], angular, atol=1e-7)


def test_base_drifts_by_centimetres_and_degrees():
    robot = SimulatedRobot(NAMES)
    poses = []
    for now in np.arange(0.0, 60.0, 0.1):
        robot.advance(now)
        poses.append(np.concatenate((robot.base_position, robot.base_orientation)))
    span = np.ptp(poses, axis=0)
    assert np.all((span[:3] > 0.02) & (span[:3] < 0.15))
    assert np.all((span[3:] > math.radians(1.0)) & (span[3:] < math.radians(8.0)))


def test_motion_does_not_depend_on_when_it_starts():
    states = [run(SimulatedRobot(NAMES), begin, 1.0, (HOME - 0.2, STILL))
              for begin in (0.0, 2.0 ** 20)]
    np.testing.assert_allclose(states[0], states[1], atol=1e-6)


def test_time_must_not_run_backwards_but_may_jump_ahead():
    robot = SimulatedRobot(NAMES)
    run(robot, 10.0, 0.2, (HOME + 0.3, STILL))
    with pytest.raises(ValueError, match='backwards'):
        robot.advance(10.0)
    with pytest.raises(ValueError, match='finite'):
        robot.advance(math.nan)
    robot.advance(1e7)
    assert not robot.velocities.any()
