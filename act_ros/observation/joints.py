"""Values of entries from the messages of their sources."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from act_ros.errors import ObservationError
from act_ros.observation.odometry import OdometryReader
from act_ros.task import Entry


class StateReader:
    """Reads entries out of the messages of their sources.

    :param entries: in the order in which their values are wanted.
    :param kinds: source to 'JointState' (where it is absent) or 'Odometry'.
    :param twist_frame: of the velocities of an Odometry, see `OdometryReader`.
    :raises TaskError: an entry that its source's type cannot have.
    """

    def __init__(
        self, entries: Sequence[Entry], kinds: Mapping[str, str] = {}, twist_frame: str = ''
    ) -> None:
        self._entries = tuple(entries)
        self._parts: list[tuple[str, list[int], JointReader | OdometryReader]] = []
        for source in dict.fromkeys(entry.source for entry in entries):
            slots = [i for i, entry in enumerate(entries) if entry.source == source]
            mine = [entries[i] for i in slots]
            reader = (
                OdometryReader(source, mine, twist_frame)
                if kinds.get(source) == 'Odometry'
                else JointReader(source, mine)
            )
            self._parts.append((source, slots, reader))

    def read(self, messages: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, str]]:
        """The values, and what is wrong with them.

        :param messages: source to message.
        :returns: (n,) float64 in the robot's units, and by source one line for each fault,
            with which the values mean nothing.
        """
        values, faults = np.empty(len(self._entries)), {}
        for source, slots, reader in self._parts:
            try:
                values[slots] = reader.read(messages[source])
            except ObservationError as error:
                faults[source] = str(error)
                values[slots] = np.nan
        if not np.isfinite(values).all():
            for i in np.flatnonzero(~np.isfinite(values)):
                entry = self._entries[i]
                faults.setdefault(entry.source, f'{entry} is {values[i]}, expected a number')
        return values, faults


class JointReader:
    """Reads entries out of a JointState by joint name.

    Where each stands in the message is looked up once a layout: robots repeat the same names
    in the same order.

    :param source: for errors.
    :param entries: whose values are wanted.
    """

    def __init__(self, source: str, entries: Sequence[Entry]) -> None:
        self._source = source
        self._entries = entries
        self._names: list[str] | None = None
        self._columns: list[tuple[str, list[int], list[int]]] = []

    def read(self, message: Any) -> np.ndarray:
        """The entries' values, (n,) float64, robot units.

        :raises ObservationError: a joint is missing or listed twice, or has no value.
        """
        if self._names != message.name:
            names = list(message.name)
            self._columns, self._names = self._find(names), names
        values = np.empty(len(self._entries))
        for quantity, slots, places in self._columns:
            data = getattr(message, quantity)
            if len(data) != len(message.name):
                raise ObservationError(
                    f'{self._source}: {len(message.name)} joint names but {len(data)} values in '
                    f'{quantity}'
                )
            values[slots] = np.asarray(data)[places]
        return values

    def _find(self, names: list[str]) -> list[tuple[str, list[int], list[int]]]:
        """Where the entries stand in messages with these names: (quantity, entries, places)."""
        columns: dict[str, tuple[list[int], list[int]]] = {}
        for i, entry in enumerate(self._entries):
            count = names.count(entry.name)
            if count != 1:
                what = 'is missing' if count == 0 else f'is listed {count} times'
                raise ObservationError(
                    f'joint {entry.name!r} of {self._source!r} {what} '
                    f'(found: {", ".join(names)[:200]})'
                )
            slots, places = columns.setdefault(entry.quantity, ([], []))
            slots.append(i)
            places.append(names.index(entry.name))
        return [(quantity, *where) for quantity, where in columns.items()]
