"""What a process imports: neither the network nor ROS where it has no use for it."""

import subprocess
import sys

import pytest

IMPORT = """
import importlib, sys
for name in {missing}:
    sys.modules[name] = None  # its import fails
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


@pytest.mark.parametrize(
    ('modules', 'missing'),
    [
        (['act_ros.nodes.main', 'act_ros.nodes.act_node'], ['torch', 'torchvision']),
        (['act_ros.bridge.child'], ['torch', 'torchvision', 'rclpy']),
    ],
    ids=['node', 'endpoint'],
)
def test_they_can_be_imported_where_it_is_not_installed(modules, missing):
    program = IMPORT.format(missing=missing)
    run = subprocess.run(
        [sys.executable, '-c', program, *modules], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


def test_what_is_missing_would_be_seen():
    program = IMPORT.format(missing=['torch'])
    run = subprocess.run(
        [sys.executable, '-c', program, 'act_ros.policy.policy'], capture_output=True, text=True
    )
    assert 'ModuleNotFoundError: import of torch halted' in run.stderr


WITHOUT_ROS = """import runpy, sys
sys.modules['rclpy'] = None  # as where no distribution is sourced
runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"""


@pytest.mark.parametrize(
    ('program', 'arguments'),
    [
        ('act_ros.nodes.main', []),
        ('act_ros.nodes.lookout', []),
        ('act_ros.demo.sim_robot', []),
        ('act_ros.demo', []),
        ('act_ros.replay', ['some_bag']),
    ],
)
def test_without_ros_a_program_says_in_one_line_what_to_do(program, arguments):
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_ROS, program, *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert 'error: no rclpy; source your ROS 2 distribution' in line
