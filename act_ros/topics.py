"""Why nothing comes on a topic: what is known of it in, one line out."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from act_ros.interfaces import CAMERA_TYPES, INPUT_TYPES, STATE_TYPES

NEAR = 3  # topics that are named, at most
ALIKE = 0.8  # of two names, from which on one may be meant by the other
# The types that one parameter chooses from.
_CHOICES = {
    'camera_types': tuple(CAMERA_TYPES),
    'state_types': tuple(STATE_TYPES),
}


@dataclass(frozen=True)
class Publisher:
    """One publisher of a topic.

    :ivar node: its node's full name.
    :ivar type: as in 'sensor_msgs/msg/Image'.
    :ivar mismatch: why its QoS does not reach the reader, or ''.
    """

    node: str
    type: str
    mismatch: str = ''


def explain(
    topic: str,
    type_: str,
    publishers: Sequence[Publisher],
    others: Mapping[str, Sequence[str]],
    *,
    heard: bool,
) -> str:
    """What is known of a topic that does not bring what it should.

    :param topic: resolved.
    :param type_: that it is read as.
    :param publishers: those on it.
    :param others: the other topics that somebody publishes, to their types.
    :param heard: whether anything has come on it.
    """
    if not publishers:
        now = ' any more' if heard else ''
        return f'nobody publishes {topic}{now}{near(topic, type_, others)}'
    right = [publisher for publisher in publishers if publisher.type == type_]
    if not right:
        found = publishers[0]
        return (
            f'{topic} is published as {found.type} by {found.node}, but read as {type_}'
            f'{_remedy(type_, found.type)}'
        )
    good = [publisher for publisher in right if not publisher.mismatch]
    if not good:
        return f'{topic} of {right[0].node} cannot be read, its QoS differs: {right[0].mismatch}'
    text = f'{topic} is published by {_nodes(good)}'
    if heard:
        return text
    lost = ''
    if 'Image' in type_:
        lost = ', or do its images get lost (see Fast DDS in docs/robot.md)'
    return f'{text}, but nothing has come: is it idle{lost}?'


def with_cause(fault: str, cause: str) -> str:
    """One line of what is wrong with an input and what is known of its topic."""
    return f'{fault} ({cause})' if ':' in fault else f'{fault}: {cause}'


def near(topic: str, type_: str, others: Mapping[str, Iterable[str]]) -> str:
    """The topics that may be meant, as the end of a sentence; '' where there are none.

    Those of the right type come first, then those of one that could be read in its place, each
    by the likeness of the names; without any such topic, those of almost the same name.
    """
    readable = [type_, *_alternatives(type_)]
    alike = difflib.get_close_matches(topic, others, n=NEAR, cutoff=ALIKE)
    found = [
        (readable.index(kind) if kind in readable else len(readable), -_likeness(topic, name),
         name, kind)
        for name, kinds in others.items()
        for kind in kinds
        if name != topic and (kind in readable or name in alike)
    ]  # fmt: skip
    named = [f'{name} ({kind})' for _, _, name, kind in sorted(found)[:NEAR]]
    return f'; near: {", ".join(named)}' if named else ''


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _alternatives(type_: str) -> list[str]:
    """The types that could be read in place of one."""
    for kinds in _CHOICES.values():
        types = [INPUT_TYPES[kind] for kind in kinds]
        if type_ in types:
            return [other for other in types if other != type_]
    return []


def _remedy(type_: str, found: str) -> str:
    for parameter, kinds in _CHOICES.items():
        names = {INPUT_TYPES[kind]: kind for kind in kinds}
        if type_ in names and found in names:
            return f': set {parameter} to {names[found]}'
    return ''


def _nodes(publishers: Iterable[Publisher]) -> str:
    return ', '.join(sorted({publisher.node for publisher in publishers}))
