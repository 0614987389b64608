"""`python -m act_ros.evaluate_bag`, as a user meets it."""

import dataclasses
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

from act_ros.bridge.remote import RemotePolicy
from act_ros.config import task_file
from act_ros.errors import LinkError
from act_ros.evaluate_bag import main
from act_ros.policy import kept
from test import browser
from test.bags import bags
from test.bags.bags import Message, write
from test.bridge.servers import ANY_PORT, ServerProcess
from test.rule import small_config, write_random
from test.waiting import wait_until


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A bag, a checkpoint and parameters that fit each other."""
    folder = tmp_path_factory.mktemp('cli')
    write(folder / 'run', bags.run(2))
    write_random(folder / 'ckpt', small_config(chunk_size=20), image_size=list(bags.SIZE))
    content = yaml.safe_load(task_file('astrobench_dual_arm').read_text())
    content['/**']['ros__parameters']['task']['image_size'] = list(bags.SIZE)
    content['/**']['ros__parameters']['torch_threads'] = 1
    (folder / 'robot.yaml').write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture
def call(folder, tmp_path, capsys):
    """Call the command line with what fits, but for the changes."""

    def run(*arguments, bag=folder / 'run', ckpt=folder / 'ckpt', params=folder / 'robot.yaml'):
        out = tmp_path / 'out'
        code = main([str(bag), '--ckpt-dir', str(ckpt), '--params-file', str(params),
                     '--out', str(out), *arguments])  # fmt: skip
        return code, capsys.readouterr(), out

    return run


def test_it_prints_the_summary_and_leaves_the_results(call, tmp_path):
    limits = tmp_path / 'joint_limits.yaml'
    limits.write_text('joint_limits: {left_joint_1: {max_velocity: 0.7}, head: {max_velocity: 1}}')
    code, said, out = call('--params-file', str(limits))
    assert code == 0
    for text in ('joint positions', 'hold the pose', 'mean of the', 'report:'):
        assert text in ' '.join(said.out.split())
    assert {path.name for path in out.iterdir()} == {
        'episodes', 'metrics.json', 'predictions.mcap', 'report.html', 'run.json', 'ticks.csv',
    }  # fmt: skip
    (used,) = json.loads((out / 'run.json').read_text())['settings'].values()
    assert used['joint_limits.left_joint_1.max_velocity'] == 0.7  # of two files the later
    assert 'joint_limits.left_joint_2.max_velocity' in used
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['partial'] is False
    assert metrics['checkpoints']['ckpt']['total']['ticks']['scored'] > 90


def test_limits_that_are_missing_are_told_and_looked_at_nowhere(call, folder, tmp_path):
    content = yaml.safe_load((folder / 'robot.yaml').read_text())
    limits = content['/**']['ros__parameters']['joint_limits']
    for joint in limits.values():
        del joint['max_tracking_error']
    del limits['left_joint_3']
    (tmp_path / 'robot.yaml').write_text(yaml.safe_dump(content))
    code, said, out = call(params=tmp_path / 'robot.yaml')
    assert code == 0
    assert 'not all limits are given, without which the node does not begin: arm/left' in said.out
    missing = json.loads((out / 'metrics.json').read_text())['limits_not_given']
    (line,) = [line for line in missing if 'left_joint_3' in line]
    assert line == (
        'arm/left_joint_3/position: min_position, max_position, max_velocity, max_acceleration, '
        'max_tracking_error'
    )
    assert f'<li>{line}</li>' in (out / 'report.html').read_text()
    # A wrong one stays a mistake.
    limits['left_joint_4']['max_velocity'] = -1.0
    (tmp_path / 'robot.yaml').write_text(yaml.safe_dump(content))
    code, said, _ = call(params=tmp_path / 'robot.yaml')
    assert code == 2
    assert 'max_velocity of arm/left_joint_4/position is -1, expected more than 0' in said.err


def test_several_latencies_are_a_table_of_fades(call):
    code, said, out = call('--latency', '50', '--latency', '120', '--fade', '0.1')
    assert code == 0
    text = ' '.join(said.out.split())
    assert 'ckpt: latency and fade' in text
    assert re.search(r'jerk [\d.]+ rms, [\d.]+ max rad/s³ \(recorded [\d.]+ rms', text)
    metrics = json.loads((out / 'metrics.json').read_text())
    rows = metrics['checkpoints']['ckpt']['sweep']
    assert [(row['latency_ms'], row['fade_s']) for row in rows] == [
        (latency, fade) for latency in (50, 120) for fade in (0.0, 0.04, 0.1, 0.2)
    ]
    assert metrics['latency_ms'] == 50


@pytest.fixture(scope='module')
def server(folder):
    """The checkpoint on a server; one thread, as the evaluator has."""
    process = ServerProcess(
        '--ckpt-dir', folder / 'ckpt', '--config', folder / 'robot.yaml', '--endpoint', ANY_PORT
    )
    yield process
    process.close()


def test_a_policy_on_a_server_scores_as_the_same_here(call, server):
    code, said, out = call(
        '--policy-endpoint', server.endpoint, '--jpeg-quality', '0', '--jpeg-quality', '80'
    )
    assert code == 0, said.err
    metrics = json.loads((out / 'metrics.json').read_text())
    found = {label: each['total']['groups'] for label, each in metrics['checkpoints'].items()}
    assert [*found] == ['ckpt', 'server', 'server, JPEG 80']
    for name, group in found['ckpt'].items():
        assert found['server'][name]['mae'] == pytest.approx(group['mae'], rel=1e-4)
    known = json.loads((out / 'run.json').read_text())
    assert known['files']['server'] == known['files']['server, JPEG 80']
    assert len(known['files']['server']) == 64  # the checkpoint's digest


def test_a_server_that_is_gone_ends_it_and_nothing_is_scored_for_that(call, server, monkeypatch):
    monkeypatch.setattr(kept, 'PATIENCE', 0.5)
    code, said, out = call('--policy-endpoint', 'tcp://127.0.0.1:9', '--resume')
    assert code == 2 and not out.exists()
    (line,) = [line for line in said.err.splitlines() if 'error' in line]
    assert 'no answer from tcp://127.0.0.1:9 within' in line
    monkeypatch.setattr(kept, 'PATIENCE', 20.0)
    ask = RemotePolicy.predict

    def lost(self, *observation):
        monkeypatch.setattr(RemotePolicy, 'predict', ask)
        raise LinkError('no answer')

    monkeypatch.setattr(RemotePolicy, 'predict', lost)
    code, said, out = call('--policy-endpoint', server.endpoint)
    assert code == 2 and 'no answer' in said.err
    assert not (out / 'report.html').exists()
    code, said, out = call('--policy-endpoint', server.endpoint, '--resume')
    assert code == 0 and (out / 'report.html').exists()


def other(tmp_path, change):
    """A bag that differs."""
    return write(tmp_path / 'other', change(list(bags.run(0.5))))


def renamed(messages):
    return [Message(m.time, f'/{m.what}' if m.what == 'base' else m.what, m.content)
            for m in messages]  # fmt: skip


def larger(messages):
    return list(bags.run(0.5, (60, 80)))


def retyped(messages):
    return [Message(m.time, m.what, bags.KINDS['std_msgs/msg/Bool'](True))
            if m.what == 'arm' else m for m in messages]  # fmt: skip


def no_left(messages):
    return [m for m in messages if m.what != 'rgb_left' or m.time > 4e8]


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (renamed, 'has no /base/joint_states; near: /arm/joint_states (sensor_msgs/msg/JointStat'),
        (larger, '/rgb_main/image_raw: 60x80 pixels, expected 48x64'),
        (retyped, "/arm/joint_states is a 'std_msgs/msg/Bool', expected sensor_msgs/msg/Join"),
        (lambda m: [], 'is an empty bag'),
    ],
)
def test_a_bag_that_does_not_fit_is_one_line_and_nothing_is_written(call, tmp_path, change, text):
    code, said, out = call(bag=other(tmp_path, change))
    check_refusal(code, said, text)
    assert not out.exists()


def check_refusal(code, said, text):
    (line,) = [line for line in said.err.splitlines() if 'error' in line]
    assert text in line
    assert line.startswith('evaluate_bag: error: ')
    assert 'Traceback' not in said.err
    assert code == 2


def test_a_checkpoint_of_other_dimensions_is_refused(call, folder, tmp_path):
    wide = tmp_path / 'wide'
    write_random(wide, small_config(state_dim=18), image_size=list(bags.SIZE))
    code, said, out = call(ckpt=wide)
    check_refusal(code, said, 'the weights need (18,)')
    assert not out.exists()


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (('--stride', '0'), '--stride is 0, expected 1 or more'),
        (('--latency', '-1'), '--latency is -1, expected 0 to 10000 ms'),
        (('--episodes', 'parts'), "--episodes is 'parts'; expected whole, gaps:SECONDS"),
        (('--action-offset', 'two'), "--action-offset is 'two'; expected auto"),
        (('--decay', '-11'), "parameter 'decay' is -11.0"),
        (('--start', '99'), 'nothing is left with --start 99'),
        (('--latency', '40', '--stride', '2'), '--latency needs every tick'),
        (('--latency', '40', '--latency', '-1'), '--latency is -1, expected 0 to 10000 ms'),
        (('--latency', 'nan'), '--latency is nan, expected 0 to 10000 ms'),
        (('--latency', '10001'), '--latency is 10001, expected 0 to 10000 ms'),
        (('--latency', '0', '--latency', '40', '--latency', '0'), '--latency 0 is given twice'),
        (tuple(f'--latency={k}' for k in range(9)), '--latency is given 9 times, expected 8 at'),
        (('--latency', '0', '--latency', '40', '--stride', '2'), '--latency needs every tick'),
        (('--fade', '-0.1'), "parameter 'fade' is -0.1"),
        (('--ray', '127.0.0.1:1'), 'no Ray cluster at 127.0.0.1:1: Connection refused'),
    ],
)
def test_wrong_options_are_one_line(call, arguments, text):
    code, said, out = call(*arguments)
    check_refusal(code, said, text)
    assert not out.exists()


def test_no_bag_no_checkpoint_no_parameters(call, tmp_path):
    for changes, text in (
        ({'bag': tmp_path / 'none'}, 'no bag'),
        ({'ckpt': tmp_path / 'none'}, 'no checkpoint folder'),
        ({'params': tmp_path / 'none.yaml'}, 'none.yaml'),
    ):
        code, said, out = call(**changes)
        check_refusal(code, said, text)
        assert not out.exists()


def test_a_folder_with_something_else_is_left_alone(call, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'precious').write_text('x')
    code, said, out = call()
    check_refusal(code, said, 'exists and is no evaluation')
    assert [path.name for path in out.iterdir()] == ['precious']


def test_no_complete_observation_says_why(call, tmp_path):
    code, said, out = call('--duration', '0.3', bag=other(tmp_path, no_left))
    check_refusal(code, said, 'no tick has a complete observation: rgb_left has not arrived')
    assert not out.exists()


def test_what_a_user_put_beside_an_evaluation_of_no_use_stays(call, tmp_path, monkeypatch):
    bag = other(tmp_path, no_left)

    def killed(*of, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('act_ros.evaluation.run.evaluate.run_here', killed)
        code, _, out = call('--duration', '0.3', bag=bag)
    assert code == 130
    for path in (out / 'notes.txt', out / 'episodes' / 'video.mp4', out / 'ticks.part'):
        path.write_text('mine')
    code, said, _ = call('--duration', '0.3', '--resume', bag=bag)
    check_refusal(code, said, 'no tick has a complete observation')
    left = {str(p.relative_to(out)) for p in out.rglob('*') if p.is_file()}
    assert left == {'notes.txt', 'episodes/video.mp4', 'ticks.part'}


def test_folders_that_were_made_are_removed_and_no_others(call, tmp_path):
    bag, home = other(tmp_path, no_left), tmp_path / 'home'
    home.mkdir()
    code, said, _ = call('--duration', '0.3', '--out', str(home / 'new' / 'out'), bag=bag)
    check_refusal(code, said, 'no tick has a complete observation')
    assert list(home.iterdir()) == []
    code, said, _ = call('--duration', '0.3', '--out', str(home), bag=bag)
    check_refusal(code, said, 'no tick has a complete observation')
    assert list(home.iterdir()) == []


def unnamed(messages):
    return [Message(m.time, m.what, dataclasses.replace(m.content, name=[]))
            if m.what == 'command' else m for m in messages]  # fmt: skip


def uncommanded(messages):
    return [m for m in messages if m.what != 'command']


def test_commands_of_which_none_can_be_read_are_a_mistake_and_the_results_stay(call, tmp_path):
    code, said, out = call(bag=other(tmp_path, unnamed))
    text = '25 of 25 messages of /arm/joint_commands name no joint; expected left_joint_1'
    check_refusal(code, said, f'nothing is scored, for no recorded command can be read: {text}')
    assert f'{tmp_path / "other"}: {text}' in said.out
    assert '0 ticks scored' in said.out
    assert (out / 'predictions.mcap').exists()
    assert text in (out / 'report.html').read_text()


def test_a_recording_without_commands_is_no_mistake_and_says_so(call, tmp_path):
    code, said, _ = call(bag=other(tmp_path, uncommanded))
    assert code == 0
    assert '/arm/joint_commands was not recorded' in said.out


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_partial_report_and_resume_goes_on(folder, tmp_path, number):
    paths = [write(tmp_path / f'run{i}', bags.run(1, seed=i)) for i in range(4)]
    out = tmp_path / 'out'
    command = [sys.executable, '-m', 'act_ros.evaluate_bag', *map(str, paths),
               '--ckpt-dir', str(folder / 'ckpt'), '--params-file', str(folder / 'robot.yaml'),
               '--out', str(out), '--batch-size', '1']  # fmt: skip
    with (tmp_path / 'log').open('w') as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
        try:
            wait_until(lambda: list(out.glob('episodes/*.npz')), 120, 'a finished episode')
            process.send_signal(number)
            code = process.wait(60)
        finally:
            process.kill()
            process.wait()
    text = (tmp_path / 'log').read_text()
    assert code == 130, text
    assert 'Traceback' not in text
    assert '--resume goes on' in text
    partial = json.loads((out / 'metrics.json').read_text())
    assert partial['partial'] is True
    assert '<b>Partial.</b>' in (out / 'report.html').read_text()
    if number == signal.SIGTERM:
        return
    assert subprocess.run([*command, '--resume'], check=False).returncode == 0
    whole = json.loads((out / 'metrics.json').read_text())
    assert whole['partial'] is False
    assert whole['episodes_done'] == 4
    assert 'Partial' not in (out / 'report.html').read_text()


@browser.needed
def test_the_report_opens_offline_in_a_browser(call):
    _, _, out = call()
    page = (out / 'report.html').read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    pixels = browser.picture(out / 'report.html', 1200, 3000)
    # Text, tables and plots all over, not an error page.
    rows = (np.abs(pixels.astype(int) - 255).sum(axis=2) > 60).any(axis=1)
    assert rows[:2000].mean() > 0.5
