"""A parameter file beside a recording."""

from pathlib import Path

import numpy as np

from act_ros.bags.bag import Bag
from act_ros.bags.folder import bags_of
from act_ros.commissioning.check.findings import Findings
from act_ros.commissioning.check.inputs import check_inputs
from act_ros.commissioning.check.inspection import Heard, Inspection
from act_ros.commissioning.check.ranges import check_commands, check_measured, check_states
from act_ros.commissioning.check.robot import Robot
from act_ros.interfaces import INPUT_TYPES, absolute
from act_ros.policy.interface import Statistics
from act_ros.recording.command_faults import lines
from act_ros.recording.commands import RecordedCommands
from act_ros.topics import Publisher, explain, near

NS = 1_000_000_000
UNLIKE = 0.2  # by how much of the rate commands may come more or less often


def check_bags(
    robot: Robot,
    paths: list[Path],
    namespace: str,
    seconds: float,
    statistics: Statistics | None,
    findings: Findings,
) -> None:
    """Look at recordings as the node would have looked at the robot.

    :param namespace: that relative topics were recorded under.
    :param seconds: of each, from its beginning.
    """
    found = bags_of(paths)
    for path in found:
        with findings.of('bag'), Bag(path) as bag:
            if len(found) > 1:
                findings.begin('bag', f'{path}, of which is what follows')
            _check_bag(robot, bag, namespace, seconds, statistics, findings)


def _check_bag(
    robot: Robot,
    bag: Bag,
    namespace: str,
    seconds: float,
    statistics: Statistics | None,
    findings: Findings,
) -> None:
    specs = {absolute(spec.topic, namespace): spec for spec in robot.outputs}
    bag.choose({topic: spec.message_type for topic, spec in specs.items()})
    bag.choose({topic: INPUT_TYPES[kind] for topic, kind in robot.inputs.values()})
    inputs = _present_inputs(robot, bag, set(specs), findings)
    sent = {
        topic: spec for topic, spec in specs.items() if bag.topics.get(topic) == spec.message_type
    }
    commands = RecordedCommands.from_settings(robot.settings, sent, robot.task)
    inspection = Inspection(robot, commands)
    heard = {topic: Heard() for topic in sent}
    stop = bag.start + round(seconds * NS)
    for topic, receipt, message in bag.messages([*inputs, *sent], stop=stop):
        if topic in sent:
            inspection.until(receipt)
            commands.put(topic, message, receipt)
            heard[topic].hear(message, receipt)
        for name in inputs.get(topic, ()):
            inspection.store.put(name, message, receipt)
    for topic in specs:
        _check_sent(robot, bag, topic, specs[topic].message_type, heard.get(topic), findings)
    for text in [*lines(commands.about()), *bag.damage, *inspection.store.remarks()]:
        findings.doubt('bag', text)
    check_inputs(robot, inspection, findings)
    check_states(robot, np.array(inspection.states), statistics, findings)
    check_measured(robot, np.array(inspection.measured), findings)
    recorded = inspection.recorded()
    if recorded is not None:
        check_commands(robot, recorded, statistics, findings)


def _present_inputs(
    robot: Robot, bag: Bag, taken: set[str], findings: Findings
) -> dict[str, list[str]]:
    """Topic to the inputs that it feeds, of those that were recorded."""
    inputs: dict[str, list[str]] = {}
    taken = taken | {topic for topic, kind in robot.inputs.values() if kind.endswith('Image')}
    others = {topic: [type_] for topic, type_ in bag.topics.items() if topic not in taken}
    for name, (topic, kind) in robot.inputs.items():
        type_ = INPUT_TYPES[kind]
        found = bag.topics.get(topic)
        if found is None:
            findings.wrong(name, f'{bag.path} has no {topic}{near(topic, type_, others)}')
        elif found != type_:
            publishers = [Publisher(str(bag.path), found)]
            findings.wrong(name, explain(topic, type_, publishers, {}, heard=False))
        else:
            inputs.setdefault(topic, []).append(name)
    return inputs


def _check_sent(
    robot: Robot, bag: Bag, topic: str, type_: str, heard: Heard | None, findings: Findings
) -> None:
    """Whether commands were recorded, and at the policy's rate."""
    if heard is None:
        found = bag.topics.get(topic)
        if found is None:
            others = {name: [each] for name, each in bag.topics.items()}
            text = f'{topic} was not recorded{near(topic, type_, others)}'
            findings.open('outputs', f'{text}: nothing can be compared with it')
        else:
            findings.wrong('outputs', f'{topic} was recorded as {found}, expected {type_}')
        return
    if not heard.rate:
        return
    rate, text = robot.task.rate, f'{topic} was commanded {heard.rate:.1f} times a second'
    if abs(heard.rate - rate) <= UNLIKE * rate:
        findings.fits('outputs', text)
    else:
        findings.doubt(
            'outputs',
            f'{text}, and control_rate is {rate:g} Hz: it is the rate that the policy was '
            f'trained at, which mostly is that of the recordings',
        )
