"""Assemble qpos from joint states, by joint name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from act_ros.errors import ObservationError
from act_ros.task import Task


class StateReader:
    """Reads the task's state entries out of JointState messages.

    Where each entry stands in its message is looked up once a layout: robots repeat the same
    names in the same order.

    :param task: names the entries, in the order of qpos.
    """

    def __init__(self, task: Task) -> None:
        self._size = task.state_dim
        self._scale, self._offset = task.state_units
        self._entries = {
            source: [(i, e) for i, e in enumerate(task.state) if e.source == source]
            for source in task.sources
        }
        self._layouts: dict[str, tuple[list[str], list]] = {}

    def read(self, messages: Mapping[str, Any]) -> np.ndarray:
        """Assemble qpos.

        :param messages: source to sensor_msgs/JointState (name, position, velocity).
        :returns: (state_dim,) float32, in the policy's units.
        :raises ObservationError: naming the source and joint at fault.
        """
        values = np.empty(self._size)
        for source, entries in self._entries.items():
            message = messages[source]
            for quantity, slots, columns in self._layout(source, message.name):
                data = getattr(message, quantity)
                if len(data) != len(message.name):
                    raise ObservationError(
                        f'{source}: {len(message.name)} joint names but {len(data)} values in '
                        f'{quantity}'
                    )
                values[slots] = np.asarray(data)[columns]
            for i, entry in entries:
                if not np.isfinite(values[i]):
                    raise ObservationError(f'{entry} is {values[i]}, expected a number')
        return (values * self._scale + self._offset).astype(np.float32)

    def _layout(self, source: str, names: list[str]) -> list:
        """[(quantity, where in qpos, where in the message)] for messages with these names."""
        known = self._layouts.get(source)
        if known is None or known[0] != names:
            known = (list(names), self._find(source, list(names)))
            self._layouts[source] = known
        return known[1]

    def _find(self, source: str, names: list[str]) -> list:
        columns: dict[str, tuple[list[int], list[int]]] = {}
        for i, entry in self._entries[source]:
            count = names.count(entry.name)
            if count != 1:
                what = 'is missing' if count == 0 else f'is listed {count} times'
                raise ObservationError(
                    f'joint {entry.name!r} of {source!r} {what} (found: {", ".join(names)[:200]})'
                )
            slots, places = columns.setdefault(entry.quantity, ([], []))
            slots.append(i)
            places.append(names.index(entry.name))
        return [(quantity, *where) for quantity, where in columns.items()]
