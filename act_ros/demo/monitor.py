"""What the demonstration sees of the robot and the node: commands, states, diagnostics."""

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from act_ros.demo.account import Account
from act_ros.demo.topics import Topics
from act_ros.nodes.isolation import OwnGraph
from act_ros.observation import stamp_ns
from act_ros.sim.robot import BASE_AXES
from act_ros.task import Task


class Monitor(Node):
    """Listens beside the node.

    :param task: the robot's.
    :param topics: those of the robot, with states of arm and base.
    :param graph: where both are.
    :ivar commands: stamp [s], positions, velocities of each command.
    :ivar states: by source, stamp [s] and positions of some states: of the arm in the order of
        the action, of the base in that of `BASE_AXES`.
    :ivar accounts: what the robot says of its task.
    :ivar report: the node's newest diagnostics, by name.
    :ivar reported: when they were made [s].
    """

    def __init__(self, task: Task, topics: Topics, graph: OwnGraph) -> None:
        # Hidden: it hears the commands, and no robot does beside the simulated one.
        super().__init__('_monitor', namespace=graph.namespace)
        self.joints = task.joints
        self.commands: list[tuple[float, np.ndarray, np.ndarray]] = []
        self.accounts: list[Account] = []
        self.report: dict[str, str] = {}
        self.reported = 0.0
        self.message = 'waiting for the node'
        self._taken = 0
        self._statuses = f'{graph.inside("act")}: '
        self._robot = graph.inside('sim_robot')
        self.arm, self.base = topics.arm, topics.base
        names = {self.arm: self.joints, self.base: BASE_AXES}
        self.states: dict[str, list[tuple[float, np.ndarray]]] = {name: [] for name in names}
        # Of each source the newest at each spin: what is kept of an hour remains small.
        for source, topic in topics.states.items():
            self.create_subscription(
                JointState, graph.inside(topic),
                lambda m, source=source: self._on_state(m, source, names[source]), 1,
            )  # fmt: skip
        for kind, topic, callback in (
            (JointState, topics.commands, self._on_command),
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
