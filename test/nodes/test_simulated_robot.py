"""Faults whose other half is a robot: the simulated one, in a process of its own."""

import signal
from pathlib import Path

import numpy as np
import pytest
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from act_ros.config import task_file
from act_ros.interfaces import state_inputs
from act_ros.observation import stamp_ns
from test.limits import limits_of, parameters
from test.nodes.graph import JOINTS, MARGIN, SETTINGS, TASK, Graph, NodeProcess, run_node
from test.nodes.test_faults import SAFE, check_trace, flowing, stops, told
from test.waiting import wait_until

COMMAND_TIMEOUT = 0.2  # of the simulated robot [s]
# Long, so that the arm is on its way for as long.
RAMP = {'ramp_time': 8.0, 'max_skew': 0.3}


class Robot:
    """The simulated robot, and what is seen of its arm."""

    def __init__(self, graph, log: Path):
        self.graph = graph
        self.states: list[JointState] = []
        topic, _ = state_inputs(SETTINGS, TASK)[TASK.action[0].source]
        graph.node.create_subscription(JointState, topic, self.states.append, 10)
        self.process = NodeProcess(log, 'act_ros.demo.sim_robot', [
            '--ros-args', '--params-file', str(task_file('astrobench_dual_arm')),
            '-p', 'task.image_size:=[120, 160]',
        ])  # fmt: skip

    def pose(self, state=None) -> np.ndarray:
        state = state or self.states[-1]
        by_name = dict(zip(state.name, state.position, strict=True))
        return np.array([by_name[joint] for joint in JOINTS])

    def speed(self) -> float:
        return float(np.abs(self.states[-1].velocity).max())

    def block(self, *joints: str) -> None:
        client = self.graph.node.create_client(
            SetParametersAtomically, '/sim_robot/set_parameters_atomically'
        )
        assert client.wait_for_service(timeout_sec=10)
        parameter = Parameter('blocked', value=list(joints) or ['']).to_parameter_msg()
        request = SetParametersAtomically.Request(parameters=[parameter])
        future = client.call_async(request)
        wait_until(future.done, 10, 'an answer of the simulated robot')
        assert future.result().result.successful


@pytest.fixture
def graph():
    """It listens: two robots would be one too many."""
    graph = Graph(plays=False)
    yield graph
    graph.close()


@pytest.fixture
def robot(graph, tmp_path):
    robot = Robot(graph, tmp_path / 'robot.log')
    try:
        wait_until(lambda: robot.states, 30, lambda: f'joint states: {robot.process.log}')
        yield robot
    finally:
        robot.process.close()
    check_trace(graph.commands)


def activate(graph, node):
    graph.configure(node)
    wait_until(lambda: graph.change('activate'), 20, f'activation: {node.log}')
    flowing(graph)


def test_a_killed_node_leaves_an_arm_that_stops_and_starts_again(robot, graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **{**SAFE, **RAMP}) as node:
        activate(graph, node)
        wait_until(lambda: robot.speed() > 0.02, 10, 'an arm on its way')
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
        killed = graph.now()
    wait_until(lambda: robot.speed() < 1e-3, 10, 'the arm at rest')
    # By its way, not by the time of its messages: Fast DDS may hold those up for some seconds
    # when another process was killed while it used their shared memory.
    before = [state for state in robot.states if stamp_ns(state) <= killed]
    speed = np.max([np.abs(state.velocity).max() for state in robot.states[len(before) - 20:]])
    way = np.abs(robot.pose() - robot.pose(before[-1])).max()
    assert way < speed * (COMMAND_TIMEOUT + MARGIN)
    there, count = robot.pose(), len(robot.states)
    wait_until(lambda: len(robot.states) > count + 50, 10, 'further states')
    np.testing.assert_allclose(robot.pose(), there, atol=1e-3)
    graph.commands.clear()
    # By itself: for a while a request may still go to the services of the one that was killed.
    with run_node(tmp_path, ckpt, **{**SAFE, **RAMP}, autostart=True) as node:
        wait_until(lambda: graph.commands, 60, lambda: f'a command: {node.log}')
        first = np.array(graph.commands[0].position)
        assert (np.abs(first - there) <= limits_of(SETTINGS).max_step + 2e-3).all()


def test_a_blocked_joint_stops_the_arm_until_reset(robot, graph, ckpt, tmp_path):
    bound = 0.05
    settings = {**SAFE, **RAMP, **parameters(JOINTS, max_tracking_error=[bound] * 8)}
    with run_node(tmp_path, ckpt, **settings) as node:
        activate(graph, node)
        wait_until(lambda: robot.speed() > 0.02, 10, 'an arm on its way')
        velocity = np.array(graph.commands[-1].velocity[:7])
        joint = int(np.argmax(np.abs(velocity)))
        way = np.sign(velocity[joint])
        robot.block(JOINTS[joint])
        blocked = graph.now()
        wait_until(lambda: stamp_ns(robot.states[-1]) > blocked, 10, 'a state since then')
        where = robot.pose()[joint]

        def left() -> int | None:
            """Since when the commands are too far ahead of where it is [ns]."""
            far = (c for c in list(graph.commands) if way * (c.position[joint] - where) > bound)
            return next(map(stamp_ns, far), None)

        since = wait_until(left, 20, 'a command that the joint does not follow')
        stops(graph, since, 0.2 + MARGIN, more=60)
        assert abs(graph.commands[-1].position[joint] - where) < 1e-6
        told(graph, f'arm/{JOINTS[joint]}/position is at', 'commanded', 'only ~/reset')
        robot.block()
        assert graph.reset().success
        flowing(graph)


