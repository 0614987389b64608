"""`colcon build` puts every file where ROS 2 looks for it."""

import importlib.util
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ('package.xml', 'setup.py', 'setup.cfg', 'resource', 'act_ros', 'detr')
COLCON = 'import sys; from colcon_core.command import main; sys.exit(main())'

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ('colcon_core', 'colcon_ros')),
    reason='colcon is not importable',
)


@pytest.fixture(scope='module')
def prefix(tmp_path_factory):
    """The package built in a workspace of its own, and where it was installed."""
    workspace = tmp_path_factory.mktemp('workspace')
    package = workspace / 'src' / 'act_ros'
    package.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns('__pycache__')
            shutil.copytree(source, package / name, ignore=ignore)
        else:
            shutil.copy2(source, package / name)
    run = subprocess.run(
        [sys.executable, '-c', COLCON, 'build'],
        cwd=workspace,
        env={**os.environ, 'COLCON_HOME': str(workspace / 'colcon_home')},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout
    return workspace / 'install' / 'act_ros'


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
            'replay', 'sim_robot', 'train',
    ]  # fmt: skip
    assert all(os.access(script, os.X_OK) for script in scripts)


def test_executables_run_what_was_installed(prefix):
    (site,) = (path.parents[1] for path in prefix.glob('**/act_ros/__init__.py'))
    assert (site / 'detr/__init__.py').is_file()
    assert (site / 'act_ros/config/astrobench_dual_arm.yaml').is_file()
    assert (site / 'act_ros/evaluation/report/templates/report.html').is_file()
    run = subprocess.run(
        [sys.executable, prefix / 'lib/act_ros/inference_server', '--help'],
        env={**os.environ, 'PYTHONPATH': str(site)},
        cwd=prefix,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith('usage: inference_server')


def test_both_manifests_agree():
    package = ET.parse(ROOT / 'package.xml').getroot()
    setup = (ROOT / 'setup.py').read_text()
    for key in ('name', 'description', 'license'):  # setup.py reads the version
        assert package.findtext(key).rstrip('.') in setup, key
