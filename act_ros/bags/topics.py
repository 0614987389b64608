"""The topics of a robot in a bag."""

from collections.abc import Collection, Mapping

from act_ros.bags.bag import Bag
from act_ros.errors import BagError, shorten
from act_ros.interfaces import (
    INPUT_TYPES,
    absolute,
    camera_inputs,
    check_shared,
    parse_output,
    state_inputs,
)
from act_ros.parameters import Settings
from act_ros.task import Task
from act_ros.topics import near


class Topics:
    """The topics of a robot in a bag.

    :param settings: the node's parameters.
    :param bag: names in it are absolute; those of the parameters may be relative.
    :param namespace: that relative ones are under.
    :ivar inputs: topic to the inputs that it feeds.
    :ivar outputs: topic to what commands were sent there.
    :ivar missing: topics of outputs that were not recorded.
    :raises ActError: a topic is not in the bag, or of another type.
    """

    def __init__(
        self, settings: Settings, task: Task, bag: Bag, namespace: str = ''
    ) -> None:
        given = {
            name: (absolute(topic, namespace), input_type)
            for name, (topic, input_type) in {
                **camera_inputs(settings, task), **state_inputs(settings, task)
            }.items()
        }  # fmt: skip
        check_shared(given)
        self.inputs: dict[str, list[str]] = {}
        for name, (topic, _) in given.items():
            self.inputs.setdefault(topic, []).append(name)
        wanted = {topic: INPUT_TYPES[input_type] for topic, input_type in given.values()}
        outputs = [parse_output(text, task) for text in settings.outputs]
        named = {absolute(spec.topic, namespace): spec for spec in outputs}
        self.outputs = {topic: spec for topic, spec in named.items() if topic in bag.topics}
        self.missing = [topic for topic in named if topic not in bag.topics]
        sent = {topic: spec.message_type for topic, spec in self.outputs.items()}
        bag.choose({**sent, **wanted})
        # Joints may share a topic; a camera's is its own.
        cameras = [topic for topic, type_ in wanted.items() if type_.endswith('Image')]
        check_topics(bag, wanted, taken=[*cameras, *named])
        check_topics(bag, sent)


def check_topics(bag: Bag, wanted: Mapping[str, str], taken: Collection[str] = ()) -> None:
    """Refuse a bag that lacks a topic, or has it with another type.

    :param wanted: topic to type.
    :param taken: those that can be meant by no other name.
    :raises BagError: with what the bag has beside what was asked for.
    """
    lacking = [topic for topic in wanted if topic not in bag.topics]
    if lacking:
        others = {topic: [type_] for topic, type_ in bag.topics.items() if topic not in taken}
        texts = [f'no {topic}{near(topic, wanted[topic], others)}' for topic in lacking]
        found = ', '.join(f'{name} ({type_})' for name, type_ in sorted(bag.topics.items()))
        raise BagError(
            f'{bag.path} has {"; ".join(texts)}; it has {found or "no topic at all"} '
            f'(set camera_topics, state_topics and outputs in --params-file)'
        )
    for topic, message_type in wanted.items():
        if bag.topics[topic] != message_type:
            raise BagError(
                f'{bag.path}: {topic} is a {shorten(bag.topics[topic])}, expected {message_type} '
                f'(set camera_types, state_types or outputs in --params-file)'
            )
