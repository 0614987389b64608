"""The report's pictures, as PNG without a background: the page is light or dark."""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from act_ros.evaluation.report.scores import aligned
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.task import Task

RECORDED, MARK = '#8f99a1', '#c44e17'
COLOURS = ('#1668a8', '#c44e17', '#2c8a4b', '#8a3fa0', '#9a7d0a', '#5a6b7b')


def trajectories(
    task: Task, results: Mapping[str, EpisodeResult], offsets: Mapping[str, int], rate: float
) -> bytes:
    """Predicted against recorded of one episode, each entry in a plot of its own.

    Each prediction stands beside what it is compared with, whatever the checkpoint's offset.

    :param results: of the same episode, by checkpoint.
    :param offsets: between chunk and recording, by checkpoint [ticks].
    """
    columns = 2
    rows = -(-task.action_dim // columns)
    height = 1.35 * rows + 0.6
    figure = Figure(figsize=(11, height))
    # By hand, as all here: a constrained layout takes longer than the drawing.
    figure.subplots_adjust(
        left=0.045, right=0.99, bottom=0.4 / height, top=1 - 0.25 / height, hspace=0.35, wspace=0.1
    )
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    first = next(iter(results))
    for i, entry in enumerate(task.action):
        axis = axes[i]
        ticks = results[first].ticks
        seconds = ticks['index'] / rate
        recorded = aligned(results[first], 0)[:, i]
        axis.plot(seconds, recorded, color=RECORDED, lw=2.4, label='recorded')
        for colour, (label, result) in zip(_colours(), results.items(), strict=False):
            predicted = np.where(result.ticks['complete'], result.ticks['predicted'][:, i], np.nan)
            moved = (result.ticks['index'] - offsets[label]) / rate
            axis.plot(moved, predicted, color=colour, lw=0.9,
                      label=_plain(label))  # fmt: skip
        axis.fill_between(
            seconds, 0, 1, where=~ticks['complete'], color='#808080', alpha=0.3, lw=0,
            transform=axis.get_xaxis_transform(),
        )  # fmt: skip
        axis.set_title(_plain(str(entry)), fontsize=7, loc='left', pad=2, y=1.0)
        axis.tick_params(labelsize=6)
        axis.grid(alpha=0.25, lw=0.5)
    for axis in axes[task.action_dim :]:
        axis.set_axis_off()
    for axis in axes[max(0, task.action_dim - columns) : task.action_dim]:
        axis.set_xlabel('s', fontsize=7)
    axes[0].legend(fontsize=6, loc='upper right', ncol=3)
    return _png(figure)


def moment(
    task: Task, result: EpisodeResult, offset: int, row: int, entries: Sequence[int], around: float
) -> bytes:
    """Predicted against recorded about one tick, of some entries.

    :param offset: between chunk and recording [ticks].
    :param row: of the tick in the result's ticks.
    :param around: how much is drawn before and after it [s].
    """
    ticks = result.ticks
    seconds = (ticks['time'] - ticks['time'][row]) / 1e9
    near = np.abs(seconds) <= around
    recorded = aligned(result, offset)
    predicted = np.where(ticks['complete'][:, None], ticks['predicted'], np.nan)
    height = 1.15 * len(entries) + 0.4
    figure = Figure(figsize=(6.2, height))
    figure.subplots_adjust(
        left=0.09, right=0.985, bottom=0.4 / height, top=1 - 0.22 / height, hspace=0.45
    )
    axes = figure.subplots(len(entries), 1, sharex=True, squeeze=False).ravel()
    for axis, i in zip(axes, entries, strict=True):
        axis.plot(seconds[near], recorded[near, i], color=RECORDED, lw=2.4, label='recorded')
        axis.plot(seconds[near], predicted[near, i], color=COLOURS[0], lw=1.1, label='predicted')
        axis.axvline(0, color=MARK, lw=0.8)
        axis.set_title(_plain(str(task.action[i])), fontsize=8, loc='left', pad=2, y=1.0)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25, lw=0.5)
    axes[-1].set_xlabel('s from this moment', fontsize=8)
    axes[0].legend(fontsize=7, loc='upper right', ncol=2, bbox_to_anchor=(1, 1.32), frameon=False)
    return _png(figure)


def horizon(
    curves: Mapping[str, Mapping[str, Any]], standing: Mapping[str, Any], rate: float
) -> bytes:
    """Error against look-ahead, by group and checkpoint.

    :param curves: checkpoint to `scores()['horizon']`.
    :param standing: `scores()['horizon_standing']` of the first one.
    """
    names = list(next(iter(curves.values())))
    figure, axes = _panels(len(names), 3.7, 2.6)
    every = {**curves, 'standing still': standing}
    for axis, name in zip(axes, names, strict=True):
        still = _floats(standing[name]['mae_normalised'])
        axis.plot(np.arange(len(still)) / rate, still, color='#5b6770', ls='--', lw=1.2,
                  label='standing still')  # fmt: skip
        for colour, (label, groups) in zip(_colours(), curves.items(), strict=False):
            values = _floats(groups[name]['mae_normalised'])
            axis.plot(np.arange(len(values)) / rate, values, color=colour,
                      label=_plain(label))  # fmt: skip
        axis.set_title(name, fontsize=8, y=1.0)
        axis.set_xlabel('look-ahead [s]', fontsize=7)
        axis.set_ylabel('mean error [std]', fontsize=7)
        _from_zero(axis, [v for groups in every.values() for v in groups[name]['mae_normalised']])
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25, lw=0.5)
    axes[0].legend(fontsize=7, loc='best')
    return _png(figure)


def sweep(rows: Sequence[Mapping[str, Any]], group: str, recorded: Mapping[str, Any]) -> bytes:
    """Seam, jerk and error against latency, a line a fade.

    :param rows: of a checkpoint, as `motion.sweep` has them.
    :param group: of the action's entries that they are of.
    :param recorded: figures of the recording, to compare.
    """
    panels = {
        'seam_mrad': 'largest seam [mrad]',
        'jerk_rms': 'jerk, rms [rad/s³]',
        'error': f'mean error, {group} [std]',
    }
    seam = recorded.get('seam')
    known_of_recording = {
        'seam_mrad': None if seam is None else 1e3 * seam, 'jerk_rms': recorded.get('jerk_rms'),
    }  # fmt: skip
    late = sorted({row['latency_ms'] for row in rows})
    fades = sorted({row['fade_s'] for row in rows})
    figure, axes = _panels(len(panels), 3.7, 3.6, below=0.35)
    for axis, (key, title) in zip(axes, panels.items(), strict=True):
        for colour, fade in zip(_colours(), fades, strict=False):
            of = {row['latency_ms']: row for row in rows if row['fade_s'] == fade}
            configured = of[late[0]]['configured']
            axis.plot(
                late, _floats([of[latency][key] for latency in late]), color=colour,
                marker='o', ms=6 if configured else 4, lw=2.4 if configured else 1.2,
                label=f'fade {fade:g} s' + (' (configured)' if configured else ''),
            )  # fmt: skip
        level = known_of_recording.get(key)
        if level is not None:
            axis.axhline(level, color='#5b6770', ls='--', lw=1, label='recorded')
        axis.set_title(title, fontsize=9, loc='left', y=1.0)
        axis.set_xlabel('latency [ms]', fontsize=8)
        values = [row[key] for row in rows]
        if key == 'jerk_rms' and any(values):  # fades differ by orders of magnitude
            axis.set_yscale('log')
        else:
            _from_zero(axis, [*values, level])
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25, lw=0.5)
    lines, labels = axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, fontsize=8, loc='lower center', ncol=len(lines))
    return _png(figure)


def latencies(durations: Mapping[str, np.ndarray]) -> bytes:
    """Histogram of the forward passes, an observation each.

    :param durations: by checkpoint [s].
    """
    figure, [axis] = _panels(1, 6, 2.4)
    known = [d for d in durations.values() if len(d)]
    top = max((np.percentile(d, 99.5) for d in known), default=1.0) * 1.05e3
    for colour, (label, values) in zip(_colours(), durations.items(), strict=False):
        axis.hist(values * 1e3, bins=60, range=(0, top), histtype='stepfilled', alpha=0.5,
                  color=colour, label=_plain(label))  # fmt: skip
    axis.set_xlabel('ms an observation', fontsize=8)
    axis.set_ylabel('passes', fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, loc='upper right')
    return _png(figure)


def _panels(
    count: int, width: float, height: float, below: float = 0.0
) -> tuple[Figure, Sequence[Axes]]:
    """Plots in a row, with room for their labels.

    :param width: of each [inch].
    :param height: of all [inch].
    :param below: of it, for a legend of all.
    """
    left, right, top, bottom = 0.6, 0.15, 0.3, 0.5 + below
    figure = Figure(figsize=(count * width, height))
    figure.subplots_adjust(
        left=left / (count * width), right=1 - right / (count * width), bottom=bottom / height,
        top=1 - top / height, wspace=(left + right) / (width - left - right),
    )  # fmt: skip
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _from_zero(axis: Axes, values: Iterable[float | None]) -> None:
    """Let the axis of some values begin at 0, and end a little above the largest."""
    axis.set_ylim(0, 1.08 * max((v for v in values if v is not None), default=0.0) or 1.0)


def _plain(label: str) -> str:
    """Without what would be read as a formula, or hidden from the legend."""
    return label.replace('$', r'\$').lstrip('_') or '-'


def _colours() -> Sequence[str]:
    return COLOURS * 10


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values])


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format='png', dpi=110, transparent=True)
    return file.getvalue()
