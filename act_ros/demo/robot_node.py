"""The simulated robot and its task on ROS topics, named as the task file names them."""

import array
import contextlib
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import cycle

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from act_ros.cli import USER_ERROR
from act_ros.demo.account import Account, Moment
from act_ros.demo.topics import Topics
from act_ros.errors import ActError
from act_ros.nodes.dds import use_profile
from act_ros.nodes.declare import declare_parameters, read_parameters
from act_ros.nodes.exit import run_node
from act_ros.nodes.logs import log_to_ros
from act_ros.nodes.rivals import look_around, refuse_listeners, refuse_publishers
from act_ros.sim import SEED
from act_ros.sim.command import commanded
from act_ros.sim.renderer import Renderer
from act_ros.sim.robot import BASE_AXES, CAMERA_RATE, STATE_RATE
from act_ros.sim.scene import Camera, default_cameras
from act_ros.sim.world import Scenario, World
from act_ros.task import Task

log = logging.getLogger(__name__)

ACCOUNT_RATE = 10.0  # accounts of the task a second [Hz]
WATCH_RATE = 2.0  # looks a second for another robot [Hz]

SEEDS = IntegerRange(from_value=0, to_value=2**32 - 1, step=1)

FRAMES_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class SimRobot(Node):
    """Publishes three rendered cameras, base and arm states; follows joint commands.

    `~/new_scene` puts the task object and the arm elsewhere, where nobody commands the arm: a real
    robot does not jump either. `/diagnostics` says how far the arm has come with its task.

    Where another robot publishes what this one does or listens to its commands, or begins to, this
    one says so and ends.
    """

    def __init__(self) -> None:
        super().__init__('sim_robot')
        declare_parameters(self, also=('blocked', 'seed'))
        settings = read_parameters(self)
        task = Task.from_settings(settings)
        try:
            self._world = World(task.joints)
            self._robot = self._world.robot
            self._lock = threading.Lock()  # of the world
            cameras = default_cameras(task.cameras)
        except ValueError as error:
            raise ActError(f'no simulated robot for task {task.name!r}: {error}') from None

        self._task, self._cameras = task, cameras
        self._topics = Topics.of(settings, task, self.get_namespace())
        self._complained = False
        # When the arm was commanded last, and first in this scene [s, steady].
        self._commanded = -math.inf
        self._set_out: float | None = None
        description = ParameterDescriptor(
            description='of the first scene; the next have the next', read_only=True,
            integer_range=[SEEDS],
        )  # fmt: skip
        self._begin(self.declare_parameter('seed', SEED, description).value)
        # A fault to try: these joints are jammed where they are, also while it runs.
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.declare_parameter('blocked', [''])

        self._exit_code = 0
        self._ended = threading.Event()
        # A thread of its own: timers in the executor would cost more than the physics.
        self._thread = threading.Thread(target=self._run, name='robot', daemon=True)
        self._thread.start()

    def halt(self) -> int:
        """Stop publishing, from any thread; the exit code."""
        self._ended.set()
        self._thread.join(timeout=0.3)
        return self._exit_code

    def _run(self) -> None:
        """Look around, then do the jobs until halted."""
        with self._failing_ends_it():
            look_around(self._refuse_robots, self._ended)
            if self._ended.is_set():
                return
            watch = threading.Thread(target=self._watch, name='watch', daemon=True)
            watch.start()
            self._do_jobs()
            watch.join()

    def _watch(self) -> None:
        """Look for another robot, apart from the jobs: to learn a node's name may take a while."""
        me = self.get_fully_qualified_name()
        with self._failing_ends_it():
            while not self._ended.wait(1 / WATCH_RATE):
                self._refuse_robots(me)

    def _refuse_robots(self, own: str = '') -> None:
        topics = self._topics
        refuse_publishers(self, [*topics.cameras.values(), *topics.states.values()], own)
        refuse_listeners(self, topics.outputs, own)

    @contextlib.contextmanager
    def _failing_ends_it(self) -> Iterator[None]:
        """A robot that fails says so and ends its process."""
        try:
            yield
            return
        except ActError as error:
            self._exit_code = USER_ERROR
            log.error('%s', error)
        except Exception as error:
            self._exit_code = 1
            log.error('the simulated robot failed', exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)

    def _do_jobs(self) -> None:
        """Do each job at its rate, in steady time; what comes late is not made up for."""
        views = cycle(self._make_views())
        publishers = {
            source: self.create_publisher(JointState, topic, 1)
            for source, topic in self._topics.states.items()
        }
        ends = publishers.get(self._topics.arm), publishers.get(self._topics.base)
        accounts = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_subscription(JointState, self._topics.commands, self._on_command, 1)
        self.create_service(Trigger, '~/new_scene', self._on_new_scene)
        # One camera at a time: their stamps differ by a third of a frame, the load does not.
        jobs = (
            (1 / STATE_RATE, lambda: self._publish_states(*ends)),
            (1 / (CAMERA_RATE * len(self._cameras)), lambda: self._publish_frame(next(views))),
            (1 / ACCOUNT_RATE, lambda: accounts.publish(self._account())),
        )
        due = [time.monotonic()] * len(jobs)
        while not self._ended.wait(max(0.0, min(due) - time.monotonic())):
            for i, (period, job) in enumerate(jobs):
                now = time.monotonic()
                if now >= due[i]:
                    job()
                    due[i] += period * ((now - due[i]) // period + 1)

    def _make_views(self) -> list['_View']:
        return [
            _View(
                self.create_publisher(Image, self._topics.cameras[name], FRAMES_QOS),
                camera,
                self._task.image_sizes[name],
            )
            for name, camera in self._cameras.items()
        ]

    def _on_command(self, message: JointState) -> None:
        try:
            positions, velocities = commanded(message, self._robot.joint_names)
            with self._lock:
                now = time.monotonic()
                self._world.command(now, positions, velocities)
                self._commanded = now
                self._set_out = self._set_out or now
        except ValueError as error:
            if not self._complained:
                self._complained = True
                log.warning('command not taken: %s', error)

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if change.name != 'blocked':
                continue
            wanted = {name for name in change.value if name}
            unknown = sorted(wanted.difference(self._robot.joint_names))
            if unknown:
                reason = f'no joint {unknown[0]!r}; expected {", ".join(self._robot.joint_names)}'
                return SetParametersResult(successful=False, reason=reason)
            with self._lock:
                for name in self._robot.joint_names:
                    (self._robot.block if name in wanted else self._robot.release)(name)
        return SetParametersResult(successful=True)

    def _begin(self, seed: int) -> None:
        """Begin a scene."""
        self._seed = seed
        self._world.begin(Scenario.from_seed(seed))
        self._commanded = -math.inf
        self._set_out = None

    def _on_new_scene(self, request: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        with self._lock:
            age = time.monotonic() - self._commanded
            reply.success = age > self._robot.command_timeout
            if reply.success:
                self._begin((self._seed + 1) % (SEEDS.to_value + 1))
                reply.message = f'scene {self._seed}'
            else:
                reply.message = (
                    f'a command came {age:.2f} s ago: nothing moves by itself while somebody '
                    f'commands the arm; deactivate the ACT node first'
                )
        return reply

    def _account(self) -> DiagnosticArray:
        with self._lock:
            account = Account.of(self._world, self._seed, self._set_out)
            stamp = self.get_clock().now().to_msg()
        return account.message(self.get_fully_qualified_name(), stamp)

    def _publish_frame(self, view: '_View') -> None:
        with self._lock:
            moment, stamp = Moment.of(self._world), self.get_clock().now().to_msg()
        view.publish(moment, stamp)

    def _publish_states(self, arm: Publisher | None, base: Publisher | None) -> None:
        robot = self._robot
        with self._lock:
            self._world.advance(time.monotonic())
            stamp = self.get_clock().now().to_msg()
            states = (
                (arm, robot.joint_names, robot.positions, robot.velocities),
                (
                    base,
                    BASE_AXES,
                    np.concatenate((robot.base_position, robot.base_orientation)),
                    np.concatenate((robot.base_linear_velocity, robot.base_angular_velocity)),
                ),
            )
        for publisher, names, positions, velocities in states:
            if publisher is not None:
                message = JointState(name=names, position=positions, velocity=velocities)
                message.header.stamp = stamp
                publisher.publish(message)


class _View:
    """One camera: its picture is drawn into the message that is published."""

    def __init__(self, publisher: Publisher, camera: Camera, size: tuple[int, int]) -> None:
        height, width = size
        self._publisher = publisher
        self._renderer = Renderer(camera, height, width)
        self._message = Image(
            height=height,
            width=width,
            encoding='rgb8',
            step=width * 3,
            data=array.array('B', bytes(height * width * 3)),
        )
        # A view of the message's own bytes: what it was given it may have copied.
        self._pixels = np.frombuffer(self._message.data, np.uint8).reshape(height, width, 3)
        self._message.header.frame_id = f'{camera.name}_optical_frame'

    def publish(self, moment: Moment, stamp: Time) -> None:
        self._renderer.render(moment, out=self._pixels)
        self._message.header.stamp = stamp
        self._publisher.publish(self._message)


def run() -> int:
    """Run the simulated robot until a signal and return the exit code."""
    use_profile()
    log_to_ros('sim_robot')
    return run_node(SimRobot, SimRobot.halt)
