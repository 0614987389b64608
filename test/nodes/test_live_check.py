"""`check_config --live` and `new_robot --live` listen to a robot, and send it nothing."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String

from act_ros.config import task_file
from act_ros.parameter_file import read_parameter_file
from test.nodes.graph import JOINTS


@pytest.fixture
def check(tmp_path):
    """Check a file with changes beside the robot of the graph."""

    def run(**changes):
        content = yaml.safe_load(task_file('astrobench_dual_arm').read_text())
        values = content['/**']['ros__parameters']
        values['task']['image_size'] = [120, 160]
        values['ckpt_dir'] = 'none'
        values |= changes
        (tmp_path / 'robot.yaml').write_text(yaml.safe_dump(content))
        done = subprocess.run(
            [sys.executable, '-m', 'act_ros.check_config', str(tmp_path / 'robot.yaml'),
             '--live', '--seconds', '4'],
            capture_output=True, text=True, timeout=60, env=os.environ,
        )  # fmt: skip
        assert 'Traceback' not in done.stderr, done.stderr
        return done.returncode, done.stdout.splitlines()

    return run


@pytest.fixture
def recorder(graph):
    """`ros2 bag record`, which listens and obeys nothing."""
    node = rclpy.create_node('rosbag2_recorder', context=graph.node.context)
    yield node
    node.destroy_node()


def has(lines, pattern):
    return any(re.match(pattern, line) for line in lines)


def test_a_robot_that_fits_is_told_so_and_hears_nothing(graph, check):
    graph.stream()
    code, lines = check(max_age=0.5, max_skew=0.5)
    assert code == 0, lines
    for pattern in (
        'fits   outputs      /arm/joint_commands is heard by /robot_of_the_test',
        r'fits   rgb_main     /rgb_main/image_raw, sensor_msgs/msg/Image, 120x160 rgb8, [\d.]+ Hz',
        r'fits   arm          /arm/joint_states, .*10 joints, [\d.]+ Hz, -?\d+ ms old',
        r'fits   inputs       \d+', 'fits   limits       hold where 8 of 8 joints were',
    ):  # fmt: skip
        assert has(lines, pattern), lines
    assert not graph.commands
    assert not graph.reports


def test_planted_faults_are_found(tells_publishers, graph, check, recorder):
    graph.stream()
    graph.silent.add('base')
    other = graph.node.create_publisher(Image, 'rgb_left/image_raw', 1)
    pixels = np.zeros((60, 80, 3), np.uint8).tobytes()

    def intrude():
        message = Image(height=60, width=80, encoding='rgb8', step=240, data=pixels)
        message.header.stamp = graph.node.get_clock().now().to_msg()
        other.publish(message)

    # Not in step with the ticks, at some of which it is the newest.
    timer = graph.node.create_timer(0.0037, intrude)
    recorder.create_subscription(Float64MultiArray, 'gripper/commands', lambda message: None, 1)
    try:
        code, lines = check(
            qos_overrides={
                '/rgb_main/image_raw': {'subscription': {'reliability': 'reliable'}},
                '/arm/joint_states': {'subscription': {'depth': 5}},
            },
            outputs=['arm/joint_commands JointTrajectory arm/*/position',
                     'gripper/commands Float64MultiArray arm/left_gripper/position'],
            enable_topic='deadman', max_age=0.5, max_skew=0.5,
            camera_topics=['rgb_main/image_raw', 'rgb_left/image_raw', 'rgb_bottom/image_raw'],
        )  # fmt: skip
    finally:
        graph.node.destroy_timer(timer)
    assert code == 1
    for pattern in (
        'WRONG  rgb_main .*of /robot_of_the_test cannot be read, its QoS differs',
        'WRONG  rgb_left .*at [0-9.]+% of the ticks: rgb_left' if tells_publishers
        else r'(WRONG|doubt)  rgb_left .*at [\d.]+% of the ticks: rgb_left: 60x80 pixels',
        'WRONG  rgb_under .*nobody publishes /rgb_bottom/image_raw; near: /rgb_under/image_raw',
        'WRONG  base .*/base/joint_states is published by /robot_of_the_test, but nothing has',
        'WRONG  enable_topic .*nobody publishes /deadman',
        'WRONG  outputs .*/arm/joint_commands is heard by /robot_of_the_test as sensor_msgs/msg/'
        'JointState, but sent as trajectory_msgs/msg/JointTrajectory',
        'WRONG  outputs .*nobody listens to /gripper/commands',
        'WRONG  inputs .*no complete observation',
        'doubt  clock .*/clock is published: is this a simulation',
        'fits   arm .*/arm/joint_states',
    ):
        assert has(lines, pattern), lines
    assert not graph.commands


def test_a_file_is_drafted_from_the_robot_that_is_there(graph, tmp_path, recorder):
    graph.stream()
    node = graph.node
    joints = ''.join(
        f'<joint name="{name}" type="revolute"><limit lower="-2" upper="2" velocity="1"/></joint>'
        for name in JOINTS
    )
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    described = node.create_publisher(String, 'robot_description', latched)
    described.publish(String(data=f'<robot name="arm">{joints}</robot>'))
    node.create_subscription(
        Float64MultiArray, 'gripper_controller/commands', lambda message: None, 1
    )
    # What only looks, at what nobody sends, makes neither a camera nor a place for commands.
    node.create_subscription(Image, 'viewer/image', lambda message: None, 1)
    recorder.create_subscription(Image, 'recorded/image', lambda message: None, 1)
    node.create_subscription(JointState, 'idle/joint_states', lambda message: None, 1)
    out = tmp_path / 'drafted.yaml'
    done = subprocess.run(
        [sys.executable, '-m', 'act_ros.new_robot', '--live', '--out', str(out)],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = read_parameter_file(out)
    assert set(settings.task_cameras) == {'rgb_main', 'rgb_left', 'rgb_under'}
    assert set(settings.state_topics) >= {'/arm/joint_states'}
    assert settings.joint_limits['left_joint_3'].given == {
        'min_position': -2.0, 'max_position': 2.0, 'max_velocity': 1.0,
    }  # fmt: skip
    assert any(
        text.startswith('/gripper_controller/commands Float64MultiArray arm/left_gripper')
        for text in settings.outputs
    ), settings.outputs
    assert not any('idle' in text for text in settings.outputs)
    assert not graph.commands
