"""What came of a plan, and its figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from act_ros.evaluation.episode import EpisodeResult, robot_std
from act_ros.evaluation.plan import Plan
from act_ros.evaluation.scores import best_offset, scores, timings
from act_ros.policy.interface import Statistics
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
        """The action's deviation in training, (action_dim,), robot units."""
        return robot_std(self.task, self.statistics[label])

    def offset(self, label: str) -> int:
        """Between chunk and recording, as given or as it fits best."""
        given = self.plan.offset
        return best_offset(self.of(label), self.std(label)) if given is None else given

    def damage(self) -> dict[str, list[str]]:
        """Bag to what is broken in it."""
        found: dict[str, list[str]] = {}
        for result in self.in_order():
            for text in result.about['damage']:
                texts = found.setdefault(result.about['bag'], [])
                if text not in texts:
                    texts.append(text)
        return found

    def metrics(self) -> dict[str, Any]:
        """Everything that `metrics.json` holds."""
        checkpoints = {}
        for label in self.labels():
            results, std, offset = self.of(label), self.std(label), self.offset(label)
            checkpoints[label] = {
                'ckpt_dir': self.plan.checkpoints[label]['ckpt_dir'],
                'offset': offset,
                'total': scores(results, self.task, std, offset),
                'episodes': [
                    {
                        **{k: r.about[k] for k in ('bag', 'episode', 'interrupted')},
                        'seconds': (r.about['stop'] - r.about['start']) / 1e9,
                        **scores([r], self.task, std, offset),
                        'timings': timings([r]),
                    }
                    for r in results
                ],
                'timings': timings(results),
            }
        empty = [
            {**{k: r.about[k] for k in ('bag', 'episode', 'checkpoint')}, 'why': why}
            for r in self.in_order()
            if (why := r.about.get('empty'))
        ]
        not_recorded = sorted({t for r in self.in_order() for t in r.about['not_recorded']})
        return {
            'task': self.task.name,
            'rate_hz': self.task.rate,
            'partial': self.partial,
            'episodes_done': len(self.results),
            'episodes_planned': len(self.plan.jobs()),
            'latency_ms': self.plan.options.latency * 1e3,
            'stride': self.plan.options.stride,
            'damage': self.damage(),
            'empty_episodes': empty,
            'topics_not_recorded': not_recorded,
            'checkpoints': checkpoints,
        }
