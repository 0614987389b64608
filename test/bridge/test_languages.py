"""The clients of examples/ against a server: all get the actions that the policy gives."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from act_ros.bridge.pictures import decode_images
from act_ros.policy import Rollout, load_policy
from test.bridge.servers import PATIENCE

EXAMPLES = Path(__file__).parents[2] / 'examples'
PACKAGES = EXAMPLES / 'node_modules'


@pytest.fixture(scope='module')
def policy(ckpt):
    return load_policy(ckpt, device='cpu')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory, policy):
    """A file for each camera: JPEG and PNG in turn."""
    folder = tmp_path_factory.mktemp('pictures')
    noise = np.random.default_rng(0)
    files = {}
    for i, camera in enumerate(policy.task.cameras):
        files[camera] = folder / f'{camera}{(".jpg", ".png")[i % 2]}'
        pixels = noise.integers(0, 256, (6, 8, 3), np.uint8)
        size = policy.task.image_size[::-1]
        assert cv2.imwrite(str(files[camera]), cv2.resize(pixels, size))
    return files


@pytest.fixture(scope='module')
def wanted(policy, pictures):
    """Actions of three steps, and a chunk."""
    images = {name: path.read_bytes() for name, path in pictures.items()}
    observation = np.zeros(17, np.float32), decode_images(images, policy.task)
    rollout = Rollout(policy)
    return [rollout.act(*observation) for _ in range(3)], policy.predict(*observation)


# --- the clients


def missing(reason):
    pytest.skip(f'the example is not run: {reason}')


def python(folder):
    return [sys.executable, str(EXAMPLES / 'zmq_client.py')]


def cpp(folder):
    compiler = shutil.which('g++') or missing('no g++')
    source = EXAMPLES / 'zmq_client.cpp'
    for header, package in (('zmq.hpp', 'cppzmq-dev'), ('msgpack.hpp', 'libmsgpack-cxx-dev')):
        found = subprocess.run(
            [compiler, '-DMSGPACK_NO_BOOST', '-std=c++17', '-E', '-include', header, '-x', 'c++',
             '/dev/null', '-o', '/dev/null'], capture_output=True, check=False,
        )  # fmt: skip
        if found.returncode:
            missing(f'no {header} ({package})')
    # As the file's head says.
    line = re.search(r'^//     (g\+\+ .*)$', source.read_text(), re.MULTILINE)[1]
    words = line.replace('zmq_client.cpp', str(source)).replace('-o zmq_client', '-o client')
    subprocess.run(
        [*words.split(), '-Wall', '-Wextra', '-Werror'], cwd=folder, check=True, timeout=300
    )
    return [str(folder / 'client')]


def javascript(folder):
    node = shutil.which('node') or missing('no node')
    for package in ('zeromq', '@msgpack/msgpack'):
        if not (PACKAGES / package).exists():
            missing(f'no {package}: run npm ci --ignore-scripts in examples/')
    return [node, str(EXAMPLES / 'zmq_client.mjs')]


CLIENTS = {'python': python, 'c++': cpp, 'javascript': javascript}


@pytest.fixture(scope='module', params=CLIENTS)
def client(request, tmp_path_factory):
    """The command of a client."""
    return CLIENTS[request.param](tmp_path_factory.mktemp('client'))


def run(client, server, pictures):
    cameras = [f'{name}={path}' for name, path in pictures.items()]
    return subprocess.run(
        [*client, server.endpoint, *cameras], capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip


def test_the_example_gets_the_policys_actions(client, server, pictures, wanted):
    done = run(client, server, pictures)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ['action'] * 3 + ['chunk', 'error']
    actions, chunk = wanted
    for step, action in enumerate(actions):
        assert lines[step][1] == str(step)
        np.testing.assert_allclose([*map(float, lines[step][2:])], action, rtol=1e-6)
    assert [*map(int, lines[3][1:3])] == [*chunk.shape]
    np.testing.assert_allclose([*map(float, lines[3][3:])], chunk[0], rtol=1e-6)
    assert lines[4] == ['error', 'no_session']


def test_an_error_of_the_server_ends_the_example_in_a_line(client, server, tmp_path, pictures):
    text = tmp_path / 'text.png'
    text.write_text('no picture')
    done = run(client, server, {**pictures, next(iter(pictures)): text})
    assert done.returncode == 1 and done.stdout == ''
    assert re.fullmatch(r'error: bad_observation: .*neither JPEG nor PNG.*\n', done.stderr)
