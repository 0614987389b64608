"""What was measured and commanded, beside the training and the limits."""

from collections.abc import Sequence

import numpy as np

from act_ros.commissioning.check.findings import Findings
from act_ros.commissioning.check.robot import Robot
from act_ros.policy.interface import FAR, Statistics
from act_ros.safety import joint_of
from act_ros.task import Entry

NEAR = 3.0  # standard deviations within which a value is as in training
TURNED = 180 / np.pi
# What one unit is in another; the policy's first.
UNITS = {
    TURNED: 'the policy has degrees and the robot radians',
    1 / TURNED: 'the policy has radians and the robot degrees',
    1000.0: 'the policy has millimetres and the robot metres',
    1 / 1000.0: 'the policy has metres and the robot millimetres',
    -1.0: 'the sign is the other one',
}


def check_training(
    what: str,
    entries: Sequence[Entry],
    values: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    findings: Findings,
) -> None:
    """Whether values are such as the policy was trained on.

    :param what: 'task.state' or 'task.action'.
    :param values: (n, entries) in the policy's units; NaN where nothing is known.
    :param mean: of the training, (entries,), as is `std`.
    """
    known = [i for i in range(len(entries)) if np.isfinite(values[:, i]).any()]
    medians = {i: float(np.nanmedian(values[:, i])) for i in known}
    far = [i for i in known if abs(medians[i] - mean[i]) > FAR * std[i]]
    units = _units(far, entries, medians, mean, std)
    for i in far:
        guess = units.get(i) or _exchanged(i, entries, medians, mean, std)
        findings.wrong(
            what,
            f'{entries[i]} is {medians[i]:.4g} (median), but in training it was {mean[i]:.4g} '
            f'with a standard deviation of {std[i]:.2g}: {guess}',
        )
    if len(far) < len(known):
        findings.fits(what, f'{len(known) - len(far)} of {len(known)} entries are as in training')


def _units(
    far: Sequence[int],
    entries: Sequence[Entry],
    medians: dict[int, float],
    mean: np.ndarray,
    std: np.ndarray,
) -> dict[int, str]:
    """Which units would explain what is far from the training, by its place.

    Of one value alone any small factor explains that it is near to a mean of zero. So a factor
    counts for several joints that were apart from zero, and that are most of what is far.
    """
    found: dict[int, str] = {}
    for factor, meaning in UNITS.items():
        explained = [
            i for i in far
            if abs(medians[i] * factor - mean[i]) <= NEAR * std[i]
            and abs(mean[i]) > std[i]
        ]  # fmt: skip
        joints = {(entries[i].source, entries[i].name) for i in explained}
        if len(joints) < 2 or 2 * len(explained) <= len(far):
            continue
        for i in explained:
            scale = entries[i].scale * factor
            found.setdefault(i, f'{meaning}? Then write scale={scale:.12g}')
    return found


def _exchanged(
    i: int,
    entries: Sequence[Entry],
    medians: dict[int, float],
    mean: np.ndarray,
    std: np.ndarray,
) -> str:
    """Whether it has the place of another entry, as the end of a sentence."""
    swapped = [
        j for j in medians
        if j != i
        and abs(medians[i] - mean[j]) <= NEAR * std[j]
        and abs(medians[j] - mean[i]) <= NEAR * std[i]
    ]  # fmt: skip
    if swapped:
        return f'it would fit in the place of {entries[swapped[0]]}, are they in another order?'
    return 'other units, another zero, or joints in another order?'


def check_states(
    robot: Robot, states: np.ndarray, statistics: Statistics | None, findings: Findings
) -> None:
    """Compare what was measured with the training.

    :param states: (n, state_dim), policy units.
    """
    if statistics is not None and len(states):
        check_training(
            'task.state', robot.task.state, states, statistics.qpos_mean, statistics.qpos_std,
            findings,
        )  # fmt: skip


def check_commands(
    robot: Robot, actions: np.ndarray, statistics: Statistics | None, findings: Findings
) -> None:
    """Compare what was commanded with the training.

    :param actions: (n, action_dim), robot units; NaN where nothing was.
    """
    if statistics is not None and len(actions):
        check_training(
            'task.action', robot.task.action, robot.task.from_robot(actions),
            statistics.action_mean, statistics.action_std, findings,
        )  # fmt: skip


def check_measured(robot: Robot, measured: np.ndarray, findings: Findings) -> None:
    """Compare where the joints were with their limits.

    :param measured: (n, positions), robot units, a row a tick.
    """
    limits, task = robot.limits, robot.task
    if limits is None or not len(measured):
        return
    joints = joint_of(task)
    positions = [entry for entry in task.action if entry.quantity == 'position']
    speeds = _speeds(measured, task.rate)
    within = looked = 0
    for column, entry in enumerate(positions):
        joint = joints[entry]
        low, high = limits.min_position[joint], limits.max_position[joint]
        tolerance = min(limits.range_tolerance, limits.max_step[joint])
        least, most = measured[:, column].min(), measured[:, column].max()
        turns, fastest = limits.continuous[joint], limits.max_velocity[joint]
        if np.isinf([low, high, fastest]).all():  # nothing to hold it
            continue
        looked += 1
        if not turns and (least < low - tolerance or most > high + tolerance):
            findings.wrong(
                'limits',
                f'{entry} was at {least:.4g} to {most:.4g}, outside its range {low:g} to '
                f'{high:g}: the node does not begin there',
            )
            continue
        # One tick is noise; so many are a movement.
        fast = float(np.percentile(speeds[:, column], 99)) if len(speeds) > 1 else 0.0
        if not turns and fast > fastest:
            findings.doubt(
                'limits',
                f'{entry} moved at {fast:.3g} a second, and max_velocity is '
                f'{fastest:g}: the policy may want to be as fast',
            )
            continue
        within += 1
    if within:
        findings.fits('limits', f'hold where {within} of {looked} joints were')


def _speeds(measured: np.ndarray, rate: float) -> np.ndarray:
    """How fast each joint was, (n, positions), a second.

    Over half a second: in one tick a joint that is measured more seldom stands still, or
    makes the way of several.
    """
    apart = max(1, round(rate / 2))
    return np.abs(measured[apart:] - measured[:-apart]) * (rate / apart)
