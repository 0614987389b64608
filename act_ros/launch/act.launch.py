"""Run an ACT policy on a robot.

    ros2 launch act_ros act.launch.py ckpt_dir:=/path/to/checkpoint

The node starts unconfigured and moves nothing until it is told to, with
`ros2 lifecycle set /act configure` and `activate`, or with `autostart:=true`. It ends with the
launch, also where that is killed.
"""

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from act_ros import child
from act_ros.config import DEFAULT_TASK, parameter_files, task_file
from act_ros.nodes.dds import image_profile
from act_ros.parameter_file import read_parameter_file

ARGUMENTS = {
    'ckpt_dir': 'folder of the checkpoint (default: as the parameter files say)',
    'policy_endpoint': "ask a policy server instead, e.g. 'tcp://gpu-server:5555'",
    'params_file': "parameter file; counts over the task's, or stands alone if it describes one",
    'task': f'name of a shipped task, or the path of its YAML (default: {DEFAULT_TASK})',
    'autostart': 'true: configure and activate without being told',
    'zmq_endpoint': "serve the ZMQ protocol too, e.g. 'tcp://127.0.0.1:5555'",
    'use_sim_time': 'true: time comes from /clock',
    'dry_run': 'true: commands go to ~/dry_run only',
    'publish_tick': 'true: ~/tick says what each command was made from',
}
# Arguments that are parameters of the node, with their types. One that is not given is not
# set: its value comes from the parameter files.
OVERRIDES = {
    'ckpt_dir': str,
    'policy_endpoint': str,
    'autostart': bool,
    'zmq_endpoint': str,
    'use_sim_time': bool,
    'dry_run': bool,
    'publish_tick': bool,
}


def generate_launch_description() -> LaunchDescription:
    """The launch arguments, and the node made from them."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value='', description=text)
                for name, text in ARGUMENTS.items()
            ),
            *dds_profile(),
            OpaqueFunction(function=make_node),
        ]
    )


def dds_profile() -> list[Action]:
    """Let camera images fit into Fast DDS's shared memory, unless the user has a profile."""
    return [SetEnvironmentVariable(name, value) for name, value in image_profile().items()]


def make_node(context: LaunchContext) -> list[Action]:
    """The ACT node with the parameter files and what the arguments say over them."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    files = parameter_files(*filter(None, [given['params_file']]))
    if given['task']:
        if given['params_file'] and len(files) == 1:
            raise RuntimeError(
                f'{files[0]} describes a task itself: leave out task, or task.cameras in the file'
            )
        files[0] = task_file(given['task'])
    if given['ckpt_dir'] and given['policy_endpoint']:
        raise RuntimeError('ckpt_dir and policy_endpoint are two policies: leave out one of them')
    read_parameter_file(*files)  # says what is wrong with them before a process starts
    overrides = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in OVERRIDES.items()
        if given[name]
    }
    if given['ckpt_dir']:  # who names a checkpoint means that
        overrides['policy_endpoint'] = ''
    return [
        LifecycleNode(
            package='act_ros',
            executable='act_node',
            exec_name='act_node',
            name='act',
            namespace='',
            parameters=[*map(str, files), overrides],
            prefix=[child.prefix(), LaunchConfiguration('launch-prefix', default='')],
            output='screen',
            emulate_tty=True,
        )
    ]
