"""A parameter file beside the robot that is there: listens, and sends nothing."""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import rclpy
from rclpy.duration import Infinite
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.signals import SignalHandlerOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from act_ros.commands import OutputSpec
from act_ros.commissioning.check.findings import Findings
from act_ros.commissioning.check.inputs import check_inputs
from act_ros.commissioning.check.inspection import Inspection
from act_ros.commissioning.check.ranges import check_measured, check_states
from act_ros.commissioning.check.robot import Robot
from act_ros.errors import ActError
from act_ros.interfaces import absolute
from act_ros.nodes.dds import use_profile
from act_ros.nodes.rivals import LOOK, looks_on, refuse_act_nodes
from act_ros.nodes.wiring import COMMAND_QOS, Wiring
from act_ros.parameters.qos import OVERRIDES
from act_ros.policy.interface import Statistics
from act_ros.topics import with_cause

NS = 1_000_000_000
CLOCK = '/clock'
LEAST = 2.0  # of messages, however late the robot was found; ticks begin within one of these [s]


def check_live(
    robot: Robot,
    namespace: str,
    seconds: float,
    statistics: Statistics | None,
    findings: Findings,
) -> None:
    """Listen to the robot with the node's own subscriptions, and look at the graph.

    :param namespace: the node's.
    :param seconds: how long; a graph is known after 3.5 s at last.
    """
    with findings.of('live'), _node(robot, namespace) as node:
        inspection = Inspection(robot)
        # In a dry run no end of a topic is the robot's.
        quiet = replace(
            robot.settings, dry_run=True, publish_tick=False, publish_chunk=False,
            camera_topics=tuple(robot.inputs[name][0] for name in robot.task.cameras),
            state_topics=tuple(robot.inputs[name][0] for name in robot.task.sources),
        )  # fmt: skip
        wiring = Wiring(node, quiet, robot.task, inspection.store)
        try:
            _listen(node, inspection, max(seconds, LOOK))
            now = node.get_clock().now().nanoseconds
            faults = wiring.input_faults(now)
            causes = wiring.causes(faults)
            heard = {name for name, (topic, _) in robot.inputs.items() if topic in
                     inspection.heard}  # fmt: skip
            for name in (name for name in faults if name not in heard):
                findings.wrong(name, with_cause(faults[name], causes[name]))
            for text in [*wiring.faults().values(), *inspection.store.remarks()]:
                findings.doubt('live', text)
            for spec in robot.outputs:
                _check_output(node, spec, absolute(spec.topic, namespace), robot, findings)
            _check_clock(node, robot, findings)
            _check_others(node, findings)
        finally:
            wiring.close()
        check_inputs(robot, inspection, findings)
        check_states(robot, np.array(inspection.states), statistics, findings)
        check_measured(robot, np.array(inspection.measured), findings)


@contextmanager
def _node(robot: Robot, namespace: str) -> Iterator[Node]:
    """A node with the QoS and the clock that the ACT node would have."""
    use_profile()
    sent = {f'{OVERRIDES}{absolute(spec.topic, namespace)}.' for spec in robot.outputs}
    given = {n: v for n, v in robot.overrides.items() if not n.startswith(tuple(sent))}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    overrides.append(Parameter('use_sim_time', value=robot.simulated))
    # Warnings of the middleware are for the findings.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield Node('check_config', namespace=namespace or '/', parameter_overrides=overrides)
    finally:
        rclpy.try_shutdown()


def _listen(node: Node, inspection: Inspection, seconds: float) -> None:
    """Take in what comes, and make the ticks in time."""
    executor, clock = SingleThreadedExecutor(), node.get_clock()
    executor.add_node(node)
    try:
        end, found = time.monotonic() + seconds, False
        while (left := end - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=min(left, 0.005))
            inspection.until(clock.now().nanoseconds)
            if inspection.heard and not found:
                found, end = True, max(end, time.monotonic() + LEAST)
    finally:
        executor.shutdown()


def _check_output(
    node: Node, spec: OutputSpec, topic: str, robot: Robot, findings: Findings
) -> None:
    """Who would hear the commands, and who else gives some."""
    if spec.output_type.action:
        services = {name for name, _ in node.get_service_names_and_types()}
        if f'{topic}/_action/send_goal' in services:
            findings.fits('outputs', f'{topic} has an action server')
        else:
            findings.wrong('outputs', f'nobody serves the action {topic}')
        return
    listeners = [(end, _name(end)) for end in node.get_subscriptions_info_by_topic(topic)]
    listeners = [(end, who) for end, who in listeners if not looks_on(who)]
    if not listeners:
        findings.wrong('outputs', f'nobody listens to {topic}')
    for end, who in listeners:
        if end.topic_type != spec.message_type:
            findings.wrong(
                'outputs',
                f'{topic} is heard by {who} as {end.topic_type}, but sent as {spec.message_type}',
            )
            continue
        level, reason = qos_check_compatible(_qos_of(topic, robot), end.qos_profile)
        if level == QoSCompatibility.ERROR:
            reason = reason.removeprefix('ERROR: ').rstrip('; ')
            findings.wrong('outputs', f'{topic} does not reach {who}, its QoS differs: {reason}')
        else:
            findings.fits('outputs', f'{topic} is heard by {who}')
    rivals = node.get_publishers_info_by_topic(topic)
    for end in rivals:
        findings.doubt(
            'outputs',
            f'{topic} is published by {_name(end)}: the robot would get the commands of both',
        )


def _name(end: TopicEndpointInfo) -> str:
    """Of the node that an end is of, in full."""
    return f'{end.node_namespace.rstrip("/")}/{end.node_name}'


def _qos_of(topic: str, robot: Robot) -> QoSProfile:
    """The QoS that commands would have, as the graph tells it: not set is for ever there."""
    qos = copy.copy(COMMAND_QOS)
    qos.deadline = qos.lifespan = qos.liveliness_lease_duration = Infinite
    reliability = robot.overrides.get(f'{OVERRIDES}{topic}.publisher.reliability')
    if reliability is not None:
        qos.reliability = ReliabilityPolicy.get_from_short_key(reliability)
    return qos


def _check_clock(node: Node, robot: Robot, findings: Findings) -> None:
    clocks = node.count_publishers(CLOCK)
    if robot.simulated and not clocks:
        findings.wrong('clock', f'use_sim_time is true, but nobody publishes {CLOCK}')
    elif clocks and not robot.simulated:
        findings.doubt('clock', f'{CLOCK} is published: is this a simulation? Set use_sim_time')


def _check_others(node: Node, findings: Findings) -> None:
    try:
        refuse_act_nodes(node)
    except ActError as error:
        findings.doubt('live', str(error))
