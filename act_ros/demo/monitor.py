"""What the demonstration sees of the robot and the node: commands, states, diagnostics."""

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from act_ros.demo.account import Account
from act_ros.demo.robot_node import command_topic
from act_ros.errors import ParameterError
from act_ros.interfaces import state_inputs
from act_ros.nodes.isolation import OwnGraph
from act_ros.observation import stamp_ns
from act_ros.parameters import Settings
from act_ros.sim.robot import BASE_AXES
from act_ros.task import Task


class Monitor(Node):
    """Listens beside the node.

    :param task: the robot's.
    :param settings: parameters of the task file: the topics.
    :param graph: where both are.
    :raises ParameterError: the states are not those of an arm on a base.
    :ivar commands: stamp [s], positions, velocities of each command.
    :ivar states: by source, stamp [s] and positions of some states: of the arm in the order of
        the action, of the base in that of `BASE_AXES`.
    :ivar accounts: what the robot says of its task.
    :ivar report: the node's newest diagnostics, by name.
    :ivar reported: when they were made [s].
    """

    def __init__(self, task: Task, settings: Settings, graph: OwnGraph) -> None:
        super().__init__('monitor', namespace=graph.namespace)
        self.joints = task.joints
        self.commands: list[tuple[float, np.ndarray, np.ndarray]] = []
        self.accounts: list[Account] = []
        self.report: dict[str, str] = {}
        self.reported = 0.0
        self.message = 'waiting for the node'
        self._taken = 0
        self._statuses = f'{graph.inside("act")}: '
        self._robot = graph.inside('sim_robot')
        topics = state_inputs(settings, task)
        self.arm = task.action[0].source
        others = [source for source in topics if source != self.arm]
        if self.arm not in topics or len(others) != 1:
            raise ParameterError(
                f"the states are of {', '.join(topics)}; the demonstration shows those of one arm "
                f'({self.arm}) on a base: expected it and one more in task.state'
            )
        (self.base,) = others
        names = {self.arm: self.joints, self.base: BASE_AXES}
        self.states: dict[str, list[tuple[float, np.ndarray]]] = {name: [] for name in topics}
        for source, (topic, _) in topics.items():
            self.create_subscription(
                JointState, graph.inside(topic),
                lambda m, source=source: self._on_state(m, source, names[source]), 1,
            )  # fmt: skip
        for kind, topic, callback in (
            (JointState, command_topic(settings, task), self._on_command),
            (DiagnosticArray, 'diagnostics', self._on_diagnostics),
        ):
            self.create_subscription(kind, graph.inside(topic), callback, 50)
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

    def _on_command(self, message: JointState) -> None:
        self._taken += 1
        self.commands.append(
            (stamp_ns(message) / 1e9, np.array(message.position), np.array(message.velocity))
        )

    def _on_state(self, message: JointState, source: str, names: Any) -> None:
        self._taken += 1
        places = [message.name.index(name) for name in names]
        self.states[source].append((stamp_ns(message) / 1e9, np.array(message.position)[places]))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._taken += 1
        account = Account.read(message, self._robot)
        if account is not None:
            self.accounts.append(account)
        ours = [status for status in message.status if status.name.startswith(self._statuses)]
        if ours:
            self.reported = stamp_ns(message) / 1e9
            self.message = ours[0].message
            self.report = {pair.key: pair.value for status in ours for pair in status.values}
