"""What Prometheus is told: the figures of `health`, from a port that holds nobody up."""

import socket
import sys
import threading
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from act_ros.bridge import metrics
from act_ros.bridge.client import PolicyClient
from act_ros.bridge.metrics import Metrics
from act_ros.bridge.process import EndpointProcess
from act_ros.bridge.server import PolicyServer, serve_metrics
from act_ros.errors import ActError
from act_ros.parameters import Settings
from act_ros.policy import PolicyProcess
from test.bridge.servers import (
    ANY_PORT,
    PATIENCE,
    ROOT,
    SIGHT,
    Requester,
    ServerProcess,
    Steps,
    serving,
)
from test.readme import text
from test.waiting import wait_until


def get(url):
    with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
        assert reply.headers['Content-Type'].startswith('text/plain; version=')
        return reply.read().decode()


def scrape(url):
    """Each sample's value by its name and labels, and the names of all metrics."""
    families = [*text_string_to_metric_families(get(url))]
    samples = {
        (sample.name.removeprefix('act_ros_zmq_'), *sample.labels.values()): sample.value
        for family in families for sample in family.samples
    }  # fmt: skip
    return samples, families


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        return taken.getsockname()[1]


@contextmanager
def telling(server, host='127.0.0.1'):
    told = Metrics(server.health, server.info, host, 0)
    with closing(told):
        yield told


def test_they_are_the_figures_of_health():
    with serving(Steps()) as server, Requester(server.endpoint) as requester:
        for _ in range(3):
            requester.act(SIGHT)
        requester.refused(b'nonsense')
        wait_until(lambda: server.health().memory == 0, PATIENCE, 'the last reply is out')
        health = server.health().as_map()
        with telling(server) as told:
            samples, _ = scrape(told.url)
    assert [samples['state', state] for state in ('loading', 'ready', 'stopping')] == [0, 1, 0]
    assert samples[('uptime_seconds',)] >= health['uptime']
    for name, told in (
        ('sessions', 'sessions'), ('waiting_requests', 'waiting'), ('connections', 'connections'),
        ('memory_bytes', 'memory'), ('connections_accepted_total', 'accepted'),
    ):  # fmt: skip
        assert samples[(name,)] == health[told], name
    for name, told in (('requests_total', 'requests'), ('passes_total', 'batches')):
        found = {key[1]: value for key, value in samples.items() if key[0] == name}
        assert found == health[told], name
    for name in ('queue', 'inference'):
        assert samples[(f'{name}_seconds_count',)] == 3
        assert samples[f'{name}_seconds_bucket', '+Inf'] == 3
        mean = samples[(f'{name}_seconds_sum',)] / 3
        assert 0 < mean * 1e3 <= health[f'{name}_ms']['max']
        buckets = [value for key, value in samples.items() if key[0] == f'{name}_seconds_bucket']
        assert buckets == sorted(buckets)


def test_the_description_has_all_of_them():
    server = PolicyServer(ANY_PORT)
    with closing(server), telling(server) as told:
        # Before there is a policy there is nothing to tell of it.
        names = {family.name for family in scrape(told.url)[1]}
        server.begin(Steps())
        later = {family.name for family in scrape(told.url)[1]}
    assert later - names == {'act_ros_zmq_policy_info'}
    document = (ROOT / 'docs/zmq.md').read_text()
    listed = {name.removesuffix('_total') for row in text.rows(document, 'metric | kind | value')
              for name in text.code(row.split('|')[1])}  # fmt: skip
    assert listed == {*later, 'act_ros_zmq_policy_deviation'}


def test_the_program_tells_what_it_serves(ckpt):
    port = free_port()
    with closing(ServerProcess('--ckpt-dir', ckpt, '--metrics-port', port)) as process:
        (url,) = process.find(r'metrics at (\S+)\n').groups()
        assert url == f'http://127.0.0.1:{port}/metrics'
        families = {family.name: family for family in scrape(url)[1]}
        with PolicyClient(process.endpoint, timeout=PATIENCE) as client:
            info = client.info()
    (sample,) = families['act_ros_zmq_policy_info'].samples
    told = sample.labels
    assert told['sha256'] == info['checkpoint']['sha256'] and len(told['sha256']) == 64
    assert told['checkpoint'] == 'policy_best.ckpt'
    assert told['cameras'] == ','.join(f'{name}:120x160' for name in info['task']['cameras'])
    for name in ('protocol', 'version', 'chunk_size', 'state_dim', 'action_dim', 'rate', 'engine',
                 'precision', 'device'):  # fmt: skip
        assert told[name] == f'{info[name]}', name


def test_the_deviation_is_told_where_there_is_one():
    with serving(Steps()) as server:
        info = {**server.info(), 'deviation': 0.0078125}
        with closing(Metrics(server.health, lambda: info, '127.0.0.1', 0)) as told:
            assert scrape(told.url)[0][('policy_deviation',)] == 0.0078125


def test_the_node_tells_them_from_the_process_of_its_endpoint(ckpt):
    policy, port = PolicyProcess(torch_threads=1), free_port()
    with closing(policy):
        policy.load(ckpt, device='cpu')
        settings = Settings(zmq_endpoint=ANY_PORT, zmq_metrics_port=port)
        with closing(EndpointProcess(settings)) as endpoint:
            assert scrape(f'http://127.0.0.1:{port}/metrics')[0]['state', 'loading'] == 1
            endpoint.begin(lambda: policy.admit(1))
            assert scrape(f'http://127.0.0.1:{port}/metrics')[0]['state', 'ready'] == 1
        with socket.create_server(('127.0.0.1', port)) as taken, pytest.raises(
            ActError, match=f'^the metrics cannot be served on 127.0.0.1, port {port}: Address al'
        ):
            assert taken
            EndpointProcess(settings)


@pytest.mark.parametrize(
    ('settings', 'host'),
    [
        ({}, '127.0.0.1'),
        ({'zmq_curve_dir': '...'}, '127.0.0.1'),
        ({'zmq_insecure': True}, '0.0.0.0'),
    ],
    ids=['no', 'keys', 'yes'],
)
def test_they_are_open_to_the_network_only_if_that_is_said(settings, host, caplog):
    class Server:
        endpoint = 'tcp://0.0.0.0:5555'
        health = info = None

    port = free_port()
    told = serve_metrics(Server, Settings(zmq_metrics_port=port, **settings))
    with closing(told):
        assert told.url == f'http://{host}:{port}/metrics'
    assert ('is open to the network' in caplog.text) == (host == '0.0.0.0')


def test_without_the_library_that_is_said(monkeypatch):
    monkeypatch.delitem(sys.modules, 'act_ros.bridge.metrics')
    monkeypatch.setitem(sys.modules, 'prometheus_client', None)
    with serving(Steps()) as server, pytest.raises(ActError, match='pip install') as caught:
        serve_metrics(server, Settings(zmq_metrics_port=free_port()))
    assert str(caught.value).startswith('metrics need prometheus-client, which is not installed')


def test_there_is_nothing_else():
    with serving(Steps()) as server, telling(server) as told:
        with pytest.raises(urllib.error.HTTPError, match='404'):
            get(told.url.replace('/metrics', '/etc'))
        with pytest.raises(urllib.error.HTTPError, match='501'):
            urllib.request.urlopen(told.url, data=b'posted', timeout=PATIENCE)
        assert get(told.url.replace('/metrics', '/')) != ''


def test_who_is_silent_or_leaves_holds_nobody_up_for_long(monkeypatch):
    monkeypatch.setattr(metrics._Handler, 'timeout', 0.1)
    with serving(Steps()) as server, telling(server) as told:
        address = '127.0.0.1', int(told.url.split(':')[2].split('/')[0])
        with socket.create_connection(address) as silent:
            for data in (b'GET', b'GET /metrics HTTP/1.0\r\n\r\n', b'\xff' * 5000):
                with socket.create_connection(address) as leaving:
                    leaving.sendall(data)
            with Requester(server.endpoint) as requester:
                assert requester.act(SIGHT).tolist() == [1]
            assert scrape(told.url)[0]['state', 'ready'] == 1
            assert silent.recv(1) == b''  # it was given up


def test_closing_frees_the_port_and_ends_the_thread():
    def threads():
        return [each for each in threading.enumerate() if each.name == 'zmq metrics']

    with serving(Steps()) as server:
        with telling(server) as told:
            (thread,) = threads()
        wait_until(lambda: not thread.is_alive(), PATIENCE, 'its end')
        port = int(told.url.split(':')[2].split('/')[0])
        Metrics(server.health, server.info, '127.0.0.1', port).close()
