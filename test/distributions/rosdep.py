"""Look up every key of the package.xml files in the public lists that rosdep reads.

    git clone --depth 1 https://github.com/ros/rosdistro /tmp/rosdistro
    python -m test.distributions.rosdep /tmp/rosdistro

writes `rosdep.yaml`, which the tests hold against package.xml: they themselves use no network.
"""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name('rosdep.yaml')
MANIFESTS = ('package.xml', 'act_ros_interfaces/package.xml')
DISTRIBUTIONS = ('humble', 'jazzy', 'kilted')
RELEASES = ('jammy', 'noble')  # of Ubuntu, which these run on


def keys():
    """All that the package.xml files depend on."""
    return {
        element.text
        for path in MANIFESTS
        for element in ET.parse(ROOT / path).getroot()
        if element.tag.endswith('depend')
    }


def look_up(rosdistro):
    """What each key is to rosdep: a package of ROS, or what installs it on Ubuntu."""
    released = [_released(rosdistro, name) for name in DISTRIBUTIONS]
    rules = _read(rosdistro, 'rosdep/base.yaml') | _read(rosdistro, 'rosdep/python.yaml')
    found = {}
    for key in sorted(keys()):
        if all(key in names for names in released):
            found[key] = 'ros'
        else:
            assert key in rules, f'{key} is not released in {DISTRIBUTIONS} and no key of rosdep'
            found[key] = _on_ubuntu(rules[key]['ubuntu'])
    return found


def _released(rosdistro, name):
    repositories = _read(rosdistro, f'{name}/distribution.yaml')['repositories']
    return {
        package
        for repository, about in repositories.items()
        if 'release' in about
        for package in about['release'].get('packages', [repository])
    }


def _on_ubuntu(rule):
    """How it is installed there, as `apt PACKAGE ...` or `pip PACKAGE ...`."""
    if isinstance(rule, dict) and 'pip' not in rule:
        assert not set(RELEASES) & set(rule), f'it differs from release to release: {rule}'
        rule = rule['*']
    way, names = ('pip', rule['pip']['packages']) if isinstance(rule, dict) else ('apt', rule)
    return ' '.join([way, *names])


def _read(rosdistro, path):
    shown = subprocess.run(
        ['git', '-C', rosdistro, 'show', f'HEAD:{path}'], capture_output=True, check=True
    ).stdout
    return yaml.load(shown, yaml.CSafeLoader)


def main(rosdistro):
    head = subprocess.run(
        ['git', '-C', rosdistro, 'log', '-1', '--format=%cs %H'],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    text = f'# Made by `python -m test.distributions.rosdep`: ros/rosdistro of {" ".join(head)}.\n'
    LIST.write_text(text + yaml.safe_dump(look_up(rosdistro)))


if __name__ == '__main__':
    main(sys.argv[1])
