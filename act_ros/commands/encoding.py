"""From an action to the messages of an output, whichever library's message classes they are."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from act_ros.commands.spec import OutputSpec

NONE = np.empty(0)
POINT_FIELDS = {'position': 'positions', 'velocity': 'velocities'}  # of a JointTrajectoryPoint


class Ahead(NamedTuple):
    """The way on from a command until the robot is at rest.

    :ivar values: (n, action_dim) of the coming ticks, robot units; n may be 0.
    :ivar slopes: (n + 1, action_dim) how fast the positions of this tick and of those change
        there [a second]; what is no position is 0.
    """

    values: np.ndarray
    slopes: np.ndarray


class MessageLibrary(Protocol):
    """Where the classes of messages come from: rclpy's, or those that bags are written with."""

    def message_class(self, message_type: str) -> Callable[..., Any]:
        """The class of a type, as in 'sensor_msgs/msg/JointState'; it is given every field."""
        ...

    def doubles(self, values: np.ndarray) -> Any:
        """Values (n,) as a float64[] field holds them."""
        ...


class Encoder(ABC):
    """Makes the messages of one output.

    A message is made once and filled anew at each tick: making one costs several times as much.
    So whoever encodes sends or serialises it before encoding the next.

    :param spec: which part of the action, and as what.
    :param rate: of the commands [Hz].
    :param library: of the messages.
    """

    _message: Any

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        self._spec, self._rate, self._library = spec, rate, library

    def encode(self, values: np.ndarray, stamp: Any, ahead: Ahead | None = None) -> Any:
        """The message of one tick.

        :param values: (action_dim,) float64, robot units.
        :param stamp: builtin_interfaces/Time of a JointState's header; the others carry none.
        :param ahead: what follows, for those messages that hold it.
        """
        self._fill(values, stamp)
        return self._message

    @abstractmethod
    def _fill(self, values: np.ndarray, stamp: Any) -> None:
        """Write a tick's values into the message; as to `encode`."""

    def _make(self, message_type: str, **fields: Any) -> Any:
        return self._library.message_class(message_type)(**fields)

    def _header(self) -> Any:
        stamp = self._make('builtin_interfaces/msg/Time', sec=0, nanosec=0)
        return self._make('std_msgs/msg/Header', stamp=stamp, frame_id='')

    def _numbers(self) -> dict[str, Any]:
        """Quantity to as many numbers as there are joints, or none."""
        size = len(self._spec.joints)
        return {
            quantity: self._library.doubles(np.zeros(size if quantity in self._spec.places else 0))
            for quantity in POINT_FIELDS
        }


class JointStateEncoder(Encoder):
    """Positions and velocities with the joints' names."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        self._message = self._make(
            spec.message_type, header=self._header(), name=spec.joints,
            effort=library.doubles(NONE), **self._numbers(),
        )  # fmt: skip
        self._views = [
            (_view(self._message, quantity), places) for quantity, places in spec.places.items()
        ]

    def _fill(self, values: np.ndarray, stamp: Any) -> None:
        self._message.header.stamp = stamp
        for view, places in self._views:
            view[:] = values[places]


class TrajectoryEncoder(Encoder):
    """A point one tick ahead and, of a horizon, those of the coming ticks.

    The points of a horizon have the velocities of its path, so that who interpolates between
    them goes through each without a corner.
    """

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        # To a joint_trajectory_controller a stamp of zero means "start now". Any other may lie in
        # the past on arrival, and a trajectory that ends in the past is refused. From Jazzy on
        # one whose last velocity is not 0 is refused too, unless the controller is told
        # allow_nonzero_velocity_at_trajectory_end: a horizon ends at rest.
        self._message = self._make(
            spec.message_type, header=self._header(), joint_names=spec.joints, points=[]
        )
        self._points: list[Any] = []
        self._views: dict[str, list[np.ndarray]] = {}

    def encode(self, values: np.ndarray, stamp: Any, ahead: Ahead | None = None) -> Any:
        """See `Encoder.encode`."""
        self._fill_points(values, ahead if self._spec.output_type.horizon else None)
        return self._message

    def _fill(self, values: np.ndarray, stamp: Any) -> None:
        self._fill_points(values, None)

    def _fill_points(self, values: np.ndarray, ahead: Ahead | None) -> None:
        rows, spec = values[np.newaxis], self._spec
        if ahead is not None:
            rows = np.concatenate((rows, ahead.values))
        numbers = {quantity: rows[:, places] for quantity, places in spec.places.items()}
        if ahead is not None:
            numbers['velocity'] = ahead.slopes[:, spec.places['position']]
        if self._views.keys() != numbers.keys():
            self._points, self._views = [], {quantity: [] for quantity in numbers}
        while len(self._points) < len(rows):
            self._add_point()
        for quantity, views in self._views.items():
            for view, row in zip(views, numbers[quantity], strict=False):
                view[:] = row
        self._message.points = self._points[: len(rows)]

    def _add_point(self) -> None:
        after = round((len(self._points) + 1) / self._rate * 1e9)
        sec, nanosec = divmod(after, 1_000_000_000)
        numbers = {
            field: self._library.doubles(np.zeros(len(self._spec.joints) * (name in self._views)))
            for name, field in POINT_FIELDS.items()
        }
        point = self._make(
            'trajectory_msgs/msg/JointTrajectoryPoint', **numbers,
            accelerations=self._library.doubles(NONE), effort=self._library.doubles(NONE),
            time_from_start=self._make(
                'builtin_interfaces/msg/Duration', sec=sec, nanosec=nanosec
            ),
        )  # fmt: skip
        self._points.append(point)
        for quantity, views in self._views.items():
            views.append(_view(point, POINT_FIELDS[quantity]))


class ArrayEncoder(Encoder):
    """Values in the order of the output; the layout's label names them."""

    def __init__(self, spec: OutputSpec, rate: float, library: MessageLibrary) -> None:
        super().__init__(spec, rate, library)
        size = len(spec.columns)
        dimension = self._make(
            'std_msgs/msg/MultiArrayDimension', label=array_label(spec), size=size, stride=size
        )
        layout = self._make('std_msgs/msg/MultiArrayLayout', dim=[dimension], data_offset=0)
        data = library.doubles(np.zeros(size))
        self._message = self._make(spec.message_type, layout=layout, data=data)
        self._view, self._columns = _view(self._message, 'data'), np.array(spec.columns)

    def _fill(self, values: np.ndarray, stamp: Any) -> None:
        self._view[:] = values[self._columns]


def array_label(spec: OutputSpec) -> str:
    """What the layout of a Float64MultiArray says of its values."""
    return ','.join(map(str, spec.entries))


def _view(message: Any, field: str) -> np.ndarray:
    """A message's own numbers, to be written in place: what it was given it may have copied."""
    return np.frombuffer(getattr(message, field))
