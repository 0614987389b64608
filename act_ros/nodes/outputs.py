"""What commands are sent as: one or more topics, each with a type and entries of the action."""

import array
from collections.abc import Iterable, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from act_ros.errors import ParameterError, shorten
from act_ros.interfaces import OutputSpec, parse_output
from act_ros.task import Task

FIELDS = {'position': 'positions', 'velocity': 'velocities'}  # of a trajectory's point


class Output:
    """Builds the messages of one topic.

    :param spec: which part of the action, and as what.
    :param rate: of the commands [Hz].
    :ivar topic: where they go, as the parameter names it.
    :ivar columns: places in the action, in the message's order.
    :ivar message_type: the class of what `build` returns.
    :ivar needs_horizon: whether `build` uses the coming ticks.
    """

    def __init__(self, spec: OutputSpec, rate: float) -> None:
        self.topic, self.columns = spec.topic, spec.columns
        self.needs_horizon = spec.kind == 'JointTrajectoryHorizon'
        self.message_type, make = MESSAGES[spec.kind]
        self.spec = spec
        self._joints, self._places = spec.joints, spec.places
        self._rate = rate
        self._points: list[_Point] = []
        self._make = getattr(self, make)

    def build(
        self, values: np.ndarray, stamp: Time, horizon: np.ndarray | None = None
    ) -> JointState | JointTrajectory | Float64MultiArray:
        """The message of one tick; publish it before building the next.

        :param values: (action_dim,) float64, within the limits, robot units.
        :param stamp: of a JointState's header; the other types carry none.
        :param horizon: (n, action_dim) the values of the coming ticks; n may be 0.
        """
        return self._make(values, stamp, horizon)

    def _joint_state(self, values: np.ndarray, stamp: Time, _: np.ndarray | None) -> JointState:
        message = JointState(name=self._joints)
        message.header.stamp = stamp
        for quantity, places in self._places.items():
            setattr(message, quantity, doubles(values[places]))
        return message

    def _trajectory(
        self, values: np.ndarray, _: Time, horizon: np.ndarray | None
    ) -> JointTrajectory:
        # To a joint_trajectory_controller a stamp of zero means "start now". Any other may lie in
        # the past on arrival, and a trajectory that ends in the past is refused. From Jazzy on
        # one whose last velocity is not 0 is refused too, unless the controller is told
        # allow_nonzero_velocity_at_trajectory_end.
        rows = values[np.newaxis]
        if self.needs_horizon and horizon is not None:
            rows = np.concatenate((rows, horizon))
        while len(self._points) < len(rows):
            after = Duration(nanoseconds=round((len(self._points) + 1) / self._rate * 1e9))
            self._points.append(_Point(len(self._joints), self._places, after))
        # Publishing serialises at once, so the points may serve again: making 25 costs about
        # ten times as much as filling them.
        points = self._points[: len(rows)]
        for quantity, places in self._places.items():
            for point, row in zip(points, rows[:, places], strict=True):
                point.views[quantity][:] = row
        return JointTrajectory(
            joint_names=self._joints, points=[point.message for point in points]
        )

    def _array(
        self, values: np.ndarray, stamp: Time, horizon: np.ndarray | None
    ) -> Float64MultiArray:
        message = Float64MultiArray(data=doubles(values[self.columns]))
        size = len(self.columns)
        label = ','.join(map(str, self.spec.entries))
        message.layout.dim = [MultiArrayDimension(label=label, size=size, stride=size)]
        return message


class _Point:
    """A trajectory's point whose numbers are written in place."""

    def __init__(self, size: int, quantities: Iterable[str], after: Duration) -> None:
        self.message = JointTrajectoryPoint(time_from_start=after.to_msg())
        self.views: dict[str, np.ndarray] = {}
        for quantity in quantities:
            setattr(self.message, FIELDS[quantity], doubles(np.zeros(size)))
            # A view of the message's own numbers: what it was given it may have copied.
            self.views[quantity] = np.frombuffer(getattr(self.message, FIELDS[quantity]))


# Kind -> the message's type, and what makes it.
MESSAGES: dict[str, tuple[type, str]] = {
    'JointState': (JointState, '_joint_state'),
    'JointTrajectory': (JointTrajectory, '_trajectory'),
    'JointTrajectoryHorizon': (JointTrajectory, '_trajectory'),
    'Float64MultiArray': (Float64MultiArray, '_array'),
}


def parse_outputs(texts: Sequence[str], task: Task) -> list[Output]:
    """Read the parameter `outputs`, as `parse_output` reads each text of it.

    :raises ActError: one line that names the text and what is wrong with it.
    """
    if not texts:
        raise ParameterError("parameter 'outputs' is empty; expected 'TOPIC TYPE [PATTERN ...]'")
    outputs = []
    for text in texts:
        spec = parse_output(text, task)
        _check_topic(text, spec.topic)
        outputs.append(Output(spec, task.rate))
    # As in a dry run: there `a` and `/a` are one topic too.
    topics = [dry_run_topic(output.topic) for output in outputs]
    for topic, output in zip(topics, outputs, strict=True):
        if topics.count(topic) > 1:
            raise ParameterError(f"parameter 'outputs' names the topic {output.topic!r} twice")
    return outputs


def _check_topic(text: str, topic: str) -> None:
    try:
        # Under any node's name: what is wrong with the topic does not depend on it.
        validate_topic_name(topic)
        validate_full_topic_name(expand_topic_name(topic, 'node', '/'))
    except (NameValidationException, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise ParameterError(f'output {shorten(text)}: {reason}') from None


def unsent(outputs: Sequence[Output], task: Task) -> list[str]:
    """Entries of the action that no output carries."""
    sent = {column for output in outputs for column in output.columns}
    return [str(entry) for i, entry in enumerate(task.action) if i not in sent]


def dry_run_topic(topic: str) -> str:
    """Where a topic's commands go in a dry run."""
    return '~/dry_run/' + topic.removeprefix('~').lstrip('/')


def doubles(values: np.ndarray) -> array.array:
    """Values as a message holds them; where setters check types, they refuse a numpy array."""
    return array.array('d', values.tolist())
