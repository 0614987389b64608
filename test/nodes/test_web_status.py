"""The page beside the robot, with the real node, in a real browser."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from act_ros.config import task_file
from test import browser
from test.nodes.graph import run_node
from test.readme.clone import free_port
from test.waiting import wait_until

pytest.importorskip('aiohttp', reason='aiohttp is not installed')


class Page(NamedTuple):
    url: str
    process: subprocess.Popen


@contextmanager
def page(folder, *flags):
    """The program's page, and where it is."""
    port = free_port()
    log = folder / 'web.log'
    process = subprocess.Popen(
        [sys.executable, '-m', 'act_ros.web_status', '--port', str(port), *flags, '--ros-args',
         '--params-file', str(task_file('astrobench_dual_arm')),
         '-p', 'task.image_size:=[120,160]'],
        stderr=log.open('w'), env=os.environ,
    )  # fmt: skip
    url = f'http://127.0.0.1:{port}'
    try:
        wait_until(lambda: f'{url}/' in log.read_text(), 30, lambda: log.read_text())
        yield Page(url, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0, log.read_text()
        assert 'Traceback' not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ask(url, **options):
    with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=5) as answer:
        return answer.read()


def refused(url, **options):
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(url, **options)
    return caught.value.code


def test_it_shows_the_node_and_its_robot_and_changes_nothing(graph, ckpt, tmp_path):
    with page(tmp_path) as (url, _), run_node(tmp_path, ckpt) as node:

        def state():
            return json.loads(ask(f'{url}/state.json'))

        graph.activate(node)
        wait_until(lambda: state()['state'] == 'active', 10, lambda: str(state()))
        wait_until(lambda: all(j['commanded'] is not None and j['measured'] is not None
                               for j in state()['joints']), 10, lambda: str(state()))
        assert [camera for camera in state()['cameras']] == ['rgb_main', 'rgb_left', 'rgb_under']

        def picture():
            with suppress(urllib.error.HTTPError):  # until the first has come
                return ask(f'{url}/camera/rgb_main.jpg')

        coded = wait_until(picture, 10, 'a picture')
        pixels = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
        assert pixels.shape == (120, 160, 3) and abs(int(pixels.mean()) - 80) < 3
        if browser.CHROMIUM is not None:
            shown = browser.document(f'{url}/', tmp_path / 'profile')
            assert re.search(r'<h1 id="state">active</h1>', shown)
            assert '<td>left_joint_7</td>' in shown and '<td>rgb_under</td>' in shown
            assert re.search(r'src="http[^"]*/camera/rgb_main\.jpg\?\d+"', shown)
        # Whoever looks changes nothing, and nobody looks from elsewhere.
        assert refused(f'{url}/state.json', method='POST', data=b'{}') == 405
        assert refused(f'{url}/state.json', headers={'Host': 'elsewhere.example'}) == 403
        assert refused(f'{url}/camera/..%2Fpage.js.jpg') == 404
        assert refused(f'{url}/nothing') == 404
        published = {name for name, _ in graph.node.get_publisher_names_and_types_by_node(
            '_web_status', '/')}  # fmt: skip
        assert published <= {'/rosout', '/parameter_events'}

        graph.silent.add('rgb_main')
        wait_until(lambda: not picture(), 10, 'no picture of a camera that has ended')
        graph.silent.clear()

        assert graph.change('deactivate')
        wait_until(lambda: state()['state'] == 'inactive', 10, lambda: str(state()))
        wait_until(lambda: all(j['commanded'] is None for j in state()['joints']), 10, 'none')
        node.stop()
        wait_until(lambda: state()['state'] == 'no node', 15, lambda: str(state()))


@browser.needed
def test_a_program_that_hangs_leaves_no_page_that_looks_alive(graph, tmp_path):
    with (
        page(tmp_path) as (url, process),
        browser.living(f'{url}/', tmp_path / 'profile') as evaluate,
    ):

        def shown():
            return evaluate("document.getElementById('state').textContent")

        wait_until(lambda: shown() == 'no node', 20, shown)
        process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: shown() == 'no connection', 10, shown)
        finally:
            process.send_signal(signal.SIGCONT)
        wait_until(lambda: shown() == 'no node', 10, shown)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--host', '0.0.0.0'], '0.0.0.0 is open to the network, .*or say --insecure'),
        (['--port', '70000'], '--port is 70000, expected 1 to 65535'),
    ],
)
def test_a_mistake_is_one_line(flags, message):
    done = subprocess.run(
        [sys.executable, '-m', 'act_ros.web_status', *flags, '--ros-args', '--params-file',
         str(task_file('astrobench_dual_arm'))],
        capture_output=True, text=True, timeout=60, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.search(f'web_status: error: {message}', done.stderr), done.stderr
    assert 'Traceback' not in done.stderr
