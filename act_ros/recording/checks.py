"""Whether a bag fits the parameters, said before an hour's work."""

import logging
from itertools import islice

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.errors import BagError, ObservationError
from act_ros.observation import check_image, decode_image, framings
from act_ros.parameters import Settings
from act_ros.recording.command_faults import About, lines, unreadable
from act_ros.recording.commands import RecordedCommands
from act_ros.task import Task

log = logging.getLogger(__name__)

FIRST = 10  # messages of a topic; where none of them can be taken, none can


def first_commands(bag: Bag, topics: Topics, settings: Settings, task: Task) -> About:
    """What the first commands are like: all may be."""
    commands = RecordedCommands.from_settings(settings, topics.outputs, task)
    for topic in topics.outputs:
        for _, receipt, message in islice(bag.messages([topic]), FIRST):
            commands.put(topic, message, receipt)
    return commands.about()


def warn_of_commands(bag: Bag, topics: Topics, settings: Settings, task: Task) -> None:
    """Say at once, not after an hour, that nothing will be scored."""
    about = first_commands(bag, topics, settings, task)
    if unreadable(about):
        for line in lines(about):
            log.warning('%s: nothing is scored if all are as the first: %s', bag.path, line)


def check_frames(bag: Bag, topics: Topics, settings: Settings, task: Task) -> None:
    """Refuse a bag of whose frames the policy can take none: no action would come of it."""
    known = framings(settings, task)
    wanted = {
        topic: known[name]
        for topic, names in topics.inputs.items()
        for name in names
        if name in known
    }
    waiting, refused = set(wanted), dict.fromkeys(wanted, 0)
    faults: dict[str, BagError] = {}
    for topic, _, message in bag.messages(list(waiting)):
        if topic not in waiting:
            continue
        try:
            refused[topic] += 1
            check_image(message, wanted[topic])
            refused[topic] = 0  # of the right kind; some may be damaged
            decode_image(message)
        except ObservationError as error:
            faults[topic] = BagError(f'{bag.path}: {topic}: {error}')
            if refused[topic] == FIRST:
                raise faults[topic] from None
        else:
            waiting.discard(topic)
            if not waiting:
                return
    for topic in sorted(waiting & faults.keys()):
        raise faults[topic]
