"""The test's side of a ROS graph: inputs out, commands in, and the node as a process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParametersAtomically,
)
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from act_ros.config import load_task, task_file
from act_ros.interfaces import camera_inputs, state_inputs
from act_ros.observation import stamp_ns
from act_ros.parameter_file import read_parameter_file
from test.limits import parameters
from test.waiting import wait_until

TASK = load_task()
SETTINGS = read_parameter_file(task_file('astrobench_dual_arm'))
JOINTS = TASK.joints
COMMANDS = SETTINGS.outputs[0].split()[0]
TICK = 0.02  # [s]
# Between a fault and what shows it: messages on their way, and a busy machine [s].
MARGIN = 0.2
NAME = '/act: '  # before that of each of the node's statuses
WIDE = {
    **parameters(
        JOINTS, min_position=[-1e3] * 8, max_position=[1e3] * 8, max_step=[1e3] * 8,
        max_velocity=[1e5] * 8, max_acceleration=[1e9] * 8, max_tracking_error=[1e3] * 8,
    ),
    'ramp_time': 0.0,
}
BASE = ['x', 'y', 'z', 'roll', 'pitch', 'yaw']
STATES = {
    State.PRIMARY_STATE_UNCONFIGURED: 'unconfigured',
    State.PRIMARY_STATE_INACTIVE: 'inactive',
    State.PRIMARY_STATE_ACTIVE: 'active',
}
TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE,
    'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE,
    'cleanup': Transition.TRANSITION_CLEANUP,
}


class Tick:
    """One `~/tick` message, read back."""

    def __init__(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.stamp = stamp_ns(message)
        self.step, self.episode = int(values['step']), int(values['episode'])
        self.stamps = {
            key.removeprefix('stamp/'): int(value)
            for key, value in values.items()
            if key.startswith('stamp/')
        }
        self.chunk_steps = [int(step) for step in values['chunk_steps'].split()]
        self.action = np.array([float(x) for x in values['action'].split()])


class Graph:
    """Publishes what a robot would, and keeps what the node says.

    :param plays: whether it does; beside the simulated robot it only looks on.
    """

    def __init__(self, plays: bool = True) -> None:
        rclpy.init()
        self.node = node = rclpy.create_node('robot_of_the_test' if plays else '_onlooker')
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._cameras = {
            name: node.create_publisher(Image, topic, best_effort)
            for name, (topic, _) in camera_inputs(SETTINGS, TASK).items() if plays
        }
        self._states = {
            name: node.create_publisher(JointState, topic, best_effort)
            for name, (topic, _) in state_inputs(SETTINGS, TASK).items() if plays
        }
        self._clock = node.create_publisher(Clock, '/clock', best_effort)
        self.commands: list[JointState] = []
        self.ticks: list[Tick] = []
        self.reports: list[dict[str, str]] = []
        node.create_subscription(JointState, COMMANDS, self._on_command, QoSProfile(depth=100))
        node.create_subscription(
            DiagnosticArray, '/act/tick', lambda m: self.ticks.append(Tick(m)),
            QoSProfile(depth=1000),
        )  # fmt: skip
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._clients = {
            kind: node.create_client(kind, f'/act/{name}')
            for kind, name in ((ChangeState, 'change_state'), (GetState, 'get_state'),
                               (Trigger, 'reset'),
                               (SetParametersAtomically, 'set_parameters_atomically'),
                               (GetParameters, 'get_parameters'),
                               (ListParameters, 'list_parameters'),
                               (DescribeParameters, 'describe_parameters'))
        }  # fmt: skip
        self.image_size = (120, 160)
        self.robot = np.zeros(17)
        self.follows = False  # the robot is where it was told to be
        self._moving = threading.Lock()  # held while it goes there
        self.silent: set[str] = set()  # inputs that do not come
        self.repeated: dict[str, int] = {}  # cameras that say this stamp again and again
        self.lacking: set[str] = set()  # joints that their message lacks
        self.shift = 0  # of the robot's clock [ns]
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self._streams: list[tuple[threading.Event, threading.Thread]] = []

    def close(self) -> None:
        """End everything: an executor that still spins at exit would abort the process."""
        self.stop_streams()
        self._executor.shutdown()
        self._thread.join(5)
        self.node.destroy_node()
        rclpy.try_shutdown()

    # --- inputs

    def publish_clock(self, now: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now, 1_000_000_000)
        self._clock.publish(message)

    def publish_image(self, name: str, pixels: np.ndarray, stamp: int) -> None:
        height, width, _ = pixels.shape
        message = Image(height=height, width=width, encoding='rgb8', step=3 * width)
        message.data.frombytes(np.ascontiguousarray(pixels))
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        self._cameras[name].publish(message)

    def publish_states(self, qpos: np.ndarray, stamp: int) -> None:
        """Base and arm in another order than the task's, with further joints between."""
        position, velocity = [*qpos[:3], 0.1, 0.2, 0.3], [*qpos[3:9]]
        self._publish_joints('base', BASE[::-1], position[::-1], velocity[::-1], stamp)
        names = ['right_joint_1', *JOINTS[::-1], 'head_pan']
        values = [99.0, *qpos[:8:-1], float('nan')]
        kept = [i for i, name in enumerate(names) if name not in self.lacking]
        names, values = [names[i] for i in kept], [values[i] for i in kept]
        self._publish_joints('arm', names, values, [0.0] * len(names), stamp)

    def _publish_joints(self, source, names, positions, velocities, stamp) -> None:
        if source in self.silent:
            return
        message = JointState(name=names)
        message.position = [float(x) for x in positions]
        message.velocity = [float(x) for x in velocities]
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        self._states[source].publish(message)

    def jam(self, joint: int, position: float) -> None:
        """From now on a joint of the arm is there, and the arm follows no more."""
        with self._moving:
            self.follows = False
            self.robot = self.robot.copy()
            self.robot[9 + joint] = position

    def now(self) -> int:
        return self.node.get_clock().now().nanoseconds + self.shift

    def stream(
        self, *, cameras=TASK.cameras, qpos: Callable[[int], np.ndarray] | None = None
    ) -> threading.Event:
        """Publish inputs some 100 times a second until the event returned is set.

        :param cameras: those that are published.
        :param qpos: from a stamp [ns]; zeros by default.
        """
        stopped = threading.Event()
        qpos = qpos or (lambda stamp: self.robot)

        def run() -> None:
            while not stopped.wait(0.01):
                stamp = self.now()
                frame = np.full((*self.image_size, 3), 80, np.uint8)
                for camera in set(cameras) - self.silent:
                    self.publish_image(camera, frame, self.repeated.get(camera, stamp))
                self.publish_states(qpos(stamp), stamp)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._streams.append((stopped, thread))
        return stopped

    def stop_streams(self) -> None:
        for stopped, thread in self._streams:
            stopped.set()
            thread.join(5)
        self._streams.clear()

    # --- the node's services

    def call(self, kind: type, request: object, timeout: float = 30.0) -> object:
        client = self._clients[kind]
        assert client.wait_for_service(timeout_sec=timeout), f'no service {client.srv_name}'
        future = client.call_async(request)
        wait_until(future.done, timeout, f'an answer of {client.srv_name}')
        return future.result()

    def change(self, name: str) -> bool:
        """Ask for a transition; whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[name]))
        return self.call(ChangeState, request).success

    def configure(self, node: 'NodeProcess') -> None:
        """Configure; again where the machine was too busy for the passes that are timed."""
        node.wait_for('ready: unconfigured')

        def configured() -> bool:
            done = self.change('configure')
            if not done:
                node.wait_for('but a pass takes', timeout=5)
            return done

        wait_until(configured, 30, lambda: f'configuration: {node.log}')

    def activate(self, node: 'NodeProcess') -> None:
        """Configure, begin the inputs, and activate."""
        self.configure(node)
        self.stream()
        wait_until(lambda: self.change('activate'), 20, f'activation: {node.log}')

    def state(self) -> str:
        return STATES.get(self.call(GetState, GetState.Request()).current_state.id, 'other')

    def reset(self) -> Trigger.Response:
        return self.call(Trigger, Trigger.Request())

    def set_parameter(self, name: str, value: float | bool | list) -> str:
        """Set a parameter of the node; the reason why it refused, or nothing."""
        return self.set_parameters({name: value})

    def set_parameters(self, values: dict[str, object]) -> str:
        """Set several together; the reason why they were refused, or nothing."""
        parameters = [Parameter(name, value=v).to_parameter_msg() for name, v in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        result = self.call(SetParametersAtomically, request).result
        return '' if result.successful else result.reason

    def matched(self) -> bool:
        """Whether the node hears every input."""
        publishers = [*self._cameras.values(), *self._states.values()]
        return all(publisher.get_subscription_count() > 0 for publisher in publishers)

    def command_stamps(self) -> list[int]:
        return [stamp_ns(command) for command in self.commands]

    def _on_command(self, message: JointState) -> None:
        self.commands.append(message)
        with self._moving:
            if self.follows:
                self.robot = np.concatenate((self.robot[:9], message.position))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        statuses = [status for status in message.status if status.name.startswith(NAME)]
        if not statuses:  # of another program
            return
        values = {pair.key: pair.value for status in statuses for pair in status.values}
        levels = {status.name.removeprefix(NAME): status.level for status in statuses}
        texts = '; '.join(status.message for status in statuses)
        self.reports.append(values | {'message': texts, 'levels': levels})


class NodeProcess:
    """The ACT node in a process of its own, with its log."""

    def __init__(
        self,
        log: Path,
        module: str,
        arguments: list[str],
        *,
        python: str = sys.executable,
        **env: str,
    ) -> None:
        self._log = log
        self._file = log.open('w')
        self.process = subprocess.Popen(
            [python, '-m', module, *arguments],
            stdout=self._file, stderr=subprocess.STDOUT, env={**os.environ, **env},
        )  # fmt: skip

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, timeout: float = 30.0) -> str:
        """Wait for a line in the log: it is written by a thread of its own; that line."""

        def found() -> str | None:
            ended, lines = self.process.poll() is not None, self.log.splitlines()
            line = next((line for line in lines if text in line), None)
            assert line is not None or not ended, self.log
            return line

        return wait_until(found, timeout, lambda: f'{text!r} in the log: {self.log}')

    def stop(self, number: int = signal.SIGINT, timeout: float = 10.0) -> float:
        """Send a signal and wait for the end; the seconds that took."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout)
        return time.monotonic() - started

    def close(self) -> None:
        # Killed at once it would leave its shared memory behind.
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._file.close()


@contextmanager
def run_node(
    tmp_path: Path,
    ckpt: Path | str,
    *,
    module: str = 'act_ros.nodes.main',
    env=None,
    python: str = sys.executable,
    **parameters,
) -> Iterator[NodeProcess]:
    """The node with the deployed task file and some parameters of the test."""
    defaults = {
        'ckpt_dir': str(ckpt),
        'publish_tick': True,
        'task.image_size': [120, 160],
        'torch_threads': 1,
        # A busy machine is no fault; tests of faults set what they are about.
        'command_timeout': 5.0,
        'max_age': 0.3,
        'max_skew': 0.3,
        # Most tests are about what the policy says, and about silence.
        'stop_policy': 'silent',
        **WIDE,
    }
    values = {**defaults, **parameters}
    arguments = ['--ros-args', '--params-file', str(task_file('astrobench_dual_arm'))]
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ['-p', f'{name}:={text}']
    node = NodeProcess(tmp_path / 'node.log', module, arguments, python=python, **(env or {}))
    try:
        yield node
    finally:
        node.close()
