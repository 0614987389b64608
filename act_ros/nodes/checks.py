"""Whether a loaded policy fits the robot's settings: asked once, at configuration."""

import logging
import time
from collections.abc import Mapping

from act_ros.errors import ParameterError
from act_ros.policy import Policy
from act_ros.task import Task

log = logging.getLogger(__name__)

WARM_PASSES = 5


def check_task(robot: Task, policy: Task) -> None:
    """The robot's cameras must be those that the network was trained with.

    :raises ParameterError: naming what differs.
    """
    for what, parameter in (('cameras', 'task.cameras'), ('image_size', 'task.image_size')):
        found, expected = list(getattr(robot, what)), list(getattr(policy, what))
        if found != expected:
            raise ParameterError(
                f'parameter {parameter!r} is {found}, but the checkpoint was trained with '
                f'{expected}'
            )


def warn_of_latency(settings: Mapping[str, object], latency: float, chunk: float) -> None:
    """Say so if commands will end, or plans run out, in normal running.

    :param latency: slowest of the warm passes [s].
    :param chunk: how long one plan lasts [s].
    """
    if settings['inference'] == 'synchronous':
        return
    # When a chunk arrives, the one before is of an observation two passes ago, and three where
    # a ZMQ client had a turn between.
    passes = 3 if settings['zmq_endpoint'] else 2
    behind = passes * latency + 1 / settings['control_rate']
    if settings['command_timeout'] < behind + settings['max_age']:
        log.warning(
            'command_timeout is %g s, but with a pass of %.2f s commands rest on observations up '
            'to %.2f s old: they will end again and again; raise command_timeout, or use a '
            'faster device', settings['command_timeout'], latency, behind + settings['max_age'],
        )  # fmt: skip
    if chunk < behind:
        log.warning(
            'a chunk lasts %.2f s, but with a pass of %.2f s the next one may come after %.2f s: '
            'there will be ticks without a plan', chunk, latency, behind,
        )  # fmt: skip


def slowest_pass(policy: Policy) -> float:
    """The slowest of a few warm passes [s]."""
    durations = []
    for _ in range(WARM_PASSES):
        started = time.perf_counter()
        policy.warm_up()
        durations.append(time.perf_counter() - started)
    return max(durations)
