"""The demonstration, shortened: every part of it, as processes over DDS."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState

from act_ros.demo.attempts import GRASPED, outcome
from act_ros.demo.demonstration import BEGINS_WITH, ENDS_WITH
from act_ros.sim import SEED
from act_ros.sim.world import REACH, TIME_LIMIT
from test.processes import alive, children
from test.waiting import wait_until


@pytest.fixture
def demo(tmp_path):
    """Start the demonstration in its own folder; ended whatever happens."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, '-m', 'act_ros.demo', '--out', str(tmp_path), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, 'PYTHONPATH': str(Path.cwd())},
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                for pid in children(process.pid):
                    os.kill(pid, signal.SIGKILL)
                process.kill()
                process.wait()


@pytest.fixture
def real_arm():
    """A robot in the ROS domain that the demonstration's shell names; what it has heard."""
    rclpy.init()
    node, heard = rclpy.create_node('real_arm'), []
    for topic in ('arm/joint_commands', 'arm/joint_states'):
        node.create_subscription(JointState, topic, heard.append, 10)

    def listen():
        rclpy.spin_once(node, timeout_sec=0.05)
        return heard + [n for n in node.get_node_names() if n != 'real_arm']

    yield listen
    node.destroy_node()
    rclpy.try_shutdown()


def started(process, folder):
    """Both of its programs, once they run."""
    log = folder / 'act_node.log'
    wait_until(lambda: log.exists() and 'ready: unconfigured' in log.read_text(), 60, 'the node')
    pids = children(process.pid)
    assert len(pids) == 2
    return pids


def test_the_arm_grasps_the_handle_and_no_robot_hears_of_it(demo, real_arm, tmp_path):
    # Long enough for the second attempt to succeed if the first has not.
    process = demo('--seconds', '13')
    while process.poll() is None:
        assert real_arm() == []
    output = process.stdout.read()
    assert process.returncode == 0, output
    assert 'success rate' in output
    figures = json.loads((tmp_path / 'summary.json').read_text())
    first, *others = figures['each']
    assert (first['seed'], len(others) + 1) == (SEED, figures['attempts'])
    assert [each['seed'] for each in others] == [SEED + 1 + i for i in range(len(others))]
    grasps = [each for each in figures['each'] if each['outcome'] == 'grasped']
    assert len(grasps) == figures['successes'] >= 1, figures
    assert figures['success_rate'] == pytest.approx(len(grasps) / figures['attempts'], abs=1e-3)
    for each in grasps:
        assert 1 < each['time_to_grasp_s'] < TIME_LIMIT
        assert each['distance_m'] < 2 * REACH
    # An activation counts once, however often it is reported.
    assert 200 < figures['commands_published'] <= figures['commands_received'] + 5
    assert figures['inferences'] > 10
    assert 0 < figures['jerk_rms'] <= figures['jerk_max']
    assert 0 < figures['seam'] < 1
    hits = figures['limit_hits']
    assert hits['total'] == sum(hits.values()) - hits['total']
    assert set(figures['input_rates_hz']) == {'rgb_main', 'rgb_left', 'rgb_under', 'base', 'arm'}
    picture = cv2.imread(str(tmp_path / 'demo.png'))
    assert picture.shape[1] >= 1000
    assert 'Traceback' not in (tmp_path / 'act_node.log').read_text()


@pytest.mark.parametrize(
    ('said', 'means'),
    [
        ((True, 'stopped', 'late', 20.0), GRASPED),
        ((False, 'running', '', 9.9), ''),
        ((False, '', '', 9.9), ''),
        ((False, 'running', '', 10.1), 'not grasped within 10 s'),
        ((False, 'stopped until reset', 'it is blocked', 1.0), 'commands ended: it is blocked'),
    ],
)
def test_what_counts_as_a_success(said, means):
    assert outcome(*said, limit=10.0) == means


def test_ctrl_c_ends_all_of_it(demo, tmp_path):
    process = demo()
    pids = started(process, tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert 'Traceback' not in output
    for pid in pids:
        wait_until(lambda pid=pid: not Path(f'/proc/{pid}').exists(), 10, f'{pid} to end')


@pytest.fixture
def hears_commands():
    """Hears the commands of a demonstration, where it says that it runs."""
    context = rclpy.Context()

    def begin(process):
        found = None
        while not found:
            line = process.stdout.readline()
            assert line, 'it has ended'
            found = re.search(r'ROS_DOMAIN_ID=(\d+), under (\S+)', line)
        rclpy.init(context=context, domain_id=int(found[1]))
        node, heard = rclpy.create_node('_listener', context=context), []
        node.create_subscription(JointState, f'{found[2]}/arm/joint_commands', heard.append, 10)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)

        def listen():
            executor.spin_once(timeout_sec=0.05)
            return heard

        return listen

    yield begin
    rclpy.try_shutdown(context=context)


def interrupted(process):
    process.send_signal(signal.SIGINT)


def node_killed(process):
    (pid,) = (
        pid for pid in children(process.pid)
        if b'act_ros.nodes.main' in Path(f'/proc/{pid}/cmdline').read_bytes()
    )  # fmt: skip
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ('cut', 'code', 'says'),
    [(interrupted, 130, 'success rate'), (node_killed, 2, 'act_node ended with code -9; see')],
)
def test_cut_short_it_tells_of_what_there_was(demo, hears_commands, tmp_path, cut, code, says):
    process = demo('--seconds', '120')
    heard = hears_commands(process)
    wait_until(lambda: len(heard()) > 120, 90, 'commands')
    cut(process)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code, output
    assert 'success rate' in output and 'Traceback' not in output
    assert says in output
    figures = json.loads((tmp_path / 'summary.json').read_text())
    # Those published are told each second.
    assert 20 < figures['commands_published'] <= figures['commands_received']
    assert cv2.imread(str(tmp_path / 'demo.png')).shape[1] >= 1000


def test_ctrl_c_when_time_is_up_does_not_cost_the_picture(demo, tmp_path):
    process = demo('--seconds', '0.1')
    wait_until((tmp_path / 'summary.json').exists, 90, 'the summary')
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert cv2.imread(str(tmp_path / 'demo.png')).shape[1] >= 1000


def test_killed_it_takes_its_programs_along(demo, tmp_path):
    process = demo()
    pids = started(process, tmp_path)
    process.kill()
    process.wait()
    for pid in pids:
        wait_until(lambda pid=pid: not alive(pid), 10, f'{pid} to end')


def test_what_the_node_refuses_is_one_line(demo, tmp_path):
    params = tmp_path / 'mine.yaml'
    params.write_text('/**: {ros__parameters: {joint_limits: {left_joint_9: {max_step: 0.1}}}}')
    output, _ = (process := demo('--params-file', str(params))).communicate(timeout=60)
    assert process.returncode == 2
    last = output.splitlines()[-1]
    assert last.startswith("demo: error: not configured: joint_limits has 'left_joint_9', which")


@pytest.mark.parametrize(
    ('parameters', 'says'),
    [
        (
            'task: {state: [arm/left_joint_1/position]}, state_topics: [], state_types: []',
            'expected both in task.state',
        ),
        ('state_types: [Odometry, JointState]', '(base) is of type Odometry; the simulated'),
    ],
)
def test_a_robot_that_cannot_be_shown_is_one_line_and_costs_nothing(
    demo, tmp_path, parameters, says
):
    for name in (*BEGINS_WITH, *ENDS_WITH):
        (tmp_path / name).write_text('of a former run')
    params = tmp_path / 'mine.yaml'
    params.write_text(f'/**: {{ros__parameters: {{{parameters}}}}}')
    output, _ = (process := demo('--params-file', str(params))).communicate(timeout=60)
    assert process.returncode == 2
    (line,) = output.splitlines()
    assert line.startswith('demo: error: ') and says in line
    assert (tmp_path / 'summary.json').read_text() == 'of a former run'


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['--seed', '-1'], '--seed is -1, expected 0 to'),
        (['--seconds', 'nan'], '--seconds is nan, expected'),
        (['--params-file', '/no.yaml'], "no parameter file '/no.yaml'"),
    ],
)
def test_a_wrong_argument_is_one_line(demo, arguments, says):
    output, _ = (process := demo(*arguments)).communicate(timeout=60)
    assert process.returncode == 2
    assert says in output.splitlines()[-1]


def test_what_is_of_something_else_is_refused_and_stays(demo, tmp_path):
    name = 'summary.json'
    (tmp_path / name).write_text('mine')
    output, _ = (process := demo()).communicate(timeout=60)
    assert process.returncode == 2
    assert 'give another --out' in output.splitlines()[-1]
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == 'mine'
