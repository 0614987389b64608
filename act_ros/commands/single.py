"""Messages of one thing: the velocity of a base, the opening of a gripper."""

from typing import Any

import numpy as np

from act_ros.commands.decoding import Decoder, Setpoints
from act_ros.commands.encoding import Encoder, MessageLibrary
from act_ros.commands.spec import OutputSpec
from act_ros.task import TWIST

# By the name of an entry, where its number is in a Twist.
PARTS = dict(
    zip(TWIST, [(part, axis) for part in ('linear', 'angular') for axis in 'xyz'], strict=True)
)


class TwistEncoder(Encoder):
    """A base's velocity as geometry_msgs/Twist; what the action has nothing of is 0."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        vectors = {
            part: self._make('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
            for part in ('linear', 'angular')
        }
        self._twist = self._message = self._make('geometry_msgs/msg/Twist', **vectors)
        places = [PARTS[entry.name] for entry in spec.entries]
        self._fields = [
            (part, axis, column)
            for (part, axis), column in zip(places, spec.columns, strict=True)
        ]

    def _fill(self, values: np.ndarray, stamp: Any) -> None:
        for part, axis, column in self._fields:
            setattr(getattr(self._twist, part), axis, float(values[column]))


class TwistStampedEncoder(TwistEncoder):
    """The same as geometry_msgs/TwistStamped, in the frame of the option `frame_id`."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        header = self._header()
        header.frame_id = spec.options['frame_id']
        self._message = self._make(spec.message_type, header=header, twist=self._twist)

    def _fill(self, values: np.ndarray, stamp: Any) -> None:
        self._message.header.stamp = stamp
        super()._fill(values, stamp)


class TwistDecoder(Decoder):
    """What the action has of a Twist, with a header or without."""

    def decode(self, message: Any) -> Setpoints:
        """See `Decoder.decode`."""
        spec, twist = self._spec, getattr(message, 'twist', message)
        parts = [PARTS[entry.name] for entry in spec.entries]
        numbers = [getattr(getattr(twist, part), axis) for part, axis in parts]
        return self._setpoint(np.array(spec.columns), np.array(numbers))


class GripperEncoder(Encoder):
    """A gripper's opening as control_msgs/GripperCommand, with the option `max_effort`."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        effort = spec.options['max_effort']
        self._message = self._make(spec.message_type, position=0.0, max_effort=effort)

    def _fill(self, values: np.ndarray, stamp: Any) -> None:
        self._message.position = float(values[self._spec.columns[0]])


class GripperDecoder(Decoder):
    """The opening of a GripperCommand."""

    def decode(self, message: Any) -> Setpoints:
        """See `Decoder.decode`."""
        return self._setpoint(np.array(self._spec.columns), np.array([message.position]))
