"""Which topic brings which joints, and what each source is called."""

import re
from collections.abc import Iterable, Mapping, Sequence

from act_ros.commissioning.draft.dataset_info import without_suffix
from act_ros.commissioning.draft.sighting import Seen, Sighting
from act_ros.interfaces import STATE_TYPES
from act_ros.task import QUANTITIES, Entry

# Words of a topic's name that say nothing of whose joints they are.
GENERIC = (
    'joint_states', 'joint_state', 'states', 'state', 'joints', 'odometry', 'odom', 'robot',
    'image_raw', 'image', 'color', 'rgb', 'compressed', 'image_rect', 'image_rect_color',
)  # fmt: skip
BASE_TYPE = STATE_TYPES['Odometry']


def call_topics(topics: Mapping[str, Seen], otherwise: str) -> dict[str, str]:
    """Topic to a name of its own, from its words: `/left/arm/joint_states` is `left_arm`."""
    names: dict[str, str] = {}
    for topic, seen in topics.items():
        words = [word for word in topic.strip('/').split('/') if word.lower() not in GENERIC]
        name = '_'.join(words) or ('base' if seen.type == BASE_TYPE else otherwise)
        name = re.sub(r'\W', '_', name)
        count = sum(other == name or other.startswith(f'{name}_') for other in names.values())
        names[topic] = f'{name}_{count + 1}' if name in names.values() else name
    return names


class Sources:
    """The sources of joint states of a robot.

    :param sighting: of the robot; where it has none, one source of the joints given.
    :param joints: names that are known otherwise, of a description.
    :ivar topics: source to topic.
    :ivar types: source to what the topic is, as `state_types` calls it.
    """

    def __init__(self, sighting: Sighting, joints: Iterable[str] = ()) -> None:
        self._seen = sighting.states()
        called = call_topics(self._seen, 'arm')
        self.topics = {name: topic for topic, name in called.items()}
        kinds = {type_: kind for kind, type_ in STATE_TYPES.items()}
        self.types = {name: kinds[self._seen[topic].type] for topic, name in called.items()}
        self._joints = {name: list(self._seen[topic].joints) for topic, name in called.items()}
        if not self.topics:
            self.topics, self.types = {'arm': 'joint_states'}, {'arm': 'JointState'}
            self._joints = {'arm': list(joints)}

    @property
    def seen(self) -> bool:
        """Whether any message was."""
        return bool(self._seen)

    def positions(self) -> list[Entry]:
        """The position of every joint, bases last."""
        sources = sorted(self._joints, key=lambda name: self.types[name] == 'Odometry')
        return [Entry(s, j, 'position') for s in sources for j in self._joints[s]
                if self._measures(s, j, 'position')]  # fmt: skip

    def both(self) -> list[Entry]:
        """All positions, then all velocities, source by source."""
        return [
            Entry(source, joint, quantity)
            for source, joints in self._joints.items()
            for quantity in QUANTITIES
            for joint in joints
            if self._measures(source, joint, quantity)
        ]

    def find(self, name: str, quantity: str = 'position', topic: str = '') -> Entry | None:
        """The entry of a joint by its name, or by one that says the same: `left_waist.pos`.

        :param topic: that the name is from: of two arms whose joints are called alike it tells
            which is meant.
        """
        name = without_suffix(name)
        if sources := self.having(name):
            return Entry(nearest(topic, sources)[0], name, quantity)
        pairs = [(source, joint) for source, joints in self._joints.items() for joint in joints]
        alike = [pair for pair in pairs if _plain(pair[1]) == _plain(name)]
        alike = alike or [pair for pair in pairs if _is_of(name, *pair)]
        return Entry(*alike[0], quantity) if len(alike) == 1 else None

    def having(self, joint: str) -> list[str]:
        """The sources that have a joint of this name."""
        return [source for source, joints in self._joints.items() if joint in joints]

    def topic_for(self, entries: Sequence[Entry]) -> str | None:
        """The source whose topic brings all of some entries."""
        for source in self._joints:
            if all(self._measures(source, e.name, e.quantity) for e in entries):
                return source
        return None

    def _measures(self, source: str, joint: str, quantity: str) -> bool:
        if not self._seen:
            return joint in self._joints[source] and quantity == 'position'
        return quantity in self._seen[self.topics[source]].joints.get(joint, {})


def words_of(name: str) -> list[str]:
    """The words of a topic's or a joint's name."""
    return re.split(r'[\W_]+', name.lower())


def nearest(topic: str, sources: Iterable[str]) -> list[str]:
    """The sources whose names share most words with a topic's: several where none is meant."""
    words = set(words_of(topic))
    shared = {source: len(words.intersection(words_of(source))) for source in sources}
    return [source for source, count in shared.items() if count == max(shared.values())]


def _is_of(name: str, source: str, joint: str) -> bool:
    """Whether a name is that of a joint with words of its source: `left_waist`."""
    own = [word for word in words_of(name) if word not in words_of(source)]
    return bool(own) and _plain('_'.join(own)) == _plain(joint)


def _plain(name: str) -> str:
    """A joint's name without what is only a habit."""
    return re.sub(r'joint|motor|main_|[\W_]', '', name.lower())
