"""The documented client as it is, on every Python from 3.8 on and on NumPy from 1.19 on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from test.bridge.servers import PATIENCE

CLIENT = Path(__file__).with_name('documented_client.py')
# One NumPy for each Python: the oldest and the newest that there are wheels of, and between.
NUMPY = {
    '3.8': 'numpy==1.19.5',
    '3.9': 'numpy==2.0.2',
    '3.10': 'numpy==1.21.6',
    '3.11': 'numpy==1.24.4',
    '3.12': 'numpy==1.26.4',
    '3.13': 'numpy',
}


def find_python(version):
    """An interpreter of a version, on the path or as pyenv keeps them."""
    versions = Path(os.environ.get('PYENV_ROOT', '~/.pyenv')).expanduser() / 'versions'
    found = [*versions.glob(f'{version}.*/bin/python'), shutil.which(f'python{version}')]
    return next((str(path) for path in found if path), None)


def install(folder, version, *packages):
    """Put packages for a version of Python into a folder; skips where they cannot be had."""
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    pip += ['--target', str(folder), '--python-version', version, '--only-binary', ':all:']
    pip += ['--ignore-requires-python', '--no-warn-conflicts', '--no-compile', *packages]
    done = subprocess.run(pip, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f'cannot install {packages}: {done.stderr.strip().splitlines()[-1:]}')


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


def run_documented_client(python, server, inputs, packages=''):
    """What the client printed; it must have got the reference's actions."""
    done = subprocess.run(
        [python, CLIENT, server.endpoint, inputs], env={**os.environ, 'PYTHONPATH': packages},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said['resets'] == [{'status': 'OK'}] * 2
    assert said['qpos'] == ['float32', [17]]
    return said


def test_the_documented_client_gets_the_actions_of_the_reference(server, inputs, reference):
    said = run_documented_client(sys.executable, server, inputs)
    np.testing.assert_allclose(said['actions'], reference.aggregated, atol=1e-4, rtol=0)


@pytest.mark.parametrize('version', NUMPY)
def test_every_python_and_numpy_is_read_and_reads_the_replies(
    version, server, inputs, reference, tmp_path
):
    python = find_python(version)
    if python is None:
        pytest.skip(f'there is no Python {version} here')
    install(tmp_path, version, NUMPY[version], 'pyzmq')
    said = run_documented_client(python, server, inputs, str(tmp_path))
    assert '.'.join(map(str, said['python'])) == version
    wanted = NUMPY[version].partition('==')[2]
    assert said['numpy'].startswith(wanted)
    assert said['modules'] == ['numpy.core' if said['numpy'] < '2' else 'numpy._core']
    np.testing.assert_allclose(said['actions'], reference.aggregated, atol=1e-4, rtol=0)
