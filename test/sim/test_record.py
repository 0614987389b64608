"""Recordings of the expert are bags as a robot records them."""

import filecmp
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from act_ros.bags.bag import Bag
from act_ros.sim.record import main
from test.processes import children, started
from test.waiting import wait_until

SMALL = """/**:
  ros__parameters:
    task: {image_size: [12, 16]}
"""


@pytest.fixture(scope='module')
def params(tmp_path_factory):
    path = tmp_path_factory.mktemp('record') / 'small.yaml'
    path.write_text(SMALL)
    return str(path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def recording(tmp_path, params):
    """Four episodes by two workers, begun; what is left is ended."""
    out = tmp_path / 'out'
    command = [
        sys.executable, '-m', 'act_ros.sim.record', '--params-file', params, '--episodes', '4',
        '--workers', '2', '--out', str(out),
    ]  # fmt: skip
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: list(out.glob('.episode_*')), 30.0, 'an episode that is begun')
        yield process, out, command


def test_each_episode_is_a_bag_that_depends_on_its_seed_alone(tmp_path, params):
    first, again = tmp_path / 'first', tmp_path / 'again'
    command = ['--params-file', params, '--episodes']
    assert main([*command, '2', '--seed', '7', '--out', str(first), '--workers', '2']) == 0
    assert main([*command, '1', '--seed', '8', '--out', str(again)]) == 0
    assert names(first) == ['episode_00000', 'episode_00001', 'recording.json']
    seven, eight = (next(path.glob('*.mcap')) for path in sorted(first.glob('episode_*')))
    same = next((again / 'episode_00000').glob('*.mcap'))
    assert not filecmp.cmp(seven, eight, shallow=False)
    with Bag(eight) as one, Bag(same) as other:
        assert not one.damage
        for a, b in zip(one.messages(list(one.topics)), other.messages(list(one.topics)),
                        strict=True):  # fmt: skip
            assert a[:2] == b[:2]
            if hasattr(a.message, 'position'):
                np.testing.assert_array_equal(a.message.position, b.message.position)


def test_rates_are_those_of_the_robot(tmp_path, params):
    assert main(['--params-file', params, '--episodes', '1', '--out', str(tmp_path / 'o')]) == 0
    with Bag(tmp_path / 'o/episode_00000') as bag:
        seconds = (bag.end - bag.start) / 1e9
        rates = {}
        for topic, _, _ in bag.raw(list(bag.topics)):
            rates[topic] = rates.get(topic, 0) + 1 / seconds
    assert seconds == pytest.approx(6.0, abs=0.1)
    wanted = {
        '/rgb_main/image_raw': 30, '/rgb_left/image_raw': 30, '/rgb_under/image_raw': 30,
        '/base/joint_states': 100, '/arm/joint_states': 100, '/arm/joint_commands': 50,
    }  # fmt: skip
    assert rates == {topic: pytest.approx(rate, rel=0.02) for topic, rate in wanted.items()}


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--episodes', '0'], '--episodes is 0, expected 1 to'),
        (['--seed', '-1'], '--seed is -1, expected 0 to'),
        (['--workers', '0'], '--workers is 0, expected 1 to'),
        (['--params-file', 'none.yaml'], 'none.yaml'),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_made(tmp_path, capsys, arguments, said):
    assert main(['--out', str(tmp_path / 'out'), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_a_folder_with_something_in_it_stays(tmp_path, params, capsys):
    (tmp_path / 'notes.txt').write_text('mine')
    assert main(['--params-file', params, '--out', str(tmp_path)]) == 2
    assert 'exists, and what is in it stays' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_a_robot_that_is_not_simulated_is_refused(tmp_path, capsys):
    (tmp_path / 'other.yaml').write_text(
        SMALL + '    camera_types: [CompressedImage, Image, Image]\n'
    )
    code = main(['--params-file', str(tmp_path / 'other.yaml'), '--out', str(tmp_path / 'out')])
    assert code == 2
    assert 'the simulated robot publishes rgb_main/image_raw as Image' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_recording_leaves_whole_episodes_and_is_gone_on_with(recording, number):
    process, out, command = recording
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert 'the same command goes on with them' in said and 'Traceback' not in said
    there = {path: path.stat().st_mtime_ns for path in out.glob('episode_*')}
    assert len(there) < 4 and not list(out.glob('.*'))
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    assert names(out) == [*(f'episode_{i:05d}' for i in range(4)), 'recording.json']
    assert {path: path.stat().st_mtime_ns for path in there} == there


def test_a_killed_worker_costs_no_episode(recording):
    process, out, _ = recording
    workers = [pid for pid in children(process.pid) if b'spawn_main' in cmdline(pid)]
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert names(out) == [*(f'episode_{i:05d}' for i in range(4)), 'recording.json']


def cmdline(pid):
    return Path(f'/proc/{pid}/cmdline').read_bytes()


def test_another_recording_is_not_gone_on_with(tmp_path, params, capsys):
    command = ['--params-file', params, '--episodes', '1', '--out', str(tmp_path / 'out')]
    assert main(command) == 0
    assert main([*command, '--seed', '1']) == 2
    assert 'holds a recording of another --seed or --params-file' in capsys.readouterr().err
