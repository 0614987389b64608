"""One recorded input through every door: node, server, policy give the same actions."""

import threading

import numpy as np
import pytest
import torch

from act_ros.bridge.client import PolicyClient
from act_ros.bridge.server import PolicyServer
from act_ros.parameters import Settings
from act_ros.policy import Rollout, load_policy
from test.nodes.graph import run_node
from test.rule import vector
from test.waiting import wait_until

PERIOD = 20_000_000  # one tick of simulated time [ns]
START = 1_000 * PERIOD
REFERENCE = vector('small')
STEPS = REFERENCE.about['n']


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    """As many as the node's: sums in another order differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def publish(graph, i, stamp):
    qpos, images = REFERENCE.observation(i)
    for name, pixels in images.items():
        graph.publish_image(name, pixels, stamp)
    graph.publish_states(qpos.astype(np.float64), stamp)


def lock_step(graph, node):
    """Feed the recording a tick of simulated time at a time; the ticks it gave."""
    graph.configure(node)
    wait_until(graph.matched, 20, 'the node to hear the inputs')

    def active() -> bool:
        graph.publish_clock(START)
        publish(graph, 0, START)
        return graph.change('activate')

    wait_until(active, 20, f'activation: {node.log}')
    for i in range(STEPS):
        tick(graph, node, i, START + (i + 1) * PERIOD)
    return graph.ticks[:STEPS]


def tick(graph, node, i, now):
    """Feed an observation, and wait for the tick it is taken at."""
    seen = len(graph.ticks)
    publish(graph, i, now)
    # A service is answered after the inputs that had come before it have been taken.
    graph.state()
    graph.state()

    def answered() -> bool:
        if len(graph.ticks) == seen:
            graph.publish_clock(now)  # again and again: it is best effort
        return len(graph.ticks) > seen

    wait_until(answered, 20, lambda: f'a tick: {node.log}')


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'decay': 0.5},
        {'temporal_aggregation': False},
        {'temporal_aggregation': False, 'query_every': 3},
    ],
    ids=str,
)
def test_node_server_and_policy_agree(graph, reference_ckpt, tmp_path, settings):
    direct = Rollout(load_policy(reference_ckpt, device='cpu'), Settings(**settings))
    expected = np.array([direct.act(*REFERENCE.observation(i)) for i in range(STEPS)])

    server = PolicyServer('tcp://127.0.0.1:*', Settings(**settings))
    server.begin(load_policy(reference_ckpt, device='cpu'))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with PolicyClient(server.endpoint, timeout=20) as client:
            answers = [client.act(*REFERENCE.observation(i)) for i in range(STEPS)]
    finally:
        server.stop()
        thread.join(5)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)

    parameters = {'use_sim_time': True, 'inference': 'synchronous', **settings}
    with run_node(tmp_path, reference_ckpt, **parameters) as node:
        ticks = lock_step(graph, node)
    assert [tick.step for tick in ticks] == list(range(STEPS))
    for i, tick in enumerate(ticks):
        assert set(tick.stamps.values()) == {START + (i + 1) * PERIOD}
    np.testing.assert_allclose([t.action for t in ticks], expected, rtol=0, atol=1e-6)
    if not settings:
        np.testing.assert_allclose(expected, REFERENCE.aggregated, rtol=0, atol=1e-4)


def test_a_jump_back_of_the_clock_begins_a_new_episode(graph, reference_ckpt, tmp_path):
    parameters = {'use_sim_time': True, 'inference': 'synchronous'}
    with run_node(tmp_path, reference_ckpt, **parameters) as node:
        ticks = lock_step(graph, node)
        commands = len(graph.commands)
        back = START - 50 * PERIOD

        def jumped() -> bool:
            graph.publish_clock(back)
            return 'the clock jumped by -' in node.log

        wait_until(jumped, 20, lambda: f'the jump: {node.log}')
        for k in range(1, 4):
            tick(graph, node, 0, back + k * PERIOD)
        later = [t for t in graph.ticks if t.episode > ticks[-1].episode]
        assert len(later[-1].action)
        assert later[0].step == 0
        assert later[-1].chunk_steps == list(range(later[-1].step + 1))
        assert len(graph.commands) > commands
