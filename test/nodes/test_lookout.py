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
from act_ros.nodes.lookout import PLAYER
from act_ros.nodes.rivals import RivalError, refuse_listeners, refuse_publishers
from test.nodes.graph import COMMANDS, SETTINGS
from test.waiting import wait_until

STATES = SETTINGS.state_topics[1]
PARAMETERS = ['--ros-args', '--params-file', str(task_file('astrobench_dual_arm'))]

# Publishes what a recording would, under the name that the launch file gives `ros2 bag play`.
PLAYS = f"""
import sys, rclpy
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
rclpy.init(args=['--ros-args', *sys.argv[1:]])
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


def lookout(*arguments, ros=()):
    return subprocess.Popen(
        [sys.executable, '-m', 'act_ros.nodes.lookout', *arguments, *PARAMETERS, *ros],
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


def test_the_look_goes_where_remappings_lead(robot):
    robot.create_publisher(JointState, '/joint_states', 1)
    robot.create_subscription(JointState, '/joint_commands', print, 1)
    rules = ['arm/joint_states:=/joint_states', 'arm/joint_commands:=/joint_commands']
    # A chain: what has been remapped is not remapped again.
    rules.append('/joint_commands:=/elsewhere')
    words = [word for rule in rules for word in ('-r', rule)]
    player = rclpy.create_node('player', cli_args=['--ros-args', *words])
    try:
        wait_until(lambda: player.count_publishers('/joint_states'), 10, 'the robot')
        with pytest.raises(RivalError, match=r'^/joint_states is published by /real_arm'):
            refuse_publishers(player, ['arm/joint_states'])
        with pytest.raises(RivalError, match=r'^/joint_commands is heard by /real_arm'):
            refuse_listeners(player, ['arm/joint_commands'])
    finally:
        player.destroy_node()


def test_only_the_named_node_is_ones_own_and_once_for_each_mention(robot):
    player = rclpy.create_node('player')
    try:
        for name in (STATES, f'/{STATES}'):
            player.create_publisher(JointState, name, 1)
        wait_until(lambda: robot.count_publishers(STATES) == 2, 10, 'both publishers')
        refuse_publishers(robot, [STATES, f'/{STATES}'], own='/player')
        with pytest.raises(RivalError, match='published by /player'):
            refuse_publishers(robot, [STATES], own='/player')
        with pytest.raises(RivalError, match='published by /player'):
            refuse_publishers(robot, [STATES, STATES], own='/real_arm')
    finally:
        player.destroy_node()


def test_names_of_the_node_itself_are_the_act_nodes(robot):
    robot.create_publisher(JointState, '/act/states', 1)
    topics = "state_topics:=['base/joint_states', '~/states']"
    assert '/act/states is published by /real_arm' in refused(
        lookout('simulation', ros=('-p', topics))
    )


def test_beside_an_act_node_nothing_is_played(robot):
    # By whatever name: it may hear these topics, now or when it is configured.
    node = LifecycleNode('policy', namespace='left')
    node.create_service(Trigger, '~/reset', lambda request, reply: reply)
    try:
        assert '/left/policy is here already, an ACT node' in refused(lookout('playback'))
    finally:
        node.destroy_node()


def test_a_recording_ends_when_a_robot_comes(robot):
    process = lookout('playback', sys.executable, '-c', PLAYS, '--remap', f'__node:={PLAYER}')
    try:
        assert process.stdout.readline() == 'plays\n'
        wait_until(lambda: robot.count_publishers(STATES) == 1, 20, 'the player')
        robot.create_publisher(JointState, STATES, 1)
        assert 'published by /real_arm: a robot' in refused(process)
        wait_until(lambda: robot.count_publishers(STATES) == 1, 20, 'the end of the player')
    finally:
        process.kill()
        process.wait()


def test_the_player_ends_with_the_lookout_and_its_exit_code_counts(robot):
    process = lookout('playback', sys.executable, '-c', PLAYS, '--remap', f'__node:={PLAYER}')
    assert process.stdout.readline() == 'plays\n'
    wait_until(lambda: robot.count_publishers(STATES) == 1, 20, 'the player')
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The player says goodbye: to one that was killed the graph would hold on for longer.
    wait_until(lambda: robot.count_publishers(STATES) == 0, 5, 'the end of the player')
    process = lookout('playback', sys.executable, '-c', 'raise SystemExit(7)')
    process.communicate(timeout=30)
    assert process.returncode == 7
