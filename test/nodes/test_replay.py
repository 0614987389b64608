"""A bag through the live node over DDS, and through the evaluator: the same actions."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from act_ros.bags.bag import Bag
from act_ros.bags.writing import BagWriter
from act_ros.config import task_file
from act_ros.evaluation.compare import compare, read_ticks
from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.run.evaluate import carry_out
from act_ros.evaluation.run.plan import Options, Plan, make_plan
from act_ros.parameter_file import read_parameter_file
from act_ros.policy.kept import load
from act_ros.recording.episodes import Window
from act_ros.replay import main
from test.bags import bags
from test.limits import limits_of
from test.nodes.graph import Graph, NodeProcess, run_node
from test.rule import small_config, write_random
from test.waiting import wait_until

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
# A pass that takes long on a busy machine is no mistake.
SMALL = {
    'enable_topic': '/enable',  # whose deadman nobody holds in a replay
    'task': {'image_size': list(bags.SIZE)}, 'torch_threads': 1, 'command_timeout': 5.0,
    # As robots have them; the replay is none the less in a namespace of its own.
    'state_topics': ['/base/joint_states', '/arm/joint_states'],
    'qos_overrides': {'/arm/joint_states': {'subscription': {'depth': 2}}},
}  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('replay')
    bags.write(folder / 'run', bags.run(2))
    write_random(folder / 'ckpt', small_config(chunk_size=20), image_size=list(bags.SIZE))
    (folder / 'robot.yaml').write_text(
        yaml.safe_dump({'/**': {'ros__parameters': SMALL}})
    )
    return folder


def settings_of(folder):
    settings = read_parameter_file(task_file('astrobench_dual_arm'), folder / 'robot.yaml')
    return replace(settings, ckpt_dir=str(folder / 'ckpt'))


def replay(folder, out, *options):
    command = [sys.executable, '-m', 'act_ros.replay', str(folder / 'run'),
               '--ckpt-dir', str(folder / 'ckpt'), '--params-file', str(folder / 'robot.yaml'),
               '--out', str(out), *options]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = process.communicate(timeout=180)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # killed at once it would leave its node behind
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def test_lock_step_gives_the_actions_of_the_evaluator(folder, tmp_path):
    run = replay(folder, tmp_path / 'out')
    assert run.returncode == 0, run.stderr
    comparison = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
    assert comparison['other_inputs'] == []
    assert comparison['compared'] == comparison['ticks'] > 90
    assert comparison['largest_difference'] < 1e-6
    # The evaluator by itself, its ticks where those of the node were.
    ticks = read_ticks(tmp_path / 'out' / 'recording', '/act/tick')
    settings = settings_of(folder)
    window = Window('live', ticks[0].time, ticks[-1].time + 1, exact=True)
    plan = Plan({folder / 'run': [window]}, {'ckpt': settings}, Options(batch=1))
    (result,) = carry_out(plan, tmp_path / 'offline').results.values()
    assert result.ticks['time'].tolist() == [tick.time for tick in ticks]
    live = np.array([tick.action for tick in ticks])
    np.testing.assert_allclose(result.ticks['predicted'], live, rtol=0, atol=1e-6)
    # What was sent went to the shadow topic, within the limits, and nowhere else.
    recording = Bag(tmp_path / 'out' / 'recording')
    commands = list(recording.messages(['/act/dry_run/arm/joint_commands']))
    assert len(commands) >= len(ticks)
    high = limits_of(settings).max_position
    assert all((np.asarray(c.message.position) <= high).all() for c in commands)


def test_a_comparison_ends_at_the_first_tick_with_other_inputs(graph, folder, tmp_path):
    # A robot's node is in the ROS domain that the shell names: it hears nothing of the replay.
    with run_node(tmp_path, folder / 'ckpt', dry_run=False) as node:
        node.wait_for('ready: unconfigured')
        run = replay(folder, tmp_path / 'out', '--duration', '1')
        assert graph.state() == 'unconfigured'
        assert len(node.log.splitlines()) == 1, node.log
    assert run.returncode == 0, run.stderr
    ticks = read_ticks(tmp_path / 'out' / 'recording', '/act/tick')
    settings = settings_of(folder)
    policy = load(settings)
    ticks[20].stamps['arm'] += 1
    found = compare(folder / 'run', ticks, policy, settings)
    assert found.other_inputs == [f'tick {ticks[20].step} of episode 1: arm']
    assert found.compared == 20
    ticks[20].stamps['arm'] -= 1
    ticks[30].action[3] += 0.5
    found = compare(folder / 'run', ticks, policy, settings)
    assert found.largest_difference == pytest.approx(0.5, abs=1e-6)


def test_free_running_says_what_was_other(folder, tmp_path):
    # Slowly: a busy machine still keeps up.
    run = replay(folder, tmp_path / 'out', '--free-running', '--rate', '0.25')
    assert run.returncode == 0, run.stderr
    ticks = read_ticks(tmp_path / 'out' / 'recording', '/act/tick')
    assert len(ticks) > 20
    assert f'{len(ticks)} ticks; ' in run.stdout
    comparison = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
    assert comparison['ticks'] == len(ticks)


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (['--ckpt-dir', '/no/such'], 'no checkpoint folder'),
        (['--params-file', '/no/such.yaml'], "no parameter file '/no/such.yaml'"),
        (['--free-running', '--rate', '0'], '--rate is 0, expected more than 0'),
    ],
)
def test_a_mistake_is_one_line(folder, tmp_path, capsys, change, text):
    code = main([str(folder / 'run'), '--ckpt-dir', str(folder / 'ckpt'), '--params-file',
                 str(folder / 'robot.yaml'), '--out', str(tmp_path / 'out'), *change])  # fmt: skip
    said = capsys.readouterr().err
    assert code == 2
    assert text in said.splitlines()[-1]
    assert 'Traceback' not in said


def test_a_run_of_the_simulated_robot_recorded_over_dds_is_evaluated(folder, tmp_path):
    graph = Graph(plays=False)
    robot = NodeProcess(tmp_path / 'robot.log', 'act_ros.demo.sim_robot', [
        '--ros-args', '--params-file', str(task_file('astrobench_dual_arm')),
        '-p', f'task.image_size:={list(bags.SIZE)}',
    ])  # fmt: skip
    writer = BagWriter(tmp_path / 'run')
    counts = {}
    try:
        for what, topic in bags.TOPICS.items():
            kind = Image if what.startswith('rgb') else JointState
            name = f'sensor_msgs/msg/{kind.__name__}'
            writer.add_topic(topic, name)

            def record(raw, topic=topic):
                counts[topic] = counts.get(topic, 0) + 1
                writer.write_raw(topic, graph.now(), bytes(raw))

            graph.node.create_subscription(kind, topic, record, BEST_EFFORT, raw=True)
        wait_until(
            lambda: len(counts) >= 5 and min(counts.values()) >= 40, 60,
            lambda: f'forty messages of each input: {counts}; {robot.log}',
        )  # fmt: skip
    finally:
        graph.close()  # before the writer: what still comes would find it closed
        writer.close()
        robot.close()
    settings = replace(settings_of(folder), max_skew=1.0, max_age=1.0)
    plan = make_plan([tmp_path / 'run'], {'ckpt': settings}, options=Options())
    evaluation = carry_out(plan, tmp_path / 'out')
    (result,) = evaluation.results.values()
    assert result.ticks['complete'].mean() > 0.9
    assert np.isfinite(result.ticks['predicted'][result.ticks['complete']]).all()
    total = metrics(evaluation)['checkpoints']['ckpt']['total']
    assert total['groups']['joint positions']['count'] == 0  # nobody commanded the arm
