"""What runs on Humble: rclpy 3.3 and Python 3.10, of which no wheel is there to run the tests on.

`rclpy_humble.json` lists the names that rclpy 3.3.15 has: of its modules, and of the parameters
of its functions and classes.
"""

import ast
import inspect
import json
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(p for folder in ('act_ros', 'detr') for p in (ROOT / folder).rglob('*.py'))
HUMBLE = json.loads((Path(__file__).parent / 'rclpy_humble.json').read_text())
MODULES = {name: set(names.split()) for name, names in HUMBLE['modules'].items()}
PARAMETERS = {name: set(names.split()) for name, names in HUMBLE['parameters'].items()}
# Names of a later rclpy that are used only where they are there, and where.
GUARDED = {
    ('rclpy.event_handler', 'PublisherEventCallbacks'): 'nodes/wiring.py: except ImportError',
    ('rclpy.event_handler', 'SubscriptionEventCallbacks'): 'nodes/wiring.py: except ImportError',
}


def trees():
    for path in FILES:
        yield path.relative_to(ROOT), ast.parse(path.read_text())


def test_the_syntax_is_that_of_python_3_10():
    for path in FILES:
        ast.parse(path.read_text(), feature_version=(3, 10))


def test_every_name_of_rclpy_is_there():
    found, lacking = set(), []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('rclpy'):
                names = [(node.module, alias.name) for alias in node.names]
            elif (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                and node.value.id == 'rclpy'
            ):
                names = [('rclpy', node.attr)]
            else:
                continue
            found |= {*names}
            lacking += [
                f'{path}:{node.lineno}: {module}.{name}' for module, name in names
                if name not in MODULES.get(module, ()) and f'{module}.{name}' not in MODULES
                and (module, name) not in GUARDED
            ]  # fmt: skip
    assert not lacking
    assert {*GUARDED} <= found and len(found) > 40


def newer_methods():
    """Public methods and properties of the installed rclpy's classes that Humble has not."""
    rclpy = pytest.importorskip('rclpy')
    found = set()
    for info in pkgutil.walk_packages(rclpy.__path__, 'rclpy.'):
        if any(part.startswith('_') or part == 'impl' for part in info.name.split('.')):
            continue
        for _, it in inspect.getmembers(import_module(info.name), inspect.isclass):
            if it.__module__.startswith('rclpy'):
                # Capitals are values of enumerations.
                found |= {n for n in vars(it) if not n.startswith('_') and not n.isupper()}
    return found - PARAMETERS.keys() - {name for names in MODULES.values() for name in names}


# Names that other things than rclpy's have, too.
COMMON = {'name', 'value', 'register', 'clear', 'type', 'stop', 'state', 'message', 'wait'}
# Of events and handles, which in Humble are made in C.
COMMON |= {'last_policy_kind', 'destroy_when_not_in_use'}


def test_no_method_is_newer():
    newer = newer_methods() - COMMON
    lacking = [
        f'{path}:{node.lineno}: .{node.attr}' for path, tree in trees()
        if path.parts[1] in ('nodes', 'demo')
        for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in newer
    ]  # fmt: skip
    assert not lacking


def test_no_keyword_is_newer():
    """Of calls to what rclpy has, by the name of the method or class."""
    lacking = []
    for path, tree in trees():
        if path.parts[1] not in ('nodes', 'demo'):
            continue
        imported = {
            alias.asname or alias.name for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('rclpy')
            for alias in node.names
        }  # fmt: skip
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Name) and called.id in imported:
                name = called.id
            elif isinstance(called, ast.Attribute) and called.attr.startswith('create_'):
                name = called.attr
            else:
                continue
            known = PARAMETERS.get(name, {'**'})
            lacking += [
                f'{path}:{node.lineno}: {name}({keyword.arg}=...)' for keyword in node.keywords
                if keyword.arg and keyword.arg not in known and '**' not in known
            ]  # fmt: skip
    assert not lacking
