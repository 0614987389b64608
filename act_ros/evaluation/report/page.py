"""The report for people: one HTML file that needs nothing else and prints well."""

import base64
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.errors import ActError
from act_ros.evaluation.report import figures
from act_ros.evaluation.report.scores import aligned, worst
from act_ros.evaluation.run.outcome import Evaluation
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.files import whole
from act_ros.observation import ObservationStore
from act_ros.recording.command_faults import lines
from act_ros.recording.ticks import before

# Pictures of so many episodes; those with the largest error where there are more.
EPISODES = 6
# About one of the worst moments: this much before and after [s], of the worst entries.
AROUND, ENTRIES = 1.5, 4


def write_report(evaluation: Evaluation, metrics: Mapping[str, Any], path: Path) -> None:
    """Write the report, whole or not at all."""
    environment = Environment(
        loader=PackageLoader('act_ros.evaluation.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {'figure': _figure, 'filename': lambda text: PurePath(text).name}
    checkpoints, rate = metrics['checkpoints'], evaluation.task.rate
    horizons = {label: each['total']['horizon'] for label, each in checkpoints.items()}
    standing = next(iter(checkpoints.values()))['total']['horizon_standing']
    durations = {
        label: np.concatenate([result.durations for result in evaluation.of(label)])
        for label in evaluation.labels()
    }
    episodes = _episodes(evaluation, metrics)
    page = environment.get_template('report.html').render(
        metrics=metrics,
        checkpoints=checkpoints,
        bags=[bag.name for bag in evaluation.plan.bags],
        commands={bag: lines(about) for bag, about in metrics['recorded_commands'].items()},
        horizon=_data_url(figures.horizon(horizons, standing, rate)),
        episodes=len(episodes),
        trajectories=_trajectories(evaluation, episodes),
        worst=_worst(evaluation, metrics),
        sweeps={
            label: _data_url(_sweep(each)) for label, each in checkpoints.items() if each['sweep']
        },
        latencies=_data_url(figures.latencies(durations)),
    )
    with whole(path) as part:
        part.write_text(page, encoding='utf-8')


def _sweep(checkpoint: Mapping[str, Any]) -> bytes:
    group = next(iter(checkpoint['total']['groups']))
    recorded = checkpoint['motion']['recorded']['groups'].get(group, {})
    return figures.sweep(checkpoint['sweep'], group, recorded)


Episode = tuple[str, str, int]  # bag, name, start


def _episodes(
    evaluation: Evaluation, metrics: Mapping[str, Any]
) -> dict[Episode, dict[str, EpisodeResult]]:
    """What came of each episode by checkpoint; those with the largest error first, if many."""
    episodes: dict[Episode, dict[str, EpisodeResult]] = {}
    errors: dict[Episode, float] = {}
    for label in evaluation.labels():
        scored = metrics['checkpoints'][label]['episodes']
        for result, figure in zip(evaluation.of(label), scored, strict=True):
            key = result.about['bag'], result.about['episode'], result.about['start']
            episodes.setdefault(key, {})[label] = result
            known = [g['mae_normalised'] or 0.0 for g in figure['groups'].values()]
            errors[key] = max(errors.get(key, 0.0), *known)
    if len(episodes) <= EPISODES:
        return episodes
    return {key: episodes[key] for key in sorted(episodes, key=lambda key: -errors[key])}


def _trajectories(
    evaluation: Evaluation, episodes: Mapping[Episode, Mapping[str, EpisodeResult]]
) -> list[tuple[str, str]]:
    """Title and picture of the first episodes."""
    task = evaluation.task
    offsets = {label: evaluation.offset(label) for label in evaluation.labels()}
    return [
        (
            f'{PurePath(bag).name}, {name}',
            _data_url(figures.trajectories(task, results, offsets, task.rate)),
        )
        for (bag, name, _), results in list(episodes.items())[:EPISODES]
    ]


def _worst(evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The moments with the largest errors: figures, curves, and frames or why there are none."""
    moments = []
    for label in evaluation.labels():
        results, checkpoint = evaluation.of(label), metrics['checkpoints'][label]
        std, offset = evaluation.std(label), checkpoint['offset']
        found = worst(results, std, offset)
        for told, (i, row, _) in zip(checkpoint['worst'], found, strict=True):
            about, time = results[i].about, int(results[i].ticks['time'][row])
            try:
                frames, why = _frames(evaluation, label, about['bag'], time), ''
            except ActError as problem:
                frames, why = {}, str(problem)
            entries = _worst_entries(results[i], std, offset, row)
            curves = figures.moment(evaluation.task, results[i], offset, row, entries, AROUND)
            moments.append({
                'label': label, **told, 'frames': frames, 'why': why, 'curves': _data_url(curves)
            })  # fmt: skip
    return moments


def _worst_entries(
    result: EpisodeResult, std: np.ndarray, offset: int, row: int
) -> list[int]:
    """The entries that err most at a tick, the worst first."""
    error = np.abs(result.ticks['predicted'][row] - aligned(result, offset)[row]) / std
    known = np.flatnonzero(np.isfinite(error))
    return [int(i) for i in known[np.argsort(-error[known])][:ENTRIES]]


def _frames(evaluation: Evaluation, label: str, path: str, time: int) -> dict[str, str]:
    """The pictures that the policy saw at a tick, read again from the bag; by camera.

    :raises ActError: there are none.
    """
    task, settings = evaluation.task, evaluation.plan.checkpoints[label]
    store = ObservationStore.from_settings(settings, task)
    with Bag(path) as bag:
        topics = Topics(settings, task, bag, evaluation.plan.namespace)
        begin = time - before(settings)
        for topic, receipt, message in bag.messages(topics.inputs, begin, time + 1):
            for name in topics.inputs[topic]:
                store.put(name, message, receipt)
    snapshot, faults = store.snapshot(time)
    if snapshot is None:
        raise ActError('; '.join(faults.values()))
    frames = {}
    for name, pixels in snapshot.images().items():
        small = cv2.resize(pixels, (320, round(320 * pixels.shape[0] / pixels.shape[1])),
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        jpeg = cv2.imencode('.jpg', small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        frames[name] = _data_url(jpeg.tobytes(), 'jpeg')
    return frames


def _figure(value: float | None) -> str:
    return '–' if value is None else f'{value:.4g}'


def _data_url(data: bytes, image_format: str = 'png') -> str:
    return f'data:image/{image_format};base64,{base64.b64encode(data).decode("ascii")}'
