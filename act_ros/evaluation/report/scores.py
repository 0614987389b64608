"""From the results of episodes to figures that a reader can judge."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from act_ros.evaluation.run.horizon import HorizonSums
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.task import Task


def groups(task: Task) -> dict[str, list[int]]:
    """Entries that are told together: joint positions, gripper, velocities."""
    found: dict[str, list[int]] = {'joint positions': [], 'gripper': [], 'velocities': []}
    for i, entry in enumerate(task.action):
        if entry.quantity == 'velocity':
            found['velocities'].append(i)
        elif entry.is_gripper:
            found['gripper'].append(i)
        else:
            found['joint positions'].append(i)
    return {name: places for name, places in found.items() if places}


def aligned(result: EpisodeResult, offset: int) -> np.ndarray:
    """The recorded action that each tick looked at is compared with, (ticks, action_dim)."""
    places = result.ticks['index'].astype(int) - offset
    inside = (places >= 0) & (places < len(result.recorded))
    rows = np.full((len(places), result.recorded.shape[1]), np.nan)
    rows[inside] = result.recorded[places[inside]]
    return rows


def scores(
    results: Sequence[EpisodeResult], task: Task, std: np.ndarray, offset: int
) -> dict[str, Any]:
    """All figures of some episodes together.

    :param std: of the action in training, (action_dim,), robot units.
    :param offset: between chunk and recording.
    """
    predicted = np.concatenate([result.ticks['predicted'] for result in results])
    complete = np.concatenate([result.ticks['complete'] for result in results])
    recorded = np.concatenate([aligned(result, offset) for result in results])
    # Skipped ticks are not scored, whatever the chunks held would have said of them.
    predicted = np.where(complete[:, None], predicted, np.nan)
    known = np.where(np.isfinite(predicted), recorded, np.nan)
    error = predicted - known
    sums = HorizonSums.total([result.sums for result in results])
    standing = HorizonSums.total([_standing(result, task, offset) for result in results])
    named = groups(task)
    hold = np.concatenate([_hold(task, _first(result)) for result in results])
    return {
        'ticks': _ticks(results, predicted, error),
        'entries': {
            str(entry): _errors(error[:, [i]], std[[i]]) for i, entry in enumerate(task.action)
        },
        'groups': {name: _errors(error[:, at], std[at]) for name, at in named.items()},
        'baselines': {
            'hold the pose': {n: _errors((hold - known)[:, at], std[at])
                              for n, at in named.items()},
            'mean of the recording': {n: _errors((_mean(known) - known)[:, at], std[at])
                                      for n, at in named.items()},
        },
        'horizon': {name: _horizon(sums, offset, at, std) for name, at in named.items()},
        'horizon_standing': {
            name: _horizon(standing, offset, at, std) for name, at in named.items()
        },
        'offset_scan': {str(d): _number(e) for d, e in sums.scan(std).items()},
        'limits': _limits(results),
        'skipped': _faults(results),
    }  # fmt: skip


def timings(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Of the forward passes, an observation each."""
    durations = np.concatenate([result.durations for result in results])
    if not len(durations):
        return {'inferences': 0, 'inference_p50_ms': None, 'inference_p99_ms': None}
    p50, p99 = np.percentile(durations, (50, 99)) * 1e3
    return {
        'inferences': len(durations),
        'inference_p50_ms': float(p50),
        'inference_p99_ms': float(p99),
    }


def worst(
    results: Sequence[EpisodeResult], std: np.ndarray, offset: int, count: int = 3
) -> list[tuple[int, int, float]]:
    """The moments with the largest error, one second apart at least.

    :returns: result, row of its ticks, and mean absolute error in units of `std`.
    """
    found = []
    for i, result in enumerate(results):
        error = np.abs(result.ticks['predicted'] - aligned(result, offset)) / std
        error[~result.ticks['complete']] = np.nan
        known = np.isfinite(error)
        sums = np.where(known, error, 0).sum(axis=1)
        means = np.divide(sums, known.sum(axis=1), out=np.full(len(sums), -1.0),
                          where=known.any(axis=1))  # fmt: skip
        for _ in range(count):
            row = int(np.argmax(means)) if len(means) else -1
            if row < 0 or means[row] < 0:
                break
            found.append((i, row, float(means[row])))
            times = result.ticks['time']
            means[np.abs(times - times[row]) < 1_000_000_000] = -1
    return sorted(found, key=lambda item: -item[2])[:count]


def _errors(error: np.ndarray, std: np.ndarray) -> dict[str, Any]:
    """Of (ticks, entries) errors: in physical units, and in those of `std`."""
    values: dict[str, Any] = {'count': int(np.isfinite(error).sum())}
    for suffix, scaled in (('', error), ('_normalised', error / std)):
        known = np.abs(scaled[np.isfinite(scaled)])
        some = len(known) > 0
        values[f'mae{suffix}'] = float(known.mean()) if some else None
        values[f'rmse{suffix}'] = float(np.sqrt((known**2).mean())) if some else None
        values[f'max{suffix}'] = float(known.max()) if some else None
    return values


def _first(result: EpisodeResult) -> np.ndarray:
    """Where the joints stood when the episode began, for each of its ticks, (ticks, positions)."""
    measured = result.ticks['measured']
    known = np.flatnonzero(np.isfinite(measured).all(axis=1))
    first = measured[known[0]] if len(known) else np.full(measured.shape[1], np.nan)
    return np.tile(first, (len(measured), 1))


def _standing(result: EpisodeResult, task: Task, offset: int) -> HorizonSums:
    """Errors of chunks that stay where the robot is seen at their tick."""
    size = result.sums.count.shape[1]
    sums = HorizonSums([offset], size, task.action_dim)
    ticks, recorded = result.ticks, result.recorded
    looked = ticks['index'][ticks['complete']].astype(int)
    actions = _hold(task, ticks['measured'][ticks['complete']])
    for i in range(size):  # all ticks at once: there are more of them
        places = looked + i - offset
        inside = (places >= 0) & (places < len(recorded))
        error = actions[inside] - recorded[places[inside]]
        known = np.isfinite(error)
        error = np.where(known, error, 0.0)
        sums.count[0, i] = known.sum(axis=0)
        sums.absolute[0, i] = np.abs(error).sum(axis=0)
        sums.square[0, i] = (error**2).sum(axis=0)
    return sums


def _hold(task: Task, measured: np.ndarray) -> np.ndarray:
    """The action that is where the joints are, at rest, (ticks, action_dim)."""
    action = np.zeros((len(measured), task.action_dim))
    positions = [i for i, entry in enumerate(task.action) if entry.quantity == 'position']
    action[:, positions] = measured
    return action


def _mean(recorded: np.ndarray) -> np.ndarray:
    known = np.isfinite(recorded)
    sums = np.where(known, recorded, 0).sum(axis=0)
    return np.divide(sums, known.sum(axis=0), out=np.full(len(sums), np.nan),
                     where=known.any(axis=0))  # fmt: skip


def _horizon(sums: HorizonSums, offset: int, at: list[int], std: np.ndarray) -> dict[str, Any]:
    """Errors against look-ahead, one value an entry of the chunk."""
    i = sums.offsets.index(offset)
    count = sums.count[i][:, at].sum(axis=1)

    def mean(values: np.ndarray) -> list[float | None]:
        total = values[:, at].sum(axis=1)
        return [float(t / n) if n else None for t, n in zip(total, count, strict=True)]

    def root(values: np.ndarray) -> list[float | None]:
        return [None if v is None else float(np.sqrt(v)) for v in mean(values)]

    return {
        'mae': mean(sums.absolute[i]),
        'rmse': root(sums.square[i]),
        'mae_normalised': mean(sums.absolute[i] / std),
        'rmse_normalised': root(sums.square[i] / std**2),
    }


def _ticks(
    results: Sequence[EpisodeResult], predicted: np.ndarray, error: np.ndarray
) -> dict[str, float]:
    looked = sum(result.about['looked'] for result in results)
    complete = sum(int(result.ticks['complete'].sum()) for result in results)
    acted = int(np.isfinite(predicted).all(axis=1).sum())
    return {
        'grid': sum(result.about['grid'] for result in results),
        'looked': looked,
        'skipped': looked - complete,
        'without_action': complete - acted,
        'scored': int(np.isfinite(error).any(axis=1).sum()),
        'not_commanded': acted - int(np.isfinite(error).any(axis=1).sum()),
        'stops': sum(result.about['stops'] for result in results),
        'resets': sum(result.about['resets'] for result in results),
        'paused_s': sum(result.about['paused_s'] for result in results),
        'chunks_late': sum(result.about['chunks_late'] for result in results),
    }


def _limits(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    hits: dict[str, dict[str, int]] = {}
    refused: dict[str, int] = {}
    for result in results:
        for kind, counts in result.about['limits']['hits'].items():
            for joint, count in counts.items():
                hits.setdefault(kind, {}).setdefault(joint, 0)
                hits[kind][joint] += count
        for text, count in result.about['limits']['refused'].items():
            refused[text] = refused.get(text, 0) + count
    limited = sum(result.about['limits']['limited_ticks'] for result in results)
    return {'hits': hits, 'limited_ticks': limited, 'refused': refused}


def _faults(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    faults: dict[str, dict[str, Any]] = {}
    for result in results:
        for name, fault in result.about['faults'].items():
            known = faults.setdefault(name, {'ticks': 0, 'first': fault['first']})
            known['ticks'] += fault['ticks']
    return faults


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
