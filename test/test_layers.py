"""The house stands on its floors: what is below the nodes needs no ROS."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What may import the ROS client library: the rim of the package.
RIM = ('act_ros/nodes', 'act_ros/demo', 'act_ros/launch')
ROS = {'rclpy', 'launch', 'launch_ros', 'ament_index_python', 'rosgraph_msgs', 'std_srvs'}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f'{node.module}'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


FILES = [
    str(path.relative_to(ROOT))
    for folder in ('act_ros', 'detr')
    for path in sorted((ROOT / folder).rglob('*.py'))
]


def test_below_the_rim_no_ros_is_imported():
    below = [name for name in FILES if not name.startswith(RIM)]
    assert len(below) > 50
    for name in below:
        roots = {module.split('.')[0] for module in imported(ROOT / name)}
        assert not {root for root in roots if root in ROS or root.endswith('_msgs')}, name


def test_the_simulated_robot_knows_nothing_of_the_floors_above():
    above = ('act_ros.nodes', 'act_ros.demo')
    files = [name for name in FILES if name.startswith('act_ros/sim/')]
    assert len(files) > 4
    for name in files:
        assert not [m for m in imported(ROOT / name) if m.startswith(above)], name
