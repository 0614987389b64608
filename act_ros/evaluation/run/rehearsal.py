"""The node's control loop beside a recording."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from act_ros.control import (
    Arrival,
    ControlLoop,
    InferenceDelay,
    MotionMeter,
    State,
    oldest_behind,
)
from act_ros.evaluation.run.limits import LimitsObserver, unlimited
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.recording.ticks import Tick
from act_ros.task import Task

Infer = Callable[[Snapshot], np.ndarray | None]  # the chunk; None where inference fails


class Rehearsal:
    """The node's control loop on recorded ticks, with an inference that takes so long.

    :param settings: the node's parameters; its command_timeout counts as `patient` has it.
    :param latency: of a forward pass [s]; 0 = a chunk is there at once.
    :param stride: ticks between two that are looked at.
    :ivar resets: how often a person would have called ~/reset.
    :raises LimitError: the parameters' limits do not fit the task.
    """

    def __init__(
        self, settings: Settings, task: Task, chunk_size: int, latency: float, stride: int = 1
    ) -> None:
        self.loop = ControlLoop(
            patient(settings, latency), task, chunk_size, unlimited(task), follows=False,
            unseen=(stride - 1) / task.rate,
        )  # fmt: skip
        self.limits = LimitsObserver(settings, task, stride)
        self.resets = 0
        self._task = task
        self._delay = InferenceDelay(round(latency * 1e9)) if latency else None

    def look(self, tick: Tick, infer: Infer) -> np.ndarray | None:
        """Go through a tick.

        :returns: (action_dim,) the action before any limit, robot units; None if there is none.
        """
        loop = self.loop
        if tick.pause:
            self.limits.motion.pause()
        loop.begin_tick(tick.time)
        if loop.state is State.LATCHED and tick.snapshot is not None:
            # Where a person would call ~/reset: the recording goes on.
            self.resets += 1
            loop.new_episode()
            loop.begin_tick(tick.time)
        if self._delay is None:
            request = loop.request(tick.snapshot)
            if request is not None:
                loop.accept(Arrival(request, infer(request.snapshot)))
            command = loop.command(tick.measured)
        else:
            for request in self._delay.arrivals(tick.time):
                loop.accept(Arrival(request, infer(request.snapshot)))
            command = loop.command(tick.measured)
            request = loop.request(tick.snapshot)
            if request is not None:
                self._delay.submit(request, tick.time)
        action = None
        if command is not None and command.action is not None:
            action = self._task.to_robot(command.action)
        self.limits.look(command, action, tick.measured, loop.episode)
        return action


def patient(settings: Settings, latency: float) -> Settings:
    """The parameters with which the node would run: it refuses a time-out that is too short."""
    needed = oldest_behind(settings, latency) if latency else 0.0
    return replace(settings, command_timeout=max(settings.command_timeout, needed))


def measured(motion: MotionMeter) -> dict[str, Any]:
    """What was measured of a motion, a number a position; NaN where nothing was."""
    return {
        'count': motion.count.tolist(),
        'jerk_rms': motion.jerk_rms.tolist(),
        'jerk_max': motion.jerk_max.tolist(),
        'seam': motion.seam.tolist(),
    }
