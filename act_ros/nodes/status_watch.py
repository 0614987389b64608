"""Listens to a node and its robot, for a page; publishes nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from act_ros.errors import CommandError, ObservationError
from act_ros.interfaces import (
    INPUT_TYPES,
    absolute,
    camera_inputs,
    dry_run_topic,
    read_outputs,
    state_inputs,
)
from act_ros.nodes.dds import use_profile
from act_ros.nodes.declare import declare_parameters, read_parameters
from act_ros.nodes.message_classes import message_class
from act_ros.nodes.wiring import IMAGE_QOS, STATE_QOS
from act_ros.observation import ObservationStore, check_image, decode_image, framings
from act_ros.parameter_file import as_rcl_reads
from act_ros.safety import Limits, joint_of
from act_ros.task import Task
from act_ros.web.summary import Joint, Status, summary

# Hidden: it hears the commands, and no robot does.
NAME = '_web_status'
WIDE = 320  # of a thumbnail [px]
QUALITY = 70
FRESH = 0.3  # a thumbnail is not made anew within [s]
LASTING = 1.0  # what came longer ago is not shown as of now [s]
INTEREST = 5.0  # cameras are listened to for so long after somebody has looked [s]


@contextmanager
def listening(arguments: list[str]) -> Iterator['StatusWatch']:
    """Listen, in a thread of its own.

    :param arguments: of ROS: the node's own parameter files and namespace.
    :raises ActError: they do not fit.
    """
    use_profile()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        with as_rcl_reads(arguments) as words:
            node = StatusWatch(words)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, name='listening', daemon=True)
        thread.start()
        try:
            yield node
        finally:
            executor.shutdown()
            thread.join(2)
    finally:
        rclpy.try_shutdown()


class StatusWatch(Node):
    """What is known of a node with the same parameters, in the same namespace.

    Its callbacks run in an executor; `state` and `picture` are asked from another thread.

    :param arguments: of ROS.
    """

    def __init__(self, arguments: list[str]) -> None:
        # The first rule counts: the node's own name is not for the page.
        named = ['--ros-args', '-r', f'__node:={NAME}', '--']
        super().__init__(NAME, cli_args=[*named, *arguments])
        declare_parameters(self)
        self._settings = settings = read_parameters(self)
        self._task = task = Task.from_settings(settings)
        self._limits = Limits.from_settings(settings, task, complete=False)
        self._store = ObservationStore.from_settings(settings, task)
        self._framings = framings(settings, task)
        self._here = self.get_namespace()
        self._statuses: dict[str, Status] = {}
        self._told: float | None = None
        self._action = np.full(task.action_dim, np.nan)
        self._commanded = 0.0  # when [s], and whether to a dry run
        self._dry = False
        self._frames: dict[str, tuple[float, Any]] = {}
        self._pictures: dict[str, tuple[float, bytes | None]] = {}
        self._lock = threading.Lock()  # of thumbnails
        self._wanted = 0.0  # pictures, until then
        self._cameras: list[Any] = []
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        for name, (topic, kind) in state_inputs(settings, task).items():
            self._hear(INPUT_TYPES[kind], topic, self._on_state(name), STATE_QOS)
        for spec in read_outputs(settings.outputs, task):
            decoder = spec.output_type.decoder(spec, task.action_dim)
            # The goals of an action are on no topic.
            topics = [spec.topic] if not spec.output_type.action else []
            for topic in (*topics, dry_run_topic(spec.topic)):
                dry = topic == dry_run_topic(spec.topic)
                take = self._on_command(decoder, dry)
                self._hear(spec.message_type, topic, take, STATE_QOS)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.25, self._mind_cameras, clock=steady)

    def state(self) -> dict[str, Any]:
        """See `Watched`."""
        age = None if self._told is None else time.monotonic() - self._told
        measured, _ = self._store.measured(self.get_clock().now().nanoseconds)
        return summary(
            dict(self._statuses), age, self._joints(measured), self._task.cameras,
            self._settings.max_age, dry=self._dry and self._is_commanded(),
        )  # fmt: skip

    def picture(self, camera: str) -> bytes | None:
        """See `Watched`."""
        if camera not in self._framings:
            return None
        self._wanted = time.monotonic() + INTEREST
        with self._lock:
            made, picture = self._pictures.get(camera, (0.0, None))
            if time.monotonic() - made > FRESH:
                picture = self._thumbnail(camera)
                self._pictures[camera] = time.monotonic(), picture
            return picture

    def _thumbnail(self, camera: str) -> bytes | None:
        came, message = self._frames.get(camera, (0.0, None))
        framing = self._framings[camera]
        if message is None or time.monotonic() - came > LASTING + self._settings.max_age:
            return None
        try:
            check_image(message, framing)
            pixels = framing.apply(decode_image(message))
        except ObservationError:
            return None
        height, width = pixels.shape[:2]
        if width > WIDE:
            size = WIDE, max(1, round(height * WIDE / width))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        colours = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
        done, coded = cv2.imencode('.jpg', colours, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return coded.tobytes() if done else None

    def _joints(self, measured: np.ndarray | None) -> list[Joint]:
        joints = joint_of(self._task)
        positions = [i for i, e in enumerate(self._task.action) if e.quantity == 'position']
        found = []
        for column, place in enumerate(positions):
            entry = self._task.action[place]
            joint = joints[entry]
            found.append(
                Joint(
                    entry.name,
                    float(self._action[place]) if self._is_commanded() else None,
                    None if measured is None else float(measured[column]),
                    float(self._limits.min_position[joint]),
                    float(self._limits.max_position[joint]),
                )
            )
        return found

    def _hear(self, type_: str, topic: str, callback: Callable[[Any], None], qos: Any) -> Any:
        full = absolute(topic, self._here)
        return self.create_subscription(message_class(type_), full, callback, qos)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        begin = f'{absolute("act", self._here)}: '
        statuses = {
            status.name.removeprefix(begin): Status(
                int.from_bytes(status.level, 'little'), status.message,
                {pair.key: pair.value for pair in status.values},
            )
            for status in message.status if status.name.startswith(begin)
        }  # fmt: skip
        if statuses:
            self._statuses, self._told = statuses, time.monotonic()

    def _on_state(self, name: str) -> Callable[[Any], None]:
        clock = self.get_clock()
        return lambda message: self._store.put(name, message, clock.now().nanoseconds)

    def _is_commanded(self) -> bool:
        return time.monotonic() - self._commanded < LASTING

    def _on_command(self, decoder: Any, dry: bool) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            try:
                values = decoder.decode(message).values[0]
            except CommandError:
                return
            self._action = np.where(np.isnan(values), self._action, values)
            self._commanded, self._dry = time.monotonic(), dry

        return take

    def _mind_cameras(self) -> None:
        """Images are large: they are listened to while somebody looks."""
        wanted = time.monotonic() < self._wanted
        if wanted and not self._cameras:
            for name, (topic, kind) in camera_inputs(self._settings, self._task).items():
                self._cameras.append(
                    self._hear(INPUT_TYPES[kind], topic, self._on_image(name), IMAGE_QOS)
                )
        elif not wanted and self._cameras:
            for subscription in self._cameras:
                self.destroy_subscription(subscription)
            self._cameras = []
            self._frames.clear()

    def _on_image(self, name: str) -> Callable[[Any], None]:
        return lambda message: self._frames.__setitem__(name, (time.monotonic(), message))
