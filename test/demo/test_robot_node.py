"""The simulated robot over DDS: its pictures show the scene, its arm follows and stops."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import Image, JointState

from act_ros.config import load_task, task_file
from act_ros.nodes.dds import use_profile
from act_ros.observation import decode_image
from act_ros.parameter_file import read_parameter_file
from act_ros.sim.robot import HOME
from test.waiting import wait_until

TASK = load_task()
SETTINGS = read_parameter_file(task_file('astrobench_dual_arm'))
JOINTS = TASK.joints


@pytest.fixture
def node():
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    use_profile()
    command = [sys.executable, '-m', 'act_ros.demo.sim_robot', '--ros-args']
    robot = subprocess.Popen([*command, '--params-file', str(task_file(TASK.name))])
    rclpy.init()
    node = rclpy.create_node('watcher')
    yield node
    node.destroy_node()
    rclpy.try_shutdown()
    robot.send_signal(signal.SIGINT)
    assert robot.wait(10) == 0


def test_pictures_show_the_scene_and_the_arm_follows_and_stops(node):
    frames, states = {name: [] for name in TASK.cameras}, []
    for name, topic in zip(TASK.cameras, SETTINGS.camera_topics, strict=True):
        node.create_subscription(
            Image, topic, lambda m, name=name: frames[name].append(np.array(decode_image(m))),
            rclpy.qos.qos_profile_sensor_data,
        )  # fmt: skip
    node.create_subscription(JointState, 'arm/joint_states', states.append, 1)
    commands = node.create_publisher(JointState, SETTINGS.outputs[0].split()[0], 1)

    def positions() -> np.ndarray:
        by_name = dict(zip(states[-1].name, states[-1].position, strict=True))
        return np.array([by_name[joint] for joint in JOINTS])

    def seen() -> bool:
        rclpy.spin_once(node, timeout_sec=0.1)
        return bool(states) and all(len(each) >= 2 for each in frames.values())

    wait_until(seen, 40, 'two frames of each camera')
    for name, each in frames.items():
        assert each[0].shape == (*TASK.image_size, 3)
        assert each[0].std() > 20, f'{name} shows nothing'
    before = {name: each[-1].astype(int) for name, each in frames.items()}

    goal = HOME + 0.3
    goal[-1] = 0.2

    def follows() -> bool:
        commands.publish(JointState(name=JOINTS, position=goal, velocity=[0.0] * 8))
        rclpy.spin_once(node, timeout_sec=0.02)
        return np.abs(positions() - goal).max() < 0.02

    wait_until(follows, 20, 'the arm at its goal')
    for each in frames.values():
        each.clear()
    wait_until(seen, 20, 'frames of the new pose')
    for name, each in frames.items():
        changed = (np.abs(each[-1].astype(int) - before[name]).max(axis=2) > 40).mean()
        assert changed > 0.01, f'{name} does not show that the arm has moved'

    # A far goal, told once: the arm sets out, and stops when no more commands come.
    far, there = HOME - 0.5, positions()
    commands.publish(JointState(name=JOINTS, position=far, velocity=[0.0] * 8))

    def sets_out() -> bool:
        rclpy.spin_once(node, timeout_sec=0.1)
        return bool(np.abs(positions() - there).max() > 0.05)

    wait_until(sets_out, 10, 'the arm on its way')

    def rests() -> bool:
        rclpy.spin_once(node, timeout_sec=0.1)
        return bool(np.abs(states[-1].velocity).max() < 1e-3)

    wait_until(rests, 10, 'the arm at rest')
    assert np.abs(positions() - far).max() > 0.2
