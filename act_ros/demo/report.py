"""The demonstration on the terminal: what it runs, its live table, its summary."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from act_ros.demo.attempts import Attempts
from act_ros.demo.monitor import Monitor
from act_ros.nodes.isolation import OwnGraph

WINDOW = 2.0  # over which the live rate of commands is taken [s]
CONSOLE = Console(markup=False)  # units stand in brackets, as markup would


def begin(graph: OwnGraph, ckpt_dir: Path) -> None:
    """Say what is run, and where."""
    _say(('checkpoint', ckpt_dir))
    _say(('on this machine only', f'ROS_DOMAIN_ID={graph.domain}, under {graph.namespace}'))


def end(figures: Mapping[str, object], out: Path) -> None:
    """Show the summary and say where the results are."""
    CONSOLE.print(_summary_table(figures))
    _say(('picture', out / 'demo.png'), ('logs', f'{out}/*.log'))


class LiveTable:
    """What is going on now: the task, rates, latency, joint commands.

    :param seconds: of the whole.
    :param period: between two looks of it [s].
    """

    def __init__(
        self, monitor: Monitor, attempts: Attempts, seconds: float, period: float
    ) -> None:
        self._monitor, self._attempts, self._seconds = monitor, attempts, seconds
        self._period, self._shown = period, -math.inf
        terminal = CONSOLE.is_terminal
        self._live = Live(console=CONSOLE, auto_refresh=False, transient=not terminal)

    def __enter__(self) -> 'LiveTable':
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._live.__exit__(kind, error, trace)
        if error is None and not CONSOLE.is_terminal:
            CONSOLE.print(self._now())

    def refresh(self) -> None:
        """Show it anew, if it is time to and somebody looks."""
        if CONSOLE.is_terminal and time.monotonic() - self._shown > self._period:
            self._shown = time.monotonic()
            self._live.update(self._now(), refresh=True)

    def _now(self) -> Group:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Group(self._task(), self._control()), Group(self._rates(), self._joints())
        )
        clock = f'{self._monitor.elapsed:5.1f} of {self._seconds:g} s'
        return Group(Text(f'{clock}   {self._attempts.doing[:70]}'), grid)

    def _task(self) -> Table:
        attempts, accounts = self._attempts, self._monitor.accounts
        made = len(attempts.decided)
        table = _table('the task', 'figure', 'now')
        table.add_row('attempts', str(made))
        table.add_row('successes', str(attempts.successes))
        share = f'{100 * attempts.successes / made:.0f}' if made else '-'
        table.add_row('success rate [%]', share)
        table.add_row('time to grasp [s]', _rounded(attempts.time_to_grasp, 1))
        table.add_row(
            'from the handle [cm]', f'{100 * accounts[-1].distance:.1f}' if accounts else '-'
        )
        return table

    def _rates(self) -> Table:
        table = _table('at the node', 'input', 'rate [Hz]')
        for name, value in _rates(self._monitor.report).items():
            table.add_row(name, f'{value:.1f}')
        return table

    def _control(self) -> Table:
        report = self._monitor.report
        table = _table('control', 'figure', 'now')
        table.add_row('state', report.get('state', '-'))
        table.add_row('commands [Hz]', f'{self._recent_rate():.1f}')
        table.add_row('inference p50 [ms]', _rounded(report.get('inference_p50_ms')))
        table.add_row('tick jitter p99 [ms]', _rounded(report.get('tick_jitter_p99_ms'), 2))
        table.add_row('ticks without a plan', report.get('ticks_without_plan', '-'))
        return table

    def _joints(self) -> Table:
        table = _table('joint commands', 'joint', 'command', 'measured', 'velocity')
        monitor = self._monitor
        command = monitor.commands[-1] if monitor.commands else None
        states = monitor.states[monitor.arm]
        for i, joint in enumerate(monitor.joints):
            table.add_row(
                joint,
                f'{command[1][i]:+.3f}' if command else '-',
                f'{states[-1][1][i]:+.3f}' if states else '-',
                f'{command[2][i]:+.3f}' if command else '-',
            )
        return table

    def _recent_rate(self) -> float:
        now = time.time()
        return sum(now - command[0] < WINDOW for command in self._monitor.commands[-500:]) / WINDOW


def summary(monitor: Monitor, attempts: Attempts) -> dict[str, object]:
    """The figures of the whole run; counts and latencies are the node's own.

    Each attempt is an activation of the node, which counts anew: counts are summed up, of what
    shall be small the worst is told, of what is typical the median.
    """
    reports, made = attempts.reports, attempts.decided

    def total(key: str) -> int:
        return sum(int(report.get(key, 0)) for report in reports)

    def number(key: str, of: Callable[[Sequence[float]], Any]) -> float | None:
        values = [float(report[key]) for report in reports if key in report]
        return float(of(values)) if values else None

    return {
        'attempts': len(made),
        'successes': attempts.successes,
        'success_rate': round(attempts.successes / len(made), 3) if made else None,
        'time_to_grasp_s': attempts.time_to_grasp,
        'commands_published': total('commands'),
        'commands_received': len(monitor.commands),
        'command_rate_hz': _command_rate(monitor, attempts),
        'ticks_without_plan': total('ticks_without_plan'),
        **{name: number(name, max) for name in ('jerk_rms', 'jerk_max', 'seam')},
        'limit_hits': _limit_hits(reports),
        'tick_jitter_p50_ms': number('tick_jitter_p50_ms', np.median),
        'tick_jitter_p99_ms': number('tick_jitter_p99_ms', max),
        'inference_p50_ms': number('inference_p50_ms', np.median),
        'inference_p99_ms': number('inference_p99_ms', max),
        'inferences': total('inferences'),
        'input_rates_hz': _rates(reports[-1] if reports else {}),
        'each': [
            {
                'seed': attempt.seed,
                'outcome': attempt.outcome,
                'time_to_grasp_s': attempt.time_to_grasp,
                'distance_m': attempt.distance,
            }
            for attempt in made
        ],
    }


def _say(*what: tuple[str, object]) -> None:
    """Names and what they mean, in a line."""
    parts = (Text(name, 'bold').append(f' {meaning}', 'not bold') for name, meaning in what)
    CONSOLE.print(Text('   ').join(parts))


def _command_rate(monitor: Monitor, attempts: Attempts) -> float | None:
    """Commands a second, of those of the same attempt [Hz]; None without any."""
    times = np.array([command[0] for command in monitor.commands])
    count, seconds = 0, 0.0
    for attempt in attempts.made:
        begun, ended = attempt.span
        own = times[(begun <= times) & (times <= ended)]
        if len(own) > 1:
            count, seconds = count + len(own) - 1, seconds + own[-1] - own[0]
    return round(count / seconds, 2) if count else None


def _limit_hits(reports: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """In total, and of each kind of limit that has cut in."""
    hits = {'total': 0}
    for key, value in (item for report in reports for item in report.items()):
        if key.startswith('limit/'):
            kind = key.split('/')[1]
            hits[kind] = hits.get(kind, 0) + int(value)
            hits['total'] += int(value)
    return hits


def _rates(report: Mapping[str, str]) -> dict[str, float]:
    """By input, messages a second at the node [Hz]."""
    return {
        key.removeprefix('rate/'): float(value)
        for key, value in report.items()
        if key.startswith('rate/')
    }


def _summary_table(figures: Mapping[str, object]) -> Table:
    """The summary for a reader."""
    table = _table('summary', 'figure', 'value')
    for key, value in figures.items():
        if isinstance(value, list):
            continue
        if isinstance(value, dict):
            value = ', '.join(f'{name} {number:g}' for name, number in value.items())
        elif isinstance(value, float):
            value = f'{value:.4g}'
        table.add_row(key.replace('_', ' '), '-' if value is None else str(value))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left', box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify='right' if i else 'left', no_wrap=not i)
    return table


def _rounded(value: str | float | None, digits: int = 0) -> str:
    return '-' if value is None else f'{float(value):.{digits}f}'
