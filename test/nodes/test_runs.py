"""`~/run` and `~/return_to_start`: goals over DDS, as a behaviour tree sends them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from rclpy.action import ActionClient
from std_msgs.msg import Bool

from test.limits import limits_of, parameters
from test.nodes.graph import JOINTS, SETTINGS, TASK, run_node
from test.waiting import wait_until

ROOT = Path(__file__).parents[2]
BOUNDS = limits_of(SETTINGS)
LIMITS = parameters(JOINTS, **{
    name: getattr(BOUNDS, name)
    for name in ('min_position', 'max_position', 'max_velocity', 'max_acceleration')
})  # fmt: skip
SAFE = {'stop_policy': 'hold', 'ramp_time': 0.3, 'fade': 0.0, **LIMITS}


class Client:
    """Sends goals to one of the actions, and keeps what it says."""

    def __init__(self, node, name):
        from act_ros_interfaces.action import Run

        self.type, self.feedback = Run, []
        self._client = ActionClient(node, Run, f'/act/{name}')

    def send(self, seconds):
        """The handle of a goal; None where it was refused."""
        assert self._client.wait_for_server(10)
        whole = int(seconds)
        limit = Duration(sec=whole, nanosec=int((seconds - whole) * 1e9))
        asked = self._client.send_goal_async(
            self.type.Goal(max_duration=limit), lambda m: self.feedback.append(m.feedback)
        )
        wait_until(asked.done, 10, 'an answer to the goal')
        return asked.result() if asked.result().accepted else None

    def result(self, handle, timeout=30):
        asked = handle.get_result_async()
        wait_until(asked.done, timeout, 'the result')
        return asked.result().result

    def run(self, seconds):
        return self.result(self.send(seconds))

    def close(self):
        self._client.destroy()


@pytest.fixture
def client(graph, act_ros_interfaces):
    made = Client(graph.node, 'run')
    yield made
    made.close()


@pytest.fixture
def back(graph, act_ros_interfaces):
    made = Client(graph.node, 'return_to_start')
    yield made
    made.close()


def ready(graph, node):
    """Configured and inactive, with inputs; the robot goes where it is told."""
    graph.follows = True
    graph.configure(node)
    graph.stream()

    def all_there():
        ages = [value for key, value in graph.reports[-1].items() if key.startswith('age/')]
        return len(ages) == 5 and 'none' not in ages

    wait_until(lambda: graph.reports and all_there(), 20, lambda: f'inputs: {graph.reports[-1:]}')


def test_a_run_acts_for_its_time_and_leaves_the_node_inactive(
    graph, client, ckpt, act_ros_interfaces, tmp_path
):
    with run_node(tmp_path, ckpt, env=act_ros_interfaces, **SAFE) as node:
        ready(graph, node)
        for _ in range(2):
            graph.commands.clear()
            client.feedback.clear()
            result = client.run(1.5)
            assert (result.outcome, result.message) == (client.type.Result.DONE,
                                                        'ended after 1.5 s')  # fmt: skip
            assert 40 < result.step < 100 and 1 <= result.elapsed.sec < 3
            assert graph.state() == 'inactive'
            assert len(graph.commands) > 40 and not any(graph.commands[-1].velocity)
            states = {feedback.state for feedback in client.feedback}
            assert 'running' in states
            assert max(f.step for f in client.feedback) > 30
            assert 0 <= client.feedback[-1].age < 1


def test_a_run_is_cancelled_and_brakes(graph, client, ckpt, act_ros_interfaces, tmp_path):
    with run_node(tmp_path, ckpt, env=act_ros_interfaces, **SAFE) as node:
        ready(graph, node)
        handle = client.send(60)
        wait_until(lambda: len(graph.commands) > 30, 20, lambda: node.log)
        assert client.send(5) is None  # one at a time
        cancelled = handle.cancel_goal_async()
        wait_until(cancelled.done, 10, 'an answer')
        result = client.result(handle)
        assert result.outcome == client.type.Result.CANCELLED
        assert graph.state() == 'inactive' and not any(graph.commands[-1].velocity)


def test_a_run_that_cannot_go_on_says_why(graph, client, ckpt, act_ros_interfaces, tmp_path):
    results = client.type.Result
    with run_node(
        tmp_path, ckpt, env=act_ros_interfaces,
        **{**SAFE, 'command_timeout': 1.0, 'recovery_window': 0.2},
    ) as node:  # fmt: skip
        node.wait_for('ready: unconfigured')
        assert 'the node is unconfigured' in client.run(1).message
        ready(graph, node)
        assert 'expected more than 0' in client.run(0).message
        handle = client.send(60)
        wait_until(lambda: len(graph.commands) > 30, 20, lambda: node.log)
        graph.silent.add('rgb_main')
        result = client.result(handle)
        assert result.outcome == results.STOPPED and 'recovery_window' in result.message
        assert graph.state() == 'inactive'
        result = client.run(1)
        assert result.outcome == results.NOT_STARTED and 'rgb_main' in result.message
        graph.silent.clear()
        assert wait_until(lambda: client.run(0.5).outcome == results.DONE, 20, 'a run again')
        handle = client.send(60)
        wait_until(lambda: graph.state() == 'active', 10, 'it')
        assert graph.change('deactivate')
        assert client.result(handle).outcome == results.DEACTIVATED


def test_an_active_node_is_nobodys(graph, client, ckpt, act_ros_interfaces, tmp_path):
    with run_node(tmp_path, ckpt, env=act_ros_interfaces, **SAFE) as node:
        graph.follows = True
        graph.activate(node)
        assert 'the node is active' in client.run(1).message
        assert graph.state() == 'active'


def test_a_goal_takes_simulated_time(graph, client, ckpt, act_ros_interfaces, tmp_path):
    begin = graph.now()
    graph.now = lambda: begin + (time.time_ns() - begin) // 4
    timer = graph.node.create_timer(0.01, lambda: graph.publish_clock(graph.now()))
    with run_node(tmp_path, ckpt, env=act_ros_interfaces, **SAFE, use_sim_time=True) as node:
        ready(graph, node)
        result = wait_until(lambda: started(client.run(0.6), client), 20, lambda: node.log)
        assert (result.outcome, result.elapsed.sec) == (client.type.Result.DONE, 0)
        assert result.step > 20 and result.elapsed.nanosec >= 0.6e9
    graph.node.destroy_timer(timer)


def started(result, client):
    return None if result.outcome == client.type.Result.NOT_STARTED else result


def test_a_released_deadman_stands_in_the_way_and_ctrl_c_ends_a_run(
    graph, client, back, ckpt, act_ros_interfaces, tmp_path
):
    pressed = [False]
    deadman = graph.node.create_publisher(Bool, 'enable', 1)
    timer = graph.node.create_timer(0.05, lambda: deadman.publish(Bool(data=pressed[0])))
    with run_node(
        tmp_path, ckpt, env=act_ros_interfaces, **SAFE, start_pose=START, enable_topic='enable',
    ) as node:  # fmt: skip
        ready(graph, node)
        handle = back.send(30)
        wait_until(lambda: any('enable' in f.state for f in back.feedback), 10, 'its reason')
        assert not graph.commands
        pressed[0] = True
        wait_until(lambda: len(graph.commands) > 20, 10, 'commands')
        pressed[0] = False
        wait_until(lambda: 'enable' in back.feedback[-1].state, 10, 'its reason')
        stood = graph.robot.copy()
        time.sleep(0.3)  # in which nothing may move
        np.testing.assert_allclose(graph.robot, stood, atol=0.02)
        pressed[0] = True
        assert back.result(handle).outcome == back.type.Result.DONE
        np.testing.assert_allclose(graph.robot[9:], 0.1 * np.arange(1, 9), atol=0.05)
        graph.commands.clear()
        client.send(60)
        wait_until(lambda: len(graph.commands) > 30, 20, lambda: node.log)
        assert node.stop() < 2 and node.process.returncode == 0, node.log
        assert 'Traceback' not in node.log
        assert not any(graph.commands[-1].velocity)
    graph.node.destroy_timer(timer)


START = [f'{entry} {0.1 * (i + 1):.1f}' for i, entry in enumerate(TASK.action[:8])]


def test_the_robot_returns_to_its_start_pose_within_the_limits(
    graph, back, ckpt, act_ros_interfaces, tmp_path
):
    pose = 0.1 * np.arange(1, 9)
    with run_node(
        tmp_path, ckpt, env=act_ros_interfaces, **SAFE, start_pose=START,
    ) as node:  # fmt: skip
        graph.robot[9:] = np.clip(-0.5, BOUNDS.min_position, BOUNDS.max_position)
        ready(graph, node)
        result = back.run(0.5)
        assert result.outcome == back.type.Result.TOO_LATE
        assert 'not at the start pose after 0.5 s; arm/left_joint_1/position' in result.message
        graph.commands.clear()
        handle = back.send(20)
        wait_until(lambda: len(graph.commands) > 40, 20, lambda: node.log)
        assert graph.set_parameter('ramp_time', 10.0) == ''  # is of the policy, not of this way
        result = back.result(handle)
        assert (result.outcome, result.message) == (back.type.Result.DONE, 'at the start pose')
    np.testing.assert_allclose(graph.robot[9:], pose, atol=0.05)
    sent = np.array([command.position for command in graph.commands])
    steps = np.abs(np.diff(sent, axis=0))
    # Far within: half of what is allowed, and some for messages that are lost or late.
    assert (steps <= 2 * 0.5 * BOUNDS.max_velocity / 50 + 1e-6).all()
    assert result.limit_hits == 0 and not result.limited


def test_without_a_start_pose_it_is_where_the_first_run_began(
    graph, client, back, ckpt, act_ros_interfaces, tmp_path
):
    with run_node(tmp_path, ckpt, env=act_ros_interfaces, **SAFE) as node:
        ready(graph, node)
        assert 'there is no start pose' in back.run(5).message
        began = graph.robot[9:].copy()
        assert client.run(1.0).outcome == client.type.Result.DONE
        assert np.abs(graph.robot[9:] - began).max() > 0.01
        assert back.run(20).outcome == back.type.Result.DONE
        np.testing.assert_allclose(graph.robot[9:], began, atol=0.05)


@contextmanager
def example(environment, seconds):
    """The example as a process of its own, on whatever robot there is."""
    process = subprocess.Popen(
        [sys.executable, ROOT / 'examples/run_policy.py', str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_example_goes_to_the_start_runs_and_is_cancelled(
    graph, ckpt, act_ros_interfaces, tmp_path
):
    pose = [f'{entry} 0.1' for entry in TASK.action[:8]]
    with run_node(tmp_path, ckpt, env=act_ros_interfaces, **SAFE, start_pose=pose) as node:
        ready(graph, node)
        with example(act_ros_interfaces, 1) as process:
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0, said
            assert '/act/return_to_start: at the start pose; limited: nothing' in said
            assert '/act/run: ended after 1 s' in said
        with example(act_ros_interfaces, 60) as process:
            node.wait_for('run for at most 60 s')
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=20)
            assert process.returncode == 1 and '/act/run: cancelled' in said, said
            assert 'Traceback' not in said
        assert graph.state() == 'inactive'


@pytest.mark.parametrize(
    ('poses', 'text'),
    [
        ([*START[:7], 'arm/left_gripper/position x'], "has 'arm/left_gripper/position x'"),
        (START[:7], 'says nothing of arm/left_gripper/position'),
        ([*START[:7], 'arm/left_joint_1/position 0.1'], 'each position of the action once'),
        ([*START[:7], 'arm/left_gripper/position 99'], 'left_gripper/position at 99, outside'),
    ],
)
def test_a_start_pose_that_is_none_is_refused(graph, ckpt, tmp_path, poses, text):
    with run_node(tmp_path, ckpt, **SAFE, start_pose=poses) as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        assert text in node.wait_for('not configured')
