"""What carries joints without a JointState: bare arrays, and trajectories."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from act_ros.observation.joints import NAN, JointReader, Reading
from act_ros.task import Entry


class ArrayReader:
    """Reads std_msgs/Float64MultiArray: its numbers are the entries of the source, in order.

    Nothing in it says which is which, so their number must be right, and its age counts from
    its receipt.

    :param source: for errors.
    :param entries: whose values are wanted, in the order of the array.
    :param size: how many there are in it: those of qpos.
    """

    def __init__(self, source: str, entries: Sequence[Entry], size: int) -> None:
        self._source, self._size = source, size
        self._slots = tuple(range(len(entries)))

    def read(self, message: Any) -> Reading:
        """What a message says of the entries: something of all."""
        data = message.data[message.layout.data_offset :]
        if len(data) != self._size:
            text = (
                f'{self._source} has {len(data)} numbers, expected {self._size}: as many as '
                f'task.state has entries of it, in their order'
            )
            wrong = dict.fromkeys(self._slots, text)
            return Reading(self._slots, [NAN] * len(self._slots), wrong, len(data))
        return Reading(self._slots, [float(value) for value in data], {}, len(data))

    def missing(self, slots: Sequence[int]) -> str:
        """Why some entries have not arrived: a message holds them all."""
        return f'{self._source} has not arrived'


class TrajectoryReader(JointReader):
    """Reads trajectory_msgs/JointTrajectory by joint name: its first point."""

    def read(self, message: Any) -> Reading:
        """What a message says of the entries that it holds, perhaps of none."""
        points = message.points
        first = points[0] if points else SimpleNamespace(positions=(), velocities=())
        return super().read(
            SimpleNamespace(
                name=message.joint_names, position=first.positions, velocity=first.velocities
            )
        )
