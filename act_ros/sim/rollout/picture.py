"""The picture of a roll-out: how often, how fast, how smooth, and the ways there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from act_ros.files import whole
from act_ros.sim.rollout.attempt import Attempt
from act_ros.sim.world import REACH, TIME_LIMIT

COLOURS = ('#1668a8', '#c44e17', '#2c8a4b', '#8a3fa0', '#9a7d0a', '#5a6b7b')
FAILED = '#c0392b'
GREY = '#5b6770'
COLUMNS = 4  # of paths in a row


def picture(
    rows: Sequence[Mapping[str, Any]], attempts: Sequence[Sequence[Attempt]], path: Path
) -> None:
    """Write it as PNG, whole or not at all.

    :param rows: totals, and `name`.
    :param attempts: of each row.
    """
    columns = min(COLUMNS, len(rows))
    below = -(-len(rows) // columns)
    height = 3.6 + 2.7 * below
    figure = Figure(figsize=(13, height))
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.6, 2.7 * below), squeeze=False)[:, 0]
    success, time, jerk = upper.subplots(1, 3, gridspec_kw={'width_ratios': (1.2, 1, 1)})
    upper.subplots_adjust(left=0.06, right=0.985, top=0.91, bottom=0.2, wspace=0.22)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(rows))]
    _success(success, rows, colours)
    _points(
        time, 'until the handle is grasped [s]', rows, colours,
        [[a.grasped for a in each if a.success and a.grasped] for each in attempts],
        [row['time_median_s'] for row in rows],
    )  # fmt: skip
    _points(
        jerk, "jerk of the arm's joints, rms [rad/s³]", rows, colours,
        [[a.jerk_rms for a in each if a.jerks] for each in attempts],
        [row['jerk_rms'] for row in rows],
    )  # fmt: skip
    paths = lower.subplots(below, columns, squeeze=False, sharex=True, sharey=True).ravel()
    lower.subplots_adjust(
        left=0.06, right=0.985, top=1 - 0.3 / (2.7 * below), bottom=0.5 / (2.7 * below),
        wspace=0.06, hspace=0.22,
    )  # fmt: skip
    for axis, row, each, colour in zip(paths, rows, attempts, colours, strict=False):
        _paths(axis, row, each, colour)
    for axis in paths[len(rows) :]:
        axis.set_axis_off()
    for axis in paths[::columns]:
        axis.set_ylabel('from the handle [mm]', fontsize=8)
    for axis in paths[max(0, len(rows) - columns) : len(rows)]:
        axis.tick_params(labelbottom=True)
        axis.set_xlabel('s', fontsize=8)
    with whole(path) as part:
        figure.savefig(part, format='png', dpi=110)


def _success(axis: Axes, rows: Sequence[Mapping[str, Any]], colours: Sequence[str]) -> None:
    """A bar each, with the interval that holds the true share."""
    shares = np.array([100 * row['success'] for row in rows])
    bounds = 100 * np.array([row['interval_95'] for row in rows])
    places = np.arange(len(rows))
    axis.bar(places, shares, color=colours, width=0.6)
    apart = np.abs(bounds.T - shares)
    axis.errorbar(places, shares, yerr=apart, fmt='none', ecolor='#222', capsize=4, lw=1.2)
    axis.set_ylim(0, 105)
    counts = [f'{row["succeeded"]} of {row["attempted"]}' for row in rows]
    _decorate(axis, 'success [%], with its 95 % interval', rows, counts)


def _points(
    axis: Axes,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    colours: Sequence[str],
    values: Sequence[Sequence[float]],
    marks: Sequence[float | None],
) -> None:
    """A point an attempt, and a line for all of them."""
    for place, (each, colour, mark) in enumerate(zip(values, colours, marks, strict=True)):
        # Side by side in the order of the seeds: a cloud, but the same one each time.
        spread = (np.arange(len(each)) * 0.618 % 1 - 0.5) * 0.5
        axis.plot(place + spread, each, 'o', color=colour, ms=3.5, alpha=0.55, mew=0)
        if mark is not None:
            axis.plot([place - 0.32, place + 0.32], [mark, mark], color='#222', lw=1.6)
    most = max((value for each in values for value in each), default=1.0)
    axis.set_ylim(0, 1.08 * most)
    _decorate(axis, title, rows)


def _paths(
    axis: Axes, row: Mapping[str, Any], attempts: Sequence[Attempt], colour: str
) -> None:
    """The gripper's distance from the handle, a line an attempt; what failed on top."""
    for attempt in sorted(attempts, key=lambda attempt: not attempt.success):
        distances = 1e3 * attempt.distances
        times = np.arange(len(distances)) / row['rate_hz']
        axis.plot(
            times, np.maximum(distances, 1.0), color=colour if attempt.success else FAILED,
            lw=0.8, alpha=0.45 if attempt.success else 0.9, zorder=2 + (not attempt.success),
        )  # fmt: skip
    axis.axhline(1e3 * REACH, color=GREY, ls='--', lw=1)
    axis.text(TIME_LIMIT - 0.1, 1e3 * REACH, f'{1e3 * REACH:g} mm', color=GREY, fontsize=7,
              ha='right', va='bottom')  # fmt: skip
    axis.set_yscale('log')
    axis.set_ylim(1, 1000)
    axis.set_xlim(0, TIME_LIMIT)
    failed = row['attempted'] - row['succeeded']
    axis.set_title(
        f'{_plain(row["name"])}' + (f', {failed} failed in red' if failed else ''),
        fontsize=8, loc='left',
    )  # fmt: skip
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25, lw=0.5)


def _decorate(
    axis: Axes, title: str, rows: Sequence[Mapping[str, Any]], counts: Sequence[str] = ()
) -> None:
    names = [_plain(row['name']).replace(', ', '\n') for row in rows]
    if counts:
        names = [f'{name}\n{count}' for name, count in zip(names, counts, strict=True)]
    axis.set_title(title, fontsize=9, loc='left')
    axis.set_xlim(-0.6, len(rows) - 0.4)
    axis.set_xticks(range(len(rows)), names, fontsize=8)
    axis.tick_params(axis='y', labelsize=8)
    axis.grid(axis='y', alpha=0.25, lw=0.5)
    axis.set_axisbelow(True)


def _plain(label: str) -> str:
    """Without what would be read as a formula."""
    return label.replace('$', r'\$')
