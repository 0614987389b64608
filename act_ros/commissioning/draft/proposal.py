"""Which entries qpos and the action have, as far as anything tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from act_ros.commissioning.draft.dataset_info import without_suffix
from act_ros.commissioning.draft.policy_side import PolicySide
from act_ros.commissioning.draft.sighting import Seen, Sighting
from act_ros.commissioning.draft.sources import Sources, nearest
from act_ros.task import GRIPPER, TWIST, Entry, Task


@dataclass(frozen=True)
class Proposal:
    """The entries of qpos and of the action, in an order.

    :ivar topics: source to its topic, likewise the types.
    :ivar why: where the order is from.
    :ivar sure: it is that of the training, as its own files say.
    :ivar doubts: what does not fit, a line each.
    """

    state: Sequence[Entry]
    action: Sequence[Entry]
    topics: Mapping[str, str]
    types: Mapping[str, str]
    why: str
    sure: bool
    doubts: Sequence[str] = ()


def propose(sighting: Sighting, sources: Sources, side: PolicySide) -> Proposal:
    """Take what the training's own files say, else what was seen that has the right size."""
    task = side.task
    if task is not None and _fits(task, side) and (found := _of_task(task, sources)) is not None:
        return found
    if side.dataset is not None:
        return _of_dataset(side, sources)
    return _of_sight(sighting, sources, side)


def _fits(task: Task, side: PolicySide) -> bool:
    return (task.state_dim, task.action_dim) == (side.state_dim, side.action_dim)


def _of_task(task: Task, sources: Sources) -> Proposal | None:
    """The entries of a task that is known; None where the robot that is seen is another."""
    topics, types = {}, {}
    for source in task.sources:
        entries = [entry for entry in task.state if entry.source == source]
        found = sources.topic_for(entries) if sources.seen else None
        if found is None and sources.seen:
            return None
        topics[source] = sources.topics[found] if found else f'{source}/joint_states'
        types[source] = sources.types[found] if found else 'JointState'
    why = f'of the task {task.name!r}, which the checkpoint names'
    return Proposal(task.state, task.action, topics, types, why, sure=True)


def _of_dataset(side: PolicySide, sources: Sources) -> Proposal:
    """The names of the dataset, each with the joint of the robot that is called so."""
    assert side.dataset is not None
    doubts: dict[str, None] = {}

    def entry(name: str) -> Entry:
        quantity = 'velocity' if name.endswith('.vel') else 'position'
        found = sources.find(name, quantity)
        name = without_suffix(name)
        having = sources.having(name)
        called = f'the dataset calls an entry {name!r}, and'
        if found is None:
            doubts[f'{called} no joint that is seen is called so'] = None
        elif len(having) > 1:
            doubts[f'{called} {", ".join(having)} have a joint that is called so'] = None
        return found or Entry(next(iter(sources.topics)), name, quantity)

    state = [entry(name) for name in side.dataset.state]
    action = [entry(name) for name in side.dataset.action]
    return _with_doubts(
        Proposal(
            state, action, sources.topics, sources.types, f'of the dataset, {side.dataset.path}',
            sure=True, doubts=[*doubts],
        ),
        side,
    )  # fmt: skip


def _of_sight(sighting: Sighting, sources: Sources, side: PolicySide) -> Proposal:
    """What is measured and commanded, in the order of the messages."""
    positions = sources.positions()
    commanded = _commanded(sighting, sources)
    action = _first_of_size(
        side.action_dim,
        [*commanded, [e for e in positions if sources.types[e.source] != 'Odometry'], positions],
    )
    moved = list(dict.fromkeys((e.source, e.name) for e in action))
    measured = [Entry(source, name, 'position') for source, name in moved]
    state = _first_of_size(
        side.state_dim, [measured, *_with_others(measured, sources), positions, sources.both()]
    )
    return _with_doubts(
        Proposal(
            state, action, sources.topics, sources.types, 'of the messages that were seen'
            if sources.seen else 'of the description', sure=False,
        ),
        side,
    )  # fmt: skip


def _with_others(measured: list[Entry], sources: Sources) -> list[list[Entry]]:
    """What is commanded, and before it what is measured of a base."""
    own = {entry.source for entry in measured}
    others = [entry for entry in sources.both() if entry.source not in own]
    places = [e for e in others if e.quantity == 'position']
    speeds = [e for e in others if e.quantity == 'velocity']
    where = [e for e in places if e.name in ('x', 'y', 'z')]
    return [[*part, *measured] for part in (places, speeds, [*where, *speeds], others)]


def _commanded(sighting: Sighting, sources: Sources) -> list[list[Entry]]:
    """What the messages of commands hold: the positions, and with the velocities."""
    positions, velocities = [], []
    for topic, seen in sighting.commands().items():
        for joint, quantities in seen.joints.items():
            found = sources.find(joint, topic=topic)
            if found is not None and 'position' in quantities:
                positions.append(found)
            if found is not None and 'velocity' in quantities:
                velocities.append(Entry(found.source, found.name, 'velocity'))
    return [each for each in (positions, [*positions, *velocities]) if each]


def _first_of_size(size: int | None, candidates: Sequence[list[Entry]]) -> list[Entry]:
    """The first that has as many entries as the policy, or the first that has any."""
    some = [each for each in candidates if each]
    right = [each for each in some if len(each) == size]
    return [*right, *some, []][0]


def _with_doubts(proposal: Proposal, side: PolicySide) -> Proposal:
    doubts = list(proposal.doubts)
    for what, entries, size in (
        ('task.state', proposal.state, side.state_dim),
        ('task.action', proposal.action, side.action_dim),
    ):
        if size is not None and len(entries) != size:
            doubts.append(f'{what} has {len(entries)} entries, the checkpoint {size}')
    return replace(proposal, doubts=doubts)


def outputs_for(sighting: Sighting, action: Sequence[Entry]) -> list[str]:
    """Texts of the parameter `outputs` for the topics that are commanded on."""
    found: list[str] = []
    sent: set[str] = set()
    commands = sighting.commands()
    for topic, seen in commands.items():
        entries = _entries_of(topic, seen, action, alone=len(commands) == 1)
        if entries and not sent & set(map(str, entries)):
            sent |= set(map(str, entries))
            kind = seen.type.rpartition('/')[2]
            words = [] if len(entries) == len(action) else _patterns(entries, action)
            found.append(' '.join([topic, kind, *map(_quoted, words)]))
    return found


def _entries_of(
    topic: str, seen: Seen, action: Sequence[Entry], *, alone: bool
) -> list[Entry]:
    """Entries of the action that a topic carries, by its messages, else by its name.

    :param alone: nothing else is commanded on.
    """
    if seen.joints:
        named = [e for e in action if e.quantity in seen.joints.get(e.name, {})]
        return [entry for entry in named if _is_meant(topic, entry, named)]
    positions = [entry for entry in action if entry.quantity == 'position']
    if seen.type.endswith('Twist'):
        return [e for e in action if e.quantity == 'velocity' and e.name in TWIST]
    groups = _by_source(positions)
    if seen.values:  # which names none: as many as one source has, or as there are
        fitting = {group[0].source: group for group in groups if len(group) == seen.values}
        if len(meant := nearest(topic, fitting)) == 1:
            return fitting[meant[0]]
        return positions if len(positions) == seen.values else []
    if any(word in topic.lower() for word in GRIPPER):
        return [entry for entry in positions if entry.is_gripper]
    if alone and seen.type.endswith('JointState'):
        return list(action)
    own = [group for group in groups if group[0].source in topic] or ([positions] * alone)
    return [entry for group in own for entry in group if alone or not entry.is_gripper]


def _is_meant(topic: str, entry: Entry, entries: Sequence[Entry]) -> bool:
    """Whether a topic means this joint, and not one of the same name of another source."""
    sources = [e.source for e in entries if e.name == entry.name]
    return nearest(topic, sources) == [entry.source]


def _by_source(entries: Sequence[Entry]) -> list[list[Entry]]:
    names = dict.fromkeys(entry.source for entry in entries)
    return [[e for e in entries if e.source == name] for name in names]


def _patterns(entries: Sequence[Entry], action: Sequence[Entry]) -> list[str]:
    """Patterns that mean these entries: of a whole source, if they are all of it."""
    source = entries[0].source
    if list(entries) == [entry for entry in action if entry.source == source]:
        return [f'{source}/*']
    return [str(entry) for entry in entries]


def _quoted(word: str) -> str:
    return f"'{word}'" if ' ' in word else word
