"""The node's other interfaces over DDS: types, QoS, the plan, priority."""

import os

import cv2
import numpy as np
import pytest
import yaml
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from act_ros.observation import stamp_ns
from test.limits import limits_of
from test.limits import parameters as limit_parameters
from test.nodes.graph import JOINTS, SETTINGS, run_node
from test.processes import children
from test.readme import text
from test.waiting import wait_until


def test_odometry_and_compressed_images_come_in_where_they_can_be_decoded(graph, ckpt, tmp_path):
    parameters = {
        'state_topics': ['base/odom', 'arm/joint_states'],
        'state_types': ['Odometry', 'JointState'],
        'twist_frame': 'world',
        'camera_topics': ['rgb_main/compressed', 'rgb_left/image_raw', 'rgb_under/image_raw'],
        'camera_types': ['CompressedImage', 'Image', 'Image'],
    }
    odometry = graph.node.create_publisher(Odometry, 'base/odom', 1)
    camera = graph.node.create_publisher(CompressedImage, 'rgb_main/compressed', 1)
    jpeg = cv2.imencode('.jpeg', np.full((120, 160, 3), 80, np.uint8))[1].tobytes()
    frame, pictures = ['world'], [jpeg[:-100] + jpeg[-2:]]  # cut, but for its end marker

    def publish() -> None:
        stamp = graph.node.get_clock().now().to_msg()
        base = Odometry(child_frame_id='base_link')
        base.header.stamp, base.header.frame_id = stamp, frame[0]
        odometry.publish(base)
        image = CompressedImage(format='jpeg', data=pictures[0])
        image.header.stamp = stamp
        camera.publish(image)

    timer = graph.node.create_timer(0.02, publish)
    with run_node(tmp_path, ckpt, **parameters) as node:
        graph.configure(node)
        graph.stream()
        wait_until(
            lambda: not graph.change('activate') and 'a JPEG that has lost part' in node.log,
            20, f'the cut picture to be told: {node.log}',
        )  # fmt: skip
        pictures[0] = jpeg
        wait_until(lambda: graph.change('activate'), 20, f'activation: {node.log}')
        wait_until(lambda: len(graph.commands) > 20, 20, f'commands: {node.log}')
        frame[0] = 'map'
        node.wait_for("base is an Odometry of 'base_link' in 'map', but twist_frame is 'world'")
    graph.node.destroy_timer(timer)


def recipe(word):
    """The node's parameters of the recipe for ros2_control that has a word in it."""
    found = [b.text for b in text.blocks(text.read()) if b.section == 'ros2_control']
    (block,) = (block for block in found if block.startswith('/**') and word in block)
    return yaml.safe_load(block)['/**']['ros__parameters']


def test_several_outputs_and_the_plan_go_out(graph, ckpt, tmp_path):
    outputs = recipe('JointTrajectoryHorizon')['outputs']
    parameters = {'outputs': outputs, 'stop_policy': 'hold', 'publish_chunk': True}
    arm, gripper, plans = [], [], []
    node_of_test = graph.node
    node_of_test.create_subscription(JointTrajectory, outputs[0].split()[0], arm.append, 10)
    node_of_test.create_subscription(Float64MultiArray, outputs[1].split()[0], gripper.append, 10)
    node_of_test.create_subscription(JointTrajectory, '/act/chunk', plans.append, 10)
    with run_node(tmp_path, ckpt, **parameters) as node:
        graph.activate(node)
        wait_until(lambda: len(arm) > 30 and len(gripper) > 30 and plans, 20, 'all of them')
    assert arm[-1].joint_names == JOINTS[:7]
    assert max(len(message.points) for message in arm) > 10
    assert all(len(point.velocities) == 7 for message in arm for point in message.points)
    assert not any(map(any, (message.points[-1].velocities for message in arm)))
    assert len(gripper[-1].data) == 1
    assert plans[-1].joint_names == JOINTS
    assert len(plans[-1].points) == 100


def test_commands_come_at_a_higher_rate_as_one_smooth_motion(graph, ckpt, tmp_path):
    parameters = recipe('command_rate')
    rate, arm = parameters['command_rate'], []
    graph.node.create_subscription(
        Float64MultiArray, parameters['outputs'][0].split()[0], arm.append, 100
    )
    # A JointState has a stamp, and tells what was sent when.
    parameters['outputs'] += SETTINGS.outputs
    bounds = ('min_position', 'max_position', 'max_velocity', 'max_acceleration')
    shipped = limits_of(SETTINGS)
    limits = limit_parameters(JOINTS, **{name: getattr(shipped, name) for name in bounds})
    with run_node(tmp_path, ckpt, **parameters, **limits, stop_policy='hold') as node:
        graph.activate(node)
        wait_until(lambda: len(graph.commands) > 500 and len(arm) > 400, 30, lambda: node.log)
        wait_until(lambda: float(graph.reports[-1].get('command_rate_hz', 0)) == rate, 10, 'it')
        wait_until(lambda: len(graph.ticks) > 50, 10, 'ticks')
    commands = graph.commands[:500]
    stamps = np.array([stamp_ns(command) for command in commands]) / 1e9
    assert np.median(np.diff(stamps)) == pytest.approx(1 / rate, rel=0.1)
    positions = np.array([command.position for command in commands])
    steps, near = np.diff(positions, axis=0), np.diff(stamps) < 1.5 / rate
    assert near.mean() > 0.5  # the others were left out, or lost on the way
    assert (np.abs(steps[near]) <= shipped.max_velocity / rate + 1e-9).all()
    changes = np.diff(steps, axis=0)[near[1:] & near[:-1]]
    assert (np.abs(changes) <= shipped.max_acceleration / rate**2 + 1e-9).all()
    # On the ramp it moves at each tick, not once a step of the policy.
    moving = np.abs(steps[near]).max(axis=1) > 0
    assert moving[:100].mean() > 0.9
    assert len(arm[-1].data) == 7
    # The policy has its own rate.
    assert (np.diff([tick.step for tick in graph.ticks]) > 0).all()


def test_a_horizon_and_what_contradicts_it_are_refused(graph, ckpt, tmp_path):
    given = {'outputs': ['a JointTrajectoryHorizon'], 'command_rate': 200.0}
    with run_node(tmp_path, ckpt, **given) as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        node.wait_for('command_rate is 200 Hz, but a JointTrajectoryHorizon is interpolated')
        assert '100 or 150 (0 = control_rate)' in graph.set_parameter('command_rate', 120.0)
        assert not graph.set_parameter('command_rate', 0.0)
        assert not graph.change('configure')
        node.wait_for('would play on after the last command')


def test_qos_that_does_not_match_is_named_and_can_be_overridden(graph, ckpt, tmp_path):
    # The robot's side offers best effort; who asks for more hears nothing.
    topic = '/arm/joint_states'
    override = {f'qos_overrides.{topic}.subscription.reliability': 'reliable'}
    with run_node(tmp_path, ckpt, **override) as node:
        node.wait_for('ready: unconfigured')
        assert graph.change('configure'), node.log
        node.wait_for(f'{topic}: the other end has another reliability QoS')
        wait_until(
            lambda: any('reliability QoS' in r['message'] for r in list(graph.reports)),
            10, 'a report',
        )  # fmt: skip
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        heard = graph.node.create_publisher(JointState, topic, qos)
        wait_until(lambda: heard.get_subscription_count() > 0, 10, 'the match')


def test_an_override_of_an_unknown_topic_is_refused(graph, ckpt, tmp_path):
    name = 'qos_overrides./arm/joint_state.subscription.reliability'
    with run_node(tmp_path, ckpt, **{name: 'reliable'}) as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        node.wait_for(f"unknown parameter '{name}'")


def test_a_pose_far_from_training_is_a_warning_by_name(graph, ckpt, tmp_path):
    graph.robot[9] = 573.0  # degrees for radians
    with run_node(tmp_path, ckpt) as node:
        graph.activate(node)
        node.wait_for('degrees for radians')
        node.wait_for('arm/left_joint_1/position is 573')


def granted() -> bool:
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
    except OSError:
        return False
    os.sched_setscheduler(0, before, os.sched_param(0))
    return True


def priorities(pid):
    return {
        os.sched_getscheduler(int(thread)) & ~os.SCHED_RESET_ON_FORK
        for thread in os.listdir(f'/proc/{pid}/task')  # noqa: PTH208
    }


@pytest.mark.skipif(not granted(), reason='this user may not have real-time priorities')
def test_the_priority_lasts_as_long_as_the_activation(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, realtime_priority=10) as node:
        graph.activate(node)
        node.wait_for('real-time priority 10')
        assert priorities(node.process.pid) == {os.SCHED_FIFO}
        for child in children(node.process.pid):
            assert priorities(child) == {os.SCHED_OTHER}
        assert graph.change('deactivate')
        wait_until(
            lambda: priorities(node.process.pid) == {os.SCHED_OTHER}, 5, 'the usual priority'
        )
