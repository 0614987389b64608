"""Run the ACT node on the simulated robot.

    ros2 launch act_ros sim.launch.py ckpt_dir:=/path/to/checkpoint

By default with the time-outs of `make demo`, which suit a policy on CPU cores.
"""

from ament_index_python.packages import get_package_share_path
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_path('act_ros')

# Launch argument -> default, description.
ARGUMENTS = {
    'ckpt_dir': ('', 'folder of the checkpoint (default: as the parameter files say)'),
    'params_file': (
        str(SHARE / 'config' / 'demo.yaml'),
        "parameter file for both programs; counts over the task's own",
    ),
    'autostart': ('true', 'false: the node waits to be configured and activated'),
    'zmq_endpoint': ('', "serve the ZMQ protocol too, e.g. 'tcp://127.0.0.1:5555'"),
}


def generate_launch_description() -> LaunchDescription:
    """The simulated robot, and the node that starts by itself."""
    arguments = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'act.launch.py')),
                launch_arguments=arguments.items(),
            ),
            Node(
                package='act_ros',
                executable='sim_robot',
                name='sim_robot',
                parameters=[
                    str(SHARE / 'config' / 'astrobench_dual_arm.yaml'),
                    arguments['params_file'],
                ],
                output='screen',
                emulate_tty=True,
            ),
        ]
    )
