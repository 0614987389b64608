"""The layouts for Foxglove and PlotJuggler, and what they name, found in messages."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Any

from act_ros.config import CONFIG_DIR

FOXGLOVE = CONFIG_DIR / 'layouts' / 'foxglove.json'
PLOTJUGGLER = CONFIG_DIR / 'layouts' / 'plotjuggler.xml'
STEP = re.compile(r'\.(?P<field>\w+)|\[(?P<place>\d+)\]|\[(?P<all>:)\]|'
                  r'\{(?P<key>\w+)=="(?P<value>[^"]*)"\}')  # fmt: skip

Messages = Mapping[str, Any]  # topic to one of its messages


def foxglove() -> dict[str, Any]:
    return json.loads(FOXGLOVE.read_text(encoding='utf-8'))


def foxglove_paths() -> list[str]:
    """All message paths of the plots and of the state transitions."""
    panels = foxglove()['configById'].values()
    return [path['value'] for panel in panels for path in panel.get('paths', [])]


def plotjuggler() -> ET.Element:
    return ET.parse(PLOTJUGGLER).getroot()


def plotjuggler_curves() -> list[str]:
    """All series that are drawn."""
    return [curve.attrib['name'] for curve in plotjuggler().iter('curve')]


def topic_of(name: str, topics: Mapping[str, Any]) -> str | None:
    """The topic that a path or a series is of, if it is one of these."""
    found = [topic for topic in topics if re.match(rf'{re.escape(topic)}[./]', name)]
    return max(found, key=len, default=None)


def values_at(path: str, message: Any) -> list[Any]:
    """What a message path of Foxglove, without its topic, finds in a message.

    https://docs.foxglove.dev/docs/visualization/message-path-syntax
    """
    steps = list(STEP.finditer(path))
    assert ''.join(step[0] for step in steps) == path, f'{path} is no message path'
    values = [message]
    for step in steps:
        if step['field']:
            values = [getattr(value, step['field']) for value in values]
        elif step['place']:
            values = [value[int(step['place'])] for value in values]
        elif step['all']:
            values = [item for value in values for item in value]
        else:
            values = [value for value in values if getattr(value, step['key']) == step['value']]
    return values


def series_of(topic: str, message: Any) -> Iterator[str]:
    """The series with numbers that PlotJuggler makes of a message.

    As its own parsers for ROS messages have it: those of joints and of diagnostics by name.
    """
    kind = type(message).__name__
    if 'JointState' in kind:
        for field in ('position', 'velocity'):
            for name, _ in zip(message.name, getattr(message, field), strict=True):
                yield f'{topic}/{name}/{field}'
    elif 'DiagnosticArray' in kind:
        for status in message.status:
            root = '/'.join(part for part in (topic, status.hardware_id, status.name) if part)
            yield f'{root}/level'
            yield from (f'{root}/{pair.key}' for pair in status.values if is_number(pair.value))
    else:
        assert 'JointTrajectory' in kind, f'{kind}: not known here'
        for i, point in enumerate(message.points):
            for field in ('positions', 'velocities'):
                values = getattr(point, field)
                yield from (f'{topic}/points[{i}]/{field}[{k}]' for k in range(len(values)))


def is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def all_found(messages: Messages) -> tuple[set[str], set[str]]:
    """Paths and series of these topics; each must find one value at least.

    :returns: of Foxglove, of PlotJuggler.
    """
    paths = {path for path in foxglove_paths() if topic_of(path, messages)}
    for path in paths:
        topic = topic_of(path, messages) or ''
        found = values_at(path.removeprefix(topic), messages[topic])
        assert found, f'{path} finds nothing'
        states = path.endswith(('{key=="state"}.value', '{key=="control"}.value'))
        assert states or all(map(is_number, found)), f'{path}: {found}'
    curves = {curve for curve in plotjuggler_curves() if topic_of(curve, messages)}
    known = {series for topic, message in messages.items() for series in series_of(topic, message)}
    assert not curves - known, sorted(curves - known)
    return paths, curves
