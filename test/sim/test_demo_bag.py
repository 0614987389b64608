"""The recording that the demonstration is evaluated on."""

import shutil
from dataclasses import replace

import pytest

from act_ros.bags.bag import Bag
from act_ros.config import load_task
from act_ros.errors import ParameterError
from act_ros.policy import load_policy
from act_ros.sim.demo_bag import demo_settings, main, write_demo_bag
from act_ros.sim.demo_checkpoint import write_demo_checkpoint

SMALL = replace(demo_settings(), task_image_size=(24, 32))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo') / 'new'
    assert main(['--out', str(out), '--seconds', '0.3']) == 0
    return out


def test_it_is_a_bag_and_a_checkpoint_of_the_same_task(made):
    bag = Bag(made / 'bag')
    assert not bag.damage
    assert 0.2e9 < bag.end - bag.start < 0.4e9
    task = load_policy(made / 'ckpt', device='cpu').task
    assert (task.cameras, task.image_size) == (load_task().cameras, (96, 128))


def test_a_folder_that_is_there_is_left_as_it_is(made, capsys):
    before = sorted(made.rglob('*'))
    assert main(['--out', str(made)]) == 2
    assert f'{made} exists, and what is in it stays' in capsys.readouterr().err
    assert sorted(made.rglob('*')) == before


def test_a_former_recording_is_replaced_and_nothing_else(made, tmp_path):
    path = shutil.copytree(made / 'bag', tmp_path / 'bag')
    before = (path / 'bag.mcap').read_bytes()
    write_demo_bag(path, 0.1, SMALL)
    assert (path / 'bag.mcap').read_bytes() != before
    assert [file.name for file in tmp_path.iterdir()] == ['bag']
    after = (path / 'bag.mcap').read_bytes()
    (path / 'notes.txt').write_text('mine')
    with pytest.raises(ParameterError, match='is no demonstration bag, and stays; give another'):
        write_demo_bag(path, 0.1, SMALL)
    assert (path / 'bag.mcap').read_bytes() == after


def test_another_recording_and_another_checkpoint_stay(tmp_path, made):
    for name in ('bag', 'ckpt'):
        folder = shutil.copytree(made / name, tmp_path / name)
        (folder / 'config.yaml' if name == 'ckpt' else folder / 'bag.mcap').write_text('x')
    before = {path: path.read_bytes() for path in tmp_path.rglob('*.*')}
    with pytest.raises(ParameterError, match='is no demonstration bag'):
        write_demo_bag(tmp_path / 'bag', 0.1, SMALL)
    with pytest.raises(ParameterError, match='holds a checkpoint that is not for demonstration'):
        write_demo_checkpoint(tmp_path / 'ckpt', load_task())
    assert {path: path.read_bytes() for path in tmp_path.rglob('*.*')} == before
