"""A gripper that is commanded by an action, of a real server on real DDS."""

import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.action import ActionServer, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup

from act_ros.nodes.gripper import FORGET, PERIOD
from test.nodes.graph import COMMANDS, JOINTS, run_node
from test.waiting import wait_until

ACTION = 'gripper_controller/gripper_cmd'
OUTPUTS = [
    f'{COMMANDS} JointState',
    f'{ACTION} GripperCommandAction max_effort=20 tolerance=0.001 arm/left_gripper/position',
]


class Gripper:
    """Takes goals, or refuses them."""

    def __init__(self, node):
        from control_msgs.action import GripperCommand

        self.accepts, self.goals, self._type = True, [], GripperCommand
        self._lock = threading.Lock()
        self._server = ActionServer(
            node, GripperCommand, ACTION, self._execute, goal_callback=self._on_goal,
            callback_group=ReentrantCallbackGroup(),
        )  # fmt: skip

    def _on_goal(self, goal):
        if not self.accepts:
            return GoalResponse.REJECT
        self.goals.append((time.monotonic(), goal.command.position, goal.command.max_effort))
        return GoalResponse.ACCEPT

    def _execute(self, handle):
        handle.succeed()
        return self._type.Result(reached_goal=True)

    def close(self):
        self._server.destroy()


@pytest.fixture
def gripper(graph, control_msgs):
    made = Gripper(graph.node)
    yield made
    made.close()


def run(tmp_path, ckpt, env, **parameters):
    return run_node(
        tmp_path, ckpt, env=env, outputs=OUTPUTS, stop_policy='hold',
        follow_newest=['arm/left_gripper/position'], **parameters,
    )  # fmt: skip


def test_goals_follow_the_plan_and_are_few(graph, gripper, reference_ckpt, control_msgs, tmp_path):
    with run(tmp_path, reference_ckpt, control_msgs) as node:
        graph.activate(node)
        wait_until(lambda: len(graph.commands) > 50 and gripper.goals, 20, lambda: node.log)
        # Moved by the joint states: another qpos, another plan.
        for shift in range(1, 6):
            graph.robot = np.full(17, 0.5 * shift)
            graph.commands.clear()
            wait_until(lambda: len(graph.commands) > 30, 20, lambda: node.log)
        wanted = graph.commands[-1].position[JOINTS.index('left_gripper')]
        wait_until(lambda: abs(gripper.goals[-1][1] - wanted) <= 0.001, 10, 'the newest goal')
    times, positions, efforts = map(np.array, zip(*gripper.goals, strict=True))
    assert set(efforts) == {20.0} and 1 < len(times) < len(graph.commands)
    assert np.diff(times).min() > 0.05  # the timer's pace, less what a busy machine adds
    assert np.abs(np.diff(positions)).min() > 0.001


def test_a_server_that_is_missing_or_refuses_is_told_and_the_arm_goes_on(
    graph, control_msgs, ckpt, tmp_path
):
    with run(tmp_path, ckpt, control_msgs) as node:
        graph.activate(node)
        node.wait_for(f'no server of the action /{ACTION}: the gripper gets no commands')
        wait_until(
            lambda: any('no server of the action' in r['message'] for r in graph.reports[-3:]),
            10, 'it in the diagnostics',
        )  # fmt: skip
        wait_until(lambda: len(graph.commands) > 50, 20, lambda: node.log)
        made = Gripper(graph.node)
        try:
            made.accepts = False
            node.wait_for(f'the server of /{ACTION} rejects goals')
            made.accepts = True
            node.wait_for(f'/{ACTION} takes goals again')
            wait_until(lambda: made.goals, 10, 'a goal')
        finally:
            made.close()


def test_an_inactive_node_sends_no_goal_that_found_no_server(graph, control_msgs, ckpt, tmp_path):
    with run(tmp_path, ckpt, control_msgs) as node:
        graph.activate(node)
        node.wait_for(f'no server of the action /{ACTION}')
        assert graph.change('deactivate')
        time.sleep(FORGET)  # somebody else may have the gripper now
        made = Gripper(graph.node)
        try:
            asked = f'/{ACTION}/_action/send_goal'
            wait_until(lambda: graph.node.count_clients(asked), 10, 'that they know each other')
            time.sleep(5 * PERIOD)
            again = time.monotonic()
            wait_until(lambda: graph.change('activate'), 20, lambda: node.log)
            wait_until(lambda: made.goals, 10, 'a goal')
            assert made.goals[0][0] > again
        finally:
            made.close()


def test_a_server_that_dies_with_a_goal_unanswered_gets_another_when_it_is_back(
    graph, control_msgs, ckpt, tmp_path
):
    mute = rclpy.create_node('mute', context=graph.node.context)  # nobody spins it
    dead = Gripper(mute)
    with run(tmp_path, ckpt, control_msgs) as node:
        graph.activate(node)
        node.wait_for(f'the server of /{ACTION} does not answer')
        dead.close()
        mute.destroy_node()
        made = Gripper(graph.node)
        try:
            wait_until(lambda: made.goals, 10, lambda: node.log)
            node.wait_for(f'/{ACTION} takes goals again')
        finally:
            made.close()
        # One that begins anew knows nothing of the goals before.
        node.wait_for(f'no server of the action /{ACTION}')
        made = Gripper(graph.node)
        try:
            wait_until(lambda: made.goals, 10, lambda: node.log)
        finally:
            made.close()


def test_in_a_dry_run_there_are_no_goals(graph, gripper, ckpt, control_msgs, tmp_path):
    from control_msgs.msg import GripperCommand

    shown = []
    graph.node.create_subscription(
        GripperCommand, f'/act/dry_run/{ACTION}', shown.append, 10
    )
    with run(tmp_path, ckpt, control_msgs, dry_run=True) as node:
        graph.activate(node)
        wait_until(lambda: len(shown) > 50, 20, lambda: node.log)
    assert not gripper.goals
    assert {message.max_effort for message in shown} == {20.0}


def test_without_its_package_the_output_is_refused_in_one_line(graph, ckpt, tmp_path):
    with run(tmp_path, ckpt, {}) as node:
        node.wait_for('ready: unconfigured')
        if graph.change('configure'):
            pytest.skip('control_msgs is installed')
        said = node.wait_for('not configured')
        assert 'control_msgs, which is not installed: apt install ros-' in said
        assert 'Traceback' not in node.log
