"""What a robot is seen to have: its topics, and what is in them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from act_ros.bags.bag import Bag
from act_ros.bags.folder import bags_of
from act_ros.interfaces import INPUT_TYPES
from act_ros.task import QUANTITIES, TWIST

NS = 1_000_000_000
DESCRIPTION = 'robot_description'  # of a topic's end, a std_msgs/String with a URDF
TEXT = 'std_msgs/msg/String'
# What may carry commands besides the types of inputs.
COMMANDS = (
    'geometry_msgs/msg/Twist',
    'control_msgs/msg/GripperCommand',
)
# In the names of topics that are commanded on.
COMMANDED = ('command', 'cmd', 'joint_trajectory', 'target', 'goal', 'setpoint')
# In the names of what a person holds and the robot follows.
LEADING = ('leader', 'master', 'teleop', 'operator')
MEASURED = ('joint_states', 'joint_state')  # at the end of topics, whoever else listens there
DEPTH = ('depth', 'disparity', 'infra', 'mask')  # of pictures that are not in colour
PICTURES = 10  # messages of a camera that are read


@dataclass
class Range:
    """Where a value was."""

    least: float = math.inf
    most: float = -math.inf

    def take(self, value: float) -> None:
        self.least, self.most = min(self.least, value), max(self.most, value)


@dataclass
class Seen:
    """One topic.

    :ivar type: as in 'sensor_msgs/msg/Image'.
    :ivar count: messages, of which the first and last came at `first` and `last` [ns].
    :ivar size: height and width of its pictures [px]; None of what is no camera.
    :ivar encoding: of these.
    :ivar joints: in the order in which they came, with what is measured of each.
    :ivar values: numbers in an array.
    :ivar sent: somebody publishes, or has.
    :ivar wanted: nobody does, and somebody listens who may obey.
    """

    type: str
    count: int = 0
    first: int = 0
    last: int = 0
    size: tuple[int, int] | None = None
    encoding: str = ''
    joints: dict[str, dict[str, Range]] = field(default_factory=dict)
    values: int = 0
    sent: bool = True
    wanted: bool = False

    @property
    def rate(self) -> float:
        """Messages a second; 0 of less than two."""
        span = self.last - self.first
        return (self.count - 1) * NS / span if span > 0 else 0.0

    def hear(self, message: Any, receipt: int) -> None:
        """Take in a message."""
        self.count += 1
        self.first = self.first or receipt
        self.last = receipt
        kind = self.type.rpartition('/')[2]
        if kind == 'Image':
            self.size, self.encoding = (message.height, message.width), message.encoding
        elif kind == 'CompressedImage':
            self._hear_compressed(message)
        elif kind == 'JointState':
            self._hear_joints(message.name, message.position, message.velocity)
        elif kind == 'JointTrajectory' and message.points:
            point = message.points[-1]
            self._hear_joints(message.joint_names, point.positions, point.velocities)
        elif kind == 'Odometry':
            self._hear_base(message)
        elif kind == 'Float64MultiArray':
            self.values = len(message.data)

    def _hear_compressed(self, message: Any) -> None:
        from act_ros.errors import ObservationError
        from act_ros.observation.compressed import inspect_compressed

        try:
            self.size = inspect_compressed(message)[0]
        except ObservationError:
            return
        self.encoding = message.format

    def _hear_joints(self, names: Any, positions: Any, velocities: Any) -> None:
        for quantity, values in zip(QUANTITIES, (positions, velocities), strict=True):
            if len(values) == len(names):
                for name, value in zip(names, values, strict=True):
                    self._take(name, quantity, float(value))

    def _hear_base(self, message: Any) -> None:
        position, twist = message.pose.pose.position, message.twist.twist
        for name in 'xyz':
            self._take(name, 'position', getattr(position, name))
        rates = [*(getattr(twist.linear, n) for n in 'xyz'),
                 *(getattr(twist.angular, n) for n in 'xyz')]  # fmt: skip
        for name, value in zip(TWIST, rates, strict=True):
            self._take(name, 'velocity', value)

    def _take(self, joint: str, quantity: str, value: float) -> None:
        where = self.joints.setdefault(joint, {}).setdefault(quantity, Range())
        if math.isfinite(value):
            where.take(value)


@dataclass
class Sighting:
    """What was seen of a robot.

    :ivar where: for people: a bag, the graph, or nothing.
    :ivar topics: by full name.
    :ivar descriptions: the URDFs that it publishes, by topic.
    """

    where: str = ''
    topics: dict[str, Seen] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)

    def hear(self, topic: str, message: Any, receipt: int) -> None:
        """Take in a message of a topic that is known."""
        if self.topics[topic].type == TEXT:
            self.descriptions[topic] = message.data
        else:
            self.topics[topic].hear(message, receipt)

    def cameras(self) -> dict[str, Seen]:
        """Topics with pictures in colour."""
        return {
            topic: seen
            for topic, seen in self.topics.items()
            if seen.type.endswith('Image')
            and seen.sent
            and not any(word in topic.lower() for word in DEPTH)
            and not seen.encoding.startswith(('16', '32'))
        }

    def states(self) -> dict[str, Seen]:
        """Topics on which joints, or a base, are measured; not those of what leads them."""
        measured = {
            topic: seen
            for topic, seen in self.topics.items()
            if seen.joints and not is_command(topic, seen)
        }
        own = {t: s for t, s in measured.items() if not any(w in t.lower() for w in LEADING)}
        return own or measured

    def commands(self) -> dict[str, Seen]:
        """Topics on which it is commanded."""
        return {topic: seen for topic, seen in self.topics.items() if is_command(topic, seen)}


def is_command(topic: str, seen: Seen) -> bool:
    """Whether a topic is one that the robot obeys, as far as its name and its ends tell."""
    if seen.type.endswith(('Image', 'Odometry', 'PoseStamped', 'String')):
        return False
    if topic.endswith(MEASURED):
        return False
    named = any(word in part for word in COMMANDED for part in topic.lower().split('/'))
    return named or seen.wanted


def of_interest(types: Mapping[str, str]) -> dict[str, str]:
    """Those topics, with their types, that may be a robot's."""
    kinds = {*INPUT_TYPES.values(), *COMMANDS}
    return {
        topic: type_
        for topic, type_ in types.items()
        if type_ in kinds or (type_ == TEXT and topic.endswith(DESCRIPTION))
    }


def sight_bag(path: Path, seconds: float) -> Sighting:
    """Look at a recording.

    :param seconds: of it.
    :raises BagError: it cannot be read.
    """
    with Bag(bags_of([path])[0]) as bag:
        types = of_interest(bag.topics)
        sighting = Sighting(f'the bag {bag.path.name}')
        sighting.topics = {topic: Seen(type_) for topic, type_ in sorted(types.items())}
        stop = bag.start + round(seconds * NS)
        cameras = [topic for topic, type_ in types.items() if type_.endswith('Image')]
        others = [topic for topic in types if topic not in cameras]
        for topic, receipt, message in bag.messages(others, stop=stop):
            sighting.hear(topic, message, receipt)
        for topic in cameras:  # of pictures the first are enough, and of the rest the time
            seen = sighting.topics[topic]
            for _, receipt, message in islice(bag.messages([topic]), PICTURES):
                seen.hear(message, receipt)
            receipts = [receipt for _, receipt, _ in bag.raw([topic], stop=stop)]
            if receipts:
                seen.count, seen.last = len(receipts), receipts[-1]
        return sighting
