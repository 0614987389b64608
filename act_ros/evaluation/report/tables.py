"""Results as numbers for programs: `metrics.json` and `ticks.csv`."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.evaluation.report.scores import aligned
from act_ros.evaluation.run.outcome import Evaluation
from act_ros.files import whole


def write_metrics(metrics: Mapping[str, Any], path: Path) -> None:
    """Write figures as JSON; what is not known is null, never NaN."""
    with whole(path) as part:
        part.write_text(json.dumps(metrics, indent=1, allow_nan=False), encoding='utf-8')


def write_ticks(evaluation: Evaluation, path: Path) -> None:
    """Write every tick that was looked at as a line; what is not known is empty.

    `recorded` is what the tick's action is compared with: moved by the offset.
    """
    task = evaluation.task
    with whole(path) as part, part.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(
            ['checkpoint', 'bag', 'episode', 'tick', 'time_ns', 'complete']
            + [f'stamp_ns/{name}' for name in (*task.cameras, *task.sources)]
            + [f'qpos/{entry}' for entry in task.state]
            + [f'{what}/{entry}' for what in ('recorded', 'predicted') for entry in task.action]
        )
        for label in evaluation.labels():
            writer.writerows(_rows(evaluation, label))


def _rows(evaluation: Evaluation, label: str) -> Iterator[list[object]]:
    offset = evaluation.offset(label)
    for result in evaluation.of(label):
        names = [label, result.about['bag'], result.about['episode']]
        ticks, recorded = result.ticks, aligned(result, offset)
        for i, index in enumerate(ticks['index']):
            numbers = np.concatenate((ticks['qpos'][i], recorded[i], ticks['predicted'][i]))
            yield [
                *names,
                int(index),
                int(ticks['time'][i]),
                int(ticks['complete'][i]),
                *(int(stamp) or '' for stamp in ticks['stamps'][i]),
                *(f'{x:.9g}' if np.isfinite(x) else '' for x in numbers),
            ]
