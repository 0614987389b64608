"""Whether settings that fit each by itself fit together: asked before anything moves."""

import logging
from collections.abc import Sequence

from act_ros.commands import OutputSpec
from act_ros.control.watchdog import oldest_behind
from act_ros.errors import ParameterError
from act_ros.parameters import Settings

log = logging.getLogger(__name__)


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


def check_silence(outputs: Sequence[OutputSpec]) -> None:
    """Refuse the silent stop policy where the robot would move on without commands.

    :raises ParameterError: naming the output or its entries.
    """
    if _horizon(outputs):
        raise ParameterError(
            'stop_policy is silent, but a JointTrajectoryHorizon would play on after the '
            'last command; set stop_policy: hold, or use JointTrajectory'
        )
    if alone := [entry for spec in outputs for entry in spec.velocities_alone]:
        raise ParameterError(
            f'stop_policy is silent, but a velocity without a position would last after the last '
            f'command: {", ".join(alone)}; set stop_policy: hold, or send the positions with them'
        )


def check_horizon(outputs: Sequence[OutputSpec], settings: Settings) -> None:
    """Refuse two that interpolate the same plan.

    :raises ParameterError: naming both.
    """
    if _horizon(outputs) and settings.ticks_per_step > 1:
        raise ParameterError(
            f'command_rate is {settings.command_rate:g} Hz, but a JointTrajectoryHorizon is '
            f'interpolated by its controller; set command_rate: 0.0, or use another type of output'
        )


def _horizon(outputs: Sequence[OutputSpec]) -> bool:
    return any(spec.output_type.horizon for spec in outputs)
