"""The node's control loop beside a recording."""

from typing import Any

import numpy as np

from act_ros.control import Infer, LockStep, MotionMeter, State
from act_ros.evaluation.run.limits import LimitsObserver, unlimited
from act_ros.parameters import Settings
from act_ros.recording.ticks import Tick
from act_ros.task import Task


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
        self._lockstep = LockStep(
            settings, task, chunk_size, unlimited(task), latency, follows=False,
            unseen=(stride - 1) / task.rate,
        )  # fmt: skip
        self.loop = self._lockstep.loop
        self.limits = LimitsObserver(settings, task, stride)
        self.resets = 0
        self._task = task

    def look(self, tick: Tick, infer: Infer) -> np.ndarray | None:
        """Go through a tick.

        :returns: (action_dim,) the action before any limit, robot units; None if there is none.
        """
        loop = self.loop
        if tick.pause:
            self.limits.motion.pause()
        if loop.state is State.LATCHED and tick.snapshot is not None:
            # Where a person would call ~/reset: the recording goes on.
            self.resets += 1
            loop.new_episode()
        command = self._lockstep.tick(tick.time, tick.snapshot, tick.measured, infer)
        action = None
        if command is not None and command.action is not None:
            action = self._task.to_robot(command.action)
        self.limits.look(command, action, tick.measured, loop.episode)
        return action


def measured(motion: MotionMeter) -> dict[str, Any]:
    """What was measured of a motion, a number a position; NaN where nothing was."""
    return {
        'count': motion.count.tolist(),
        'jerk_rms': motion.jerk_rms.tolist(),
        'jerk_max': motion.jerk_max.tolist(),
        'seam': motion.seam.tolist(),
    }
