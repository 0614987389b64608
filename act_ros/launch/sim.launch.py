"""Run the ACT node on the simulated robot.

ros2 launch act_ros sim.launch.py ckpt_dir:=/path/to/checkpoint
"""

from ament_index_python.packages import get_package_share_path
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_path('act_ros')


def generate_launch_description() -> LaunchDescription:
    """The simulated robot, and the node that starts by itself."""
    params_file = LaunchConfiguration('params_file')
    return LaunchDescription(
        [
            DeclareLaunchArgument('ckpt_dir', default_value='', description='of the checkpoint'),
            DeclareLaunchArgument(
                'params_file',
                default_value=str(SHARE / 'config' / 'astrobench_dual_arm.yaml'),
                description='parameter file, for both',
            ),
            DeclareLaunchArgument('autostart', default_value='true'),
            DeclareLaunchArgument('zmq_endpoint', default_value=''),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'act.launch.py')),
                launch_arguments={
                    name: LaunchConfiguration(name)
                    for name in ('ckpt_dir', 'params_file', 'autostart', 'zmq_endpoint')
                }.items(),
            ),
            Node(
                package='act_ros',
                executable='sim_robot',
                name='sim_robot',
                parameters=[params_file],
                output='screen',
                emulate_tty=True,
            ),
        ]
    )
