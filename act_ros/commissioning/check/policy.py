"""A parameter file beside a checkpoint, or beside a policy that a server has."""

import time
from dataclasses import replace

import numpy as np

from act_ros.commissioning.check.findings import Findings
from act_ros.commissioning.check.robot import Robot
from act_ros.control.checks import check_latency
from act_ros.policy.interface import BatchPredictor, Statistics, blank_observation, check_task
from act_ros.policy.kept import loaded
from act_ros.policy.rollout import as_played, query_interval
from act_ros.safety import joint_of

ABOUT = 'checkpoint'
PASSES = 5


def check_policy(robot: Robot, findings: Findings) -> Statistics | None:
    """Load what the file names, compare it with the robot, and time it.

    :returns: of the training; None where they are not known.
    """
    settings = robot.settings
    if not settings.policy_endpoint and not _fits(robot, findings):
        return None
    policy = None
    with findings.of(ABOUT):
        policy = loaded(settings)
    if policy is None:
        return None
    about = policy.about
    findings.fits(ABOUT, f'{about.checkpoint} by {about.engine} on {about.device}')
    with findings.of('timing'):
        _check_timing(robot, policy, findings)
    if policy.statistics is not None:
        _check_limits(robot, policy.statistics, findings)
    return policy.statistics


def _fits(robot: Robot, findings: Findings) -> bool:
    """Compare sizes one by one: loading would tell the first alone."""
    from act_ros.policy.checkpoint import read_checkpoint

    settings, task = robot.settings, robot.task
    checkpoint = None
    with findings.of(ABOUT):
        checkpoint = read_checkpoint(settings.ckpt_dir, settings.ckpt_name)
    if checkpoint is None:
        return False
    fit = True
    for what, found, expected in (
        ('task.state', task.state_dim, checkpoint.config.state_dim),
        ('task.action', task.action_dim, checkpoint.config.action_dim),
    ):
        if found != expected:
            fit = False
            findings.wrong(
                ABOUT, f'{what} lists {found} entries, but the network has {expected}'
            )
        else:
            findings.fits(ABOUT, f'{what} has as many entries as the network, {found}')
    side = checkpoint.side
    with findings.of(ABOUT):
        trained = replace(
            task, cameras=side.camera_names or task.cameras,
            image_size=side.image_size or task.image_size,
        )  # fmt: skip
        check_task(task, trained)
        return fit
    return False


def _check_timing(robot: Robot, policy: BatchPredictor, findings: Findings) -> None:
    settings = as_played(robot.settings, policy)
    query_interval(policy.chunk_size, settings.blending)
    latency = _slowest_pass(policy)
    chunk = policy.chunk_size / robot.task.rate
    check_latency(settings, latency, chunk, simulated=robot.simulated)
    findings.fits(
        'timing',
        f'a pass takes {latency * 1e3:.0f} ms here, a chunk of {policy.chunk_size} steps lasts '
        f'{chunk:.2f} s, command_timeout is {settings.command_timeout:g} s',
    )


def _slowest_pass(policy: BatchPredictor) -> float:
    """The slowest of some warm passes with new frames [s]."""
    durations = []
    for shade in range(PASSES + 1):
        qpos, images = blank_observation(policy.task, policy.statistics, shade)
        begun = time.perf_counter()
        policy.predict(qpos, images)
        durations.append(time.perf_counter() - begun)
    return max(durations[1:])


def _check_limits(robot: Robot, statistics: Statistics, findings: Findings) -> None:
    """Whether the limits let the arm go where the policy was trained to go."""
    limits, task = robot.limits, robot.task
    if limits is None:
        return
    scale, _ = task.action_units
    mean, std = task.to_robot(statistics.action_mean), statistics.action_std / np.abs(scale)
    joints = joint_of(task)
    inside = looked = 0
    for i, entry in enumerate(task.action):
        joint = joints[entry]
        if entry.quantity == 'position':
            low, high = limits.min_position[joint], limits.max_position[joint]
        else:
            high = limits.max_velocity[joint]
            low = -high
        if np.isinf([low, high]).all():  # nothing to hold it
            continue
        looked += 1
        trained = f'{mean[i]:.4g} with a standard deviation of {std[i]:.2g}'
        if not low <= mean[i] <= high:
            findings.wrong(
                'limits',
                f'{entry} was {trained} in training, which the limits {low:g} to {high:g} do not '
                f'hold: other units (degrees for radians), another order, or limits too narrow?',
            )
        # A gripper is commanded to one end or the other, and beyond it.
        elif not entry.is_gripper and (mean[i] - std[i] < low or mean[i] + std[i] > high):
            findings.doubt(
                'limits',
                f'{entry} was {trained} in training: the limits {low:g} to {high:g} cut some of '
                f'that off',
            )
        else:
            inside += 1
    if inside:
        findings.fits('limits', f'hold what {inside} of {looked} entries were in training')
