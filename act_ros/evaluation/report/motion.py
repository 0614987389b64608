"""The figures of motion: how smooth it would be, and what a latency and a fade do to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from act_ros.evaluation.report.scores import groups
from act_ros.evaluation.run.horizon import ErrorSums
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.task import Task

Measured = Mapping[str, Any]  # as `rehearsal.measured` has it


def motion(results: Sequence[EpisodeResult], task: Task) -> dict[str, Any]:
    """Jerk and seams of what would have been sent, and of what was recorded.

    What would have been sent is not known where ticks were left out. As a seam of the recording
    counts its largest change in any tick.
    """
    sent = [result.about['motion']['sent'] for result in results]
    recorded = [result.about['motion']['recorded'] for result in results]
    return {
        'sent': None if None in sent else _figures(sent, task),
        'recorded': _figures(recorded, task),
        'limit_hits': limit_hits([result.about['limits'] for result in results]),
    }


def sweep(
    results: Sequence[EpisodeResult], task: Task, std: np.ndarray, offset: int
) -> list[dict[str, Any]]:
    """A row for each latency and fade; errors are those of the main table's first group.

    :param std: of the action in training, (action_dim,), robot units.
    :param offset: between action and recording.
    """
    name, at = next(iter(groups(task).items()))
    sums = ErrorSums.total([result.sweep for result in results])
    place = sums.offsets.index(offset)
    count = sums.count[place][:, at].sum(axis=1)
    absolute = (sums.absolute[place] / std)[:, at].sum(axis=1)
    rows = []
    for i, parts in enumerate(zip(*(result.about['sweep'] for result in results), strict=True)):
        of = _figures([part['motion'] for part in parts], task)['groups'].get(name, {})
        seam = of.get('seam')
        rows.append({
            'latency_ms': parts[0]['latency'] * 1e3,
            'fade_s': parts[0]['fade'],
            'configured': parts[0]['configured'],
            'jerk_rms': of.get('jerk_rms'),
            'jerk_max': of.get('jerk_max'),
            'seam_mrad': None if seam is None else seam * 1e3,
            'limit_hits': limit_hits([part['limits'] for part in parts]),
            'error': float(absolute[i] / count[i]) if count[i] else None,
            'without_action': sum(part['without_action'] for part in parts),
        })  # fmt: skip
    return rows


def limit_hits(limits: Sequence[Mapping[str, Any]]) -> int:
    """How often a limit would have changed a command, of any kind and joint."""
    return sum(n for each in limits for joints in each['hits'].values() for n in joints.values())


def _figures(parts: Sequence[Measured], task: Task) -> dict[str, Any]:
    """Of several stretches of motion together, by group and by entry."""
    count, rms, jerk, seam = (
        np.array([part[name] for part in parts], dtype=float)
        for name in ('count', 'jerk_rms', 'jerk_max', 'seam')
    )
    squares = np.nansum(count * rms**2, axis=0)
    count = count.sum(axis=0)
    largest, seam = np.fmax.reduce(jerk, axis=0), np.fmax.reduce(seam, axis=0)
    positions = [i for i, entry in enumerate(task.action) if entry.quantity == 'position']
    names = [str(task.action[i]) for i in positions]

    def of(at: Sequence[int]) -> dict[str, Any]:
        known = count[at].sum()
        return {
            'jerk_rms': float(np.sqrt(squares[at].sum() / known)) if known else None,
            'jerk_max': _largest(largest[at]),
            'seam': _largest(seam[at]),
        }

    def worst(values: np.ndarray, at: Sequence[int]) -> str | None:
        return None if np.isnan(values[at]).all() else names[at[int(np.nanargmax(values[at]))]]

    found = {}
    for group, entries in groups(task).items():
        at = [positions.index(i) for i in entries if i in positions]
        if at:
            where = {'jerk_max_at': worst(largest, at), 'seam_at': worst(seam, at)}
            found[group] = {**of(at), **where}
    return {'groups': found, 'entries': {name: of([i]) for i, name in enumerate(names)}}


def _largest(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmax(values))
