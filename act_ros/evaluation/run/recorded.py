"""The commands that were recorded, as actions at the times of ticks."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np

from act_ros.interfaces import OutputSpec
from act_ros.observation import stamp_ns
from act_ros.task import Task

FIELDS = {'position': 'positions', 'velocity': 'velocities'}
# A recorded command says for so long what the robot was told; then nobody commanded it [ns].
LIFETIME = 1_000_000_000
_NEVER = -(2**62)


class RecordedCommands:
    """The newest command of each output, and what it says of the action at any time.

    :param outputs: topic to what is sent there, as the node's parameter `outputs` has it.
    :param task: the action's entries.
    :param by_header: a command counts from its header stamp, where it has one; else, and where
        it is 0, from its receipt.
    :ivar topics: of the outputs.
    """

    def __init__(
        self, outputs: Mapping[str, OutputSpec], task: Task, *, by_header: bool = True
    ) -> None:
        self._outputs = outputs
        self.topics = frozenset(outputs)
        self._size = task.action_dim
        self._by_header = by_header
        # By output: the stamps, and the values of its columns. What no tick can ask for any
        # more is forgotten.
        self._stamps: dict[str, list[int]] = {topic: [] for topic in outputs}
        self._values: dict[str, list[np.ndarray]] = {topic: [] for topic in outputs}
        # By output: when each entry was said last.
        self._said = {topic: np.full(task.action_dim, _NEVER) for topic in outputs}

    def put(self, topic: str, message: Any, receipt: int) -> None:
        """Take in a command.

        :param receipt: when it was recorded [ns].
        """
        spec = self._outputs[topic]
        stamp = receipt
        if self._by_header and hasattr(message, 'header'):
            stamp = stamp_ns(message) or receipt
        stamps, values = self._stamps[topic], self._values[topic]
        place = bisect_right(stamps, stamp)
        stamps.insert(place, stamp)
        action = _read(spec, message, self._size)
        values.insert(place, action)
        said = self._said[topic]
        np.maximum(said, stamp, out=said, where=~np.isnan(action))

    def at(self, time: int) -> np.ndarray:
        """The action that was commanded at a time; times asked for must not go back.

        :param time: [ns].
        :returns: (action_dim,) in the robot's units; NaN where nothing was commanded in the
            last LIFETIME.
        """
        action = np.full(self._size, np.nan)
        for topic in self._outputs:
            stamps, values = self._stamps[topic], self._values[topic]
            old = bisect_right(stamps, time - LIFETIME)
            del stamps[:old], values[:old]
            # A message may hold some joints only: the newest that has each entry counts. What
            # none has is not looked for.
            missing = self._said[topic] > time - LIFETIME
            for i in reversed(range(bisect_right(stamps, time))):
                missing &= np.isnan(action)
                if not missing.any():
                    break
                action[missing] = values[i][missing]
        return action


def _read(spec: OutputSpec, message: Any, size: int) -> np.ndarray:
    """A message's part of the action; NaN where it says nothing of an entry."""
    action = np.full(size, np.nan)
    if spec.kind == 'Float64MultiArray':
        if len(message.data) == len(spec.columns):
            action[spec.columns] = message.data
        return action
    if spec.kind == 'JointState':
        names, numbers = message.name, message
        fields = {quantity: quantity for quantity in spec.places}
    else:
        if not message.points:
            return action
        names, numbers, fields = message.joint_names, message.points[0], FIELDS
    where = {name: i for i, name in enumerate(names)}
    for quantity, places in spec.places.items():
        values = getattr(numbers, fields[quantity])
        if len(values) != len(names):
            continue
        for joint, place in zip(spec.joints, places, strict=True):
            if joint in where:
                action[place] = values[where[joint]]
    return action
