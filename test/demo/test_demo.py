"""The demonstration, shortened: every part of it, as processes over DDS."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import rclpy
from sensor_msgs.msg import JointState

from act_ros.config import load_task, task_file
from act_ros.policy import load_policy
from act_ros.sim.demo_checkpoint import write_demo_checkpoint
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


def test_it_ends_with_a_summary_and_a_picture_and_no_robot_hears_of_it(demo, real_arm, tmp_path):
    # Small pictures: a pass of the network takes less than the command_timeout on any machine.
    task = tmp_path / 'small.yaml'
    text = task_file('astrobench_dual_arm').read_text()
    task.write_text(text.replace('image_size: [480, 640]', 'image_size: [120, 160]'))
    assert load_task(str(task)).image_size == (120, 160)
    process = demo('--seconds', '4', '--task', str(task))
    while process.poll() is None:
        assert real_arm() == []
    output = process.stdout.read()
    assert process.returncode == 0, output
    assert 'untrained weights made by rule' in ' '.join(output.split())
    assert 'ticks without a plan' in output
    figures = json.loads((tmp_path / 'summary.json').read_text())
    assert figures['commands_received'] > 50
    assert figures['inferences'] >= 1
    assert 0 < figures['jerk_rms'] <= figures['jerk_max']
    assert 0 < figures['seam'] < 1
    hits = figures['limit_hits']
    assert hits['total'] == sum(hits.values()) - hits['total']
    assert set(figures['input_rates_hz']) == {'rgb_main', 'rgb_left', 'rgb_under', 'base', 'arm'}
    picture = cv2.imread(str(tmp_path / 'demo.png'))
    assert picture.shape[1] >= 1000
    assert 'Traceback' not in (tmp_path / 'act_node.log').read_text()


def test_ctrl_c_ends_all_of_it(demo, tmp_path):
    process = demo()
    pids = started(process, tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert 'Traceback' not in output
    for pid in pids:
        wait_until(lambda pid=pid: not Path(f'/proc/{pid}').exists(), 10, f'{pid} to end')


def test_killed_it_takes_its_programs_along(demo, tmp_path):
    process = demo()
    pids = started(process, tmp_path)
    process.kill()
    process.wait()
    for pid in pids:
        wait_until(lambda pid=pid: not alive(pid), 10, f'{pid} to end')


def test_its_checkpoint_is_one_like_any_other(tmp_path):
    task = load_task()
    policy = load_policy(write_demo_checkpoint(tmp_path, task), device='cpu')
    assert policy.task.cameras == task.cameras
    assert policy.task.image_size == (480, 640)
    assert (policy.state_dim, policy.action_dim) == (17, 16)


@pytest.mark.parametrize('name', ['summary.json', 'ckpt/policy_best.ckpt'])
def test_what_is_of_something_else_is_refused_and_stays(demo, tmp_path, name):
    (tmp_path / 'ckpt').mkdir()
    (tmp_path / name).write_text('mine')
    output, _ = (process := demo()).communicate(timeout=60)
    assert process.returncode == 2
    assert 'give another --out' in output.splitlines()[-1]
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == 'mine'
