"""`colcon build` puts every file where ROS 2 looks for it."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ('package.xml', 'setup.py', 'setup.cfg', 'resource', 'act_ros', 'detr')
# What `colcon test` is to run of this suite.
TESTS = ('test/__init__.py', 'test/conftest.py', 'test/test_task.py')
COLCON = 'import sys; from colcon_core.command import main; sys.exit(main())'

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ('colcon_core', 'colcon_ros')),
    reason='colcon is not importable',
)


def colcon(workspace, *arguments):
    """Run colcon, which has none of what Python was told by this environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith('PYTHON')}
    run = subprocess.run(
        [sys.executable, '-c', COLCON, *arguments],
        cwd=workspace,
        env={**kept, 'COLCON_HOME': str(workspace / 'colcon_home')},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


@pytest.fixture(scope='module', params=['build', 'build --symlink-install'])
def workspace(request, tmp_path_factory):
    """A workspace with the package, built."""
    workspace = tmp_path_factory.mktemp('workspace')
    package = workspace / 'src' / 'act_ros'
    (package / 'test').mkdir(parents=True)
    for name in (*SOURCES, *TESTS):
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns('__pycache__')
            shutil.copytree(source, package / name, ignore=ignore)
        else:
            shutil.copy2(source, package / name)
    said = colcon(workspace, *request.param.split(), '--event-handlers', 'console_direct+')
    (workspace / 'said').write_text(said)
    return workspace


@pytest.fixture(scope='module')
def prefix(workspace):
    return workspace / 'install' / 'act_ros'


def test_the_build_warns_of_nothing(workspace):
    said = (workspace / 'said').read_text()
    assert 'Finished <<< act_ros' in said
    assert not re.findall('.*(?:[Ww]arning|[Dd]eprecat|ERROR).*', said)


@pytest.mark.parametrize('workspace', ['build --symlink-install'], indirect=True)
def test_colcon_runs_the_tests(workspace):
    colcon(workspace, 'test', '--pytest-args', TESTS[-1], '-q')
    results = colcon(workspace, 'test-result', '--all')
    tests, errors, failures = re.search(
        r'Summary: (\d+) tests, (\d+) errors, (\d+) failures', results
    ).groups()
    assert int(tests) > 0
    assert (errors, failures) == ('0', '0')


def test_index_marker(prefix):
    assert (prefix / 'share/ament_index/resource_index/packages/act_ros').is_file()
    assert (prefix / 'share/act_ros/package.xml').is_file()


@pytest.mark.parametrize('folder', ['launch', 'config', 'config/examples', 'config/layouts'])
def test_shared_files(prefix, folder):
    sources = {
        path.name: path.read_bytes()
        for path in (ROOT / 'act_ros' / folder).iterdir()
        if path.name.endswith(('.launch.py', '.yaml', '.xml', '.json'))
    }
    installed = prefix / 'share/act_ros' / folder
    assert sources
    files = [path for path in installed.iterdir() if path.is_file()]
    assert {path.name: path.read_bytes() for path in files} == sources


def test_executables(prefix):
    scripts = sorted((prefix / 'lib/act_ros').iterdir())
    assert [script.name for script in scripts] == [
        'act_node', 'check_config', 'evaluate_bag', 'inference_server', 'lookout', 'new_robot',
            'replay', 'sim_robot', 'train', 'web_status',
    ]  # fmt: skip
    assert all(os.access(script, os.X_OK) for script in scripts)


def test_executables_run_what_was_installed(workspace, prefix):
    where = 'import act_ros, detr; print(act_ros.__path__[0]); print(detr.__path__[0])'
    run = subprocess.run(
        ['sh', '-c', f'. {workspace}/install/setup.sh; {sys.executable} -c "{where}"; '
         f'{prefix}/lib/act_ros/inference_server --help'],
        env={name: value for name, value in os.environ.items() if name != 'PYTHONPATH'},
        cwd=prefix,
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    *roots, usage = run.stdout.split('\n', 2)[:3]
    assert all(Path(root).is_relative_to(workspace) for root in roots), roots
    assert usage.startswith('usage: inference_server')
    act_ros = Path(roots[0])
    assert (act_ros / 'config/astrobench_dual_arm.yaml').is_file()
    assert (act_ros / 'evaluation/report/templates/report.html').is_file()


def test_both_manifests_agree():
    package = ET.parse(ROOT / 'package.xml').getroot()
    setup = (ROOT / 'setup.py').read_text()
    for key in ('name', 'description', 'license'):  # setup.py reads the version
        assert package.findtext(key).rstrip('.') in setup, key
