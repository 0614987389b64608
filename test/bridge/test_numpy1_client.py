"""The documented client, with the NumPy of the tests and with NumPy 1."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from test.bridge.servers import PATIENCE

CLIENT = Path(__file__).with_name('documented_client.py')
OLD = ('numpy<1.25', 'pyzmq')


@pytest.fixture(scope='session')
def numpy1_python(tmp_path_factory):
    """The interpreter of an environment with nothing but an old NumPy and pyzmq."""
    if sys.version_info >= (3, 12):
        pytest.skip('NumPy before 1.25 does not run on Python 3.12 and later')
    folder = tmp_path_factory.mktemp('numpy1')
    python = folder / 'bin' / 'python'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True)
    pip = [sys.executable, '-m', 'pip', '--python', str(python), 'install', '--quiet']
    pip += ['--disable-pip-version-check', '--only-binary', ':all:', *OLD]
    done = subprocess.run(pip, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f'cannot install {OLD[0]}: {done.stderr.strip().splitlines()[-1:]}')
    return python


@pytest.fixture(scope='module')
def inputs(tmp_path_factory, reference):
    """The reference's observations in the parts from which the documented client joins qpos."""
    path = tmp_path_factory.mktemp('inputs') / 'steps.npz'
    parts = np.split(reference.qpos, [3, 9, 16], axis=1)
    names = ('base_pos', 'base_vel', 'joint_pos', 'gripper')
    cameras = reference.about['config']['camera_names']
    images = {name: reference.images[:, i] for i, name in enumerate(cameras)}
    np.savez(path, **dict(zip(names, parts, strict=True)), **images)
    return path


def run_documented_client(python, server, inputs):
    """What the client printed; it must have got the reference's actions."""
    done = subprocess.run(
        [str(python), str(CLIENT), server.endpoint, str(inputs)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said['resets'] == [{'status': 'OK'}] * 2
    assert said['qpos'] == ['float32', [17]]
    return said


def test_the_documented_client_gets_the_actions_of_the_reference(server, inputs, reference):
    said = run_documented_client(sys.executable, server, inputs)
    np.testing.assert_allclose(said['actions'], reference.aggregated, atol=1e-4, rtol=0)


def test_a_numpy_1_client_is_read_and_reads_the_replies(numpy1_python, server, inputs, reference):
    said = run_documented_client(numpy1_python, server, inputs)
    assert said['numpy'].startswith('1.')
    assert said['modules'] == ['numpy.core']
    np.testing.assert_allclose(said['actions'], reference.aggregated, atol=1e-4, rtol=0)
