"""A LeRobot checkpoint at a server: cameras of two sizes, and its own way of playing chunks."""

import numpy as np
import pytest

from act_ros.bridge.player import ChunkPlayer
from act_ros.bridge.remote import load_remote
from act_ros.policy import load_policy
from test.bridge.servers import PATIENCE, Requester, serving
from test.policy.lerobot import reference, write_lerobot


@pytest.fixture(scope='module')
def given():
    return reference('minmax')


@pytest.fixture(scope='module')
def server(tmp_path_factory, given):
    folder = write_lerobot(tmp_path_factory.mktemp('lerobot'), 'minmax')
    with serving(load_policy(folder, device='cpu', task=given.task)) as server:
        yield server


def test_actions_are_those_of_the_library(server, given):
    with Requester(server.endpoint) as requester:
        requester.reset()
        found = [requester.act(given.observation(i)) for i in range(len(given.actions))]
    np.testing.assert_allclose(found, given.actions, rtol=0, atol=1e-4)


def test_a_robot_elsewhere_plays_its_chunks_as_the_library_does(server, given):
    policy = load_remote(server.endpoint, task=given.task, timeout=PATIENCE)
    try:
        assert policy.about.own_settings == {'temporal_aggregation': False, 'query_every': 4}
        with ChunkPlayer(policy, synchronous=True) as player:
            found = [player.act(*given.observation(i)) for i in range(len(given.actions))]
    finally:
        policy.close()
    np.testing.assert_allclose(found, given.actions, rtol=0, atol=1e-4)
