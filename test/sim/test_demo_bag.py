"""The recording that the demonstration is evaluated on."""

import shutil
from dataclasses import replace

import pytest

from act_ros.bags.bag import Bag
from act_ros.errors import ParameterError
from act_ros.sim.demo_bag import demo_settings, main, write_demo_bag

SMALL = replace(demo_settings(), task_image_size=(24, 32))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo') / 'new' / 'bag'
    assert main(['--out', str(out), '--seconds', '0.3']) == 0
    return out


def test_it_is_a_bag_of_what_the_robot_publishes_and_is_commanded(made):
    with Bag(made) as bag:
        assert not bag.damage
        assert 0.2e9 < bag.end - bag.start < 0.4e9
        assert {*bag.topics} == {
            '/rgb_main/image_raw', '/rgb_left/image_raw', '/rgb_under/image_raw',
            '/base/joint_states', '/arm/joint_states', '/arm/joint_commands',
        }  # fmt: skip


def test_a_former_recording_is_replaced_and_nothing_else(made, tmp_path):
    path = shutil.copytree(made, tmp_path / 'bag')
    before = (path / 'bag.mcap').read_bytes()
    write_demo_bag(path, 0.1, SMALL)
    assert (path / 'bag.mcap').read_bytes() != before
    assert [file.name for file in tmp_path.iterdir()] == ['bag']
    after = (path / 'bag.mcap').read_bytes()
    (path / 'notes.txt').write_text('mine')
    with pytest.raises(ParameterError, match='is no demonstration bag, and stays; give another'):
        write_demo_bag(path, 0.1, SMALL)
    assert (path / 'bag.mcap').read_bytes() == after


def test_another_recording_stays(tmp_path, made, capsys):
    folder = shutil.copytree(made, tmp_path / 'bag')
    (folder / 'bag.mcap').write_text('x')
    before = {path: path.read_bytes() for path in tmp_path.rglob('*.*')}
    assert main(['--out', str(folder)]) == 2
    assert 'is no demonstration bag, and stays; give another --out' in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob('*.*')} == before
