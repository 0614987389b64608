"""Inputs as drivers send them: several publishers of one topic, and none of another."""

import os
import threading
from dataclasses import replace

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState

from act_ros.nodes import wiring
from act_ros.nodes.graph import GraphWatch
from test.nodes.graph import BASE, JOINTS, SETTINGS, TASK, TICK, run_node
from test.nodes.test_faults import flowing
from test.waiting import wait_until


class Driver:
    """A node that says where its joints are, a hundred times a second, until it is closed."""

    def __init__(self, name: str, topic: str, joints: list[str]) -> None:
        self.node = rclpy.create_node(name, start_parameter_services=False)
        self._publisher = self.node.create_publisher(JointState, topic, qos_profile_sensor_data)
        zeros = [0.0] * len(joints)
        self._message = JointState(name=joints, position=zeros, velocity=zeros)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(TICK / 2):
            self._message.header.stamp = self.node.get_clock().now().to_msg()
            self._publisher.publish(self._message)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self.node.destroy_node()


@pytest.fixture
def drive(graph):
    drivers = []

    def start(name, joints):
        drivers.append(Driver(name, '/joint_states', joints))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.close()


def test_the_drivers_of_a_robot_share_a_topic_and_are_told_apart(
    graph, drive, ckpt, tmp_path, tells_publishers
):
    graph.silent |= {'base', 'arm'}
    topics = ['/joint_states', '/joint_states']
    with run_node(tmp_path, ckpt, state_topics=topics, recovery_window=60.0) as node:
        for name, joints in (
            ('base_driver', BASE), ('arm_driver', JOINTS[:7]), ('wheels', ['left_wheel'])
        ):  # fmt: skip
            drive(name, joints)
        graph.configure(node)
        graph.stream()

        def refused() -> bool:
            assert not graph.change('activate')
            return (
                "joint 'left_gripper' of 'arm' is missing (found: " in node.log
                and '(/joint_states is published by ' in node.log
            )

        wait_until(refused, 20, lambda: f'the joint that is missing: {node.log}')
        gripper = drive('gripper_driver', JOINTS[7:])
        wait_until(lambda: graph.change('activate'), 20, lambda: f'activation: {node.log}')
        flowing(graph)

        gripper.close()
        node.wait_for('arm (left_gripper) is stale')
        seen = len(graph.reports)

        def named() -> bool:
            said = '(/joint_states is published by /arm_driver, /base_driver, /wheels)'
            return any(said in report['message'] for report in graph.reports[seen:])

        wait_until(named, 10, lambda: f'the drivers that are left: {graph.reports[seen:]}')
        assert float(graph.reports[-1]['age/base']) < 1

        drive('gripper_driver', JOINTS[7:])
        wait_until(lambda: 'arm is fine again' in node.log, 20, lambda: node.log)
        flowing(graph)
        if not tells_publishers:  # nothing tells one gripper from the other
            return
        rival = drive('gripper_of_the_simulation', JOINTS[7:])
        node.wait_for('arm (left_gripper) is sent by two publishers by turns: end one of them')
        rival.close()
        flowing(graph)


@pytest.fixture
def nodes():
    """The node whose inputs they are, in a namespace, and another."""
    rclpy.init()
    node = rclpy.create_node('act', namespace='robot')
    yield node, rclpy.create_node('camera', namespace='robot')
    rclpy.try_shutdown()


def test_an_input_that_does_not_come_is_explained_by_what_there_is(nodes):
    node, camera = nodes
    node.create_subscription(Image, 'under/image_raw', print, 1)  # reliable
    node.create_publisher(Image, '/near/front/image_raw', 1)  # its own is nobody's
    image = 'sensor_msgs/msg/Image'
    watch = GraphWatch(node, {
        'main': ('/robot/front/image_raw', image),
        'left': ('/robot/left/image_raw', image),
        'under': ('/robot/under/image_raw', image),
        'arm': ('/joint_states', 'sensor_msgs/msg/JointState'),
    })  # fmt: skip
    assert watch.causes([], []) == {}
    domain = os.environ['ROS_DOMAIN_ID']
    nobody = f'; no other node is to be seen in ROS_DOMAIN_ID {domain}'

    def causes() -> dict[str, str]:
        return watch.causes(['main', 'left', 'under', 'arm'], ['arm'])

    camera.create_publisher(Image, '/camera/front/image_raw', 1)
    camera.create_publisher(CompressedImage, 'left/image_raw', 1)
    camera.create_publisher(Image, 'under/image_raw', qos_profile_sensor_data)
    camera.create_publisher(JointState, '/joint_states', 1)
    expected = {
        'main': 'nobody publishes /robot/front/image_raw; near: /camera/front/image_raw '
        '(sensor_msgs/msg/Image)',
        'left': '/robot/left/image_raw is published as sensor_msgs/msg/CompressedImage by '
        '/robot/camera, but read as sensor_msgs/msg/Image: set camera_types to CompressedImage',
        'under': '/robot/under/image_raw of /robot/camera cannot be read, its QoS differs: '
        'Best effort publisher and reliable subscription',
        'arm': '/joint_states is published by /robot/camera',
    }
    wait_until(lambda: causes() == expected, 10, lambda: str(causes()))
    camera.destroy_node()
    wait_until(lambda: causes()['arm'].endswith(nobody), 10, lambda: str(causes()))
    assert causes()['main'] == 'nobody publishes /robot/front/image_raw'
    assert causes()['arm'] == f'nobody publishes /joint_states any more{nobody}'


@pytest.mark.parametrize('told', [True, False])
def test_who_sent_a_message_is_known_where_the_library_tells_it(
    tells_publishers, nodes, monkeypatch, told
):
    # In Humble a subscription gives its messages alone.
    told = told and tells_publishers
    monkeypatch.setattr(wiring, 'TELLS_INFO', wiring.TELLS_INFO and told)
    node, driver = nodes
    topics = ('/joint_states', '/joint_states')
    ends = wiring.Wiring(node, replace(SETTINGS, state_topics=topics), TASK)
    publishers = [driver.create_publisher(JointState, '/joint_states', 1) for _ in range(2)]
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    messages = [
        JointState(name=joints, position=[0.0] * len(joints), velocity=[0.0] * len(joints))
        for joints in (BASE + JOINTS, JOINTS[7:])
    ]

    def noticed() -> bool:
        for publisher, message in zip(publishers, messages, strict=True):
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)
            executor.spin_once(timeout_sec=0.1)
        faults = ends.input_faults(node.get_clock().now().nanoseconds)
        told_of = [faults.get('arm', '')] if told else ends.store.remarks()
        return any('arm (left_gripper) ' in text and 'by turns' in text for text in told_of)

    wait_until(noticed, 10, lambda: f'{ends.store.remarks()}')
    assert ends.store.received['base'] > 0
    assert 'base' not in ends.input_faults(node.get_clock().now().nanoseconds)
    assert bool(ends.store.remarks()) != told
    ends.close()
    executor.shutdown()
