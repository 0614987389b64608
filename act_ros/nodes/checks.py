"""What is measured of a loaded policy, and how it fits the pose: asked once, at the start."""

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from act_ros.control import oldest_behind
from act_ros.errors import LinkError
from act_ros.parameters import Settings
from act_ros.policy import GuestPolicy, PolicyProcess, Statistics
from act_ros.policy.interface import FAR
from act_ros.task import Task

log = logging.getLogger(__name__)

WARM_PASSES = 5
TRIALS = 3  # for each size of a batch


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
