"""Run the ACT node on the simulated robot.

    ros2 launch act_ros sim.launch.py
    ros2 launch act_ros sim.launch.py ckpt_dir:=/path/to/checkpoint

The first runs the policy that comes with the package, which grasps the handle, as `make demo` does
once; the second a checkpoint of your own, with time-outs that suit a large network on CPU cores.

Only where there is no robot: where anybody publishes what the simulated one would, or hears its
commands, nothing starts; where one comes later, all of it ends.
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
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from act_ros import child
from act_ros.config import parameter_files
from act_ros.nodes.launch_scope import ends_all, same_scope
from act_ros.parameter_file import read_raw_parameters, write_parameter_file
from act_ros.sim import DEMONSTRATION

SHARE = get_package_share_path('act_ros')

# Launch argument -> default, description.
ARGUMENTS = {
    'ckpt_dir': (
        '',
        'folder of the checkpoint (default: the one that comes with the package; with a '
        'params_file, as that says)',
    ),
    'params_file': (
        '',
        "parameter file for both programs; counts over the task's own (default: demo.yaml of the "
        'package, or with a ckpt_dir its simulation.yaml)',
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
    checkpoint, params_file = chosen(given['ckpt_dir'], given['params_file'])
    files = parameter_files(params_file)
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
        own = {'ckpt_dir': checkpoint, 'params_file': str(file)}
        arguments = {name: LaunchConfiguration(name) for name in ARGUMENTS if name not in own}
        programs: list[Action] = [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'act.launch.py')),
                launch_arguments={**arguments, **own}.items(),
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
                on_exit=ends_all('the simulated robot has ended'),
            ),
        ]
        return [scope(programs)]

    return [lookout, RegisterEventHandler(OnProcessExit(target_action=lookout, on_exit=start))]


def chosen(ckpt_dir: str, params_file: str) -> tuple[str, str]:
    """Checkpoint and parameter file, where one of them or both may be left out."""
    if params_file:
        return ckpt_dir, params_file
    name = 'simulation.yaml' if ckpt_dir else 'demo.yaml'
    return ckpt_dir or str(DEMONSTRATION), str(SHARE / 'config' / name)
