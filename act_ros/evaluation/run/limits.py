"""The node's limits beside an evaluation: how often they would have cut in."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from act_ros.errors import LimitError
from act_ros.safety import CommandLimiter, Limits
from act_ros.task import Task


@dataclass
class LimitsObserver:
    """How often the node's limits would have cut in, had it sent these actions."""

    task: Task
    limits: Limits
    stride: int  # ticks between two actions
    limiter: CommandLimiter = field(init=False)
    refused: dict[str, int] = field(default_factory=dict)  # joint outside, at how many ticks
    episode: int | None = None
    ticks: int = 0  # since the ramp began

    def __post_init__(self) -> None:
        # Between two actions the robot would have made as many steps.
        limits = replace(self.limits, max_step=self.limits.max_step * self.stride)
        self.limiter = CommandLimiter(self.task, limits, self.task.rate / self.stride)

    def look(self, action: np.ndarray, measured: np.ndarray | None, episode: int) -> None:
        """Take in one action of the loop's episode, (action_dim,) in the robot's units."""
        if episode != self.episode:
            if not self._start(measured):
                return
            self.episode, self.ticks = episode, 0
        self.limiter.limit(action, self.ticks / self.task.rate)
        self.ticks += self.stride

    def _start(self, measured: np.ndarray | None) -> bool:
        if self.limiter.last is not None:
            self.limiter.restart()
            return True
        if measured is None:
            return False
        try:
            self.limiter.start(measured)
        except LimitError as error:
            for joint in error.joints:
                self.refused[joint] = self.refused.get(joint, 0) + 1
            return False
        return True

    def about(self) -> dict[str, Any]:
        """Counts by kind of limit and joint, and why it would not have begun."""
        return {'hits': self.limiter.hits, 'refused': self.refused}


def unlimited(task: Task) -> Limits:
    """Limits that never cut in: the action before safety is what is scored."""
    joints = len(dict.fromkeys((entry.source, entry.name) for entry in task.action))
    high = np.full(joints, np.inf)
    return Limits(
        -high, high, high, high, high, np.zeros(joints, bool), range_tolerance=np.inf,
        ramp_time=0.0,
    )  # fmt: skip
