"""The benchmark of the bridge: its figures, and that its servers end whatever happens."""

import json
import math
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from act_ros.errors import ActError
from benchmarks import bridge
from test.waiting import wait_until

PATIENCE = 60  # [s] until a test gives up
KEYS = [
    'bare_p50_ms', 'bare_p99_ms', 'bare_per_s', 'bridge_p50_ms', 'bridge_p99_ms', 'bridge_per_s',
    'client_p50_ms', 'ratio', 'request_mb',
    'single_per_s', 'clients_1_per_s', 'clients_1_ratio', 'clients_4_per_s', 'clients_4_ratio',
    'clients_16_per_s', 'clients_16_ratio',
]  # fmt: skip


def read(path):
    """A file in /proc; empty once its process or thread has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def is_server(pid):
    """Whether a process is a server that runs; one that has ended has no command line left."""
    return 'from benchmarks.bridge import serve' in read(Path(f'/proc/{pid}/cmdline'))


def servers(pid):
    """The servers that a process has started."""
    paths = Path(f'/proc/{pid}/task').glob('*/children')
    return [int(child) for path in paths for child in read(path).split() if is_server(child)]


def assert_free(endpoint):
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(endpoint)


@pytest.fixture(scope='module')
def run():
    """A short measurement: its figures, and the endpoints of its servers."""
    endpoints, serving = [], bridge.serving

    @contextmanager
    def noted(kind):
        with serving(kind) as endpoint:
            endpoints.append(endpoint)
            yield endpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge, 'serving', noted)
        return bridge.measure(rounds=3, block=2, warm_up=1, seconds=0.2), endpoints


def test_every_figure_is_there_and_makes_sense(run):
    figures, _ = run
    assert [*figures] == KEYS
    assert all(0 < value < math.inf for value in figures.values())
    assert figures['bare_p50_ms'] <= figures['bare_p99_ms']
    assert figures['bridge_p50_ms'] <= figures['bridge_p99_ms']
    ratio = figures['bridge_p50_ms'] / figures['bare_p50_ms']
    assert figures['ratio'] == pytest.approx(ratio, rel=0.02)
    assert figures['request_mb'] == pytest.approx(3 * 480 * 640 * 3 / 1e6, abs=0.01)


def test_no_port_and_no_process_is_left_behind(run):
    _, endpoints = run
    assert len(set(endpoints)) == 3
    for endpoint in endpoints:
        assert_free(endpoint)
    assert not servers(os.getpid())


def test_the_figures_are_printed_and_written(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bridge, 'measure', lambda: run[0])
    assert bridge.main(['--json', str(tmp_path / 'figures.json')]) == 0
    assert json.loads((tmp_path / 'figures.json').read_text()) == run[0]
    printed = capsys.readouterr().out
    assert all(key in printed for key in KEYS)


def test_an_error_in_the_benchmark_ends_its_server():
    with pytest.raises(ZeroDivisionError), bridge.serving('bare') as endpoint:
        assert len(servers(os.getpid())) == 1
        raise ZeroDivisionError
    assert not servers(os.getpid())
    assert_free(endpoint)


def test_a_server_that_does_not_start_is_named():
    message = 'the missing server did not start'
    with pytest.raises(ActError, match=message), bridge.serving('missing'):
        pass
    assert not servers(os.getpid())


def test_a_server_that_stops_answering_is_named(monkeypatch):
    monkeypatch.setattr(bridge, 'PATIENCE', 2.0)
    times = bridge._times

    def kill_first(ask, count):
        for pid in servers(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        return times(ask, count)

    monkeypatch.setattr(bridge, '_times', kill_first)
    with pytest.raises(ActError, match='no answer within 2 s'):
        bridge.measure(rounds=1, block=1, warm_up=1)
    assert not servers(os.getpid())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_servers_end_with_a_benchmark_that_is_ended(number):
    benchmark = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.bridge'],
        cwd=bridge.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        started = wait_until(
            lambda: (found := servers(benchmark.pid))[1:] and found, PATIENCE, 'two servers'
        )
        benchmark.send_signal(number)
        assert benchmark.wait(PATIENCE) == (130 if number == signal.SIGINT else -number)
    finally:
        benchmark.kill()
        benchmark.wait()
    wait_until(lambda: not any(map(is_server, started)), PATIENCE, 'the servers ended')
