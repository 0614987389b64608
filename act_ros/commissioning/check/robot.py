"""What a parameter file says of a robot, looked at by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from act_ros.commands import OutputSpec
from act_ros.commissioning.check.findings import Findings
from act_ros.config import DEFAULT_TASK, task_file
from act_ros.control.checks import check_horizon, check_silence
from act_ros.errors import ParameterError, TaskError, listed
from act_ros.interfaces import (
    absolute,
    camera_inputs,
    check_shared,
    check_topics,
    parse_output,
    read_outputs,
    state_inputs,
    unsent,
)
from act_ros.observation import ObservationStore
from act_ros.parameter_file import read_raw_parameters
from act_ros.parameters import FOREIGN, PARAMETERS, Settings, check_names, find_row
from act_ros.parameters.joint_limits import PREFIX, joint_keys, unused_limits
from act_ros.parameters.qos import OVERRIDES, RCLPY, check_overrides, topic_of
from act_ros.safety import Limits, action_entries, joints_of, limit_faults
from act_ros.task import Entry, Task


@dataclass(frozen=True)
class Robot:
    """What a parameter file says of a robot.

    :ivar inputs: camera or source to full topic and type, as parameters call it.
    :ivar outputs: what commands are sent as.
    :ivar limits: those that are given; None where a number is none.
    :ivar overrides: of the QoS, by parameter.
    :ivar simulated: time is that of a simulation.
    """

    settings: Settings
    task: Task
    inputs: Mapping[str, tuple[str, str]]
    outputs: Sequence[OutputSpec]
    limits: Limits | None
    overrides: Mapping[str, Any]
    simulated: bool


def check_robot(paths: Sequence[Path], namespace: str, findings: Findings) -> Robot | None:
    """Read parameter files, and tell all that is wrong with them.

    :param paths: later ones count over earlier ones; where they describe no task, over the
        default one's.
    :param namespace: that relative topics are under.
    :returns: None where too little can be read for anything else to make sense.
    """
    values = _values(paths, findings)
    if values is None:
        return None
    fitting = _fitting(values, findings)
    settings = _settings(fitting, len(values), findings)
    task = None if settings is None else _task(settings, findings)
    if settings is None or task is None:
        return None
    inputs = _inputs(settings, task, namespace, findings)
    if 'outputs' not in fitting:
        findings.open('outputs', f'not set: {listed(settings.outputs)} is taken')
    outputs = _outputs(settings, task, findings)
    limits = _limits(settings, task, findings)
    if inputs is None:
        return None
    topics = [topic for topic, _ in inputs.values()]
    topics += [absolute(spec.topic, namespace) for spec in outputs]
    topics += [absolute(topic, namespace) for topic in filter(None, [settings.enable_topic])]
    overrides = _overrides(fitting, topics, findings)
    simulated = fitting.get('use_sim_time') is True
    return Robot(settings, task, inputs, outputs, limits, overrides, simulated)


def _values(paths: Sequence[Path], findings: Findings) -> dict[str, Any] | None:
    with findings.of('parameters'):
        values = read_raw_parameters(*paths)
        if 'task.cameras' not in values:  # as the launch files take it
            findings.open('parameters', f'no task is described: {DEFAULT_TASK} is taken')
            values = read_raw_parameters(task_file(DEFAULT_TASK), *paths)
        return dict(values)
    return None


def _fitting(values: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Those parameters that fit, each by itself."""
    fitting = {}
    for name, value in values.items():
        with findings.of('parameters'):
            check_names([name])
            check_overrides({name: value})
            row = find_row(name)
            if row is not None:
                row.check(value)
            elif name in FOREIGN and not isinstance(value, bool):
                raise ParameterError(f'parameter {name!r} is {value!r}; expected true or false')
            fitting[name] = value
    return fitting


def _settings(
    fitting: Mapping[str, Any], count: int, findings: Findings
) -> Settings | None:
    """All parameters, with the defaults of those that do not fit.

    :param count: how many the file has.
    """
    if unused := unused_limits(fitting):
        findings.open('parameters', f'not used: {listed(unused)}')
    with findings.of('parameters'):
        settings = Settings.from_parameters(fitting)
        own = sum(name in PARAMETERS or name.startswith(PREFIX) for name in fitting)
        findings.fits('parameters', f'{own} of {count} are known and in their range')
        return settings
    return None


def _task(settings: Settings, findings: Findings) -> Task | None:
    faults = []
    for text in (*settings.task_state, *settings.task_action):
        try:
            Entry.parse(text)
        except TaskError as error:
            faults.append(str(error))
    for fault in dict.fromkeys(faults):
        findings.wrong('task', fault)
    if faults:
        return None
    with findings.of('task'):
        task = Task.from_settings(settings)
        findings.fits(
            'task',
            f'qpos has {task.state_dim} entries, the action {task.action_dim}, '
            f'{len(task.cameras)} cameras ({", ".join(task.cameras)}), {task.rate:g} Hz',
        )
        return task
    return None


def _overrides(
    fitting: Mapping[str, Any], topics: Sequence[str], findings: Findings
) -> dict[str, Any]:
    """Those of topics that the node has."""
    overrides = {}
    for name, value in fitting.items():
        if name.startswith(OVERRIDES) and topic_of(name) in (*topics, *RCLPY):
            overrides[name] = value
        elif name.startswith(OVERRIDES):
            findings.wrong(
                'parameters',
                f'{name} is of a topic that the node has not; it has '
                f'{", ".join(dict.fromkeys(topics))}',
            )
    return overrides


def _inputs(
    settings: Settings, task: Task, namespace: str, findings: Findings
) -> dict[str, tuple[str, str]] | None:
    with findings.of('inputs'):
        given = {**camera_inputs(settings, task), **state_inputs(settings, task)}
        inputs = {n: (absolute(topic, namespace), kind) for n, (topic, kind) in given.items()}
        check_topics({name: topic for name, (topic, _) in given.items()})
        if settings.enable_topic:
            check_topics({'enable_topic': settings.enable_topic})
        check_shared(inputs)
        ObservationStore.from_settings(settings, task)
        action_entries(task, 'follow_newest', settings.follow_newest)
        return inputs
    return None


def _outputs(settings: Settings, task: Task, findings: Findings) -> list[OutputSpec]:
    found = []
    for text in settings.outputs:
        with findings.of('outputs'):
            spec = parse_output(text, task)
            check_topics({f'output {text!r}': spec.topic})
            found.append(spec)
    if len(found) < len(settings.outputs):
        return found
    with findings.of('outputs'):
        read_outputs(settings.outputs, task)
        check_horizon(found, settings)
        if settings.stop_policy == 'silent':
            check_silence(found)
        for spec in found:
            sent = listed([str(entry) for entry in spec.entries])
            findings.fits('outputs', f'{spec.topic} {spec.message_type}: {sent}')
        if entries := unsent(found, task):
            findings.doubt('outputs', f'no output carries {listed(entries)}')
    return found


def _limits(settings: Settings, task: Task, findings: Findings) -> Limits | None:
    keys = joint_keys((places[0].source, places[0].name) for places in joints_of(task))
    lacking: dict[str, list[str]] = {}
    broken = False
    for error in limit_faults(settings, task):
        if error.lacking:
            lacking.setdefault(error.joints[0], []).append(error.lacking)
        else:
            broken = True
            findings.wrong('limits', str(error))
    # Joints that lack the same are told of together.
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, limits in lacking.items():
        alike.setdefault(tuple(limits), []).append(name)
    for missing, names in alike.items():
        entry, more = Entry.parse(names[0]), len(names) > 1
        findings.wrong(
            'limits',
            f'{listed(names)} {"have" if more else "has"} no {", ".join(missing)}: set {PREFIX}'
            f'{keys[entry.source, entry.name]}.{missing[0]}'
            f'{" and the others" if more or len(missing) > 1 else ""}, or list '
            f"{'them' if more else names[0]} in 'unlimited'",
        )
    if not broken and not lacking:
        findings.fits('limits', f'of {len(keys)} joints, all that is needed')
    return None if broken else Limits.from_settings(settings, task, complete=False)
