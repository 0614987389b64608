"""From what the node says of itself to what a page shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SILENT = 3.0  # a node says something each second; after so long it is silent [s]
WARN, ERROR = 1, 2
LONGEST = 240  # letters of a reason
# By their names in the diagnostics, with those of the entry that each is of.
FIGURES = {
    'command_rate_hz': 'commands, as set [Hz]',
    'seam': 'largest seam [rad]',
    'jerk_rms': 'jerk, rms [rad/s³]',
    'jerk_max': 'jerk, largest [rad/s³]',
    'inference_p50_ms': 'a pass [ms]',
    'ticks_without_plan': 'ticks without a plan',
    'tick_overruns': 'ticks missed',
    'last_stop': 'last stop',
}
LIMIT = 'limit/'


@dataclass(frozen=True)
class Status:
    """One of the node's diagnostics."""

    level: int
    text: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Joint:
    """A position of the action, robot units; None where nothing is known."""

    name: str
    commanded: float | None
    measured: float | None
    low: float
    high: float


def summary(
    statuses: Mapping[str, Status],
    age: float | None,
    joints: Sequence[Joint],
    cameras: Sequence[str],
    max_age: float,
    *,
    dry: bool = False,
) -> dict[str, Any]:
    """What the page shows, as JSON has it.

    :param statuses: by part: 'control', 'inputs', 'inference', 'zmq'.
    :param age: of these [s]; None where none has come.
    :param max_age: of inputs [s].
    :param dry: commands come, and go to a dry run.
    """
    told = age is not None and age < SILENT
    control = statuses.get('control')
    if not told or control is None:
        state, level = 'no node', ERROR
        reason = 'nothing has been heard of it'
        if age is not None:
            reason = f'nothing has been heard of it for {age:.0f} s'
    else:
        state = control.values.get('state', '')
        state += ', dry run' * dry
        # What is stale comes back by itself, as what is warned of.
        level = max(s.level if s.level <= ERROR else WARN for s in statuses.values())
        reason = next((s.text for s in statuses.values() if s.level), _going_on(control))
        if len(reason) > LONGEST:
            reason = f'{reason[:LONGEST]} …'
    return {
        'state': state,
        'level': level,
        'reason': reason,
        'cameras': list(cameras),
        'joints': [_joint(joint) for joint in joints],
        'inputs': _inputs(statuses, max_age) if told else [],
        'figures': _figures(statuses) if told else [],
        'limits': _limits(control) if told and control is not None else [],
    }


def _going_on(control: Status) -> str:
    what = control.values.get('control', '')
    return f'{what}, episode {control.values.get("episode", "–")}' if what else control.text


def _joint(joint: Joint) -> dict[str, Any]:
    return {
        'name': joint.name,
        **{
            key: value if value is not None and math.isfinite(value) else None
            for key, value in (
                ('commanded', joint.commanded), ('measured', joint.measured),
                ('low', joint.low), ('high', joint.high),
            )
        },
    }  # fmt: skip


def _inputs(statuses: Mapping[str, Status], max_age: float) -> list[dict[str, Any]]:
    status = statuses.get('inputs')
    if status is None:
        return []
    found = []
    for key, text in status.values.items():
        if key.startswith('age/'):
            name, age = key.removeprefix('age/'), _number(text)
            rate = _number(status.values.get(f'rate/{name}', ''))
            late = age is None or age > max_age
            found.append({'name': name, 'age': age, 'rate': rate, 'late': late})
    return found


def _figures(statuses: Mapping[str, Status]) -> list[dict[str, str]]:
    values = {k: v for status in statuses.values() for k, v in status.values.items()}
    found = []
    for key, name in FIGURES.items():
        value, entry = values.get(key, ''), values.get(f'{key}_entry', '')
        number = _number(value)
        shown = value if number is None else f'{number:.3g}'
        if value:
            found.append({'name': name, 'value': f'{shown} ({entry})' if entry else shown})
    return found


def _limits(control: Status) -> list[dict[str, Any]]:
    """Entries and how often any limit changed them, the most first."""
    counts: dict[str, int] = {}
    for key, text in control.values.items():
        if key.startswith(LIMIT) and text.isdecimal():
            kind, _, entry = key.removeprefix(LIMIT).partition('/')
            name = f'{entry} ({kind})'
            counts[name] = counts.get(name, 0) + int(text)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [{'name': name, 'count': count} for name, count in ordered]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
