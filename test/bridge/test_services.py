"""The server as a service: what the examples for systemd and for containers say works."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from act_ros import make_keys
from act_ros.bridge.keys import ServerKeys
from act_ros.inference_server import parse_arguments
from test.bridge.servers import ANY_PORT, PATIENCE, ROOT, Process

UNIT = ROOT / 'examples/act-ros-server.service'
IMAGE = (ROOT / 'examples/Dockerfile').read_text().replace('\\\n', ' ')


def setting(name):
    """The value of a unit's line, also of one that is commented out."""
    (value,) = re.findall(rf'^#?{name}=(.*)$', UNIT.read_text(), re.MULTILINE)
    return value


def instruction(name):
    (value,) = re.findall(rf'^{name} (.*)$', IMAGE, re.MULTILINE)
    return value


# --- systemd


def test_the_unit_says_a_command_that_the_server_takes():
    python, dash_m, module, *arguments = shlex.split(setting('ExecStart'))
    assert (Path(python).name, dash_m, module) == ('python', '-m', 'act_ros.inference_server')
    assert parse_arguments(arguments).endpoint == 'tcp://127.0.0.1:5555'
    more = re.search(r'Add `(--endpoint.*)` above', UNIT.read_text())[1]
    parsed = parse_arguments([*arguments, *shlex.split(more)])
    assert (parsed.endpoint, parsed.curve_dir) == ('tcp://*:5555', '/run/act_ros/keys')


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='systemd is not installed')
def test_systemd_takes_the_unit_and_finds_it_well_confined(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace('/opt/act_ros/bin/python', sys.executable))

    def analyze(*arguments):
        return subprocess.run(
            ['systemd-analyze', *arguments, unit], capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip

    verified = analyze('verify')
    assert (verified.returncode, verified.stderr) == (0, '')
    # Of 0 to 100 tenths; a service that confines nothing has 96.
    confined = analyze('security', '--offline=true', '--threshold=20')
    assert confined.returncode == 0, confined.stdout[-200:]


def test_the_keys_are_where_only_the_service_reads_them(tmp_path):
    keys = tmp_path / 'etc/keys'
    assert make_keys.main([str(keys), '--client', 'arm']) == 0
    (tmp_path / 'run').mkdir()
    command = setting('ExecStartPre').removeprefix('+')
    for path in ('etc', 'run'):
        command = command.replace(f'/{path}/act_ros', str(tmp_path / path))
    subprocess.run(shlex.split(command), check=True, timeout=PATIENCE)
    loaded = ServerKeys.load(tmp_path / 'run/keys')  # which looks who may read the secret
    assert loaded == ServerKeys.load(keys)


# --- the container


@pytest.fixture
def image(tmp_path):
    """A folder with the files that an image has."""
    for words in re.findall(r'^COPY (.*)$', IMAGE, re.MULTILINE):
        *sources, target = words.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target)
            else:
                shutil.copy(ROOT / source, tmp_path / target)
    return tmp_path


def test_the_image_serves_and_its_health_is_known(image, ckpt):
    python, *arguments = json.loads(instruction('ENTRYPOINT'))
    assert python == 'python'
    arguments[arguments.index('/ckpt')] = ckpt
    check = instruction('HEALTHCHECK').partition(' CMD ')[2]

    def health(endpoint):
        environment = {
            'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
            'PYTHONPATH': str(image), 'HEALTH': f'--endpoint {endpoint}',
        }  # fmt: skip
        return subprocess.run(
            ['sh', '-c', check], env=environment, cwd='/', capture_output=True, text=True,
            check=False, timeout=PATIENCE,
        )  # fmt: skip

    with closing(Process(*arguments, '--endpoint', ANY_PORT, path=image)) as process:
        endpoint = process.find(r'serving \S+ on (tcp://\S+)\n')[1]
        done = health(endpoint)
        assert (done.returncode, done.stderr) == (0, '')
        number = getattr(signal, instruction('STOPSIGNAL'))
        assert process.stop(number, 2.0) == 0
    assert health('nowhere').returncode == 1


def test_the_image_is_made_from_what_is_not_ignored():
    copied = {word for words in re.findall(r'^COPY (.*)$', IMAGE, re.MULTILINE)
              for word in words.split()[:-1]}  # fmt: skip
    ignored = (ROOT / 'examples/Dockerfile.dockerignore').read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith('!')} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_what_the_image_installs_has_a_name_here():
    (extras,) = re.findall(r"pip install .* '\.\[(.*)\]'", IMAGE)
    setup = (ROOT / 'setup.py').read_text()
    assert all(f"'{extra}': [" in setup for extra in extras.split(','))
    # The same torch as elsewhere.
    (torch,) = re.findall(r'torch==[\d.]+', IMAGE)
    assert f'TORCH ?= {torch}\n' in (ROOT / 'Makefile').read_text()
