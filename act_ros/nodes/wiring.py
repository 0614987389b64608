"""The topics of one configuration, from configure to clean-up."""

import copy
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import rclpy.subscription
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from act_ros.commands import Ahead, Encoder, OutputSpec
from act_ros.errors import ParameterError
from act_ros.interfaces import (
    INPUT_TYPES,
    STATE_TYPES,
    camera_inputs,
    check_shared,
    check_topics,
    dry_run_topic,
    state_inputs,
    unsent,
)
from act_ros.nodes.deadman import MAX_AGE, Deadman
from act_ros.nodes.graph import GraphWatch
from act_ros.nodes.gripper import GripperGoals
from act_ros.nodes.message_classes import RosMessages, message_class
from act_ros.nodes.outputs import parse_outputs
from act_ros.observation import ObservationStore
from act_ros.parameters import Settings
from act_ros.parameters.qos import OVERRIDES, RCLPY, topic_of
from act_ros.task import Task

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

log = logging.getLogger(__name__)

# Humble's subscriptions give their messages alone.
TELLS_INFO = hasattr(rclpy.subscription, 'MessageInfo')
# Best effort matches any publisher; of an image only the newest is of use.
IMAGE_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
# Of joints too, but of each its own: the messages of a quick driver must not push out those of
# a slow one while a frame is taken in.
STATE_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.BEST_EFFORT
)
COMMAND_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)


class Wiring:
    """Subscriptions into a store, and publishers for the commands.

    :param node: makes the topics' ends.
    :param settings: the node's parameters.
    :param task: of the robot.
    :param store: what the subscriptions fill; by default one as the parameters describe it.
    :ivar store: that.
    :ivar outputs: what the commands are sent as.
    :ivar deadman: None where `enable_topic` is not set.
    """

    def __init__(
        self, node: Node, settings: Settings, task: Task, store: ObservationStore | None = None
    ) -> None:
        self._node = node
        self._entities: list[Callable[[], object]] = []
        self._mismatches: dict[str, str] = {}
        self._dry = settings.dry_run
        cameras, states = camera_inputs(settings, task), state_inputs(settings, task)
        self.store = store or ObservationStore.from_settings(settings, task)
        self.outputs: list[OutputSpec] = parse_outputs(settings.outputs, task)
        if entries := unsent(self.outputs, task):
            log.info('not published: %s', ', '.join(entries))
        topics = {name: topic for name, (topic, _) in {**cameras, **states}.items()}
        if settings.enable_topic:
            topics['enable_topic'] = settings.enable_topic
        check_topics(topics)
        try:
            self._connect(settings, {**cameras, **states})
            self._refuse_unknown_overrides()
        except BaseException:
            self.close()
            raise

    def _connect(self, settings: Settings, inputs: Mapping[str, tuple[str, str]]) -> None:
        library = RosMessages()
        self._senders: list[tuple[Encoder, Publisher | GripperGoals]] = []
        for spec in self.outputs:
            encoder = spec.output_type.encoder(spec, settings.tick_rate, library)
            self._senders.append((encoder, self._sender(spec)))
        self.tick = self.chunk = None
        if settings.publish_tick:
            self.tick = self._publisher(DiagnosticArray, '~/tick', QoSProfile(depth=100))
        if settings.publish_chunk:
            self.chunk = self._publisher(JointTrajectory, '~/chunk', QoSProfile(depth=1))
        resolve = self._node.resolve_topic_name
        named = {name: (resolve(topic), its) for name, (topic, its) in inputs.items()}
        check_shared(named)
        read = {name: (topic, INPUT_TYPES[its]) for name, (topic, its) in named.items()}
        # One subscription a topic: what comes is taken in once, for all that read it.
        for shared, input_type in dict.fromkeys(named.values()):
            readers = [name for name, (topic, _) in named.items() if topic == shared]
            qos = STATE_QOS if input_type in STATE_TYPES else IMAGE_QOS
            message = message_class(INPUT_TYPES[input_type])
            self._subscribe(message, inputs[readers[0]][0], self._receiver(readers), qos)
        self.deadman = None
        if topic := settings.enable_topic:
            self.deadman = Deadman(resolve(topic))
            self._subscribe(Bool, topic, self.deadman.hear, IMAGE_QOS)
            read['enable_topic'] = self.deadman.topic, 'std_msgs/msg/Bool'
        self._graph = GraphWatch(self._node, read)

    def _receiver(self, names: Sequence[str]) -> Callable[..., None]:
        """What puts a topic's messages into the store, and who sent them, where that is told."""
        clock, put = self._node.get_clock(), self.store.put

        def receive(message: Any, info: Mapping[str, Any]) -> None:
            now, publisher = clock.now().nanoseconds, info.get('publisher_gid')  # since 2025
            identity = None if publisher is None else publisher['data']
            for name in names:
                put(name, message, now, identity)

        return receive if TELLS_INFO else lambda message: receive(message, {})

    @property
    def horizon(self) -> set[int]:
        """Places of the action whose coming ticks are sent too."""
        return {i for spec in self.outputs if spec.output_type.horizon for i in spec.columns}

    def send(
        self,
        values: np.ndarray,
        stamp: Time,
        wanted: Callable[[], bool],
        ahead: Ahead | None = None,
    ) -> bool:
        """Publish one tick's values on every output; all are built before any is sent.

        :param values: (action_dim,) robot units.
        :param wanted: asked before each output: the one before may have kept it waiting.
        :param ahead: as to `Encoder.encode`.
        :returns: whether anything was.
        """
        built = [
            (publisher, encoder.encode(values, stamp, ahead))
            for encoder, publisher in self._senders
        ]
        for i, (publisher, message) in enumerate(built):
            if not wanted():
                return i > 0
            publisher.publish(message)
        return True

    def send_stop(
        self,
        values: np.ndarray,
        stamp: Time,
        wanted: Callable[[], bool],
        ahead: Ahead | None = None,
    ) -> None:
        """Publish the stop policy's message: an output that fails keeps no other from it.

        :param values: as to `send`, and the last.
        """
        failure = None
        for encoder, publisher in self._senders:
            if not wanted():
                break
            try:
                publisher.publish(encoder.encode(values, stamp, ahead))
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure

    def faults(self) -> dict[str, str]:
        """What is wrong between this node and the others, by topic; looks at the graph."""
        faults = {}
        for _, publisher in self._senders:
            if isinstance(publisher, GripperGoals):
                if publisher.fault:
                    faults[publisher.name] = publisher.fault
                continue
            rivals = self._node.count_publishers(publisher.topic_name) - 1
            if rivals > 0 and not self._dry:
                faults[publisher.topic_name] = (
                    f'{rivals} other publisher(s) on {publisher.topic_name}: the robot gets '
                    f'the commands of both'
                )
        if self.deadman is not None:
            topic = self.deadman.topic
            if (count := self._node.count_publishers(topic)) > 1:
                faults[topic] = f'{count} publishers on {topic}: any of them lets the arm move'
        for topic in [topic for topic in self._mismatches if self._compatible(topic)]:
            log.info('QoS of %s is fine again', topic)
            del self._mismatches[topic]
        return faults | self._mismatches

    def input_faults(self, now: int) -> dict[str, str]:
        """What is wrong with the inputs by name, that the deadman is silent included.

        :param now: in the clock of the stamps [ns].
        """
        faults = self.store.measured(now)[1] | self.store.snapshot(now)[1]
        if self.deadman is not None:
            age = self.deadman.age
            if age is None or age > MAX_AGE:
                faults['enable_topic'] = f'enable_topic {self.deadman.topic} says nothing'
        return faults

    def causes(self, names: Collection[str]) -> dict[str, str]:
        """What the graph says of inputs that do not come, by name; looks at it."""
        heard = set(self.store.heard)
        if self.deadman is not None and self.deadman.age is not None:
            heard.add('enable_topic')
        return self._graph.causes(names, heard)

    def close(self) -> None:
        """Take every topic's end away."""
        while self._entities:
            self._entities.pop()()

    def _sender(self, spec: OutputSpec) -> Publisher | GripperGoals:
        if spec.output_type.action and not self._dry:
            goals = GripperGoals(self._node, spec)
            self._entities.append(goals.close)
            return goals
        topic = dry_run_topic(spec.topic) if self._dry else spec.topic
        return self._publisher(message_class(spec.message_type), topic, COMMAND_QOS)

    def _publisher(self, message: type, topic: str, qos: QoSProfile) -> Publisher:
        name = self._node.resolve_topic_name(topic)
        publisher: Publisher = self._node.create_publisher(
            message, topic, copy.copy(qos), qos_overriding_options=overriding(),
            event_callbacks=PublisherEventCallbacks(
                incompatible_qos=lambda event: self._on_mismatch(name, 'publisher', event)
            ),
        )  # fmt: skip
        self._entities.append(lambda: self._node.destroy_publisher(publisher))
        return publisher

    def _subscribe(
        self, message: type, topic: str, callback: Callable[..., None], qos: QoSProfile
    ) -> None:
        name = self._node.resolve_topic_name(topic)
        subscription = self._node.create_subscription(
            message, topic, callback, copy.copy(qos), qos_overriding_options=overriding(),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda event: self._on_mismatch(name, 'subscription', event)
            ),
        )  # fmt: skip
        self._entities.append(lambda: self._node.destroy_subscription(subscription))

    def _on_mismatch(self, topic: str, end: str, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        text = (
            f'{topic}: the other end has another {policy} QoS, nothing comes through; set '
            f'qos_overrides.{topic}.{end}.{policy}, or change the other end'
        )
        if topic not in self._mismatches:
            log.warning('%s', text)
        self._mismatches[topic] = text

    def _compatible(self, topic: str) -> bool:
        """Whether all that publish to a topic reach all that subscribe to it."""
        return all(
            qos_check_compatible(there.qos_profile, here.qos_profile)[0] != QoSCompatibility.ERROR
            for there in self._node.get_publishers_info_by_topic(topic)
            for here in self._node.get_subscriptions_info_by_topic(topic)
        )

    def _refuse_unknown_overrides(self) -> None:
        """A QoS override of a topic that this node does not have would be silently inert."""
        for name in self._node._parameter_overrides:
            known = self._node.has_parameter(name) or topic_of(name) in RCLPY
            if name.startswith(OVERRIDES) and not known:
                raise ParameterError(
                    f'unknown parameter {name!r}; expected qos_overrides.TOPIC.publisher or '
                    f'.subscription and history, depth or reliability, TOPIC fully resolved'
                )


def overriding() -> QoSOverridingOptions:
    """History, depth and reliability of a topic are the user's to change."""
    return QoSOverridingOptions.with_default_policies()
