"""Ctrl-C in any state: exit code 0 within two seconds; a user's mistake: one line."""

import pickle
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from test.bridge.servers import Requester, good_request
from test.nodes.graph import MARGIN, run_node
from test.rule import vector
from test.waiting import wait_until

LONG = '3'  # a load or a pass that nobody waits for [s]


def ended(node, number=signal.SIGINT):
    duration = node.stop(number)
    assert node.process.returncode == 0, node.log
    assert duration < 2
    for word in ('Traceback', 'terminate called'):
        assert word not in node.log


def slowly(tmp_path, ckpt, environment, **parameters):
    return run_node(
        tmp_path, ckpt, module='test.nodes.slow_node', env=environment, **parameters
    )


def shared_memory():
    return {path.name for path in Path('/dev/shm').glob('fast*_*')}


def used_by(process):
    """The shared memory that a process has mapped, and the files of the locks on it."""
    maps = Path(f'/proc/{process.pid}/maps').read_text()
    names = set(re.findall(r'/dev/shm/(fast(?:dds|rtps)_\w+)', maps))
    return names | {f'{name}_el' for name in names}


# A node that hangs while it is made, or at its end.
HANGS = """
import sys, time
from rclpy.node import Node
from act_ros.nodes import exit

exit.END_TIMEOUT = 1

def make():
    node = Node('hangs')
    print('ready', flush=True)
    if sys.argv[1] == 'make':
        time.sleep(600)
    return node

exit.run_node(make, lambda node: time.sleep(600))
"""


@pytest.mark.parametrize('where', ['make', 'halt'])
def test_what_hangs_the_kernel_ends(where):
    process = subprocess.Popen([sys.executable, '-c', HANGS, where], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b'ready\n'
        process.terminate()
        assert process.wait(20) == -signal.SIGALRM
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_unconfigured_and_without_a_trace_in_shared_memory(tmp_path, ckpt, number):
    before = shared_memory()
    with run_node(tmp_path, ckpt) as node:
        node.wait_for('ready: unconfigured')
        used = used_by(node.process)
        assert used
        ended(node, number)
    assert not (shared_memory() - before) & used


def test_while_python_is_still_importing(tmp_path, ckpt):
    with run_node(tmp_path, ckpt) as node:
        # Torch comes after numpy, and takes seconds.
        maps = Path(f'/proc/{node.process.pid}/maps')
        wait_until(lambda: 'numpy' in maps.read_text(), 20, 'numpy to be mapped')
        ended(node)


def test_during_a_load(tmp_path, ckpt):
    parameters = {'autostart': True, 'zmq_endpoint': 'tcp://127.0.0.1:*'}
    with slowly(tmp_path, ckpt, {'LOAD_SECONDS': LONG}, **parameters) as node:
        node.wait_for('loading slowly')
        endpoint = re.search(r'listening for ZMQ clients on (\S+),', node.log)[1]
        with Requester(endpoint) as client:
            assert client.ask('RESET') == {'status': 'ERROR', 'message': 'loading'}
            ended(node)


def test_during_a_pass_of_the_warm_up(tmp_path, ckpt):
    with slowly(tmp_path, ckpt, {'PASS_SECONDS': LONG}, autostart=True) as node:
        node.wait_for('passing slowly')
        ended(node)


def test_during_an_asynchronous_pass(graph, tmp_path, ckpt):
    bad = tmp_path / 'bad'
    environment = {'PASS_SECONDS': LONG, 'BAD_WHILE': str(bad)}
    with slowly(tmp_path, ckpt, environment, autostart=True) as node:
        graph.stream()
        wait_until(lambda: graph.commands, 60, f'commands: {node.log}')
        bad.touch()
        node.wait_for('passing slowly')
        before = len(graph.commands)
        wait_until(lambda: len(graph.commands) > before + 5, 10, 'commands beside the pass')
        stopped = graph.now()
        ended(node)
        assert (max(graph.command_stamps()) - stopped) / 1e9 < 0.1 + MARGIN


def test_during_a_pass_for_a_zmq_client_who_is_told_as_all_who_wait_are(tmp_path, ckpt):
    environment = {'PASS_SECONDS': LONG, 'BAD_WHILE': str(tmp_path / 'bad')}
    parameters = {'autostart': True, 'zmq_endpoint': 'tcp://127.0.0.1:*'}
    with slowly(tmp_path, ckpt, environment, **parameters) as node, ExitStack() as stack:
        node.wait_for('serving ZMQ on')
        endpoint = re.search(r'serving ZMQ on (\S+)', node.log)[1]
        clients = [stack.enter_context(Requester(endpoint)) for _ in range(3)]
        (tmp_path / 'bad').touch()
        clients[0].socket.send(good_request(*vector('small').observation(0)))
        node.wait_for('passing slowly')
        for client in clients[1:]:
            client.socket.send(good_request(*vector('small').observation(1)))
        ended(node)
        replies = [pickle.loads(client.socket.recv()) for client in clients]
        assert replies[1:] == [{'status': 'ERROR', 'message': 'stopping'}] * 2
        assert replies[0]['status'] == 'ERROR'


def test_during_a_synchronous_pass(graph, tmp_path, ckpt):
    bad = tmp_path / 'bad'
    environment = {'PASS_SECONDS': LONG, 'BAD_WHILE': str(bad)}
    parameters = {'autostart': True, 'inference': 'synchronous', 'use_sim_time': True}
    with slowly(tmp_path, ckpt, environment, **parameters) as node:
        graph.stream()

        def slow() -> bool:
            graph.publish_clock(graph.now())
            if graph.commands:
                bad.touch()
            return 'passing slowly' in node.log

        wait_until(slow, 60, f'a slow pass: {node.log}')
        ended(node)


# What an executor does whose parts are gone, which happens by chance only.
BROKEN = """
import sys, threading
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from act_ros.nodes.exit import run_node

ending = threading.Event()

def spin(executor):
    print('spinning', flush=True)
    if sys.argv[1] == 'ending':
        ending.wait(20)
    raise rclpy_implementation.InvalidHandle('cannot use Destroyable')

SingleThreadedExecutor.spin = spin
run_node(lambda: Node('broken'), lambda node: ending.set())
"""


@pytest.mark.parametrize(('when', 'code'), [('ending', 0), ('running', 1)])
def test_an_executor_that_breaks_is_no_fault_at_the_end_alone(tmp_path, when, code):
    with (tmp_path / 'log').open('w') as log:
        command = [sys.executable, '-c', BROKEN, when]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            text = (tmp_path / 'log').read_text
            wait_until(lambda: 'spinning' in text(), 20, text)
            if when == 'ending':
                process.send_signal(signal.SIGINT)
            assert process.wait(10) == code, text()
        finally:
            process.kill()
            process.wait()
    assert ('InvalidHandle' in text()) == bool(code)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'control_rat': 50.0}, "unknown parameter 'control_rat'; did you mean 'control_rate'?"),
        ({'decay': 99.0}, "'decay' is 99.0; expected -10 to 10"),
        ({'inference': 'maybe'}, "'inference' is 'maybe'; expected one of asynchronous, sync"),
    ],
)
def test_a_parameter_that_does_not_fit_is_one_line_and_exit_code_2(
    tmp_path, ckpt, parameters, message
):
    with run_node(tmp_path, ckpt, **parameters) as node:
        assert node.process.wait(30) == 2
        assert message in node.log
        assert 'Traceback' not in node.log


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'ckpt_dir': '/nowhere'}, "no checkpoint folder '/nowhere'"),
        ({'ckpt_name': 'x.ckpt'}, 'no checkpoint'),
        ({'task.image_size': '[480, 640]'},
         "'task.image_size' is [480, 640], but the checkpoint was trained with [120, 160]"),
        ({'task.cameras': '[rgb_left, rgb_main, rgb_under]'}, "'task.cameras' is ['rgb_left', "),
        ({'camera_topics': '[a, b]'}, "'camera_topics' lists 2 topics, expected 3"),
        ({'camera_topics': '[a, b, c-d]'}, "the topic of rgb_under is 'c-d', which"),
        ({'enable_topic': 'dead man'}, "the topic of enable_topic is 'dead man', which"),
        ({'zmq_endpoint': 'nonsense'}, "cannot listen on 'nonsense'"),
        ({'temporal_aggregation': False, 'query_every': 1000}, 'query_every is 1000, but a chunk'),
    ],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_one_line_and_may_be_tried_again(
    graph, tmp_path, ckpt, parameters, message
):
    with run_node(tmp_path, ckpt, **parameters) as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        line = node.wait_for('not configured')
        assert message in line
        assert 'Traceback' not in node.log
        assert graph.state() == 'unconfigured'
        ended(node)
