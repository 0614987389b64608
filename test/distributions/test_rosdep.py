"""rosdep finds all that package.xml names, and package.xml names all that is used."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import yaml

from test.distributions.rosdep import LIST, ROOT, keys

FOUND = yaml.safe_load(LIST.read_text())
OWN = {'act_ros', 'act_ros_interfaces', 'detr'}


def requirements():
    """What setup.py wants of PyPI for any use, and for all: with the extras that are for users."""
    (call,) = (
        node for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setup'
    )  # fmt: skip
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    needed = names(ast.literal_eval(values['install_requires']))
    extras = zip(values['extras_require'].keys, values['extras_require'].values, strict=True)
    texts = [node.value for name, listed in extras if name.value not in ('docs', 'test')
             for node in ast.walk(listed) if isinstance(node, ast.Constant)]  # fmt: skip
    return needed, needed | names(texts)


def names(texts):
    return {re.split(r'[\[<=>]', text)[0].lower() for text in texts}


def imported():
    """The packages that any of our modules imports, but for Python's own."""
    for path in (path for name in ('act_ros', 'detr') for path in (ROOT / name).rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module.split('.')[0]


def test_rosdep_knows_every_key():
    assert set(FOUND) == keys(), 'python -m test.distributions.rosdep looks them up'


def test_what_rosdep_takes_from_pip_is_said():
    install = (ROOT / 'docs/install.md').read_text()
    from_pip = {key for key, way in FOUND.items() if way.startswith('pip ')}
    assert from_pip
    assert all(f'`{key}`' in install for key in from_pip)


def test_what_setup_wants_comes_by_rosdep_or_is_said_not_to():
    installed = {
        name.removeprefix('python3-')
        for key, way in FOUND.items() if way != 'ros'
        for name in (*way.split()[1:], key.removesuffix('-pip'))
    }  # fmt: skip
    (unknown,) = re.findall(
        r'<!-- From PyPI, with no key of rosdep: (\w+)', (ROOT / 'package.xml').read_text()
    )
    other = {'opencv-python-headless': 'opencv', 'pyyaml': 'yaml', 'pyzmq': 'zmq'}
    needed, _ = requirements()
    assert {name for name in needed if other.get(name, name) not in installed} == {unknown}


def test_what_is_imported_is_wanted():
    modules = {*imported()} - {*sys.stdlib_module_names} - OWN
    assert {'rclpy', 'numpy', 'launch_ros'} <= modules
    ros = {key for key, way in FOUND.items() if way == 'ros'}
    _, wanted = requirements()
    distributions = packages_distributions()
    unknown = {
        module for module in modules - ros
        if not wanted & {name.lower().replace('_', '-') for name in distributions.get(module, ())}
    }  # fmt: skip
    assert not unknown
