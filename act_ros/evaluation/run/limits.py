"""The node's limits beside an evaluation: what it would have sent."""

from dataclasses import replace
from typing import Any

import numpy as np

from act_ros.control import Command, MotionMeter
from act_ros.errors import LimitError
from act_ros.parameters import Settings
from act_ros.safety import CommandLimiter, Limits
from act_ros.task import Task


class LimitsObserver:
    """What the node's limits make of actions: how often they cut in, and how smooth that is.

    A limit that is not given, without which the node would not begin, cuts in nowhere.

    :param settings: the node's parameters.
    :param stride: ticks between two actions.
    :ivar motion: of what the node would have sent; of use with every tick only.
    :raises LimitError: the parameters' limits do not fit the task.
    """

    def __init__(self, settings: Settings, task: Task, stride: int) -> None:
        limits = Limits.from_settings(settings, task, complete=False)
        # Between two actions the robot would have made as many steps.
        limits = replace(limits, max_step=limits.max_step * stride)
        self._limiter = CommandLimiter(task, limits, task.rate / stride)
        self.motion = MotionMeter(task, task.rate, settings.continuous)
        self._hold = settings.stop_policy == 'hold'
        self._rate = task.rate
        self._refused: dict[str, int] = {}  # joint outside, at how many ticks
        self._episode: int | None = None
        self._first_step = 0  # of that episode with a command, where the ramp begins

    def look(
        self,
        command: Command | None,
        action: np.ndarray | None,
        measured: np.ndarray | None,
        episode: int,
    ) -> None:
        """Take in what the loop commands at a tick.

        :param action: (action_dim,) the command's, robot units; None for the stop message.
        :param measured: (positions,) where the joints were; None if unknown.
        :param episode: the loop's.
        """
        if command is not None and self._sends(command, action, measured, episode):
            self.motion.look(self._limiter.known_last, command.chunk_steps)
        else:
            self.motion.pause()

    def _sends(
        self,
        command: Command,
        action: np.ndarray | None,
        measured: np.ndarray | None,
        episode: int,
    ) -> bool:
        if action is None:
            if self._limiter.last is None:  # it would not have begun
                return False
            self._limiter.hold()
            return True
        if episode != self._episode:
            if not self._start(action, measured):
                return False
            self._episode, self._first_step = episode, command.step
        self._limiter.limit(action, (command.step - self._first_step) / self._rate)
        return True

    def _start(self, action: np.ndarray, measured: np.ndarray | None) -> bool:
        """Start the ramp as the node does: at the command that is held, else at the pose."""
        if self._limiter.last is not None and self._hold:
            self._limiter.restart()
            return True
        if measured is None:
            return False
        try:
            self._limiter.start(measured, action)
        except LimitError as error:
            for joint in error.joints:
                self._refused[joint] = self._refused.get(joint, 0) + 1
            return False
        return True

    def about(self) -> dict[str, Any]:
        """Counts by kind of limit and joint, of ticks, and why it would not have begun."""
        return {
            'hits': self._limiter.hits,
            'limited_ticks': self._limiter.limited_actions,
            'refused': self._refused,
        }


def unlimited(task: Task) -> Limits:
    """Limits that never cut in: the action before safety is what is scored."""
    joints = len(dict.fromkeys((entry.source, entry.name) for entry in task.action))
    high = np.full(joints, np.inf)
    return Limits(
        -high, high, high, high, high, high, np.zeros(joints, bool), range_tolerance=np.inf,
        ramp_time=0.0,
    )  # fmt: skip
