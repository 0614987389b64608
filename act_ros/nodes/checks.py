"""Whether a loaded policy fits the robot's settings: asked once, at configuration."""

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from act_ros.control import oldest_behind
from act_ros.errors import LinkError, ParameterError
from act_ros.nodes.wiring import Wiring
from act_ros.parameters import Settings
from act_ros.policy import GuestPolicy, PolicyProcess, Statistics
from act_ros.task import Task

log = logging.getLogger(__name__)

WARM_PASSES = 5
TRIALS = 3  # for each size of a batch
FAR = 5.0  # standard deviations from the mean of training


def check_latency(
    settings: Settings, latency: float, chunk: float, *, simulated: bool
) -> None:
    """Refuse time-outs under which commands would end, again and again, in normal running.

    :param latency: slowest of the warm passes [s].
    :param chunk: how long one plan lasts [s].
    :param simulated: time is that of a simulation.
    :raises ParameterError: with the figures and the ways out.
    """
    synchronous = settings.inference == 'synchronous'
    tick = 1 / settings.tick_rate
    if synchronous and not simulated and latency > tick / 2:
        raise ParameterError(
            f'inference is synchronous, but a pass takes {latency * 1e3:.0f} ms and a tick '
            f'leaves {tick * 500:.0f} ms; set inference: asynchronous'
        )
    # When a chunk arrives, the one before is of an observation two passes ago, and three where
    # a ZMQ client had a turn between: `guest_batch` sees to longer ones. A synchronous one is of
    # this tick, and simulated time stands still meanwhile.
    passes = 3 if settings.zmq_endpoint else 2
    if synchronous:
        passes = 0 if simulated else passes - 1
    needed = oldest_behind(settings, latency, passes)
    if settings.command_timeout < needed:
        raise ParameterError(
            f'command_timeout is {settings.command_timeout:g} s, but a pass takes '
            f'{latency:.2f} s and commands rest on observations up to {needed:.2f} s old '
            f'({passes} passes, max_age and a step): raise command_timeout, or use a faster '
            f'device or a smaller network'
        )
    behind = needed - settings.max_age
    if chunk < behind:
        log.warning(
            'a chunk lasts %.2f s, but with a pass of %.2f s the next one may come after %.2f s: '
            'there will be ticks without a plan', chunk, latency, behind,
        )  # fmt: skip


def guest_batch(policy: PolicyProcess, settings: Settings, latency: float, chunk: float) -> int:
    """How many observations of ZMQ clients may go through in one pass, which the robot waits for.

    As many as take no longer than two of the robot's passes, and leave it within its time-out
    and its plan.

    :param latency: slowest of the robot's warm passes [s].
    :param chunk: how long one plan lasts [s].
    """
    most = settings.zmq_max_batch
    if settings.inference == 'synchronous' or most == 1:
        return 1
    needed = oldest_behind(settings, latency)
    longest = min(
        2 * latency, settings.command_timeout - needed, chunk + settings.max_age - needed
    )
    place = policy.admit(most)
    with contextlib.closing(GuestPolicy(place)) as guest:
        place.close()
        for count in range(2, most + 1):
            guest.warm_up(count)  # the first one of its size may be slow
            if not all(_duration(partial(guest.warm_up, count)) <= longest for _ in range(TRIALS)):
                return count - 1
    return most


def check_silence(wiring: Wiring) -> None:
    """Refuse the silent stop policy where the robot would move on without commands.

    :raises ParameterError: naming the output or its entries.
    """
    if wiring.horizon:
        raise ParameterError(
            'stop_policy is silent, but a JointTrajectoryHorizon would play on after the '
            'last command; set stop_policy: hold, or use JointTrajectory'
        )
    if alone := wiring.velocities_alone:
        raise ParameterError(
            f'stop_policy is silent, but a velocity without a position would last after the last '
            f'command: {", ".join(alone)}; set stop_policy: hold, or send the positions with them'
        )


def check_horizon(wiring: Wiring, settings: Settings) -> None:
    """Refuse two that interpolate the same plan.

    :raises ParameterError: naming both.
    """
    if wiring.horizon and settings.ticks_per_step > 1:
        raise ParameterError(
            f'command_rate is {settings.command_rate:g} Hz, but a JointTrajectoryHorizon is '
            f'interpolated by its controller; set command_rate: 0.0, or use another type of output'
        )


def warn_of_pose(task: Task, qpos: np.ndarray, statistics: Statistics | None) -> None:
    """Say which entries of qpos are far from all that the policy was trained on, if known."""
    if statistics is None:
        return
    deviations = np.abs(qpos - statistics.qpos_mean) / statistics.qpos_std
    for i in np.flatnonzero(deviations > FAR):
        log.warning(
            '%s is %.4g, but in training it was %.4g with a standard deviation of %.2g: other '
            'units (degrees for radians), or joints in another order?',
            task.state[i], qpos[i], statistics.qpos_mean[i], statistics.qpos_std[i],
        )  # fmt: skip


def slowest_pass(policy: PolicyProcess) -> float:
    """The slowest of a few warm passes [s]; one that a line has lost says nothing of them.

    :raises LinkError: most of them are lost.
    """
    durations: list[float] = []
    losses = 0
    while len(durations) < WARM_PASSES:
        try:
            durations.append(_duration(policy.warm_up))
        except LinkError:
            losses += 1
            if losses > 3 * WARM_PASSES:
                raise
    return max(durations)


def _duration(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
