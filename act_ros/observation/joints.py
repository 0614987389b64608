"""What a JointState says of the joints that are wanted."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from act_ros.task import QUANTITIES, Entry

NAN = float('nan')
# Drivers repeat a few layouts; one that makes ever new ones shall not fill the memory.
LAYOUTS = 32
LONGEST = 200  # letters of a list in an error


class Reading(NamedTuple):
    """What one message says of the entries of its source.

    :ivar slots: places of the entries that it speaks of; one object for one layout.
    :ivar values: of each, robot units; NaN where it means nothing.
    :ivar wrong: place to why it means nothing.
    :ivar layout: what the message looks like: that of another publisher mostly differs.
    :ivar remark: what was assumed for want of something in the message.
    """

    slots: tuple[int, ...]
    values: Sequence[float]
    wrong: dict[int, str]
    layout: Hashable
    remark: str = ''


class _Layout(NamedTuple):
    """Where the entries stand in messages with the same names and arrays."""

    slots: tuple[int, ...]
    columns: tuple[tuple[str, tuple[int, ...]], ...]  # quantity, and places in its array
    wrong: dict[int, str]


class JointReader:
    """Reads entries out of a JointState by joint name.

    A message may hold any of them: several publishers may share a topic. Where each stands is
    looked up once a layout.

    :param source: for errors.
    :param entries: whose values are wanted, each once.
    """

    def __init__(self, source: str, entries: Sequence[Entry]) -> None:
        self._source = source
        self._entries = entries
        self._layouts: dict[tuple[tuple[str, ...], int, int], _Layout] = {}

    def read(self, message: Any) -> Reading:
        """What a message says of the entries that it holds, perhaps of none."""
        key = tuple(message.name), len(message.position), len(message.velocity)
        layout = self._layouts.get(key)
        if layout is None:
            if len(self._layouts) == LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[key] = self._arrange(*key)
        values: list[float] = []
        for quantity, places in layout.columns:
            data = getattr(message, quantity)
            values += [data[i] for i in places]
        values += [NAN] * len(layout.wrong)
        return Reading(layout.slots, values, layout.wrong, key)

    def missing(self, slots: Sequence[int]) -> str:
        """Why some entries have not arrived, in the light of the messages that have."""
        if not self._layouts:
            return f'{self._source} has not arrived'
        found = list(dict.fromkeys(name for key in list(self._layouts) for name in key[0]))
        lacking = [self._entries[slot] for slot in slots]
        names = list(dict.fromkeys(e.name for e in lacking if e.name not in found))
        if not names:  # the joint is there, without what is wanted of it
            return f'{lacking[0]} has not arrived: no message with the joint holds it'
        what = f'joint{"s" * (len(names) > 1)} {listed(map(repr, names))} of {self._source!r}'
        are = 'are' if len(names) > 1 else 'is'
        return f'{what} {are} missing (found: {listed(found) or "no names"})'

    def _arrange(self, names: tuple[str, ...], *lengths: int) -> _Layout:
        """Where the entries stand in messages with these names and lengths of arrays."""
        columns: dict[str, tuple[list[int], list[int]]] = {}
        wrong: dict[int, str] = {}
        for slot, entry in enumerate(self._entries):
            length = lengths[QUANTITIES.index(entry.quantity)]
            count = names.count(entry.name)
            if not (count and length):
                continue
            if count > 1:
                wrong[slot] = (
                    f'joint {entry.name!r} of {self._source!r} is listed {count} times '
                    f'(found: {listed(names)})'
                )
            elif length != len(names):
                wrong[slot] = (
                    f'{self._source}: {len(names)} joint names but {length} values in '
                    f'{entry.quantity}'
                )
            else:
                slots, places = columns.setdefault(entry.quantity, ([], []))
                slots.append(slot)
                places.append(names.index(entry.name))
        return _Layout(
            (*(slot for slots, _ in columns.values() for slot in slots), *wrong),
            tuple((quantity, tuple(places)) for quantity, (_, places) in columns.items()),
            wrong,
        )


def listed(items: Iterable[str]) -> str:
    """Items with commas between them on one line, cut where there are many."""
    text = ', '.join(item if item.isprintable() else repr(item) for item in items)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'
