"""The node without torch, and its policy on a server at the end of a line."""

import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pytest

from test.bridge.documented_server import DocumentedServer
from test.bridge.proxy import Proxy
from test.bridge.servers import ServerProcess
from test.nodes.graph import TICK, run_node
from test.waiting import wait_until

CHUNK = 2.0  # that a chunk lasts [s]


def is_of_packages(place):
    return Path(place).name in ('site-packages', 'dist-packages') and Path(place).is_dir()


@pytest.fixture(scope='session')
def python(tmp_path_factory):
    """The interpreter of an environment that lacks torch, and all that came with it."""
    folder = tmp_path_factory.mktemp('without_torch')
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob('lib/python*/site-packages')
    found: dict[str, Path] = {}
    for place in filter(is_of_packages, sys.path):
        for each in Path(place).iterdir():
            found.setdefault(each.name, each)  # as Python itself takes the first
    for name, each in found.items():
        # A file that leads to further folders would lead to torch again.
        if not name.startswith(('torch', 'functorch', 'openvino')) and each.suffix != '.pth':
            (packages / name).symlink_to(each)
    interpreter = str(folder / 'bin/python')
    tried = subprocess.run([interpreter, '-c', 'import torch'], capture_output=True, text=True)
    assert "No module named 'torch'" in tried.stderr
    return interpreter


@pytest.fixture(scope='module')
def server(ckpt):
    process = ServerProcess('--ckpt-dir', ckpt)
    yield process
    process.close()


@pytest.fixture
def run(graph, tmp_path, python):
    """A node that asks there, on the robot's side."""

    def start(endpoint, **parameters):
        parameters = {'stop_policy': 'hold', **parameters}
        return run_node(
            tmp_path, 'none', python=python, policy_endpoint=endpoint, **parameters
        )

    return start


def without_command(graph, seconds):
    """How many ticks of a while had no command; those that a busy machine left out are none."""
    since = graph.now()
    until = since + seconds * 1e9
    wait_until(lambda: graph.ticks and graph.ticks[-1].stamp > until, seconds + 10, 'ticks')
    ticks = [tick for tick in list(graph.ticks) if since <= tick.stamp <= until]
    assert len(ticks) > 10 * seconds
    return sum(not len(tick.action) for tick in ticks)


def test_it_commands_what_the_servers_policy_says(graph, run, server):
    with run(server.endpoint) as node:
        graph.activate(node)
        wait_until(lambda: len(graph.commands) > 50, 20, 'commands')
        assert without_command(graph, 2.0) == 0
        report = graph.reports[-1]
        assert int(report['inferences']) > 5 and float(report['inference_p50_ms']) > 0
        assert node.stop() < 2 and node.process.returncode == 0, node.log
        assert 'torch' not in node.log and 'Traceback' not in node.log


def test_over_a_bad_line_it_goes_on_and_after_an_outage_it_comes_back(graph, run, server):
    with (
        # By count: by chance a run of losses would outlast a chunk, now and then.
        Proxy(server.endpoint, delay=0.05, jitter=0.1, every=5) as proxy,
        run(proxy.endpoint, command_timeout=CHUNK, recovery_window=30.0) as node,
    ):
        graph.activate(node)
        wait_until(lambda: len(graph.commands) > 50, 20, 'commands')
        assert without_command(graph, 6.0) == 0
        assert proxy.lost > 3
        told = lambda: 'no answer from tcp' in graph.reports[-1]['message']  # noqa: E731
        wait_until(told, 30, 'what is lost is told')

        proxy.out, begun, since = True, time.monotonic(), graph.now()
        stopped = lambda: graph.reports[-1].get('control') != 'running'  # noqa: E731
        wait_until(stopped, 10, lambda: f'the stop: {graph.reports[-1]}')
        assert time.monotonic() - begun < CHUNK + 2.5
        assert 'the newest observation behind the commands is' in graph.reports[-1]['last_stop']
        # It went on as long as its newest chunk lasted.
        ticks = [tick for tick in list(graph.ticks) if tick.stamp > since]
        acted = [tick for tick in ticks if len(tick.action)]
        assert ticks[: len(acted)] == acted
        assert acted[-1].step - max(acted[-1].chunk_steps) > 0.7 * CHUNK / TICK
        held = graph.commands[-1]
        assert not np.any(held.velocity)
        wait_until(lambda: time.monotonic() - begun > 10, 12, 'the end of the outage')
        assert graph.commands[-1].position == held.position

        proxy.out = False
        again = lambda: graph.reports[-1].get('control') == 'running'  # noqa: E731
        wait_until(again, 10, lambda: f'commands again: {graph.reports[-1]}')
        assert node.stop() < 2 and node.process.returncode == 0, node.log


def test_actions_of_a_documented_server_are_used_as_they_come(graph, run):
    with DocumentedServer(action_dim=16) as server, run(server.endpoint) as node:
        graph.activate(node)
        wait_until(lambda: len(graph.commands) > 100, 20, 'commands')
        assert server.resets == 1
        said = {tick.action[0] for tick in graph.ticks if len(tick.action)}
        assert len(said) > 20 and all(value == round(value) for value in said)
        assert graph.reset().success
        wait_until(lambda: server.resets == 2 and server.step > 5, 10, 'the new episode')
        node.wait_for('knows the documented protocol alone')


def test_who_serves_and_asks_is_refused(graph, run, server):
    with run(server.endpoint, zmq_endpoint='tcp://127.0.0.1:*') as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        node.wait_for('zmq_endpoint is tcp://127.0.0.1:*, but the policy is that of policy_end')


def test_where_nobody_answers_the_configuration_fails_by_name(graph, run):
    with run('tcp://127.0.0.1:9', command_timeout=0.5) as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        node.wait_for('not configured: no answer from tcp://127.0.0.1:9 within 3 times 0.5 s')
