"""Play a bag into the live ACT node in dry run, and record what it would have commanded.

    ros2 launch act_ros replay.launch.py bag:=/path/to/bag ckpt_dir:=/path/to/checkpoint

Nothing moves: commands go to `/act/dry_run/...` only. Recorded are these and `/act/tick`, in a
bag that `ros2 bag play`, Foxglove and PlotJuggler open. Without rosbag2, and to compare the
recording with the policy offline: `python -m act_ros.replay`.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_path
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from act_ros.config import parameter_files
from act_ros.interfaces import camera_inputs, state_inputs
from act_ros.parameter_file import read_parameter_file
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
    """The node in dry run, the player and the recorder; all end with the bag."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=play_and_record),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'act.launch.py')),
                launch_arguments={
                    'ckpt_dir': LaunchConfiguration('ckpt_dir'),
                    'params_file': LaunchConfiguration('params_file'),
                    'use_sim_time': 'true',
                    'dry_run': 'true',
                    'publish_tick': 'true',
                    'autostart': 'true',
                }.items(),
            ),
        ]
    )


def play_and_record(context: LaunchContext) -> list[Action]:
    """`ros2 bag play` and `ros2 bag record`; everything ends when the bag does."""
    given = context.launch_configurations
    if not Path(given['bag']).exists():
        raise RuntimeError(f'no bag {given["bag"]!r}')
    # The inputs alone: the recorded commands would move a robot that hears them.
    play = ExecuteProcess(
        cmd=['ros2', 'bag', 'play', given['bag'], '--clock', CLOCK_RATE,
             '--rate', given['rate'], '--delay', given['delay'],
             '--topics', *input_topics(given['params_file'])],
        output='screen',
    )  # fmt: skip
    record = ExecuteProcess(
        cmd=['ros2', 'bag', 'record', '--output', given['record_to'], '--storage', 'mcap',
             '--use-sim-time', '--regex', '/act/(tick|dry_run/.*)'],
        output='screen',
    )  # fmt: skip
    end = EmitEvent(event=Shutdown(reason='the bag has been played'))
    return [record, play, RegisterEventHandler(OnProcessExit(target_action=play, on_exit=[end]))]


def input_topics(params_file: str) -> list[str]:
    """What the node subscribes to, by its parameter files."""
    settings = read_parameter_file(*parameter_files(params_file or None))
    task = Task.from_settings(settings)
    inputs = {**camera_inputs(settings, task), **state_inputs(settings, task)}
    return ['/' + topic.lstrip('/') for topic, _ in inputs.values()]
