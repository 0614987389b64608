"""Who else speaks or listens on a topic, for what plays a robot in a graph of others."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from act_ros.errors import ActError

# On a busy machine a node is found no sooner than it announces itself again: each 3 s.
LOOK = 3.5  # [s]
NAMING = 2.0  # from the end of a topic to the name of its node [s]
UNKNOWN = '_NODE_NAME_UNKNOWN_'  # rmw's
RECORDER = 'rosbag2_recorder'  # of `ros2 bag record`


class RivalError(ActError):
    """A robot is there already."""


def refuse_publishers(node: Node, topics: Iterable[str], own: str = '') -> None:
    """Whether a topic is published by others.

    :param topics: where the caller publishes, or is about to; the node's remappings count.
    :param own: full name of a node that may publish there, once for each of these mentions.
    :raises RivalError: naming the topic and who publishes there.
    """
    asked = {node.resolve_topic_name(topic): topic for topic in topics}
    mentions = Counter(map(node.resolve_topic_name, topics))
    for topic, count in mentions.items():
        if node.count_publishers(topic) == 0:
            continue
        names = Counter(_names(node.get_publishers_info_by_topic, asked[topic]))
        if others := names - Counter({own: count}):
            raise RivalError(
                f'{topic} is published by {_listed(others)}: a robot is '
                f'played only where there is none; end that, or use a ROS_DOMAIN_ID of your own'
            )


def refuse_listeners(node: Node, topics: Iterable[str], own: str = '') -> None:
    """Whether anybody would obey commands; what only looks on does not, see `looks_on`.

    :param topics: of the commands; the node's remappings count.
    :param own: full name of a node that may listen, once to each.
    :raises RivalError: naming the topic and who listens there.
    """
    for topic in topics:
        resolved = node.resolve_topic_name(topic)
        if node.count_subscribers(resolved) == 0:
            continue
        names = _names(node.get_subscriptions_info_by_topic, topic)
        robots = Counter(name for name in names if not looks_on(name))
        if others := robots - Counter({own: 1}):
            raise RivalError(
                f'{resolved} is heard by {_listed(others)}, which may be a robot: end that, or '
                f'use a ROS_DOMAIN_ID of your own; the name of what only looks on begins with _'
            )


def looks_on(name: str) -> bool:
    """Whether a node moves nothing: a hidden one, as those of the `ros2` tools, or a recorder.

    :param name: its full name.
    """
    base = name.rpartition('/')[2]
    return base == RECORDER or (base.startswith('_') and base != UNKNOWN)


def refuse_act_nodes(node: Node, own: int = 0) -> None:
    """Whether an ACT node is in the graph, by whatever name: it may hear what is played.

    :param own: those that the caller's side has.
    :raises RivalError: naming them.
    """
    services = {name for name, _ in node.get_service_names_and_types()}
    nodes = [
        f'{namespace.rstrip("/")}/{name}'
        for name, namespace in node.get_node_names_and_namespaces()
    ]
    # A lifecycle node that begins a new episode when it is told to.
    found = [name for name in nodes if {f'{name}/change_state', f'{name}/reset'} <= services]
    if len(found) > own:
        raise RivalError(
            f'{_listed(found)} is here already, an ACT node, which may move a robot: end it, or '
            f'use a ROS_DOMAIN_ID of your own'
        )


def look_around(check: Callable[[], None], ended: threading.Event | None = None) -> None:
    """Check again and again while the graph becomes known to a node that has just been made.

    :param check: raises a RivalError.
    :param ended: ends it earlier.
    """
    ended = ended or threading.Event()
    deadline = time.monotonic() + LOOK
    while time.monotonic() < deadline and not ended.wait(0.02):
        check()


def _names(find: Callable[[str], list[TopicEndpointInfo]], topic: str) -> list[str]:
    """The nodes of a topic's ends; an end is known before its node is.

    :param topic: as it is before remapping, which `find` does itself.
    """
    deadline = time.monotonic() + NAMING
    while True:
        ends = find(topic)
        known = all(end.node_name != UNKNOWN for end in ends)
        if known or time.monotonic() > deadline:
            return [f'{end.node_namespace.rstrip("/")}/{end.node_name}' for end in ends]
        time.sleep(0.02)


def _listed(names: Iterable[str]) -> str:
    return ', '.join(sorted(set(names)))
