"""A pose or a twist alone: geometry_msgs/PoseStamped and TwistStamped."""

from collections.abc import Sequence
from typing import Any

from act_ros.errors import ObservationError, TaskError
from act_ros.observation.geometry import (
    POSE,
    frame_name,
    pose_numbers,
    rotation_of,
)
from act_ros.observation.joints import NAN, Reading
from act_ros.task import TWIST, Entry


class StampedReader:
    """Reads entries out of a message that has numbers of one kind, in one frame.

    That frame is the first message's: where a driver changes it, its numbers are others.

    :param source: for errors.
    :param entries: as the names of the kind have them.
    :raises TaskError: an entry has another name, or is of the other quantity.
    """

    names: tuple[str, ...]
    quantity: str
    kind: str

    def __init__(self, source: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.quantity != self.quantity or entry.name not in self.names:
                raise TaskError(
                    f'{entry} is not in a {self.kind}; expected {", ".join(self.names)} as '
                    f'{self.quantity}'
                )
        self._source, self._frame = source, ''
        self._slots = tuple(range(len(entries)))
        self._places = [self.names.index(entry.name) for entry in entries]

    def read(self, message: Any) -> Reading:
        """What a message says of the entries: something of all."""
        frame = frame_name(message.header.frame_id)
        self._frame = self._frame or frame
        try:
            if frame and frame != self._frame:
                raise ObservationError(
                    f'{self._source} is in {frame!r}, and was in {self._frame!r} before; its '
                    f'driver, or drivers, must keep to one frame'
                )
            numbers = self.numbers(message)
        except ObservationError as error:
            wrong = dict.fromkeys(self._slots, str(error))
            return Reading(self._slots, [NAN] * len(self._slots), wrong, frame)
        return Reading(self._slots, [numbers[i] for i in self._places], {}, frame)

    def missing(self, slots: Sequence[int]) -> str:
        """Why some entries have not arrived: a message holds them all."""
        return f'{self._source} has not arrived'

    def numbers(self, message: Any) -> list[float]:
        """All that a message has, in the order of the names."""
        raise NotImplementedError


class PoseReader(StampedReader):
    """Positions [m, rad], as an Odometry has them."""

    names, quantity, kind = POSE, 'position', 'PoseStamped'

    def numbers(self, message: Any) -> list[float]:
        """See `StampedReader.numbers`."""
        pose = message.pose
        return pose_numbers(pose, rotation_of(self._source, pose.orientation))


class TwistReader(StampedReader):
    """Velocities [m/s, rad/s]: in the frame of the message, whatever that is."""

    names, quantity, kind = TWIST, 'velocity', 'TwistStamped'

    def numbers(self, message: Any) -> list[float]:
        """See `StampedReader.numbers`."""
        linear, angular = message.twist.linear, message.twist.angular
        return [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]
