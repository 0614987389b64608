"""The simulated task: who closes on the handle holds it, who closes beside it does not."""

import numpy as np
import pytest

from act_ros.sim import scene
from act_ros.sim.expert import DURATION, Expert
from act_ros.sim.robot import POSITION_LIMITS
from act_ros.sim.world import HOLD, REACH, Scenario, World

NAMES = [f'joint_{i}' for i in range(8)]
PERIOD = 0.02


def begun(seed):
    world = World(NAMES)
    world.begin(Scenario.from_seed(seed))
    world.advance(0.0)
    return world


def led(world, seconds=DURATION, change=lambda t, positions: positions):
    """Let the expert do its task, its commands changed on the way; distances at each tick."""
    expert, distances = Expert(world, PERIOD), []
    for tick in range(round(seconds / PERIOD)):
        now = tick * PERIOD
        world.advance(now)
        distances.append(world.distance)
        positions, velocities = expert.command(now)
        world.command(now, change(now, positions), velocities)
    return np.array(distances)


def test_scenarios_differ_and_are_the_same_each_time():
    first, again, other = (Scenario.from_seed(seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.pose, again.pose)
    assert first.drift == again.drift
    assert first.drift != other.drift
    assert np.all(first.pose != other.pose)
    assert np.all(first.place != other.place)


def test_scenarios_start_within_the_limits():
    poses = np.array([Scenario.from_seed(seed).pose for seed in range(200)])
    assert np.all(poses > POSITION_LIMITS[:, 0])
    assert np.all(poses < POSITION_LIMITS[:, 1])


def test_the_expert_grasps_the_handle_of_every_scenario():
    # 200 seeds succeeded; of these a part is run each time.
    for seed in range(0, 200, 20):
        world = begun(seed)
        led(world, 4.3)
        assert world.succeeded, seed


def test_what_is_held_moves_with_the_gripper_and_comes_off_its_plate():
    world = begun(1)
    distances = led(world)
    assert world.grasped_at == pytest.approx(3.07, abs=0.1)
    assert distances[-1] < REACH
    assert np.ptp(distances[-100:]) < 1e-9  # rigid in the gripper
    plate, unit = world.objects
    assert plate[0, 3] - unit[0, 3] > 0.14
    np.testing.assert_array_equal(plate[:, 3], scene.placed(Scenario.from_seed(1).place)[:, 3])
    # The fingers stop at the handle, whatever is commanded.
    gap = scene.FINGER_CLOSED + scene.FINGER_TRAVEL * world.positions[7]
    assert gap == pytest.approx(scene.HANDLE_RADIUS, abs=2e-3)


def test_without_a_command_nothing_is_grasped():
    world = begun(1)
    world.advance(10.0)
    assert world.grasped_at is None
    assert not world.succeeded
    assert world.distance > 0.1


@pytest.mark.parametrize('aside', [0.05, -0.05])
def test_fingers_that_close_beside_the_handle_close_on_nothing(aside):
    world = begun(2)

    def beside(now, positions):
        return positions + np.array([aside, 0, 0, 0, 0, 0, 0, 0])

    led(world, change=beside)
    assert world.grasped_at is None
    assert world.positions[7] < 0.01
    np.testing.assert_array_equal(*world.objects)


def test_a_gripper_turned_against_the_handle_closes_on_nothing():
    world = begun(2)
    led(world, change=lambda now, positions: positions + np.array([0, 0, 0, 0, 0, 0, 0.4, 0]))
    assert world.grasped_at is None


def test_a_closed_gripper_does_not_grasp_by_arriving():
    world = begun(2)

    def closed(now, positions):
        return np.append(positions[:7], 0.0)

    led(world, change=closed)
    assert world.grasped_at is None


def test_a_touch_is_no_success_and_opening_lets_go():
    world = begun(1)

    def opening(now, positions):
        held = world.grasped_at is not None
        opened = opening.opened = opening.opened or held
        return np.append(positions[:7], 0.7) if opened else positions

    opening.opened = False
    led(world, 5.0, opening)
    assert opening.opened
    assert world.grasped_at is None
    assert not world.succeeded


def test_the_handle_may_be_a_little_beside_and_is_taken_along():
    world = begun(1)
    before = world.objects[1].copy()
    led(world, 3.9, lambda now, positions: positions + np.array([0.012, 0, 0, 0, 0, 0, 0, 0]))
    assert world.succeeded or world.grasped_at is not None
    moved = np.abs(world.objects[1, :, 3] - before[:, 3])
    assert 1e-3 < moved.max() < REACH


def test_success_needs_to_be_held_for_a_while():
    world = begun(1)
    led(world, 3.3)
    now = 3.3
    expert_pose = np.append(world.positions[:7], 0.0)
    while world.grasped_at is None and now < 5.0:
        now += PERIOD
        world.command(now, expert_pose, np.zeros(8))
        world.advance(now)
    assert world.grasped_at is not None
    assert not world.succeeded
    world.advance(world.grasped_at + HOLD + 0.01)
    assert world.succeeded


def test_it_is_the_same_however_often_it_is_asked():
    worlds = [begun(5), begun(5)]
    for world, parts in zip(worlds, (1, 4), strict=True):
        expert = Expert(world, PERIOD)
        for tick in range(200):
            for part in range(1, parts + 1):
                world.advance(max(0, tick - 1 + part / parts) * PERIOD)
            world.command(tick * PERIOD, *expert.command(tick * PERIOD))
    np.testing.assert_allclose(worlds[0].positions, worlds[1].positions, atol=2e-3)
    assert worlds[0].grasped_at == pytest.approx(worlds[1].grasped_at, abs=0.02)
