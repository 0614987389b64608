"""Run the ACT node on the simulated robot.

    ros2 launch act_ros sim.launch.py ckpt_dir:=/path/to/checkpoint

By default with the time-outs of `make demo`, which suit a policy on CPU cores. Only where there
is no robot: where anybody publishes what the simulated one would, or hears its commands, nothing
starts; where one comes later that publishes too, all of it ends. One that comes later and only
listens is not noticed.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_path
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from act_ros import child
from act_ros.config import parameter_files
from act_ros.nodes.launch_scope import same_scope
from act_ros.parameter_file import read_raw_parameters, write_parameter_file

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
    """The simulated robot, and the node that starts by itself, where no robot is."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=look_first),
        ]
    )


def look_first(context: LaunchContext) -> list[Action]:
    """Start nothing before the graph has been looked at."""
    given = dict(context.launch_configurations)
    scope = same_scope(context)
    # One file for all of them: what it says of a node `act` is what the others look for.
    files = parameter_files(given['params_file'] or None)
    values = read_raw_parameters(*files)
    file = Path(launch_config.log_dir) / 'sim_parameters.yaml'
    write_parameter_file(values, file)
    lookout = Node(
        package='act_ros',
        executable='lookout',
        exec_name='lookout',
        name='lookout',
        arguments=['simulation'],
        parameters=[str(file)],
        prefix=child.prefix(),
        output='screen',
    )

    def start(event: ProcessExited, _: LaunchContext) -> list[Action]:
        if event.returncode != 0:
            raise RuntimeError('no robot is simulated here; the lookout says why')
        arguments = {name: LaunchConfiguration(name) for name in ARGUMENTS}
        programs: list[Action] = [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'act.launch.py')),
                launch_arguments={**arguments, 'params_file': str(file)}.items(),
            ),
            Node(
                package='act_ros',
                executable='sim_robot',
                exec_name='sim_robot',
                name='sim_robot',
                parameters=[*map(str, files), str(file)],  # its own section counts over it
                prefix=[child.prefix(), LaunchConfiguration('launch-prefix', default='')],
                output='screen',
                emulate_tty=True,
                on_exit=Shutdown(reason='the simulated robot has ended'),
            ),
        ]
        return [scope(programs)]

    return [lookout, RegisterEventHandler(OnProcessExit(target_action=lookout, on_exit=start))]
