"""The report for people: one HTML file that needs nothing else and prints well."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.errors import ActError
from act_ros.evaluation.report import figures
from act_ros.evaluation.report.scores import worst
from act_ros.evaluation.run.outcome import Evaluation
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.evaluation.run.ticks import before
from act_ros.files import whole
from act_ros.observation import ObservationStore

# Pictures of so many episodes; those with the largest error where there are more.
EPISODES = 6

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #1c2329; max-width: 1080px;
       margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.5em; margin-bottom: 0.2em; } h2 { font-size: 1.15em; margin-top: 2em; }
h3 { font-size: 1em; margin: 1.2em 0 0.3em; }
table { border-collapse: collapse; margin: 0.6em 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22em 0.7em; border-bottom: 1px solid #dde2e6; text-align: right; }
th { font-weight: 600; background: #f3f5f7; } th:first-child, td:first-child { text-align: left; }
tr.best td { font-weight: 600; }
.note { color: #5b6770; }
.warn { background: #fff4d6; padding: 0.5em 0.8em; border-radius: 4px; }
img { max-width: 100%; } .frames { display: flex; gap: 0.5em; }
.frames figure { margin: 0; flex: 1; }
figcaption { font-size: 0.8em; color: #5b6770; }
@media print { body { margin: 0; max-width: none; font-size: 11px; }
  h2 { break-after: avoid; } img, table, .frames, figure { break-inside: avoid; } }
"""


def write_report(evaluation: Evaluation, metrics: Mapping[str, Any], path: Path) -> None:
    """Write the report, whole or not at all."""
    title = 'ACT policy on recorded runs'
    body = [
        f'<h1>{title}</h1>',
        *_head(evaluation, metrics),
        *_summary(metrics),
        *_offsets(metrics),
        *_horizon(evaluation, metrics),
        *_trajectories(evaluation, metrics),
        *_worst(evaluation, metrics),
        *_limits(metrics),
        *_skipped(metrics),
        *_latency(evaluation, metrics),
        *_entries(metrics),
    ]
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<style>{STYLE}</style></head><body>\n' + '\n'.join(body) + '\n</body></html>\n'
    )
    with whole(path) as part:
        part.write_text(page, encoding='utf-8')


def _head(evaluation: Evaluation, metrics: Mapping[str, Any]) -> Iterable[str]:
    bags = ', '.join(escape(bag.name) for bag in evaluation.plan.bags)
    late, stride = metrics['latency_ms'], metrics['stride']
    chunks = f'chunks {late:g} ms late' if late else 'chunks at once'
    every = f', every {stride} ticks' if stride > 1 else ''
    yield (
        f'<p class="note">Task {escape(metrics["task"])} at {metrics["rate_hz"]:g} Hz, '
        f'{chunks}{every}. Bags: {bags}.</p>'
    )
    if metrics['partial']:
        yield (
            f'<p class="warn"><b>Partial.</b> It was interrupted: '
            f'{metrics["episodes_done"]} of {metrics["episodes_planned"]} episodes are in it, the '
            f'last perhaps in part.</p>'
        )
    for bag, texts in metrics['damage'].items():
        for text in texts:
            yield f'<p class="warn"><b>{escape(Path(bag).name)}</b>: {escape(text)}</p>'
    for topic in metrics['topics_not_recorded']:
        yield (
            f'<p class="warn">{escape(topic)} was not recorded: what is sent there cannot be '
            f'scored.</p>'
        )
    for empty in metrics['empty_episodes']:
        yield (
            f'<p class="warn">{escape(empty["episode"])} of {escape(Path(empty["bag"]).name)} has '
            f'no complete observation: {escape(empty["why"])}</p>'
        )


def _summary(metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>Summary</h2>'
    yield (
        '<p class="note">Mean absolute error of the aggregated action against the recorded '
        "command, in the robot's units; in brackets in standard deviations of the training "
        'actions. A policy is of use only if it beats both of the last lines of its table.</p>'
    )
    for label, checkpoint in metrics['checkpoints'].items():
        total = checkpoint['total']
        names = list(total['groups'])
        rows = [_group_row('policy', total['groups'], best=True)]
        rows += [_group_row(name, groups) for name, groups in total['baselines'].items()]
        yield f'<h3>{escape(label)}</h3>'
        yield _table(['', *names], rows)
        ticks = total['ticks']
        yield (
            f'<p>{ticks["scored"]} ticks scored of {ticks["looked"]}; {ticks["skipped"]} skipped '
            f'for want of a complete observation, {ticks["without_action"]} without an action, '
            f'{ticks["not_commanded"]} at which nobody commanded the robot. '
            f'Recorded actions are compared with offset {checkpoint["offset"]}.</p>'
        )
        if len(checkpoint['episodes']) > 1:
            rows = [
                _group_row(f'{Path(e["bag"]).name}, {e["episode"]}', e['groups'])
                for e in checkpoint['episodes']
            ]
            yield _table(['episode', *names], rows)
        jerk = total['jerk']
        rows = [_row(who, *(_figure(jerk[who].get(name)) for name in names)) for who in jerk]
        yield '<p class="note">Smoothness: mean absolute jerk (third derivative of an entry).</p>'
        yield _table(['', *names], rows)


def _offsets(metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>Which recorded action a chunk lines up with</h2>'
    yield (
        '<p class="note">Root mean square error of a chunk\'s first entries, in standard '
        'deviations, if entry i at tick t is compared with the recorded action of t + i - d.</p>'
    )
    scans = {label: c['total']['offset_scan'] for label, c in metrics['checkpoints'].items()}
    names = list(next(iter(scans.values())))
    rows = [_row(label, *(_figure(scan[d]) for d in names)) for label, scan in scans.items()]
    yield _table(['d', *names], rows)


def _horizon(evaluation: Evaluation, metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>Error against look-ahead</h2>'
    curves = {label: c['total']['horizon'] for label, c in metrics['checkpoints'].items()}
    yield _image(figures.horizon(curves, evaluation.task.rate), 'error against look-ahead')


def _trajectories(evaluation: Evaluation, metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>Predicted against recorded</h2>'
    yield '<p class="note">Grey: ticks without a complete observation.</p>'
    episodes: dict[tuple[str, str, int], dict[str, EpisodeResult]] = {}
    errors: dict[tuple[str, str, int], float] = {}
    for label in evaluation.labels():
        scored = metrics['checkpoints'][label]['episodes']
        for result, figure in zip(evaluation.of(label), scored, strict=True):
            key = result.about['bag'], result.about['episode'], result.about['start']
            episodes.setdefault(key, {})[label] = result
            known = [g['mae_normalised'] or 0.0 for g in figure['groups'].values()]
            errors[key] = max(errors.get(key, 0.0), *known)
    shown = list(episodes)
    if len(shown) > EPISODES:
        shown = sorted(shown, key=lambda key: -errors[key])[:EPISODES]
        yield f'<p>The {EPISODES} of {len(episodes)} episodes with the largest error.</p>'
    offsets = {label: evaluation.offset(label) for label in evaluation.labels()}
    for key in shown:
        bag, name, _ = key
        yield f'<h3>{escape(Path(bag).name)}, {escape(name)}</h3>'
        picture = figures.trajectories(
            evaluation.task, episodes[key], offsets, evaluation.task.rate
        )
        yield _image(picture, f'predicted against recorded, {name}')


def _worst(evaluation: Evaluation, metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>Worst moments</h2>'
    for label in evaluation.labels():
        results, offset = evaluation.of(label), metrics['checkpoints'][label]['offset']
        for i, row, error in worst(results, evaluation.std(label), offset):
            about, time = results[i].about, int(results[i].ticks['time'][row])
            seconds = (time - about['bag_start']) / 1e9
            yield (
                f'<h3>{escape(label)}: {escape(Path(about["bag"]).name)}, '
                f'{escape(about["episode"])}, {seconds:.2f} s into the bag, mean error '
                f'{error:.2f} std</h3>'
            )
            yield _frames(evaluation, label, about, time)


def _frames(evaluation: Evaluation, label: str, about: Mapping[str, Any], time: int) -> str:
    """The pictures that the policy saw at a tick, read again from the bag."""
    task, settings = evaluation.task, evaluation.plan.checkpoints[label]
    try:
        bag = Bag(about['bag'])
        topics = Topics(settings, task, bag, evaluation.plan.namespace)
        store = ObservationStore.from_settings(settings, task)
        begin = time - before(settings)
        for topic, receipt, message in bag.messages(topics.inputs, begin, time + 1):
            for name in topics.inputs[topic]:
                store.put(name, message, receipt)
        snapshot, faults = store.snapshot(time)
        if snapshot is None:
            return f'<p class="note">no pictures: {escape("; ".join(faults.values()))}</p>'
        images = snapshot.images()
    except ActError as error:
        return f'<p class="note">no pictures: {escape(str(error))}</p>'
    parts = []
    for name, pixels in images.items():
        small = cv2.resize(pixels, (320, round(320 * pixels.shape[0] / pixels.shape[1])),
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        jpeg = cv2.imencode('.jpg', small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        parts.append(
            f'<figure>{_image(jpeg.tobytes(), name, "jpeg")}'
            f'<figcaption>{escape(name)}</figcaption></figure>'
        )
    return f'<div class="frames">{"".join(parts)}</div>'


def _limits(metrics: Mapping[str, Any]) -> Iterable[str]:
    yield "<h2>The node's limits</h2>"
    for label, checkpoint in metrics['checkpoints'].items():
        limits, ticks = checkpoint['total']['limits'], checkpoint['total']['ticks']
        joints = sorted({joint for counts in limits['hits'].values() for joint in counts})
        yield f'<h3>{escape(label)}</h3>'
        for text, count in limits['refused'].items():
            yield (
                f'<p class="warn">At {count} ticks the node would not have begun: '
                f'{escape(text)} stood outside its range.</p>'
            )
        if not joints:
            yield '<p>No limit would have changed a command.</p>'
            continue
        yield (
            f'<p class="note">Of {ticks["looked"]} ticks, at how many a limit would have changed '
            f'the command.</p>'
        )
        rows = [
            _row(joint, *(counts.get(joint, 0) for counts in limits['hits'].values()))
            for joint in joints
        ]
        yield _table(['entry', *limits['hits']], rows)


def _skipped(metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>What was skipped, and why</h2>'
    for label, checkpoint in metrics['checkpoints'].items():
        skipped, ticks = checkpoint['total']['skipped'], checkpoint['total']['ticks']
        yield f'<h3>{escape(label)}</h3>'
        yield (
            f'<p>{ticks["skipped"]} of {ticks["looked"]} ticks; commands would have stopped '
            f'{ticks["stops"]} times, {ticks["resets"]} of them until a person calls ~/reset. '
            f'{ticks["chunks_late"]} chunks came when all they cover was past.</p>'
        )
        if ticks['paused_s']:
            yield (
                f'<p class="note">Nothing was recorded for {ticks["paused_s"]:.0f} s, beyond a '
                f'minute each time: no ticks were made there.</p>'
            )
        if skipped:
            rows = [_row(name, fault['ticks'], fault['first']) for name, fault in skipped.items()]
            yield _table(['input', 'ticks', 'first said'], rows)


def _latency(evaluation: Evaluation, metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>Inference</h2>'
    rows = []
    for label, checkpoint in metrics['checkpoints'].items():
        known = checkpoint['timings']
        times = (_figure(known[f'inference_{which}_ms']) for which in ('p50', 'p99'))
        rows.append(_row(label, known['inferences'], *times))
    yield _table(['', 'passes', 'p50 [ms]', 'p99 [ms]'], rows)
    durations = {
        label: np.concatenate([result.durations for result in evaluation.of(label)])
        for label in evaluation.labels()
    }
    yield _image(figures.latencies(durations), 'histogram of inference times')


def _entries(metrics: Mapping[str, Any]) -> Iterable[str]:
    yield '<h2>Every entry of the action</h2>'
    for label, checkpoint in metrics['checkpoints'].items():
        yield f'<h3>{escape(label)}</h3>'
        keys = ('mae', 'rmse', 'max', 'mae_normalised', 'rmse_normalised')
        rows = [
            _row(name, *(_figure(errors[key]) for key in keys), errors['count'])
            for name, errors in checkpoint['total']['entries'].items()
        ]
        yield _table(['entry', 'MAE', 'RMSE', 'max', 'MAE [std]', 'RMSE [std]', 'ticks'], rows)


# --- small parts -----------------------------------------------------------------------------


def _group_row(name: str, groups: Mapping[str, Any], *, best: bool = False) -> str:
    cells = (f'{_figure(g["mae"])} ({_figure(g["mae_normalised"])})' for g in groups.values())
    return _row(name, *cells, kind='best' if best else '')


def _row(*cells: object, kind: str = '') -> str:
    content = ''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)
    return f'<tr class="{kind}">{content}</tr>' if kind else f'<tr>{content}</tr>'


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = ''.join(f'<th>{escape(text)}</th>' for text in head)
    return f'<table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _figure(value: float | None) -> str:
    return '–' if value is None else f'{value:.4g}'


def _image(data: bytes, alt: str, kind: str = 'png') -> str:
    text = base64.b64encode(data).decode('ascii')
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{text}">'
