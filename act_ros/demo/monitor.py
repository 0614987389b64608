"""What the demonstration sees of the robot and the node: commands, states, diagnostics."""

import time

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from act_ros.demo.robot_node import command_topic
from act_ros.interfaces import camera_inputs, state_inputs
from act_ros.nodes.isolation import OwnGraph
from act_ros.observation import decode_image, stamp_ns
from act_ros.parameters import Settings
from act_ros.task import Task


class Monitor(Node):
    """Listens beside the node.

    :param task: the robot's.
    :param settings: parameters of the task file: the topics.
    :param graph: where both are.
    :ivar commands: stamp [s], positions, velocities of each command.
    :ivar states: stamp [s] and positions of the arm, of some states.
    :ivar report: the node's newest diagnostics, by name.
    :ivar pictures: one frame a camera, once taken.
    """

    def __init__(self, task: Task, settings: Settings, graph: OwnGraph) -> None:
        super().__init__('monitor', namespace=graph.namespace)
        self.task = task
        self.joints = task.joints
        self.commands: list[tuple[float, np.ndarray, np.ndarray]] = []
        self.states: list[tuple[float, np.ndarray]] = []
        self.report: dict[str, str] = {}
        self.message = 'waiting for the node'
        self.pictures: dict[str, np.ndarray] = {}
        self._taken = 0
        self._reports = 0
        self._statuses = f'{graph.inside("act")}: '
        self._cameras = {
            name: graph.inside(topic) for name, (topic, _) in camera_inputs(settings, task).items()
        }
        arm, _ = state_inputs(settings, task)[task.action[0].source]
        for kind, topic, callback, depth in (
            (JointState, command_topic(settings, task), self._on_command, 50),
            (JointState, arm, self._on_state, 1),
            (DiagnosticArray, 'diagnostics', self._on_diagnostics, 10),
        ):
            self.create_subscription(kind, graph.inside(topic), callback, depth)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    @property
    def elapsed(self) -> float:
        """Time since the first command [s]; 0 before it."""
        return time.time() - self.commands[0][0] if self.commands else 0.0

    def spin(self, seconds: float) -> None:
        """Take in what has come after a while: seldom, since the cores are busy already."""
        time.sleep(seconds)
        # One callback a call, and now and then none although more is waiting.
        idle = 0
        while idle < 3:
            seen = self._taken
            self._executor.spin_once(timeout_sec=0.0)
            idle = idle + 1 if seen == self._taken else 0

    def finish(self, timeout: float) -> None:
        """Take one frame of each camera, and what had come by the node's next report.

        Watching the cameras all the time would cost what they cost the node.
        """

        def keep(name: str, message: Image) -> None:
            self._taken += 1
            self.pictures.setdefault(name, np.array(decode_image(message)))

        for name, topic in self._cameras.items():
            self.create_subscription(
                Image, topic, lambda m, name=name: keep(name, m), rclpy.qos.qos_profile_sensor_data
            )
        end, reports = time.monotonic() + timeout, self._reports
        while time.monotonic() < end and (
            len(self.pictures) < len(self._cameras) or reports == self._reports
        ):
            self.spin(0.02)

    def _on_command(self, message: JointState) -> None:
        self._taken += 1
        self.commands.append(
            (stamp_ns(message) / 1e9, np.array(message.position), np.array(message.velocity))
        )

    def _on_state(self, message: JointState) -> None:
        self._taken += 1
        places = [message.name.index(joint) for joint in self.joints]
        self.states.append((stamp_ns(message) / 1e9, np.array(message.position)[places]))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._taken += 1
        ours = [status for status in message.status if status.name.startswith(self._statuses)]
        if ours:
            self._reports += 1
            self.message = ours[0].message
            self.report = {pair.key: pair.value for status in ours for pair in status.values}
