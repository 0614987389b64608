"""The client: what it sends and returns, and time-outs that leave it usable."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import zmq

from act_ros.bridge.client import PolicyClient, PolicyTimeoutError, ServerError
from act_ros.bridge.keys import make_client, make_server
from act_ros.bridge.protocol import ProtocolError
from act_ros.bridge.server import PolicyServer
from act_ros.errors import ActError
from test.bridge.servers import ANY_PORT, PATIENCE, ROOT, SIGHT, Steps, answering, serving
from test.waiting import wait_until

QPOS, _ = SIGHT


def test_gives_the_actions_of_the_reference(server, reference):
    with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
        client.reset()
        for i in range(3):
            action = client.act(*reference.observation(i))
            assert action.flags.writeable
            np.testing.assert_allclose(action, reference.aggregated[i], atol=1e-4, rtol=0)


def test_an_error_reply_is_raised_and_the_client_goes_on(server, reference):
    with PolicyClient(server.endpoint, timeout=PATIENCE) as client:
        client.reset()
        with pytest.raises(ServerError, match=r'qpos has shape \(3,\), expected \(17,\)'):
            client.act(np.zeros(3, np.float32), reference.observation(0)[1])
        action = client.act(*reference.observation(0))
    np.testing.assert_allclose(action, reference.aggregated[0], atol=1e-4, rtol=0)


def test_a_late_answer_is_not_taken_for_that_of_a_later_request():
    steps = Steps(blocked=True)
    with serving(steps) as server, PolicyClient(server.endpoint, timeout=1) as client:
        with pytest.raises(PolicyTimeoutError, match=r'within 1 s; is the server running there'):
            client.act(*SIGHT)
        steps.go.set()
        wait_until(lambda: steps.step == 1, PATIENCE, 'the late answer given')
        assert [client.act(*SIGHT).tolist() for _ in range(3)] == [[2], [3], [4]]


def test_a_client_may_come_before_its_server():
    with zmq.Context() as context, context.socket(zmq.REP) as port:
        port.bind(ANY_PORT)
        endpoint = port.getsockopt_string(zmq.LAST_ENDPOINT)
    with PolicyClient(endpoint, timeout=1) as client:
        with pytest.raises(PolicyTimeoutError):
            client.reset()
        with serving(Steps(), endpoint):
            client.reset()


@pytest.mark.parametrize('timeout', [0, -1, float('nan'), float('inf'), 1e9])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(ActError, match=f'timeout is {timeout:g} s, expected'.replace('+', r'\+')):
        PolicyClient(timeout=timeout)


def test_an_interrupted_call_leaves_the_client_usable(monkeypatch):
    with serving(Steps()) as server, PolicyClient(server.endpoint, timeout=PATIENCE) as client:

        def interrupt(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr('act_ros.bridge.protocol.parse_reply', interrupt)
            client.reset()
        assert client.act(*SIGHT).tolist() == [1]


def test_what_cannot_be_sent_leaves_the_client_usable():
    with serving(Steps()) as server, PolicyClient(server.endpoint, timeout=PATIENCE) as client:
        with pytest.raises(TypeError, match='set cannot be written as plain data'):
            client.act(QPOS, {'rgb_main': {1, 2}})
        assert client.act(*SIGHT).tolist() == [1]


@pytest.mark.parametrize(
    ('reply', 'message'),
    [
        (b'garbage', 'cannot read the reply'),
        (pickle.dumps({'status': print}), 'cannot read the reply: refused'),
        (pickle.dumps(['OK']), 'no status OK or ERROR'),
        (pickle.dumps({'status': 'OK'}), 'the reply has no action'),
    ],
)
def test_a_reply_that_is_none_is_refused_and_the_client_goes_on(reply, message):
    with zmq.Context() as context, context.socket(zmq.REP) as peer:
        peer.bind(ANY_PORT)
        endpoint = peer.getsockopt_string(zmq.LAST_ENDPOINT)
        with PolicyClient(endpoint, timeout=PATIENCE) as client:
            answers = iter([reply, pickle.dumps({'status': 'OK', 'action': QPOS})])
            for expected in (message, None):
                with answering(peer, next(answers)):
                    if expected is None:
                        assert client.act(*SIGHT).shape == (17,)
                        continue
                    with pytest.raises(ProtocolError, match=expected):
                        client.act(*SIGHT)


@pytest.mark.parametrize('endpoint', ['', 'tcp://', 'localhost:5555', 'tcp://127.0.0.1:port'])
def test_an_endpoint_that_is_none_is_named(endpoint):
    with PolicyClient(endpoint) as client, pytest.raises(ActError) as caught:
        client.reset()
    assert str(caught.value).startswith(f'cannot connect to {endpoint!r}: ')
    assert str(caught.value).endswith('expected tcp://HOST:PORT')


# --- python -m act_ros.test_zmq_client

DOCUMENTED = """\
Connected to ACT inference server on port N

--- Test N: RESET ---
Response: {'status': 'OK'}

--- Test N: Inference ---
Sending qpos shape: (N,)
Sending images: ['rgb_main', 'rgb_left', 'rgb_under']
Response status: OK
Action shape: (N,)
Action: [N N N N N N N N N N N N N N N N]

--- Test N: RESET again ---
Response: {'status': 'OK'}

✓ All tests completed!
"""


def run_test_client(*arguments):
    return subprocess.run(
        [sys.executable, '-m', 'act_ros.test_zmq_client', *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        encoding='utf-8',
        timeout=PATIENCE,
        check=False,
    )


def test_the_test_client_prints_the_documented_lines(server):
    done = run_test_client('--endpoint', server.endpoint, '--image-size', 120, 160)
    assert (done.returncode, done.stderr) == (0, '')
    numbers_aside = re.sub(r'-?\d+(\.\d*)?(e[-+]\d+)?', 'N', done.stdout)
    assert re.sub(r' +N', ' N', numbers_aside).replace('[ N', '[N') == DOCUMENTED


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['--timeout', 0.2, '--endpoint', 'tcp://127.0.0.1:1'],
            'no answer from tcp://127.0.0.1:1',
        ),
        (['--endpoint', 'nowhere'], "cannot connect to 'nowhere'"),
        (['--task', 'juggling'], "unknown task 'juggling'"),
        (['--task', 'missing.yaml'], "no parameter file 'missing.yaml'"),
        (['--timeout', 0], 'timeout is 0'),
        (['--timeout', 'nan'], 'timeout is nan'),
    ],
)
def test_the_test_client_says_in_one_line_what_is_wrong(arguments, message):
    done = run_test_client(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f'test_zmq_client: error: {message}')
    assert len(done.stderr.splitlines()) == 1


def test_the_test_client_tells_the_health(server):
    done = run_test_client('--endpoint', server.endpoint, '--health')
    assert (done.returncode, done.stderr) == (0, '')
    assert json.loads(done.stdout)['state'] == 'ready'


def test_the_test_client_fails_where_the_server_is_not_ready():
    server = PolicyServer(ANY_PORT)
    with closing(server):
        done = run_test_client('--endpoint', server.endpoint, '--health')
    assert json.loads(done.stdout)['state'] == 'loading'
    message = f'test_zmq_client: error: {server.endpoint} is loading\n'
    assert (done.returncode, done.stderr) == (2, message)


def test_the_test_client_with_keys_is_let_in(tmp_path):
    make_server(tmp_path / 'keys')
    make_client(tmp_path / 'keys', 'health')
    own = tmp_path / 'own'
    own.mkdir()
    for name in ('server.key', 'clients/health.key_secret'):
        shutil.copy(tmp_path / 'keys' / name, own)
    with serving(Steps(), zmq_curve_dir=str(tmp_path / 'keys')) as server:
        done = run_test_client('--endpoint', server.endpoint, '--health', '--curve-dir', own)
    assert (done.returncode, done.stderr) == (0, '')


def test_the_test_client_names_what_the_server_refuses(server):
    done = run_test_client('--endpoint', server.endpoint)
    assert done.returncode == 2
    message = "camera 'rgb_main' is (480, 640, 3) uint8, expected (120, 160, 3) uint8 RGB"
    assert done.stderr == f'test_zmq_client: error: {message}\n'
