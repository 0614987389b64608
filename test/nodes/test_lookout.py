"""Where a robot is, none is played: by name, at the start and later."""

import signal
import subprocess
import sys

import pytest
import rclpy
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from act_ros.config import task_file
from test.nodes.graph import COMMANDS, SETTINGS
from test.waiting import wait_until

STATES = SETTINGS.state_topics[1]
PARAMETERS = ['--ros-args', '--params-file', str(task_file('astrobench_dual_arm'))]

# Publishes what a recording would, under the name that `ros2 bag play` has.
PLAYER = f"""
import rclpy
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
rclpy.init()
node = rclpy.create_node('rosbag2_player')
publisher = node.create_publisher(JointState, '{STATES}', 10)
print('plays', flush=True)
try:
    rclpy.spin(node)
except KeyboardInterrupt:
    pass
"""


@pytest.fixture
def robot():
    """A real robot's node."""
    rclpy.init()
    node = rclpy.create_node('real_arm')
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def lookout(*arguments):
    return subprocess.Popen(
        [sys.executable, '-m', 'act_ros.nodes.lookout', *arguments, *PARAMETERS],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def refused(process):
    """The one line with which it refused."""
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2, said
    (line,) = said.splitlines()
    return line


def test_a_robot_is_simulated_only_where_none_is(robot):
    publisher = robot.create_publisher(JointState, STATES, 1)
    assert f'/{STATES} is published by /real_arm' in refused(lookout('simulation'))
    robot.destroy_publisher(publisher)
    robot.create_subscription(JointState, COMMANDS, print, 1)
    assert f'/{COMMANDS} is heard by /real_arm' in refused(lookout('simulation'))
    # In another namespace than the robot's, they are other topics.
    process = lookout('simulation', '--ros-args', '-r', '__ns:=/second')
    assert process.communicate(timeout=30) == ('', '')
    assert process.returncode == 0


def test_beside_an_act_node_nothing_is_played(robot):
    # By whatever name: it may hear these topics, now or when it is configured.
    node = LifecycleNode('policy', namespace='left')
    node.create_service(Trigger, '~/reset', lambda request, reply: reply)
    try:
        assert '/left/policy is here already, an ACT node' in refused(lookout('playback'))
    finally:
        node.destroy_node()


def test_a_recording_ends_when_a_robot_comes(robot):
    process = lookout('playback', sys.executable, '-c', PLAYER)
    try:
        assert process.stdout.readline() == 'plays\n'
        wait_until(lambda: robot.count_publishers(STATES) == 1, 20, 'the player')
        robot.create_publisher(JointState, STATES, 1)
        assert 'published by /real_arm, /rosbag2_player' in refused(process)
        wait_until(lambda: robot.count_publishers(STATES) == 1, 20, 'the end of the player')
    finally:
        process.kill()
        process.wait()


def test_the_player_ends_with_the_lookout_and_its_exit_code_counts(robot):
    process = lookout('playback', sys.executable, '-c', PLAYER)
    assert process.stdout.readline() == 'plays\n'
    wait_until(lambda: robot.count_publishers(STATES) == 1, 20, 'the player')
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The player says goodbye: to one that was killed the graph would hold on for longer.
    wait_until(lambda: robot.count_publishers(STATES) == 0, 5, 'the end of the player')
    process = lookout('playback', sys.executable, '-c', 'raise SystemExit(7)')
    process.communicate(timeout=30)
    assert process.returncode == 7
