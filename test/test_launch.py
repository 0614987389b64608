"""The launch files, run by launch itself: which programs start, and with which parameters.

The programs are stand-ins that write down what they were started with.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from act_ros.parameter_file import read_raw_parameters
from act_ros.sim import DEMONSTRATION
from test.processes import alive
from test.waiting import wait_until

pytest.importorskip(
    'launch_ros.actions', reason='launch_ros is not importable (it comes with a ROS distribution)'
)

PACKAGE = Path(__file__).parents[1] / 'act_ros'
SHIPPED = PACKAGE / 'config/astrobench_dual_arm.yaml'
PROFILE = 'FASTDDS_DEFAULT_PROFILES_FILE'

# Writes its own name, parameters (later files over earlier) and profile to $RECORDS/NAME.json. The
# lookout runs what it is given, and says no where $RIVAL is set. The robot ends after the node has
# begun; those that $LASTS names last.
STAND_IN = f"""#!{sys.executable}
import json, os, pathlib, signal, subprocess, sys, time, yaml

def flatten(tree, prefix=''):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, prefix + key + '.')
        else:
            yield prefix + key, value

values = {{}}
for flag, path in zip(sys.argv, sys.argv[1:]):
    if flag == '--params-file':
        for section in yaml.safe_load(open(path)).values():
            values.update(flatten(section['ros__parameters']))
name = pathlib.Path(sys.argv[0]).name
record = {{'pid': os.getpid(), 'argv': sys.argv[1:], 'values': values}}
record['domain'] = os.environ.get('ROS_DOMAIN_ID')
record['profile'] = os.environ.get('{PROFILE}')
folder = pathlib.Path(os.environ['RECORDS'])
folder.joinpath(name + '.new').write_text(json.dumps(record))
folder.joinpath(name + '.new').rename(folder / f'{{name}}.json')
if name == 'lookout':
    role, *command = sys.argv[1:sys.argv.index('--ros-args')]
    if 'RIVAL' in os.environ:
        sys.exit(2)
    sys.exit(subprocess.call(command) if command else 0)
while name == 'sim_robot' and not folder.joinpath('act_node.json').exists():
    time.sleep(0.05)
if name in os.environ.get('LASTS', '').split():
    signal.pause()
"""

# What `ros2 launch FILE NAME:=VALUE ...` does.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
service = LaunchService(argv=arguments, noninteractive=True)
included = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(path),
    launch_arguments=[argument.split(':=', 1) for argument in arguments],
)
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


@pytest.fixture(scope='module')
def prefix(tmp_path_factory):
    """An installation of the package with stand-ins for its programs."""
    prefix = tmp_path_factory.mktemp('prefix')
    index = prefix / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'act_ros').touch()
    share = prefix / 'share/act_ros'
    share.mkdir()
    for folder in ('launch', 'config'):
        (share / folder).symlink_to(PACKAGE / folder)
    programs = prefix / 'lib/act_ros'
    programs.mkdir(parents=True)
    for name in ('act_node', 'lookout', 'sim_robot'):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    return prefix


@pytest.fixture
def begin(prefix, tmp_path, own_domain):
    """Run a launch file as a process."""

    def begin(name, *arguments, **environment):
        prefixes = [str(prefix), os.environ.get('AMENT_PREFIX_PATH', '')]
        inherited = {key: value for key, value in os.environ.items() if 'PROFILES' not in key}
        return subprocess.Popen(
            [sys.executable, '-c', LAUNCH, prefix / 'share/act_ros/launch' / name, *arguments],
            env={
                **inherited,
                'AMENT_PREFIX_PATH': os.pathsep.join(filter(None, prefixes)),
                'RECORDS': str(tmp_path),
                'ROS_LOG_DIR': str(tmp_path / 'log'),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return begin


@pytest.fixture
def start(begin, tmp_path):
    """Run a launch file to its end; its exit code, output and records by program."""

    def start(name, *arguments, **environment):
        run = begin(name, *arguments, **environment)
        output, _ = run.communicate(timeout=60)
        records = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob('*.json')}
        return run.returncode, output, records

    return start


def test_act_by_default(start):
    code, output, records = start('act.launch.py')
    assert code == 0, output
    assert set(records) == {'act_node'}
    node = records['act_node']
    assert '__node:=act' in node['argv']
    assert node['profile'] == str(PACKAGE / 'config/fastdds.xml')
    shipped = yaml.safe_load((PACKAGE / 'config/astrobench_dual_arm.yaml').read_text())
    expected = shipped['/**']['ros__parameters']
    assert node['values']['task.cameras'] == expected['task']['cameras']
    assert node['values']['autostart'] is False
    # What is not given is not set: the files decide.
    assert 'use_sim_time' not in node['values']


def test_act_arguments_reach_the_node(start):
    code, output, records = start(
        'act.launch.py',
        'ckpt_dir:=2024',  # a folder's name that YAML would read as a number
        'autostart:=True',
        'zmq_endpoint:=tcp://127.0.0.1:5556',
        'use_sim_time:=true',
    )
    assert code == 0, output
    values = records['act_node']['values']
    assert values['ckpt_dir'] == '2024'
    assert values['autostart'] is True
    assert values['zmq_endpoint'] == 'tcp://127.0.0.1:5556'
    assert values['policy_endpoint'] == ''
    assert values['use_sim_time'] is True


def test_a_policy_server_stands_in_for_a_checkpoint(start):
    code, output, records = start('act.launch.py', 'policy_endpoint:=tcp://gpu:1', 'ckpt_dir:=a')
    assert code != 0 and 'ckpt_dir and policy_endpoint are two policies' in output
    assert not records
    code, output, records = start('act.launch.py', 'policy_endpoint:=tcp://gpu:5555')
    assert code == 0, output
    assert records['act_node']['values']['policy_endpoint'] == 'tcp://gpu:5555'


def test_act_params_file_counts_over_the_task_and_arguments_over_both(start, tmp_path):
    task = tmp_path / 'mine.yaml'
    task.write_text(
        '/**:\n  ros__parameters:\n    task: {name: mine}\n    decay: 0.5\n    ckpt_dir: a\n'
    )
    params = tmp_path / 'params.yaml'
    params.write_text('/**:\n  ros__parameters:\n    decay: 0.25\n    ckpt_dir: b\n')
    code, output, records = start(
        'act.launch.py', f'task:={task}', f'params_file:={params}', 'ckpt_dir:=c'
    )
    assert code == 0, output
    values = records['act_node']['values']
    assert values == {
        'task.name': 'mine', 'decay': 0.25, 'ckpt_dir': 'c', 'policy_endpoint': ''
    }  # fmt: skip


def test_a_params_file_with_a_task_of_its_own_takes_no_other_robots_limits(start, tmp_path):
    shipped = yaml.safe_load((PACKAGE / 'config/astrobench_dual_arm.yaml').read_text())
    own = {'task': shipped['/**']['ros__parameters']['task'], 'decay': 0.25}
    params = tmp_path / 'robot.yaml'
    params.write_text(yaml.safe_dump({'/**': {'ros__parameters': own}}))
    code, output, records = start('act.launch.py', f'params_file:={params}')
    assert code == 0, output
    values = records['act_node']['values']
    assert values['decay'] == 0.25
    assert 'joint_limits' in shipped['/**']['ros__parameters']
    assert not any(name.startswith('joint_limits') for name in values)


def test_users_own_dds_profile_stays(start):
    code, output, records = start('act.launch.py', **{PROFILE: '/mine.xml'})
    assert code == 0, output
    assert records['act_node']['profile'] == '/mine.xml'


@pytest.mark.parametrize(
    ('argument', 'text'),
    [
        ('task:=elsewhere', "unknown task 'elsewhere'"),
        ('params_file:=/no/such.yaml', "no parameter file '/no/such.yaml'"),
        (f'task:=astrobench_dual_arm params_file:={SHIPPED}', 'describes a task itself'),
        ('autostart:=perhaps', "'perhaps'"),
    ],
)
def test_wrong_argument_is_named_and_nothing_starts(start, argument, text):
    code, output, records = start('act.launch.py', *argument.split())
    assert code == 1
    assert text in output
    assert 'Traceback' not in output
    assert records == {}


@pytest.mark.parametrize(
    ('argument', 'ckpt_dir', 'file'),
    [
        (None, str(DEMONSTRATION), 'demo.yaml'),
        ('ckpt_dir:=/ck', '/ck', 'simulation.yaml'),
    ],
)
def test_sim(start, argument, ckpt_dir, file):
    code, output, records = start('sim.launch.py', *filter(None, [argument]))
    assert code == 0, output
    assert set(records) == {'act_node', 'sim_robot', 'lookout'}
    assert records['lookout']['argv'][0] == 'simulation'
    node = records['act_node']
    assert node['values']['ckpt_dir'] == ckpt_dir
    assert node['values']['autostart'] is True
    expected = read_raw_parameters(SHIPPED, PACKAGE / 'config' / file)
    for record in records.values():
        for name in ('task.image_size', 'command_timeout', 'camera_topics'):
            assert record['values'][name] == expected[name]
    for name in ('act_node', 'sim_robot'):
        assert records[name]['profile'] == str(PACKAGE / 'config/fastdds.xml')


def test_all_of_sim_mean_what_the_file_says_of_the_node(start, tmp_path):
    params = tmp_path / 'params.yaml'
    outputs = ['/real/joint_commands JointState']
    params.write_text(yaml.safe_dump({'act': {'ros__parameters': {'outputs': outputs}}}))
    code, output, records = start('sim.launch.py', f'params_file:={params}')
    assert code == 0, output
    assert [records[name]['values']['outputs'] for name in sorted(records)] == [outputs] * 3


GROUP = """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace

def generate_launch_description():
    return LaunchDescription([GroupAction([
        SetEnvironmentVariable('ROS_DOMAIN_ID', '77'),
        PushRosNamespace('sim'),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource({path!r}), launch_arguments=[('bag', '/')]
        ),
    ])])
"""


def test_what_starts_after_the_look_starts_where_it_looked(start, prefix, tmp_path):
    group = tmp_path / 'group.launch.py'
    group.write_text(GROUP.format(path=str(prefix / 'share/act_ros/launch/sim.launch.py')))
    code, output, records = start(group)
    assert code == 0, output
    assert set(records) == {'act_node', 'sim_robot', 'lookout'}
    for record in records.values():
        assert record['domain'] == '77'
        assert '__ns:=/sim' in record['argv']


def test_a_bag_is_played_in_no_namespace(start, prefix, tmp_path):
    group = tmp_path / 'group.launch.py'
    group.write_text(GROUP.format(path=str(prefix / 'share/act_ros/launch/replay.launch.py')))
    code, output, records = start(group)
    assert code == 1
    assert 'leave out the namespace' in output
    assert records == {}


def test_sim_waits_if_told_to(start):
    code, output, records = start('sim.launch.py', 'autostart:=false')
    assert code == 0, output
    assert records['act_node']['values']['autostart'] is False


@pytest.mark.parametrize('name', ['sim.launch.py', 'replay.launch.py'])
def test_where_a_robot_is_nothing_starts(start, tmp_path, name):
    arguments = ['bag:=' + str(tmp_path)] if name == 'replay.launch.py' else []
    code, output, records = start(name, *arguments, RIVAL='1')
    assert code == 1, output
    assert 'the lookout says why' in output
    assert 'Traceback' not in output
    assert set(records) == {'lookout'}


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_the_node_ends_with_the_launch(begin, tmp_path, number):
    run = begin('act.launch.py', LASTS='act_node')
    record = tmp_path / 'act_node.json'
    wait_until(record.exists, 30, 'the node')
    run.send_signal(number)
    run.communicate(timeout=30)
    pid = json.loads(record.read_text())['pid']
    wait_until(lambda: not alive(pid), 10, 'the end of the node')


def test_ctrl_c_ends_sim_in_order(begin, tmp_path):
    run = begin('sim.launch.py', LASTS='act_node sim_robot')
    records = [tmp_path / f'{name}.json' for name in ('act_node', 'sim_robot')]
    wait_until(lambda: all(record.exists() for record in records), 30, 'both programs')
    # As a terminal does it: to all of them.
    for pid in (run.pid, *(json.loads(record.read_text())['pid'] for record in records)):
        os.kill(pid, signal.SIGINT)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 0, output
    assert 'Caught exception' not in output


def test_replay(start, tmp_path):
    (tmp_path / 'bin').mkdir()
    ros2 = tmp_path / 'bin' / 'ros2'
    calls = tmp_path / 'calls'
    # The bag ends, and all with it, once the others have written down how they were started.
    ros2.write_text(f"""#!/bin/sh
echo "$@" >> {calls}
until [ "$2" = play ] && [ -s "$RECORDS/act_node.json" ] && grep -q 'bag record' {calls}
do sleep 0.1
done
""")
    ros2.chmod(0o755)
    bag = tmp_path / 'run'
    bag.mkdir()
    path = os.pathsep.join((str(tmp_path / 'bin'), os.environ['PATH']))
    code, output, records = start('replay.launch.py', f'bag:={bag}', 'ckpt_dir:=/ck', PATH=path)
    assert code == 0, output
    values = records['act_node']['values']
    for name in ('use_sim_time', 'dry_run', 'publish_tick', 'autostart'):
        assert values[name] is True, name
    assert values['ckpt_dir'] == '/ck'
    assert values['zmq_endpoint'] == values['enable_topic'] == ''
    play, record = sorted(calls.read_text().splitlines())
    assert play.startswith(f'bag play {bag} --clock 200 ')
    # Only what the node listens to: recorded commands would move a robot.
    assert play.split(' --topics ')[1].split() == [
        '/rgb_main/image_raw', '/rgb_left/image_raw', '/rgb_under/image_raw',
        '/base/joint_states', '/arm/joint_states',
    ]  # fmt: skip
    assert record.startswith('bag record --output replay_recording --storage mcap')
    # What plays is watched: by the lookout, which runs it.
    assert records['lookout']['argv'][:4] == ['playback', 'ros2', 'bag', 'play']


def test_replay_of_no_bag_starts_nothing(start):
    code, output, records = start('replay.launch.py', 'bag:=/no/such')
    assert code == 1
    assert "no bag '/no/such'" in output
    assert 'act_node' not in records
