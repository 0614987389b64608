"""What commands are sent as: one or more topics, each with a type and entries of the action."""

import array
import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

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

from act_ros.errors import ParameterError, TaskError, shorten
from act_ros.task import QUANTITIES, Task

FIELDS = {'position': 'positions', 'velocity': 'velocities'}  # of a trajectory's point


class Output:
    """One topic: a part of the action, and how it becomes a message.

    :ivar topic: where it goes, as the parameter names it.
    :ivar columns: places in the action, in the message's order.
    :ivar message_type: the class of what `build` returns.
    :ivar needs_horizon: whether `build` uses the coming ticks.

    :param text: as the parameter has it, for errors.
    :param topic: where it goes.
    :param kind: one of KINDS.
    :param columns: places in the action, in the message's order.
    :param task: the action's entries and the rate.
    :raises TaskError: the entries do not make a message of this type.
    """

    def __init__(
        self, text: str, topic: str, kind: str, columns: Sequence[int], task: Task
    ) -> None:
        self.topic = topic
        self.columns = list(columns)
        self.needs_horizon = kind == 'JointTrajectoryHorizon'
        self.message_type, make = KINDS[kind]
        self._entries = [task.action[i] for i in columns]
        self._rate = task.rate
        self._points: list[_Point] = []
        if kind != 'Float64MultiArray':
            self._order_by_joint(text, columns)
            if kind != 'JointState' and 'position' not in self._places:
                raise TaskError(f'output {shorten(text)}: a trajectory needs positions')
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

    def _order_by_joint(self, text: str, columns: Sequence[int]) -> None:
        """Names once, and the places of each quantity in their order."""
        sources = sorted({entry.source for entry in self._entries})
        if len(sources) > 1:
            raise TaskError(
                f'output {shorten(text)} has entries of the sources {", ".join(sources)}, but one '
                f'message names the joints of one: give each an output of its own'
            )
        place = {(e.name, e.quantity): i for i, e in zip(columns, self._entries, strict=True)}
        self._joints = list(dict.fromkeys(entry.name for entry in self._entries))
        self._places: dict[str, np.ndarray] = {}
        for quantity in QUANTITIES:
            places = [place.get((joint, quantity)) for joint in self._joints]
            if None not in places:
                self._places[quantity] = np.array(places)
            elif any(i is not None for i in places):
                lacking = self._joints[places.index(None)]
                raise TaskError(
                    f'output {shorten(text)} has a {quantity} of some joints but none of '
                    f'{lacking!r}; it holds one for all or for none'
                )

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
        label = ','.join(map(str, self._entries))
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


# TYPE in the parameter -> the message's type, and what makes it.
KINDS: dict[str, tuple[type, str]] = {
    'JointState': (JointState, '_joint_state'),
    'JointTrajectory': (JointTrajectory, '_trajectory'),
    'JointTrajectoryHorizon': (JointTrajectory, '_trajectory'),
    'Float64MultiArray': (Float64MultiArray, '_array'),
}


def parse_outputs(texts: Sequence[str], task: Task) -> list[Output]:
    """Read the parameter `outputs`: `TOPIC TYPE [PATTERN ...]` each.

    A pattern is compared with `source/joint/quantity`; one of two parts matches both
    quantities. Without a pattern the whole action is sent.

    :raises ActError: one line that names the text and what is wrong with it.
    """
    if not texts:
        raise ParameterError("parameter 'outputs' is empty; expected 'TOPIC TYPE [PATTERN ...]'")
    outputs = [_parse(text, task) for text in texts]
    # As in a dry run: there `a` and `/a` are one topic too.
    topics = [dry_run_topic(output.topic) for output in outputs]
    for topic, output in zip(topics, outputs, strict=True):
        if topics.count(topic) > 1:
            raise ParameterError(f"parameter 'outputs' names the topic {output.topic!r} twice")
    return outputs


def unsent(outputs: Sequence[Output], task: Task) -> list[str]:
    """Entries of the action that no output carries."""
    sent = {column for output in outputs for column in output.columns}
    return [str(entry) for i, entry in enumerate(task.action) if i not in sent]


def dry_run_topic(topic: str) -> str:
    """Where a topic's commands go in a dry run."""
    return '~/dry_run/' + topic.removeprefix('~').lstrip('/')


def _parse(text: str, task: Task) -> Output:
    words = text.split()
    if len(words) < 2:
        raise ParameterError(
            f'output {shorten(text)} is not of the form TOPIC TYPE [PATTERN ...]'
        )
    topic, kind, *patterns = words
    try:
        # Under any node's name: what is wrong with the topic does not depend on it.
        validate_topic_name(topic)
        validate_full_topic_name(expand_topic_name(topic, 'node', '/'))
    except (NameValidationException, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise ParameterError(f'output {shorten(text)}: {reason}') from None
    if kind not in KINDS:
        raise ParameterError(
            f'output {shorten(text)} has the type {kind!r}; expected one of {", ".join(KINDS)} '
            f'(nearest: {_nearest(kind, KINDS)})'
        )
    names = [str(entry) for entry in task.action]
    columns: dict[int, None] = {}
    for pattern in patterns or ['*']:
        found = [i for i, name in enumerate(names) if _matches(name, pattern)]
        if not found:
            raise ParameterError(
                f'output {shorten(text)}: {pattern!r} matches no entry of the action; '
                f'the nearest is {_nearest(pattern, names)!r}'
            )
        columns |= dict.fromkeys(found)
    return Output(text, topic, kind, list(columns), task)


def _matches(name: str, pattern: str) -> bool:
    joint = name.rsplit('/', 1)[0]
    return fnmatchcase(name, pattern) or fnmatchcase(joint, pattern)


def _nearest(word: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]


def doubles(values: np.ndarray) -> array.array:
    """Values as a message holds them; where setters check types, they refuse a numpy array."""
    return array.array('d', values.tolist())
