"""`python -m act_ros.inference_server` as a process: its mistakes, its settings, its end."""

import pickle
import re
import signal
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from act_ros.policy import load_policy
from test.bridge.servers import (
    ANY_PORT,
    PATIENCE,
    SIGHT,
    Process,
    Requester,
    ServerProcess,
    good_request,
)
from test.rule import write_checkpoint
from test.waiting import wait_until

MODULE = ('-m', 'act_ros.inference_server')
SLOW_SERVER = Path(__file__).with_name('slow_server.py')
STOPS = (signal.SIGINT, signal.SIGTERM)
LIMIT = 2.0  # [s] from the signal to the end of the process


def assert_refused(message, *arguments):
    """The command line ends with exit code 2 and one line, which matches."""
    with closing(Process(*MODULE, '--endpoint', ANY_PORT, *arguments)) as process:
        assert process.wait() == 2
        errors = [line for line in process.lines if ' INFO ' not in line]
    assert len(errors) == 1, process.stderr
    assert re.match(f'inference_server: error: {message}', errors[0]), errors[0]


def parameter_file(folder, text):
    path = folder / 'parameters.yaml'
    path.write_text(text)
    return path


# --- mistakes


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('/**: [1, 2', r"cannot read parameter file '.*parameters\.yaml': while parsing"),
        ('decay: 0.1', "cannot read .*: line 1: 'decay' stands before 'ros__parameters:'"),
        (
            '/**: {ros__parameters: {decai: 0.1}}',
            r"\S+parameters\.yaml: unknown parameter 'decai'; did you mean 'decay'\?",
        ),
        (
            '/**: {ros__parameters: {decay: often}}',
            r"\S+parameters\.yaml: parameter 'decay' is 'often'; expected a number",
        ),
    ],
    ids=['no YAML', 'no section', 'unknown parameter', 'wrong type'],
)
def test_a_mistake_in_the_parameter_file_is_one_line(tmp_path, text, message):
    assert_refused(message, '--config', parameter_file(tmp_path, text))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--config', 'none.yaml'], "no parameter file 'none.yaml'"),
        (['--task', 'juggling'], "unknown task 'juggling'; shipped: astrobench_dual_arm"),
        (['--decay', '-11'], "parameter 'decay' is -11.0; expected -10 to 10"),
        (['--query-every', '-1'], "parameter 'query_every' is -1; expected 0 to 100000 steps"),
    ],
)
def test_a_wrong_value_of_a_flag_is_one_line(arguments, message):
    assert_refused(message, *arguments)


def test_a_missing_checkpoint_is_one_line(tmp_path):
    message = "no checkpoint folder '.*/none'; it holds policy_best.ckpt and dataset_stats.pkl"
    assert_refused(message, '--ckpt-dir', tmp_path / 'none')


def test_a_checkpoint_of_other_sizes_is_one_line(tmp_path):
    folder = write_checkpoint(tmp_path)
    weights = torch.load(folder / 'policy_best.ckpt', weights_only=True)
    projection = weights['model.input_proj_robot_state.weight']
    weights['model.input_proj_robot_state.weight'] = projection[:, :14]
    torch.save(weights, folder / 'policy_best.ckpt')
    statistics = pickle.loads((folder / 'dataset_stats.pkl').read_bytes())
    for key in ('qpos_mean', 'qpos_std'):
        statistics[key] = statistics[key][:14]
    (folder / 'dataset_stats.pkl').write_bytes(pickle.dumps(statistics))
    message = r"\S+policy_best\.ckpt has 14 state entries, task '\w+' lists 17; name"
    assert_refused(message, '--ckpt-dir', folder)


def test_an_address_in_use_is_one_line(server, ckpt):
    message = f'address in use: {server.endpoint}; another server runs there'
    assert_refused(message, '--ckpt-dir', ckpt, '--endpoint', server.endpoint)


# --- settings


@pytest.fixture(scope='module')
def chunk_server(ckpt, tmp_path_factory):
    """Aggregation off and every third step a chunk, by flags that count over the file's."""
    settings = {'ckpt_dir': str(ckpt), 'query_every': 1, 'torch_threads': 1}
    text = yaml.safe_dump({'/**': {'ros__parameters': settings}})
    path = parameter_file(tmp_path_factory.mktemp('config'), text)
    flags = ('--no-temporal-aggregation', '--query-every', 3)
    with closing(ServerProcess('--config', path, *flags)) as process:
        yield process


@pytest.fixture(scope='module')
def policy(ckpt):
    return load_policy(ckpt, device='cpu')


def test_without_aggregation_equals_the_public_loop(chunk_server, policy, reference):
    with Requester(chunk_server.endpoint) as requester:
        requester.reset()
        for t in range(12):
            if t % 3 == 0:
                all_actions = policy.predict(*reference.observation(t))
            action = requester.act(reference.observation(t))
            np.testing.assert_allclose(action, all_actions[t % 3], atol=1e-5, rtol=0)


def test_a_refused_request_is_no_step_without_aggregation_either(chunk_server, policy, reference):
    chunk = policy.predict(*reference.observation(0))
    with Requester(chunk_server.endpoint) as requester:
        requester.reset()
        for t in range(3):
            qpos, images = reference.observation(t)
            assert 'qpos has shape (16,)' in requester.refused(good_request(qpos[:16], images))
            np.testing.assert_allclose(requester.act((qpos, images)), chunk[t], atol=1e-5, rtol=0)


# --- the end


def test_a_signal_ends_an_idle_server_with_clients_connected(ckpt, reference):
    with closing(ServerProcess('--ckpt-dir', ckpt)) as process:
        with Requester(process.endpoint) as requester:
            requester.act(reference.observation(0))
            assert process.stop(signal.SIGINT, LIMIT) == 0
        assert process.lines[-1].endswith(' INFO stopped\n')
        assert 'Traceback' not in process.stderr


@pytest.mark.parametrize('number', STOPS)
def test_either_signal_ends_an_idle_server(number):
    with closing(Process(SLOW_SERVER, 'nothing')) as process:
        process.find('serving slow')
        assert process.stop(number, LIMIT) == 0
        assert process.lines[-1].endswith(' INFO stopped\n')


@pytest.mark.parametrize('number', STOPS)
@pytest.mark.parametrize('stage', ['load', 'pass'])
def test_a_signal_ends_a_server_in_the_middle_of(stage, number):
    with closing(Process(SLOW_SERVER, stage)) as process:
        if stage == 'pass':
            endpoint = process.find(r'serving slow on (\S+)\n')[1]
            with Requester(endpoint) as requester:
                requester.socket.send(good_request(*SIGHT))
                process.find('in the pass\n')
                assert process.stop(number, LIMIT) == 0
        else:
            process.find('in the load\n')
            assert process.stop(number, LIMIT) == 0
        assert 'Traceback' not in process.stderr


@pytest.mark.parametrize('number', STOPS)
def test_a_signal_is_told_to_all_who_wait_and_to_whose_request_is_in_hand(number):
    with closing(Process(SLOW_SERVER, 'pass')) as process, ExitStack() as stack:
        endpoint = process.find(r'serving slow on (\S+)\n')[1]
        requesters = [stack.enter_context(Requester(endpoint)) for _ in range(5)]
        for requester in requesters:
            requester.socket.send(good_request(*SIGHT))
        process.find('in the pass\n')
        wait_until(lambda: len(connections(endpoint)) == 5, PATIENCE, 'five connections')
        assert process.stop(number, LIMIT) == 0
        for requester in requesters:
            reply = pickle.loads(requester.socket.recv())
            assert reply == {'status': 'ERROR', 'message': 'stopping'}
        assert 'Traceback' not in process.stderr


@pytest.mark.parametrize('stage', ['load', 'warm-up'])
def test_while_the_model_loads_requests_are_told_so(stage):
    with closing(Process(SLOW_SERVER, stage)) as process:
        endpoint = process.find(r'listening on (\S+), loading\n')[1]
        process.find(f'in the {stage}\n')
        with Requester(endpoint) as requester:
            for request in ('RESET', {'qpos': SIGHT[0], 'images': SIGHT[1]}):
                reply = requester.ask(request)
                assert reply == {'status': 'ERROR', 'message': 'loading'}
            request = {'request': 'reset', 'session': 'robot', 'id': 1}
            assert requester.ask(request)['error'] == 'loading'
        assert process.stop(signal.SIGTERM, LIMIT) == 0


def test_a_signal_ends_a_server_that_still_loads_its_libraries(ckpt):
    with closing(Process(*MODULE, '--ckpt-dir', ckpt, '--endpoint', ANY_PORT)) as process:
        wait_until(lambda: handles(process.pid, signal.SIGTERM), PATIENCE, 'a handler for SIGTERM')
        assert process.stop(signal.SIGTERM, LIMIT) == 0
        assert 'Traceback' not in process.stderr


def test_a_second_signal_changes_nothing():
    with closing(Process(SLOW_SERVER, 'load')) as process:
        process.find('in the load\n')
        process.signal(signal.SIGINT)
        process.signal(signal.SIGINT)
        assert process.stop(signal.SIGTERM, LIMIT) == 0
        assert 'Traceback' not in process.stderr


def test_a_bug_in_the_server_is_no_success():
    """An error that nobody expected ends with its traceback and another exit code."""
    with closing(Process(SLOW_SERVER, 'bug')) as process:
        assert process.wait() == 1
        assert 'ZeroDivisionError' in process.stderr


def connections(endpoint):
    """Connections to it that are established, as the kernel lists them at the server's end."""
    port = f':{int(endpoint.rsplit(":", 1)[1]):04X}'
    rows = [line.split() for line in Path('/proc/net/tcp').read_text().splitlines()[1:]]
    return [row for row in rows if row[1].endswith(port) and row[3] == '01']


def handles(pid, number):
    """Has the process a handler for this signal?"""
    status = Path(f'/proc/{pid}/status').read_text()
    caught = int(re.search(r'SigCgt:\s*(\w+)', status)[1], 16)
    return caught >> (number - 1) & 1
