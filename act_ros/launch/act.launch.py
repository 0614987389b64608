"""Run an ACT policy on a robot.

    ros2 launch act_ros act.launch.py ckpt_dir:=/path/to/checkpoint

The node starts unconfigured and moves nothing until it is told to, with
`ros2 lifecycle set /act configure` and `activate`, or with `autostart:=true`.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_path
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

SHARE = get_package_share_path('act_ros')

# Launch argument -> node parameter, set only where the argument is given: what is not given
# comes from the parameter file.
OVERRIDES = ('ckpt_dir', 'autostart', 'zmq_endpoint', 'use_sim_time')


def generate_launch_description() -> LaunchDescription:
    """The launch arguments, and the node made from them."""
    arguments = {
        'ckpt_dir': 'folder of the checkpoint (default: as the parameter file says)',
        'params_file': "parameter file (default: the task's own)",
        'task': 'name of a shipped task: its parameter file (default: astrobench_dual_arm)',
        'autostart': 'true: configure and activate without being told',
        'zmq_endpoint': "serve the ZMQ protocol too, e.g. 'tcp://127.0.0.1:5555'",
        'use_sim_time': 'true: time comes from /clock',
    }
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value='', description=text)
                for name, text in arguments.items()
            ),
            *dds_profile(),
            OpaqueFunction(function=make_node),
        ]
    )


def dds_profile() -> list[Action]:
    """Let camera images fit into Fast DDS's shared memory, unless the user has a profile."""
    name = 'FASTDDS_DEFAULT_PROFILES_FILE'
    if os.environ.get('ROS_DISTRO') == 'humble':
        name = 'FASTRTPS_DEFAULT_PROFILES_FILE'
    if name in os.environ:
        return []
    return [SetEnvironmentVariable(name, str(SHARE / 'config' / 'fastdds.xml'))]


def make_node(context: LaunchContext) -> list[Action]:
    """The ACT node with the parameter file and what the arguments say over it."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    task = given('task') or 'astrobench_dual_arm'
    params_file = given('params_file') or str(SHARE / 'config' / f'{task}.yaml')
    if not Path(params_file).is_file():
        known = sorted(p.stem for p in (SHARE / 'config').glob('*.yaml'))
        raise RuntimeError(f'no parameter file {params_file!r}; shipped: {", ".join(known)}')
    overrides = {}
    for name in OVERRIDES:
        value = given(name)
        if value and name in ('autostart', 'use_sim_time'):
            overrides[name] = value.lower() in ('true', '1')
        elif value:
            overrides[name] = value
    return [
        LifecycleNode(
            package='act_ros',
            executable='act_node',
            name='act',
            namespace='',
            parameters=[params_file, overrides] if overrides else [params_file],
            output='screen',
            emulate_tty=True,
            # The node ends by itself within two seconds of Ctrl-C; launch shall not be quicker.
            sigterm_timeout='5',
        )
    ]
