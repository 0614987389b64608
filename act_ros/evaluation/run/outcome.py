"""What came of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from act_ros.evaluation.run.horizon import HorizonSums
from act_ros.evaluation.run.plan import Plan
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.policy.interface import Statistics
from act_ros.recording.command_faults import joined
from act_ros.task import Task


@dataclass
class Evaluation:
    """What came of a plan: the results there are, in the order of the jobs."""

    plan: Plan
    task: Task
    statistics: Mapping[str, Statistics]
    results: dict[int, EpisodeResult] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether it was interrupted before all was done."""
        interrupted = any(result.about['interrupted'] for result in self.results.values())
        return interrupted or len(self.results) < len(self.plan.jobs())

    def in_order(self) -> list[EpisodeResult]:
        """The results there are, in the order of the jobs."""
        return [self.results[number] for number in sorted(self.results)]

    def of(self, label: str) -> list[EpisodeResult]:
        """The results of a checkpoint that have ticks."""
        return [r for r in self.in_order() if r.about['checkpoint'] == label and r.about['looked']]

    def labels(self) -> list[str]:
        """Checkpoints with results."""
        return [label for label in self.plan.checkpoints if self.of(label)]

    def std(self, label: str) -> np.ndarray:
        """The action's deviation in training, (action_dim,), robot units.

        That of an entry which never moved is infinite: in deviations its error counts nothing.
        """
        std = self.statistics[label].action_std / np.abs(self.task.action_units[0])
        return np.where(std > 0, std, np.inf)

    def offset(self, label: str) -> int:
        """Between chunk and recording, as given or as it fits best."""
        if self.plan.offset is not None:
            return self.plan.offset
        return HorizonSums.total([r.sums for r in self.of(label)]).best(self.std(label))

    def commands(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Bag to what was recorded of the commands, see `RecordedCommands.about`."""
        episodes: dict[str, dict[int, dict[str, Any]]] = {}
        for result in self.in_order():  # the same for each checkpoint
            about = result.about
            episodes.setdefault(about['bag'], {})[about['start']] = about['commands']
        return {bag: joined(parts.values()) for bag, parts in episodes.items()}

    def damage(self) -> dict[str, list[str]]:
        """Bag to what is broken in it."""
        found: dict[str, list[str]] = {}
        for result in self.in_order():
            for text in result.about['damage']:
                texts = found.setdefault(result.about['bag'], [])
                if text not in texts:
                    texts.append(text)
        return found
