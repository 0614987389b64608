"""Recordings of the expert are bags as a robot records them."""

import filecmp

import numpy as np
import pytest

from act_ros.bags.bag import Bag
from act_ros.sim.record import main

SMALL = """/**:
  ros__parameters:
    task: {image_size: [12, 16]}
"""


@pytest.fixture(scope='module')
def params(tmp_path_factory):
    path = tmp_path_factory.mktemp('record') / 'small.yaml'
    path.write_text(SMALL)
    return str(path)


def test_each_episode_is_a_bag_that_depends_on_its_seed_alone(tmp_path, params):
    first, again = tmp_path / 'first', tmp_path / 'again'
    command = ['--params-file', params, '--episodes']
    assert main([*command, '2', '--seed', '7', '--out', str(first), '--workers', '2']) == 0
    assert main([*command, '1', '--seed', '8', '--out', str(again)]) == 0
    assert sorted(path.name for path in first.iterdir()) == ['episode_00000', 'episode_00001']
    seven, eight = (next(path.glob('*.mcap')) for path in sorted(first.iterdir()))
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
