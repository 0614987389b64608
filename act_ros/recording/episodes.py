"""Split a bag into episodes."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from act_ros.bags.bag import Bag
from act_ros.errors import BagError, ParameterError

NS = 1_000_000_000


@dataclass(frozen=True)
class Window:
    """An episode's part of a bag.

    :ivar name: of the episode.
    :ivar start: of it [ns, receipt].
    :ivar stop: the first instant after it [ns, receipt].
    :ivar exact: the first tick is at `start`, also where an input is missing then.
    """

    name: str
    start: int
    stop: int
    exact: bool = False


def split(
    bag: Bag,
    how: str,
    inputs: Iterable[str],
    *,
    start: float | None = None,
    duration: float | None = None,
) -> list[Window]:
    """The episodes of a bag, in the order of their time.

    :param how: 'whole'; 'gaps:SECONDS' splits where the inputs pause for longer;
        'topic:NAME' begins one with each message of a topic (of a std_msgs/Bool: with true,
        and false ends it); 'table:FILE' reads lines of `start,end[,name]` in seconds of the bag.
    :param inputs: topics whose pauses are gaps.
    :param start: seconds of the bag before this are left out; the first tick is there.
    :param duration: seconds that are looked at.
    :raises ActError: the text is none of these, or no episode is left.
    """
    kind, _, detail = how.partition(':')
    first = bag.start if start is None else bag.start + round(start * NS)
    last = bag.end + 1
    if first > bag.end:
        raise BagError(
            f'{bag.path} lasts {(bag.end - bag.start) / NS:.1f} s, so nothing is left with '
            f'--start {start:g}'
        )
    if duration is not None:
        last = min(last, first + round(duration * NS))
    if kind == 'whole' and not detail:
        parts = [('', bag.start, bag.end + 1)]
    elif kind == 'gaps':
        parts = _by_gaps(bag, _seconds(how, detail), inputs)
    elif kind == 'topic' and detail:
        parts = _by_topic(bag, detail)
    elif kind == 'table' and detail:
        parts = _by_table(bag, Path(detail))
    else:
        raise ParameterError(
            f'--episodes is {how!r}; expected whole, gaps:SECONDS, topic:NAME or table:FILE'
        )
    windows = []
    for i, (name, begin, end) in enumerate(parts):
        begin_in, end_in = max(begin, first), min(end, last)
        if begin_in < end_in:
            exact = start is not None and begin_in == first
            windows.append(Window(name or f'episode {i}', begin_in, end_in, exact))
    if not windows:
        raise BagError(f'{bag.path}: no episode is left with --episodes {how}')
    return windows


Part = tuple[str, int, int]


def _by_gaps(bag: Bag, gap: float, inputs: Iterable[str]) -> list[Part]:
    parts: list[Part] = []
    begin = last = None
    for _, receipt, _ in bag.raw(inputs):
        if begin is None or last is None:
            begin = receipt
        elif receipt - last > gap * NS:
            parts.append(('', begin, last + 1))
            begin = receipt
        last = receipt
    return parts if begin is None or last is None else [*parts, ('', begin, last + 1)]


def _by_topic(bag: Bag, topic: str) -> list[Part]:
    if topic not in bag.topics:
        raise BagError(
            f'{bag.path} has no {topic} to split by; it has {", ".join(sorted(bag.topics))}'
        )
    if bag.topics[topic] == 'std_msgs/msg/Bool':
        marks = [(m.receipt, bool(m.message.data)) for m in bag.messages([topic])]
        # Said again and again, it is still the same episode.
        marks = [m for i, m in enumerate(marks) if i == 0 or m[1] != marks[i - 1][1]]
    else:
        marks = [(receipt, True) for _, receipt, _ in bag.raw([topic])]
    parts, begin = [], None
    for receipt, begins in marks:
        if begin is not None:
            parts.append(('', begin, receipt))
        begin = receipt if begins else None
    return parts if begin is None else [*parts, ('', begin, bag.end + 1)]


def _by_table(bag: Bag, path: Path) -> list[Part]:
    try:
        rows = list(csv.reader(path.read_text(encoding='utf-8').splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f'cannot read the table of episodes {path}: {error}') from None
    parts = []
    for number, row in enumerate(rows, 1):
        if not row or row[0].lstrip().startswith('#'):
            continue
        if number == 1 and [text.strip() for text in row[:2]] == ['start', 'end']:
            continue
        try:
            begin, end = (bag.start + round(float(text) * NS) for text in row[:2])
        except (ValueError, OverflowError):
            begin = end = 0
        if not begin < end:
            raise ParameterError(
                f'{path}, line {number} is {",".join(row)!r}; expected start,end[,name] in '
                f'seconds of the bag, start before end'
            )
        parts.append((row[2].strip() if len(row) > 2 else '', begin, end))
    return parts


def _seconds(how: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ParameterError(f'--episodes is {how!r}; expected gaps:SECONDS, as in gaps:2')
    return value
