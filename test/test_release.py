"""One version, one set of pinned tools, and a changelog that knows both."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import act_ros

ROOT = Path(__file__).parents[1]


def of_package(path):
    return ET.parse(ROOT / path).findtext('version')


def test_there_is_one_version():
    ours = of_package('package.xml')
    assert re.fullmatch(r'\d+\.\d+\.\d+', ours)
    assert of_package('act_ros_interfaces/package.xml') == ours
    assert act_ros.__version__ == version('act_ros') == ours
    newest = re.search(r'^## (\S+)', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)
    assert newest[1] == ours
    # Nowhere else: setup.py reads it.
    assert f"'{ours}'" not in (ROOT / 'setup.py').read_text()


def test_the_hooks_check_with_the_versions_of_the_tests():
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos']
    (ruff,) = (repo for repo in hooks if 'ruff' in repo['repo'])
    assert f"'ruff=={ruff['rev'].removeprefix('v')}'" in (ROOT / 'setup.py').read_text()


def test_what_contributing_names_is_there():
    for path in re.findall(r'`((?:act_ros|test|benchmarks)/[\w/.]+)`',
                           (ROOT / 'CONTRIBUTING.md').read_text()):  # fmt: skip
        assert (ROOT / path).exists(), path


def test_programs_that_tests_start_are_counted_as_covered(tmp_path):
    pytest.importorskip('coverage', reason='`make coverage` installs it')
    coverage = [sys.executable, '-m', 'coverage']
    data = f'--data-file={tmp_path / "data"}'
    started = tmp_path / 'started.py'
    started.write_text(
        'import subprocess, sys\n'
        "subprocess.run([sys.executable, '-m', 'act_ros.inference_server', '--help'])"
    )
    for command in (['run', data, started], ['combine', data, tmp_path]):
        subprocess.run([*coverage, *command], cwd=ROOT, check=True, capture_output=True)
    shown = subprocess.run(
        [*coverage, 'report', data, '--include=*/inference_server.py'],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    covered = re.search(r'inference_server\.py +\d+ +\d+ +(\d+)%', shown)
    assert int(covered[1]) > 20, shown
