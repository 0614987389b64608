"""What the robot that is there publishes and obeys: listens, and sends nothing."""

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from act_ros.commissioning.draft.sighting import TEXT, Seen, Sighting, of_interest
from act_ros.errors import ActError, ParameterError
from act_ros.nodes.dds import use_profile
from act_ros.nodes.message_classes import message_class
from act_ros.nodes.rivals import LOOK, looks_on

# A name of what only looks on.
NAME = '_new_robot'
STREAM = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def sight_live(seconds: float) -> Sighting:
    """Look at the graph, and listen to every topic in it that may be a robot's.

    :param seconds: how long; a graph is known after 3.5 s at last.
    :raises ActError: there is nothing.
    """
    use_profile()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Node(NAME)
        sighting = Sighting('the robot that was there')
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        end = time.monotonic() + max(seconds, LOOK)
        known = -1
        while time.monotonic() < end:
            names = node.get_topic_names_and_types()
            if len(names) != known:  # somebody has been found
                known = len(names)
                _subscribe(node, {topic: types[0] for topic, types in names}, sighting)
            executor.spin_once(timeout_sec=0.05)
        for topic, seen in sighting.topics.items():
            seen.sent = bool(seen.count or node.count_publishers(topic))
            seen.wanted = not seen.sent and _is_wanted(node, topic)
        executor.shutdown()
        domain = node.context.get_domain_id()
    finally:
        rclpy.try_shutdown()
    if not sighting.topics:
        raise ActError(f'nobody publishes or obeys anything in ROS_DOMAIN_ID {domain}')
    return sighting


def _subscribe(node: Node, types: dict[str, str], sighting: Sighting) -> None:
    """Listen to what is new."""
    for topic, type_ in of_interest(types).items():
        if topic in sighting.topics:
            continue
        sighting.topics[topic] = Seen(type_)
        try:
            class_ = message_class(type_)
        except ParameterError:  # of a package that is not here: that it is there is known
            continue
        qos = LATCHED if type_ == TEXT else STREAM
        node.create_subscription(class_, topic, _hearing(node, sighting, topic), qos)


def _hearing(node: Node, sighting: Sighting, topic: str) -> Callable[[Any], None]:
    clock = node.get_clock()
    return lambda message: sighting.hear(topic, message, clock.now().nanoseconds)


def _is_wanted(node: Node, topic: str) -> bool:
    """Whether somebody obeys a topic; what only looks on does not."""
    names = [
        f'{end.node_namespace.rstrip("/")}/{end.node_name}'
        for end in node.get_subscriptions_info_by_topic(topic)
    ]
    return any(not looks_on(name) for name in names)
