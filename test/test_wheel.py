"""What pip installs works by itself, without this clone: server, evaluator, trainer."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from contextlib import suppress
from pathlib import Path

import pytest

from test.readme.clone import free_port
from test.test_package import ROOT, SOURCES
from test.waiting import wait_until

BUILD = """import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])('dist'))"""
RECIPE = """{chunk_size: 4, hidden_dim: 32, feedforward_dim: 48, encoder_layers: 1, heads: 4,
decoder_layers: 1, backbone_width: 8, batch_size: 2, steps: 2, validate_every: 2}"""
FILES = (*SOURCES, 'README.md', 'LICENSE')


def run(*command, **options):
    """Run a program away from this clone."""
    kept = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run(
        [*map(str, command)], env=kept, capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of what the package is made from, in which things are built."""
    source = tmp_path_factory.mktemp('source')
    for name in FILES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy2(path, source / name)
    return source


@pytest.fixture(scope='module', params=['build_wheel', 'build_sdist'])
def programs(request, source, tmp_path_factory):
    """Where the programs are of an environment with the package, which has all else from ours."""
    built = run(sys.executable, '-c', BUILD, request.param, cwd=source).split()[-1]
    folder = tmp_path_factory.mktemp(request.param)
    venv.create(folder, symlinks=True)
    packages = next(folder.glob('lib/python*/site-packages'))
    # By a file of paths, in which no other such file counts: not that which leads to this clone.
    (packages / 'zz_shared.pth').write_text(sysconfig.get_path('purelib'))
    run(sys.executable, '-m', 'pip', '--python', folder / 'bin/python', 'install', '--no-deps',
        '--no-build-isolation', '--quiet', source / 'dist' / built)  # fmt: skip
    where = run(folder / 'bin/python', '-c', 'import act_ros; print(act_ros.__file__)', cwd=folder)
    assert Path(where.strip()).is_relative_to(packages)
    return folder / 'bin'


def test_every_file_is_in_it(programs):
    packages = next(programs.parent.glob('lib/python*/site-packages'))
    wanted = {
        path.relative_to(ROOT)
        for name in ('act_ros', 'detr') for path in (ROOT / name).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }  # fmt: skip
    assert {path.suffix for path in wanted} >= {'.py', '.yaml', '.xml', '.html'}
    share = programs.parent / 'share'  # where ROS looks, also for launch files
    assert not {
        str(path) for path in wanted
        if not any((folder / path).is_file() for folder in (packages, share))
    }  # fmt: skip


def demonstration_of(programs):
    return next(programs.parent.glob('lib/python*/site-packages/act_ros/sim/demonstration'))


def test_the_evaluator_and_the_trainer_run(programs, tmp_path):
    demonstration = demonstration_of(programs)
    demo = demonstration.parents[1] / 'config/demo.yaml'
    run(programs / 'python', '-m', 'act_ros.sim.demo_bag', '--out', 'bag', '--seconds', '0.5',
        cwd=tmp_path)  # fmt: skip
    said = run(programs / 'evaluate_bag', 'bag', '--ckpt-dir', demonstration, '--params-file',
               demo, '--out', 'evaluation', cwd=tmp_path)  # fmt: skip
    assert 'report: evaluation/report.html' in said
    assert (tmp_path / 'evaluation/report.html').stat().st_size > 10_000

    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text(RECIPE)
    run(programs / 'train', 'bag', '--params-file', demo, '--recipe', recipe,
        '--validation-share', '0', '--out', 'ckpt', cwd=tmp_path)  # fmt: skip
    assert (tmp_path / 'ckpt/policy_best.ckpt').is_file()


@pytest.mark.parametrize('programs', ['build_wheel'], indirect=True)
def test_the_server_answers(programs, tmp_path):
    demonstration = demonstration_of(programs)
    endpoint = f'tcp://127.0.0.1:{free_port()}'
    kept = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    log = tmp_path / 'server.log'
    server = subprocess.Popen(
        [programs / 'inference_server', '--ckpt-dir', demonstration, '--endpoint', endpoint],
        cwd=tmp_path, env=kept, stderr=log.open('w'),
    )  # fmt: skip
    try:
        health = {}

        def ready():
            assert server.poll() is None, log.read_text()
            with suppress(AssertionError):  # while it loads, the program says so and fails
                health.update(json.loads(run(
                    programs / 'python', '-m', 'act_ros.test_zmq_client', '--health',
                    '--endpoint', endpoint, cwd=tmp_path,
                )))  # fmt: skip
            return health.get('state') == 'ready'

        wait_until(ready, 60, lambda: f'a server that is ready: {health}')
    finally:
        server.terminate()
        assert server.wait(20) == 0
