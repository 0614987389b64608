"""Play a bag into the live ACT node in dry run, and record what it would have commanded.

    ros2 launch act_ros replay.launch.py bag:=/path/to/bag ckpt_dir:=/path/to/checkpoint

Nothing moves: commands go to `/act/dry_run/...` only. Recorded are these and `/act/tick`, in a
bag that `ros2 bag play`, Foxglove and PlotJuggler open. Without rosbag2, and to compare the
recording with the policy offline: `python -m act_ros.replay`. Only where there is no robot: where
anybody publishes what the bag would, nothing starts; where somebody comes later, all of it ends.
"""

from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import get_package_share_path
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
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
from act_ros.interfaces import absolute, camera_inputs, state_inputs
from act_ros.nodes.launch_scope import ends_all, same_scope
from act_ros.nodes.lookout import PLAYER
from act_ros.parameter_file import (
    read_parameter_file,
    read_raw_parameters,
    write_parameter_file,
)
from act_ros.task import Task

SHARE = get_package_share_path('act_ros')

# Launch argument -> default (None: it must be given), description.
ARGUMENTS = {
    'bag': (None, 'the bag that is played'),
    'ckpt_dir': ('', 'folder of the checkpoint (default: as the parameter files say)'),
    'params_file': ('', "parameter file; counts over the task's own"),
    'record_to': ('replay_recording', 'the bag that is recorded; must not exist'),
    'rate': ('1.0', 'times real time'),
    'delay': ('15.0', 'seconds from the start to the first message: the node loads its model'),
}
# /clock this often, in Hz: 40, the default of ros2 bag play, would quantise a 50 Hz tick.
CLOCK_RATE = '200'


def generate_launch_description() -> LaunchDescription:
    """The node in dry run, the player and the recorder, where no robot is."""
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
    if not Path(given['bag']).exists():
        raise RuntimeError(f'no bag {given["bag"]!r}')
    if given.get('ros_namespace', '').strip('/') or given.get('ros_remaps'):
        raise RuntimeError(
            'a bag is played under its own names: leave out the namespace and the remappings'
        )
    # One file for all: what it says of a node `act` is what the lookout looks for. Nobody is
    # served, and nobody holds a deadman.
    values = read_raw_parameters(*parameter_files(*filter(None, [given['params_file']])))
    file = Path(launch_config.log_dir) / 'replay_parameters.yaml'
    write_parameter_file({**values, 'zmq_endpoint': '', 'enable_topic': ''}, file)
    looks = lookout(file)

    def start(event: ProcessExited, _: LaunchContext) -> list[Action]:
        if event.returncode != 0:
            raise RuntimeError('nothing is played here; the lookout says why')
        return [scope(play_and_record(given, file))]

    return [looks, RegisterEventHandler(OnProcessExit(target_action=looks, on_exit=start))]


def lookout(file: Path, *command: str) -> Node:
    """What looks for a robot in the graph, and then runs a command if there is one."""
    return Node(
        package='act_ros',
        executable='lookout',
        exec_name='lookout',
        name='lookout',
        arguments=['playback', *command],
        parameters=[str(file)],
        prefix=child.prefix(),
        output='screen',
    )


def play_and_record(given: Mapping[str, str], file: Path) -> list[Action]:
    """The node, `ros2 bag play` and `ros2 bag record`; everything ends when the bag does."""
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'act.launch.py')),
        launch_arguments={
            'ckpt_dir': LaunchConfiguration('ckpt_dir'),
            'params_file': str(file),
            'zmq_endpoint': '',
            'use_sim_time': 'true',
            'dry_run': 'true',
            'publish_tick': 'true',
            'autostart': 'true',
        }.items(),
    )
    # The inputs alone: the recorded commands would move a robot that hears them.
    play = lookout(
        file, 'ros2', 'bag', 'play', given['bag'], '--clock', CLOCK_RATE,
        '--rate', given['rate'], '--delay', given['delay'], '--remap', f'__node:={PLAYER}',
        '--topics', *input_topics(file),
    )  # fmt: skip
    record = ExecuteProcess(
        cmd=['ros2', 'bag', 'record', '--output', given['record_to'], '--storage', 'mcap',
             '--use-sim-time', '--regex', '/act/(tick|dry_run/.*)'],
        name='ros2',
        prefix=child.prefix(),
        output='screen',
    )  # fmt: skip
    end = ends_all('the bag has been played')
    return [
        node, record, play, RegisterEventHandler(OnProcessExit(target_action=play, on_exit=end))
    ]  # fmt: skip


def input_topics(file: Path) -> list[str]:
    """What the node subscribes to, by its parameter file."""
    settings = read_parameter_file(file)
    task = Task.from_settings(settings)
    inputs = {**camera_inputs(settings, task), **state_inputs(settings, task)}
    return [absolute(topic) for topic, _ in inputs.values()]
