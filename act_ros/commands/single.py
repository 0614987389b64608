"""Messages of one thing: the velocity of a base, the opening of a gripper."""

from typing import Any

import numpy as np

from act_ros.commands.decoding import Decoder, Setpoints
from act_ros.commands.encoding import Encoder, MessageLibrary
from act_ros.commands.spec import OutputSpec
from act_ros.task import TWIST

PARTS = (*(('linear', axis) for axis in 'xyz'), *(('angular', axis) for axis in 'xyz'))


class TwistEncoder(Encoder):
    """A base's velocity as geometry_msgs/Twist; what the action has nothing of is 0."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        vectors = {
            part: self._make('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
            for part in ('linear', 'angular')
        }
        self._twist = self._message = self._make('geometry_msgs/msg/Twist', **vectors)
        places = [PARTS[TWIST.index(entry.name)] for entry in spec.entries]
        self._fields = [
            (part, axis, column)
            for (part, axis), column in zip(places, spec.columns, strict=True)
        ]

    def encode(
        self,
        values: np.ndarray,
        stamp: Any,
        horizon: np.ndarray | None = None,
        slopes: np.ndarray | None = None,
    ) -> Any:
        """See `Encoder.encode`."""
        for part, axis, column in self._fields:
            setattr(getattr(self._twist, part), axis, float(values[column]))
        return self._message


class TwistStampedEncoder(TwistEncoder):
    """The same as geometry_msgs/TwistStamped, in the frame of the option `frame_id`."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        self._header_ = self._header()
        self._header_.frame_id = spec.options.get('frame_id', '')
        self._message = self._make(
            spec.message_type, header=self._header_, twist=self._twist
        )

    def encode(
        self,
        values: np.ndarray,
        stamp: Any,
        horizon: np.ndarray | None = None,
        slopes: np.ndarray | None = None,
    ) -> Any:
        """See `Encoder.encode`."""
        self._message.header.stamp = stamp
        return super().encode(values, stamp)


class TwistDecoder(Decoder):
    """What the action has of a Twist, with a header or without."""

    def decode(self, message: Any) -> Setpoints:
        """See `Decoder.decode`."""
        spec, twist = self._spec, getattr(message, 'twist', message)
        values, said = np.full((1, self._size), np.nan), np.zeros((1, self._size), dtype=bool)
        for entry, column in zip(spec.entries, spec.columns, strict=True):
            part, axis = PARTS[TWIST.index(entry.name)]
            values[0, column], said[0, column] = getattr(getattr(twist, part), axis), True
        return self._setpoints(values, said)


class GripperEncoder(Encoder):
    """A gripper's opening as control_msgs/GripperCommand, with the option `max_effort`."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        effort = float(spec.options.get('max_effort', 0.0))
        self._message = self._make(spec.message_type, position=0.0, max_effort=effort)

    def encode(
        self,
        values: np.ndarray,
        stamp: Any,
        horizon: np.ndarray | None = None,
        slopes: np.ndarray | None = None,
    ) -> Any:
        """See `Encoder.encode`."""
        self._message.position = float(values[self._spec.columns[0]])
        return self._message


class GripperDecoder(Decoder):
    """The opening of a GripperCommand."""

    def decode(self, message: Any) -> Setpoints:
        """See `Decoder.decode`."""
        values, said = np.full((1, self._size), np.nan), np.zeros((1, self._size), dtype=bool)
        column = self._spec.columns[0]
        values[0, column], said[0, column] = message.position, True
        return self._setpoints(values, said)
