"""The demonstration's table, summary and picture."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from act_ros.demo.monitor import Monitor
from act_ros.task import Task

WINDOW = 2.0  # over which the live rate of commands is taken [s]


def live_table(monitor: Monitor, seconds: float) -> Group:
    """What is going on now: rates, latency, joint commands."""
    report = monitor.report
    rates = _table('at the node')
    rates.add_column('input')
    rates.add_column('rate [Hz]', justify='right')
    for key, value in report.items():
        if key.startswith('rate/'):
            rates.add_row(key.removeprefix('rate/'), value)

    numbers = _table('control')
    numbers.add_column('figure')
    numbers.add_column('now', justify='right')
    numbers.add_row('state', report.get('state', '-'))
    numbers.add_row('commands [Hz]', f'{_recent_rate(monitor):.1f}')
    numbers.add_row('inference p50 [ms]', _rounded(report.get('inference_p50_ms')))
    numbers.add_row('tick jitter p99 [ms]', _rounded(report.get('tick_jitter_p99_ms'), 2))
    numbers.add_row('ticks without a plan', report.get('ticks_without_plan', '-'))

    joints = _table('joint commands')
    for name in ('joint', 'command', 'measured', 'velocity'):
        joints.add_column(name, justify='left' if name == 'joint' else 'right', no_wrap=True)
    command = monitor.commands[-1] if monitor.commands else None
    state = monitor.states[-1] if monitor.states else None
    for i, joint in enumerate(monitor.joints):
        joints.add_row(
            joint,
            f'{command[1][i]:+.3f}' if command else '-',
            f'{state[1][i]:+.3f}' if state else '-',
            f'{command[2][i]:+.3f}' if command else '-',
        )
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Group(rates, numbers), joints)
    status = Text(f'{monitor.elapsed:5.1f} of {seconds:g} s   {monitor.message[:70]}')
    return Group(status, grid)


def summary(monitor: Monitor) -> dict[str, object]:
    """The figures of the whole run; counts and latencies are the node's own."""
    report = monitor.report
    times = np.array([command[0] for command in monitor.commands])
    span = times[-1] - times[0] if len(times) > 1 else float('nan')

    def number(key: str) -> float | None:
        return float(report[key]) if key in report else None

    return {
        'commands_published': int(report.get('commands', 0)),
        'commands_received': len(times),
        'command_rate_hz': round((len(times) - 1) / span, 2),
        'ticks_without_plan': int(report.get('ticks_without_plan', 0)),
        **{name: number(name) for name in ('jerk_rms', 'jerk_max', 'seam')},
        'limit_hits': _limit_hits(report),
        'tick_jitter_p50_ms': number('tick_jitter_p50_ms'),
        'tick_jitter_p99_ms': number('tick_jitter_p99_ms'),
        'inference_p50_ms': number('inference_p50_ms'),
        'inference_p99_ms': number('inference_p99_ms'),
        'inferences': int(report.get('inferences', 0)),
        'input_rates_hz': {
            key.removeprefix('rate/'): float(value)
            for key, value in report.items()
            if key.startswith('rate/')
        },
    }


def _limit_hits(report: Mapping[str, str]) -> dict[str, int]:
    """In total, and of each kind of limit that has cut in."""
    hits = {'total': 0}
    for key, value in report.items():
        if key.startswith('limit/'):
            kind = key.split('/')[1]
            hits[kind] = hits.get(kind, 0) + int(value)
            hits['total'] += int(value)
    return hits


def summary_table(figures: dict[str, object]) -> Table:
    """The summary for a reader."""
    table = _table('summary')
    table.add_column('figure')
    table.add_column('value', justify='right')
    for key, value in figures.items():
        if isinstance(value, dict):
            value = ', '.join(f'{name} {number:g}' for name, number in value.items())
        elif isinstance(value, float):
            value = f'{value:.4g}'
        table.add_row(key.replace('_', ' '), str(value))
    return table


def picture(monitor: Monitor, task: Task, path: Path) -> None:
    """The cameras above, the commanded and measured curves of every joint below."""
    cameras = list(task.cameras)
    figure = plt.figure(figsize=(14, 11), layout='constrained')
    grid = figure.add_gridspec(3, 2 * len(cameras), height_ratios=(1.25, 1, 1))
    for i, name in enumerate(cameras):
        axes = figure.add_subplot(grid[0, 2 * i : 2 * i + 2])
        if name in monitor.pictures:
            axes.imshow(monitor.pictures[name])
        axes.set_title(name)
        axes.axis('off')
    start = monitor.commands[0][0]
    times = np.array([command[0] for command in monitor.commands]) - start
    state_times = np.array([state[0] for state in monitor.states]) - start
    halves = (('position [rad; gripper 0..1]', 1), ('velocity [rad/s]', 2))
    for row, (label, column) in enumerate(halves, start=1):
        axes = figure.add_subplot(grid[row, :])
        values = np.array([command[column] for command in monitor.commands])
        for j, joint in enumerate(monitor.joints):
            (line,) = axes.plot(times, values[:, j], linewidth=1.2, label=joint)
            if column == 1 and len(state_times):
                measured = np.array([state[1][j] for state in monitor.states])
                axes.plot(state_times, measured, ':', linewidth=1, color=line.get_color())
        axes.set_ylabel(label)
        axes.set_xlim(0, times[-1])
        axes.grid(alpha=0.3)
        if column == 1:
            axes.set_title('commands (solid) and measured positions (dotted)')
            axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5))
    figure.get_axes()[-1].set_xlabel('time since the first command [s]')
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _table(title: str) -> Table:
    return Table(title=title, title_justify='left', box=box.SIMPLE_HEAD, pad_edge=False)


def _recent_rate(monitor: Monitor) -> float:
    if not monitor.commands:
        return 0.0
    newest = monitor.commands[-1][0]
    return sum(newest - c[0] < WINDOW for c in monitor.commands[-500:]) / WINDOW


def _rounded(text: str | None, digits: int = 0) -> str:
    return '-' if text is None else f'{float(text):.{digits}f}'
