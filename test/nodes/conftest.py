"""Real rclpy on real DDS, in a domain of the tests' own and on this machine only."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not importable')

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState

from test import interfaces
from test.nodes.graph import Graph
from test.rule import small_config, write_checkpoint, write_random
from test.waiting import wait_until


@pytest.fixture(scope='session', autouse=True)
def _in_own_domain(own_domain):
    pass


@pytest.fixture
def graph():
    graph = Graph()
    yield graph
    graph.close()


@pytest.fixture(scope='module')
def tells_publishers():
    """Whether this client library says who sent a message: not so before 2025."""
    rclpy.init()
    node, infos = rclpy.create_node('asking'), []
    node.create_subscription(JointState, 'asked', lambda _, info: infos.append(info), 1)
    publisher = node.create_publisher(JointState, 'asked', 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def told() -> bool:
        publisher.publish(JointState())
        executor.spin_once(timeout_sec=0.1)
        return bool(infos)

    wait_until(told, 10, 'a message of its own')
    executor.shutdown()
    rclpy.try_shutdown()
    return 'publisher_gid' in infos[0]


@pytest.fixture(scope='session')
def ckpt(tmp_path_factory):
    """A network whose chunk lasts two seconds: a busy machine leaves no tick without a plan."""
    folder = tmp_path_factory.mktemp('ckpt')
    write_random(folder, small_config(chunk_size=100), image_size=[120, 160])
    return folder


def provided(package, folder):
    """The environment of a process that needs a package, which this one then has, too."""
    if not interfaces.can_build():
        pytest.skip(f'{package.name} is neither installed nor can it be built')
    return interfaces.provide(package, folder)


@pytest.fixture(scope='session')
def interfaces_folder(tmp_path_factory):
    return tmp_path_factory.mktemp('interfaces')


@pytest.fixture(scope='session')
def control_msgs(interfaces_folder):
    if importlib.util.find_spec('control_msgs') is not None:
        return {}
    return provided(interfaces.HERE / 'control_msgs', interfaces_folder)


@pytest.fixture(scope='session')
def act_ros_interfaces(interfaces_folder):
    return provided(Path(__file__).parents[2] / 'act_ros_interfaces', interfaces_folder)


@pytest.fixture(scope='session')
def reference_ckpt(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('reference'))
