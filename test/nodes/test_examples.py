"""Each robot of the examples: the node over DDS, its drivers played, its commands looked at."""

import pickle
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from rclpy.action import ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, JointState

from act_ros.config import CONFIG_DIR
from act_ros.interfaces import camera_inputs, parse_output, state_inputs
from act_ros.nodes.message_classes import message_class
from act_ros.parameter_file import read_parameter_file
from act_ros.safety import Limits, joints_of
from act_ros.task import Task
from test.nodes.graph import NodeProcess
from test.policy.lerobot import write_lerobot
from test.rule import small_config, write_random
from test.waiting import wait_until

EXAMPLES = sorted((CONFIG_DIR / 'examples').glob('*.yaml'))
SIZE = {'so101': (120, 160)}  # the checkpoint of LeRobot has one of its own


class Robot:
    """Publishes what its drivers would, and goes where it is told.

    :param node: of the test.
    :param path: the example.
    """

    def __init__(self, node, path):
        self.settings = read_parameter_file(path)
        self.task = task = Task.from_settings(self.settings)
        self.limits = Limits.from_settings(self.settings, task)
        self.size = SIZE.get(path.stem, (48, 64))
        self._node, self._lock = node, threading.Lock()
        joints = joints_of(task)
        self.low, self.high = self.limits.min_position, self.limits.max_position
        self.values = {
            (places[0].source, places[0].name): (self.low[i] + self.high[i]) / 2
            for i, places in enumerate(joints) if places[0].quantity == 'position'
        }  # fmt: skip
        self.specs = [parse_output(text, task) for text in self.settings.outputs]
        self.commands = {spec.topic: [] for spec in self.specs}
        self._cameras = [
            node.create_publisher(Image, topic, 1)
            for topic, _ in camera_inputs(self.settings, task).values()
        ]
        self._states = {
            source: node.create_publisher(JointState, topic, 10)
            for source, (topic, _) in state_inputs(self.settings, task).items()
        }
        for spec in self.specs:
            if not spec.output_type.action:
                node.create_subscription(
                    message_class(spec.message_type), spec.topic, self._obey(spec),
                    QoSProfile(depth=100),
                )  # fmt: skip
        self._timer = node.create_timer(0.015, self._publish)

    def serve(self, action):
        """Take goals of the gripper."""
        (spec,) = (spec for spec in self.specs if spec.output_type.action)

        def execute(handle):
            self.take(spec, handle.request.command)
            handle.succeed()
            return action.Result(reached_goal=True)

        return ActionServer(
            self._node, action, spec.topic, execute, callback_group=ReentrantCallbackGroup()
        )

    def close(self):
        self._node.destroy_timer(self._timer)

    def take(self, spec, message):
        found = spec.output_type.decoder(spec, self.task.action_dim).decode(message)
        values = found.values[0][spec.columns]
        self.commands[spec.topic].append(values)
        with self._lock:
            for entry, value in zip(spec.entries, values, strict=True):
                if entry.quantity == 'position':
                    self.values[entry.source, entry.name] = value

    def _obey(self, spec):
        return lambda message: self.take(spec, message)

    def _publish(self):
        stamp = self._node.get_clock().now().to_msg()
        height, width = self.size
        for camera in self._cameras:
            image = Image(height=height, width=width, encoding='rgb8', step=3 * width)
            image.data.frombytes(np.full((height, width, 3), 90, np.uint8))
            image.header.stamp = stamp
            camera.publish(image)
        with self._lock:
            held = dict(self.values)
        for source, publisher in self._states.items():
            names = [name for of, name in held if of == source][::-1]
            message = JointState(name=['wheel', *names])
            message.position = [7.0, *(float(held[source, name]) for name in names)]
            message.header.stamp = stamp
            publisher.publish(message)


def write_checkpoint(folder, robot):
    """A network of the task's sizes, which wants to be about where the robot is."""
    task = robot.task
    config = small_config(state_dim=task.state_dim, action_dim=task.action_dim, chunk_size=100)
    write_random(folder, config)
    side = {'camera_names': list(task.cameras), 'image_size': list(robot.size), 'nheads': 4}
    (folder / 'config.yaml').write_text(yaml.safe_dump(side))

    def home(entries, units):
        values = [robot.values.get((entry.source, entry.name), 0.3) for entry in entries]
        return (np.array(values) * units[0] + units[1]).astype(np.float32)

    spread = np.abs(task.action_units[0]).astype(np.float32)
    stats = {
        'qpos_mean': home(task.state, task.state_units),
        'qpos_std': np.abs(task.state_units[0]).astype(np.float32),
        'action_mean': home(task.action, task.action_units) + 0.01 * spread,
        'action_std': 0.01 * spread,
    }
    (folder / 'dataset_stats.pkl').write_bytes(pickle.dumps(stats))


@contextmanager
def running(tmp_path, path, robot, ckpt, env):
    changes = {
        'ckpt_dir': ckpt, 'task.image_size': list(robot.size), 'torch_threads': 1,
        'autostart': 'true', 'ramp_time': 0.3,
        # A busy machine is no fault.
        'command_timeout': 5.0, 'max_age': 0.5, 'max_skew': 0.5,
    }  # fmt: skip
    arguments = ['--ros-args', '--params-file', str(path)]
    for name, value in changes.items():
        arguments += ['-p', f'{name}:={value}']
    node = NodeProcess(tmp_path / 'node.log', 'act_ros.nodes.main', arguments, **env)
    try:
        yield node
    finally:
        node.close()


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_an_example_commands_its_robot(graph, path, tmp_path, request):
    robot, env, server = Robot(graph.node, path), {}, None
    ckpt = tmp_path / 'ckpt'
    if path.stem == 'so101':
        write_lerobot(ckpt)  # of as many joints and the same cameras
    else:
        write_checkpoint(ckpt, robot)
    if any(spec.output_type.action for spec in robot.specs):
        env = request.getfixturevalue('control_msgs')
        from control_msgs.action import GripperCommand

        server = robot.serve(GripperCommand)
    try:
        with running(tmp_path, path, robot, ckpt, env) as node:
            wait_until(
                lambda: all(
                    len(sent) > (0 if spec.output_type.action else 30)
                    for spec, sent in zip(robot.specs, robot.commands.values(), strict=True)
                ),
                60, lambda: f'commands on all outputs: {node.log}',
            )  # fmt: skip
            node.stop()
            # Before that, inputs may not have come yet.
            assert 'ERROR' not in node.log.partition(']: active')[2]
            assert 'Traceback' not in node.log
    finally:
        robot.close()
        if server is not None:
            server.destroy()
    check(robot)
    if path.stem == 'so101':
        assert 'query_every is 8, as the checkpoint was trained for' in node.log


def check(robot):
    """All commands are within the limits of their joints, and a base that drives has stopped."""
    places = {
        entry: i for i, entries in enumerate(joints_of(robot.task)) for entry in entries
    }
    rate = robot.settings.tick_rate
    for spec in robot.specs:
        sent = np.array(robot.commands[spec.topic])
        assert np.isfinite(sent).all() and sent.shape[1] == len(spec.columns)
        joints = [places[entry] for entry in spec.entries]
        if spec.output_type.holds == 'twist':
            assert (np.abs(sent) <= robot.limits.max_velocity[joints] + 1e-9).all()
            assert np.abs(sent).max() > 0.05  # it has driven
            assert not sent[-1].any()
            continue
        assert (sent >= robot.low[joints] - 1e-9).all()
        assert (sent <= robot.high[joints] + 1e-9).all()
        if not spec.output_type.action:  # whose goals are further apart
            # One that was lost on its way was a step too.
            furthest = 4 * robot.limits.max_velocity[joints] / rate
            assert (np.abs(np.diff(sent, axis=0)) <= furthest + 1e-9).all()
