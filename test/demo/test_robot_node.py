"""The simulated robot over DDS: its pictures show the scene, its arm follows and stops."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from act_ros.config import load_task, task_file
from act_ros.demo.account import Account
from act_ros.observation import decode_image
from act_ros.parameter_file import read_parameter_file
from act_ros.sim import SEED
from act_ros.sim.robot import HOME
from act_ros.sim.world import Scenario, World
from test.waiting import wait_until

TASK = load_task()
SETTINGS = read_parameter_file(task_file('astrobench_dual_arm'))
JOINTS = TASK.joints


COMMAND = [sys.executable, '-m', 'act_ros.demo.sim_robot', '--ros-args']
COMMAND += ['--params-file', str(task_file(TASK.name))]


@pytest.fixture
def node():
    rclpy.init()
    node = rclpy.create_node('watcher')
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def robot():
    """Start a simulated robot, and have it end in order if it has not ended by itself."""
    robots = []

    def start(*arguments):
        robots.append(
            subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
        )
        return robots[-1]

    yield start
    for robot in robots:
        if robot.poll() is None:
            robot.send_signal(signal.SIGINT)
            robot.communicate(timeout=10)
            assert robot.returncode == 0


def test_pictures_show_the_scene_and_the_arm_follows_and_stops(node, robot):
    robot()
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


def test_beside_another_robot_it_says_so_and_publishes_nothing(node, robot):
    states = []
    node.create_subscription(JointState, 'arm/joint_states', states.append, 10)

    def publishers() -> int:
        rclpy.spin_once(node, timeout_sec=0.05)
        return node.count_publishers('arm/joint_states')

    # First come, first served: the second ends, the first stays.
    first = robot('-p', 'task.image_size:=[120, 160]')
    wait_until(lambda: publishers() and states, 30, 'the first robot')
    second = robot('-p', 'task.image_size:=[120, 160]', '-r', '__node:=second')
    _, said = second.communicate(timeout=30)
    assert second.returncode == 2, said
    assert re.search('/[a-z_/]+ is published by /sim_robot: a robot is played only', said)
    assert first.poll() is None
    # A real one that comes later is not taken for another simulation.
    node.create_publisher(JointState, 'arm/joint_states', 1)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 2, said
    assert '/arm/joint_states is published by /watcher: a robot is played only' in said


def test_a_robot_that_comes_later_and_only_listens_ends_it(node, robot):
    states = []
    node.create_subscription(JointState, 'arm/joint_states', states.append, 10)
    topic = SETTINGS.outputs[0].split()[0]

    def plays() -> bool:
        rclpy.spin_once(node, timeout_sec=0.05)
        return bool(states)

    process = robot('-p', 'task.image_size:=[24, 32]')
    wait_until(plays, 30, 'the simulated robot')
    # It hears its own commands, and what only looks on may: it plays on for several looks.
    onlookers = [rclpy.create_node(name) for name in ('_plot', 'rosbag2_recorder')]
    for onlooker in onlookers:
        onlooker.create_subscription(JointState, topic, print, 1)
    try:
        wait_until(lambda: node.count_subscribers(topic) == 3, 10, 'all that listen')
        states.clear()
        wait_until(lambda: plays() and len(states) > 150, 20, 'further states')
        assert process.poll() is None
        node.create_subscription(JointState, topic, print, 1)
        _, said = process.communicate(timeout=30)
    finally:
        for onlooker in onlookers:
            onlooker.destroy_node()
    assert process.returncode == 2, said
    (line,) = said.splitlines()
    assert '/arm/joint_commands is heard by /watcher, which may be a robot: end that' in line
    assert '_plot' not in line and 'recorder' not in line


def test_a_joint_may_be_blocked_from_the_start(node, robot):
    states = []
    node.create_subscription(JointState, 'arm/joint_states', states.append, 10)
    commands = node.create_publisher(JointState, SETTINGS.outputs[0].split()[0], 1)
    robot('-p', 'task.image_size:=[120, 160]', '-p', f"blocked:=['{JOINTS[0]}']")
    goal = HOME + 0.2

    def follows() -> bool:
        commands.publish(JointState(name=JOINTS, position=goal, velocity=[0.0] * 8))
        rclpy.spin_once(node, timeout_sec=0.02)
        return bool(states) and np.abs(np.array(states[-1].position) - goal)[1:7].max() < 0.02

    wait_until(follows, 40, 'the other joints at their goal')
    assert states[-1].position[0] == pytest.approx(Scenario.from_seed(SEED).pose[0], abs=1e-6)


@pytest.mark.parametrize(
    ('parameters', 'says'),
    [
        (["blocked:=['elbow']"], "no joint 'elbow'; expected left_joint_1"),
        (["camera_types:=['Image','CompressedImage','Image']"], 'is of type CompressedImage'),
        (
            [
                "task.state:=['arm/left_joint_1/position','base/x/position','lid/hinge/position']",
                "state_topics:=['arm', 'base', 'lid']",
                "state_types:=['JointState', 'JointState', 'JointState']",
            ],
            'expected at most one source besides arm in task.state',
        ),
    ],
)
def test_a_robot_that_cannot_be_is_one_line(robot, parameters, says):
    process = robot(*(word for parameter in parameters for word in ('-p', parameter)))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert says in line


def test_a_new_scene_comes_only_where_nobody_commands_the_arm(node, robot):
    states, accounts = [], []
    node.create_subscription(JointState, 'arm/joint_states', states.append, 1)
    node.create_subscription(
        DiagnosticArray, '/diagnostics',
        lambda m: accounts.append(Account.read(m, '/sim_robot')), 10,
    )  # fmt: skip
    commands = node.create_publisher(JointState, SETTINGS.outputs[0].split()[0], 1)
    client = node.create_client(Trigger, '/sim_robot/new_scene')
    robot('-p', 'task.image_size:=[24, 32]', '-p', 'seed:=7')
    first, second = Scenario.from_seed(7), Scenario.from_seed(8)

    def spun(condition):
        rclpy.spin_once(node, timeout_sec=0.02)
        return condition()

    def ask(meanwhile=lambda: None):
        future = client.call_async(Trigger.Request())
        wait_until(lambda: [meanwhile(), spun(future.done)][-1], 10, 'an answer')
        return future.result()

    def command():
        commands.publish(JointState(name=JOINTS, position=first.pose + 0.2, velocity=[0.0] * 8))

    def moves():
        command()
        return spun(lambda: states and abs(states[-1].position[0] - first.pose[0]) > 0.1)

    wait_until(lambda: spun(lambda: accounts and client.service_is_ready()), 40, 'the robot')
    assert accounts[-1].seed == 7
    world = World(JOINTS)
    world.begin(first)
    assert accounts[-1].distance == pytest.approx(world.distance, abs=0.02)
    assert not accounts[-1].grasped and accounts[-1].time_to_grasp is None
    wait_until(moves, 20, 'the arm on its way')
    refused = ask(command)
    assert not refused.success
    assert 'deactivate the ACT node first' in refused.message
    assert accounts[-1].seed == 7
    wait_until(lambda: ask().success, 10, 'a new scene')
    accounts.clear()
    states.clear()
    wait_until(lambda: spun(lambda: accounts and states), 10, 'the new scene')
    assert accounts[-1].seed == 8
    assert states[-1].position == pytest.approx(second.pose, abs=1e-6)
    np.testing.assert_allclose(accounts[-1].unit[1:, 3] - [0.08, 0.16], second.place, atol=1e-5)


@pytest.mark.parametrize(('value', 'says'), [('-1', '-1'), ('here', 'seed')])
def test_a_seed_that_cannot_be_is_one_line(robot, value, says):
    process = robot('-p', f'seed:={value}')
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert says in line


def test_it_needs_no_libraries_of_bags_and_no_network():
    blocked = ('rosbags', 'mcap', 'lz4', 'zstandard', 'torch', 'matplotlib')
    code = f'import sys; sys.modules |= dict.fromkeys({blocked}); import act_ros.demo.robot_node'
    subprocess.run([sys.executable, '-c', code], check=True)
