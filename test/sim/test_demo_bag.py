"""The recording that the demonstration is evaluated on."""

import pytest

from act_ros.bags.bag import Bag
from act_ros.config import load_task
from act_ros.policy import load_policy
from act_ros.sim.demo_bag import main


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo') / 'new'
    assert main(['--out', str(out), '--seconds', '0.3']) == 0
    return out


def test_it_is_a_bag_and_a_checkpoint_of_the_same_task(made):
    bag = Bag(made / 'bag')
    assert not bag.damage
    assert 0.2e9 < bag.end - bag.start < 0.4e9
    assert load_policy(made / 'ckpt', device='cpu').task.cameras == load_task().cameras


def test_a_folder_that_is_there_is_left_as_it_is(made, capsys):
    before = sorted(made.rglob('*'))
    assert main(['--out', str(made)]) == 2
    assert f'{made} exists, and what is in it stays' in capsys.readouterr().err
    assert sorted(made.rglob('*')) == before
