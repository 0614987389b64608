"""Plays a bag into the live node and records what it would have commanded."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from act_ros.bags.writing import BagWriter
from act_ros.errors import ActError
from act_ros.nodes.isolation import OwnGraph
from act_ros.nodes.message_classes import message_class
from act_ros.observation import stamp_ns

ANSWER = 120.0  # a transition may load a model meanwhile [s]
TICK_ANSWER = 60.0  # a pass on a slow machine [s]
AGAIN = 0.2  # /clock is best effort: said again after so long without a tick [s]
CLOCK_PERIOD = 5_000_000  # of /clock when free-running [ns]

RawMessage = tuple[str, int, bytes]  # topic, receipt [ns], CDR


class Replay:
    """One replay: the robot's side of a graph, in a ROS context of its own.

    Topics are named as the bag has them; in the graph they are under its namespace.

    :param graph: where the node is.
    :param inputs: topic to type, of what is played.
    :param outputs: topic to type, of what is recorded.
    :param tick_topic: the node's `~/tick`; recorded as well.
    :param folder: of the recording; made here.
    :param running: whether the node's process still runs, and otherwise raises.
    """

    def __init__(
        self,
        graph: OwnGraph,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        tick_topic: str,
        folder: Path,
        running: Callable[[], None],
    ) -> None:
        self._running = running
        self._now = 0
        self.ticked = 0  # time of the newest tick [ns]
        self.ticks = 0
        self._writer = BagWriter(folder)
        self._writing = threading.Lock()
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = node = Node(
            'replay', namespace=graph.namespace, start_parameter_services=False
        )
        self._publishers: dict[str, Publisher] = {
            topic: node.create_publisher(message_class(kind), graph.inside(topic), 10)
            for topic, kind in inputs.items()
        }
        self._clock = node.create_publisher(Clock, graph.inside('/clock'), 10)
        kinds = {**outputs, tick_topic: 'diagnostic_msgs/msg/DiagnosticArray'}
        for topic, kind in kinds.items():
            self._writer.add_topic(topic, kind)

            def record(raw: bytes, topic: str = topic) -> None:
                with self._writing:
                    self._writer.write_raw(topic, self._now, bytes(raw))
                if topic == tick_topic:
                    self.ticked = stamp_ns(deserialize_message(raw, DiagnosticArray))
                    self.ticks += 1

            node.create_subscription(
                message_class(kind), graph.inside(topic), record, QoSProfile(depth=1000), raw=True
            )
        self._change: Client = node.create_client(ChangeState, graph.inside('/act/change_state'))
        self._state: Client = node.create_client(GetState, graph.inside('/act/get_state'))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._executor.spin, name='replay', daemon=True)
        self._thread.start()

    def __enter__(self) -> 'Replay':
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._thread.join(5)
        self._node.destroy_node()
        rclpy.try_shutdown()
        with self._writing:
            self._writer.close()

    def configure(self) -> None:
        """Have the node load its model, and wait until it hears every input.

        :raises ActError: it does not.
        """
        if not self._transition(Transition.TRANSITION_CONFIGURE):
            raise ActError('the node was not configured; its log says why')
        self._until(
            lambda: all(p.get_subscription_count() for p in self._publishers.values()),
            ANSWER, 'the node to hear every input',
        )  # fmt: skip

    def lock_step(self, messages: Iterator[RawMessage], period: int) -> None:
        """Play a tick of simulated time at a time, each when the last has been answered.

        :param messages: in the order of their receipt.
        :param period: of the node's ticks [ns].
        """
        active, due = False, None
        for topic, receipt, raw in messages:
            if due is None:
                due = (receipt // period + 1) * period
            while receipt > due:
                active = self._step(due, active)
                due += period
            self._publishers[topic].publish(raw)
        # No tick after the last message: more might have come before it.
        self._end(active)

    def free_running(self, messages: Iterator[RawMessage], rate: float) -> None:
        """Play in real time, or so many times faster.

        :param messages: in the order of their receipt.
        """
        active, started, first, clock = False, time.monotonic(), None, 0
        tried = 0.0
        for topic, receipt, raw in messages:
            if first is None:
                first = clock = receipt
            while clock <= receipt:
                left = (clock - first) / 1e9 / rate - (time.monotonic() - started)
                if left > 0:
                    time.sleep(left)
                self._say(clock)
                clock += CLOCK_PERIOD
                if not active and time.monotonic() - tried > 0.5:
                    self._running()
                    tried = time.monotonic()
                    active = self._transition(Transition.TRANSITION_ACTIVATE)
                    # What that took is no time of the bag.
                    started += time.monotonic() - tried
            self._publishers[topic].publish(raw)
        self._end(active)

    def _step(self, due: int, active: bool) -> bool:
        """One tick of simulated time; whether the node is active after it."""
        # A service is answered after the inputs that had come before it have been taken.
        self._barrier()
        if not active:
            self._say(due)
            self._barrier()
            return self._transition(Transition.TRANSITION_ACTIVATE)
        before = self.ticks
        deadline = time.monotonic() + TICK_ANSWER
        while self.ticks == before:
            self._say(due)
            again = time.monotonic() + AGAIN
            while self.ticks == before and time.monotonic() < again:
                time.sleep(0.0005)
            self._running()
            if time.monotonic() > deadline:
                raise ActError(f'no tick within {TICK_ANSWER:g} s; the log of the node says why')
        return True

    def _end(self, active: bool) -> None:
        if not active:
            raise ActError('the node was not activated in all of the bag; its log says why')
        self._transition(Transition.TRANSITION_DEACTIVATE)

    def _say(self, now: int) -> None:
        self._now = now
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now, 1_000_000_000)
        self._clock.publish(message)

    def _barrier(self) -> None:
        for _ in range(2):
            self._call(self._state, GetState.Request(), TICK_ANSWER)

    def _transition(self, number: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=number))
        return self._call(self._change, request, ANSWER).success

    def _call(self, client: Client, request: object, timeout: float) -> Any:
        self._until(client.service_is_ready, timeout, f'the service {client.srv_name}')
        future = client.call_async(request)
        self._until(future.done, timeout, f'an answer of {client.srv_name}')
        return future.result()

    def _until(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            self._running()
            if time.monotonic() > deadline:
                raise ActError(f'waited {timeout:g} s for {what}; the log of the node says why')
            time.sleep(0.001)
