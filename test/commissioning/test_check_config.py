"""`python -m act_ros.check_config` finds what is planted, and nothing where nothing is."""

import dataclasses
import pickle
import re

import numpy as np
import pytest
import yaml

from act_ros.check_config import main
from act_ros.config import task_file
from test.bags import bags
from test.bags.bags import Message, write
from test.rule import small_config, write_random

SECONDS = 3
TASK = bags.TASK


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A recording, and a checkpoint that was trained on it."""
    folder = tmp_path_factory.mktemp('fitting')
    write(folder / 'run', bags.run(SECONDS))
    write_random(folder / 'ckpt', small_config(chunk_size=50), image_size=list(bags.SIZE))
    n = np.arange(50 * SECONDS)
    action = bags.commanded(n)
    base = np.array([[time, 0.1, 0.1, *[0.0] * 6] for time in n / 50])
    values = {'qpos': np.hstack((base, action[:, :8])), 'action': action}
    stats = {f'{k}_mean': v.mean(axis=0).astype(np.float32) for k, v in values.items()}
    stats |= {f'{k}_std': v.std(axis=0).clip(0.01).astype(np.float32) for k, v in values.items()}
    (folder / 'ckpt/dataset_stats.pkl').write_bytes(pickle.dumps(stats))
    return folder


def parameters():
    content = yaml.safe_load(task_file('astrobench_dual_arm').read_text())['/**'][
        'ros__parameters'
    ]
    content['task']['image_size'] = list(bags.SIZE)
    content['torch_threads'] = 1
    content['command_timeout'] = 5.0  # also on a machine that is busy
    return content


@pytest.fixture
def check(folder, tmp_path, capsys):
    """Check what fits but for the changes; gives the exit code and the lines."""

    def run(change=lambda content: None, alter=None, *arguments, ckpt=folder / 'ckpt'):
        content = parameters()
        content.pop('ckpt_dir')
        change(content)
        (tmp_path / 'robot.yaml').write_text(
            yaml.safe_dump({'/**': {'ros__parameters': content}})
        )
        bag = folder / 'run'
        if alter is not None:
            altered = (m for message in bags.run(SECONDS) for m in alter(message))
            bag = write(tmp_path / 'run', sorted(altered, key=lambda message: message.time))
        code = main([str(tmp_path / 'robot.yaml'), '--ckpt-dir', str(ckpt),
                     '--bag', str(bag), *arguments])  # fmt: skip
        return code, capsys.readouterr().out.splitlines()

    return run


def odd(lines):
    """What to show where a line is not found."""
    return '\n'.join(line for line in lines if not line.startswith('fits'))


def test_nothing_is_wrong_where_all_fits(check):
    code, lines = check()
    assert code == 0
    assert lines[-1] == '0 wrong, 0 in doubt, 0 not looked at'
    text = '\n'.join(lines)
    for part in (
        'fits   parameters   ', 'fits   task         qpos has 17 entries, the action 16',
        'fits   limits       of 8 joints', 'fits   checkpoint   ', 'fits   timing       a pass',
        'fits   rgb_main     /rgb_main/image_raw, sensor_msgs/msg/Image, 48x64 rgb8, 30.0 Hz',
        'fits   arm          /arm/joint_states, sensor_msgs/msg/JointState, 8 joints, 100.0 Hz',
        'fits   outputs      /arm/joint_commands was commanded 50.0 times a second',
        'fits   inputs       100.0% of 149 ticks', 'fits   task.state   17 of 17 entries',
        'fits   task.action  16 of 16 entries', 'fits   limits       hold where 8 of 8',
    ):  # fmt: skip
        assert part in text


# --- faults of the file, and of the file beside the checkpoint


def put(**values):
    return lambda content: content.update(values)


def in_task(**values):
    return lambda content: content['task'].update(values)


def limit(joint, name, value):
    def change(content):
        if value is None:
            del content['joint_limits'][joint][name]
        else:
            content['joint_limits'].setdefault(joint, {})[name] = value

    return change


def without_last_action(content):
    del content['task']['action'][-1]


def scaled(content):
    for key in ('state', 'action'):
        content['task'][key] = [
            f'{entry} scale=57.29577951308232' if 'left_joint' in entry else entry
            for entry in content['task'][key]
        ]


def misspelt(content):
    content['task']['state'][-1] = 'arm/left_gripper/effort'


def exchanged(content):
    state = content['task']['state']
    state[0], state[1] = state[1], state[0]


OF_THE_FILE = {
    'a typo': (put(max_agee=0.2), "parameters .*unknown parameter 'max_agee'; .*'max_age'"),
    'out of range': (put(max_skew=-1.0), "parameters .*'max_skew' is -1.0; expected 0 to 60 s"),
    'another type': (put(dry_run='no'), "parameters .*'dry_run' is 'no'; expected true or false"),
    'another rate of commands': (
        put(command_rate=75.0), "parameters .*'command_rate' is 75 Hz, no whole multiple of"),
    'no such quantity': (misspelt, "task .*'arm/left_gripper/effort' asks for 'effort'"),
    'a clock by another word': (
        put(use_sim_time='yes'), "parameters .*'use_sim_time' is 'yes'; expected true or false"),
    'a topic that is none': (
        put(camera_topics=['a', 'b c', 'd']), "inputs .*topic of rgb_left is 'b c', which"),
    'an output that is no topic': (
        put(outputs=['/3x JointState']), "outputs .*of output '/3x JointState' is '/3x'"),
    'a deadman that is no topic': (
        put(enable_topic='a//b'), "inputs .*of enable_topic is 'a//b', which is none"),
    'too few topics': (
        put(camera_topics=['a', 'b']), "inputs .*'camera_topics' lists 2 topics, expected 3"),
    'an output of nothing': (
        put(outputs=['x JointState arm/right_*']), "outputs .*'arm/right_.' matches no entry"),
    'a silence that moves on': (
        put(stop_policy='silent', outputs=['x JointTrajectoryHorizon arm/*/position']),
        'outputs .*stop_policy is silent, but a JointTrajectoryHorizon'),
    'a limit that is missing': (
        limit('left_joint_2', 'max_velocity', None),
        'limits .*arm/left_joint_2/position has no max_velocity: set joint_limits.left_joint_2.m'),
    'limits of another joint': (
        limit('left_joint_8', 'max_velocity', 1.0), "limits .*'left_joint_8', which is no joint"),
    'QoS of another topic': (
        put(qos_overrides={'/arm/joints': {'subscription': {'reliability': 'reliable'}}}),
        'parameters .*qos_overrides./arm/joints.subscription.reliability is of a topic that'),
    'a QoS that there is not': (
        put(qos_overrides={'/arm/joint_states': {'subscription': {'reliability': 'bogus'}}}),
        "parameters .*reliability' is 'bogus'; expected one of reliable, best_effort"),
    'another action': (
        without_last_action, 'checkpoint .*task.action lists 15 entries, .*network has 16'),
    'no camera': (in_task(cameras=[]), "task .*'task.cameras' is not set"),
    'cameras in another order': (
        in_task(cameras=['rgb_left', 'rgb_main', 'rgb_under']),
        r"checkpoint .*'task.cameras' is \['rgb_left', 'rgb_main', .*was trained with"),
    'another image size': (
        in_task(image_size=[96, 128]), r"checkpoint .*'task.image_size' is \[96, 128\], but"),
    'too little patience': (
        put(command_timeout=0.11), 'timing .*command_timeout is 0.11 s, but a pass takes'),
    'a training that the limits do not hold': (
        limit('left_joint_1', 'max_position', 0.1),
        'limits .*arm/left_joint_1/position was 0.3.* in training, which the limits -1.8 to 0.1'),
    'other units': (
        scaled, 'task.state .*arm/left_joint_3/position is 1.* but in training it was 0.3.*: the '
        'policy has radians and the robot degrees. Then write scale=1$'),
    'entries in another order': (
        exchanged, 'task.state .*base/x/position is 1.* in the place of base/y/position, are'),
}  # fmt: skip


@pytest.mark.parametrize('fault', OF_THE_FILE)
def test_a_fault_of_the_file_is_found(check, fault):
    change, expected = OF_THE_FILE[fault]
    code, lines = check(change)
    assert code == 1
    wrong = [line for line in lines if line.startswith('WRONG')]
    assert any(re.match(f'WRONG  {expected}', line) for line in wrong), odd(lines)


# --- faults of the robot


def on(what, change):
    """Change the content of some messages; None leaves the message out."""

    def alter(message):
        if message.what != what:
            return [message]
        content = change(message)
        return [] if content is None else [Message(message.time, what, content)]

    return alter


def field(**values):
    return lambda message: dataclasses.replace(message.content, **values)


def stamped_late(seconds):
    def change(message):
        header = bags.stamp(message.time - round(seconds * 1e9))
        return dataclasses.replace(message.content, header=header)

    return change


def every(number):
    seen = []

    def change(message):
        seen.append(0)
        return message.content if len(seen) % number == 1 else None

    return change


def first_is_nan(message):
    position = message.content.position.copy()
    position[2] = np.nan
    return dataclasses.replace(message.content, position=position)


def renamed(message):
    names = [name.replace('left_', 'l_') for name in message.content.name]
    return dataclasses.replace(message.content, name=names)


OF_THE_ROBOT = {
    'nobody on a topic': (
        None, put(camera_topics=['rgb_main', 'rgb_left/image_raw', 'rgb_under/image_raw']),
        'WRONG  rgb_main .*has no /rgb_main; near: /rgb_main/image_raw'),
    'another type': (
        None, put(camera_types=['Image', 'CompressedImage', 'Image']),
        'WRONG  rgb_left .*is published as sensor_msgs/msg/Image .*set camera_types to Image'),
    'joints by other names': (
        on('arm', renamed), None, "WRONG  arm .*'left_joint_1', .*are missing .found: l_joint_1"),
    'another size': (
        on('rgb_under', field(height=24, width=128, step=384)), None,
        'WRONG  rgb_under .*24x128 rgb8.*at 100.0% of the ticks: .*24x128 pixels, expected 48x64'),
    'an encoding that is none': (
        on('rgb_main', field(encoding='16UC1')), None, "WRONG  rgb_main .*'16UC1' is not support"),
    'too slow a camera': (
        on('rgb_main', every(6)), None,
        'WRONG  rgb_main .*comes 5 times a second, .*up to 0.2 s old, but max_age is 0.1 s'),
    'another clock': (
        on('arm', stamped_late(3)), None,
        'WRONG  arm .*3000 ms old when it comes: at 100.0% .*is stamped 3.000 s before'),
    'a clock that is ahead': (
        on('base', stamped_late(-2)), None, 'WRONG  base .*is stamped 1.* s in the future'),
    'cameras that are not of one instant': (
        on('rgb_left', stamped_late(0.05)), put(max_skew=0.045),
        'WRONG  rgb_left .*behind rgb_under, more than max_skew 0.045 s'),
    'no number': (
        on('arm', first_is_nan), None, 'WRONG  arm .*arm/left_joint_3/position is nan, expected'),
    'a joint outside its range': (
        None, limit('left_joint_2', 'max_position', 0.4),
        'WRONG  limits .*arm/left_joint_2/position was at 0.1 to 0.5, outside its range -2'),
    'a joint faster than allowed': (
        None, limit('left_joint_2', 'max_velocity', 0.3),
        'doubt  limits .*arm/left_joint_2/position moved at 0.5[0-9]* a second, and max_velocity'),
    'another rate': (
        on('command', every(2)), None,
        'doubt  outputs .*was commanded 25.* times a second, and control_rate is 50 Hz'),
    'commands that are not recorded': (
        on('command', lambda message: None), None,
        'open   outputs .*/arm/joint_commands was not recorded'),
    'a picture that stands still': (
        on('rgb_main', lambda message: bags.image(message.time, np.zeros((48, 64, 3), np.uint8))),
        None, 'doubt  rgb_main .*shows one and the same picture for 3 s'),
    'no stamps': (
        on('base', field(header=bags.stamp(-bags.START))), None,
        'doubt  bag .*base has no header stamp'),
}  # fmt: skip


@pytest.mark.parametrize('fault', OF_THE_ROBOT)
def test_a_fault_of_the_robot_is_found(check, fault):
    alter, change, expected = OF_THE_ROBOT[fault]
    code, lines = check(change or (lambda content: None), alter)
    assert code == (1 if expected.startswith('WRONG') else 0), odd(lines)
    assert any(re.match(expected, line) for line in lines), odd(lines)


def test_several_faults_are_told_at_once(check):
    def change(content):
        for each in (put(max_agee=0.2), limit('left_joint_2', 'max_velocity', None),
                     put(outputs=['x JointState arm/right_*']), without_last_action):  # fmt: skip
            each(content)

    code, lines = check(change)
    assert code == 1
    wrong = {line.split()[1] for line in lines if line.startswith('WRONG')}
    assert {'parameters', 'limits', 'outputs', 'checkpoint'} <= wrong


def test_a_file_alone_says_what_was_not_looked_at(folder, tmp_path, capsys):
    content = {'/**': {'ros__parameters': {'control_rate': 50.0, 'ckpt_dir': '/nowhere'}}}
    (tmp_path / 'few.yaml').write_text(yaml.safe_dump(content))
    assert main([str(tmp_path / 'few.yaml')]) == 0
    said = capsys.readouterr().out
    assert 'open   parameters   no task is described: astrobench_dual_arm is taken' in said
    assert 'open   checkpoint   there is no policy_best.ckpt in /nowhere: give --ckpt-dir' in said
    assert 'open   outputs      ' not in said
    assert 'open   inputs       no message is looked at: give --bag or --live' in said


@pytest.mark.parametrize(
    ('text', 'arguments', 'code', 'message'),
    [
        ('a: [', (), 1, 'WRONG  parameters   cannot read parameter file'),
        ('', (), 1, "WRONG  parameters   cannot read .* it has no '/..: ros__parameters:'"),
        (None, (), 1, 'WRONG  parameters   no parameter file'),
        ('/**: {ros__parameters: {fade: 0.1}}', ('--bag', 'nowhere'), 1, 'WRONG  bag .*no bag'),
        ('/**: {ros__parameters: {fade: 0.1}}', ('--ckpt-dir', 'nowhere'), 1,
         "WRONG  checkpoint   no checkpoint folder 'nowhere'"),
        ('/**: {ros__parameters: {fade: 0.1}}', ('--seconds', '0'), 2,
         'check_config: error: --seconds is 0, expected 1 or more'),
        ('/**: {ros__parameters: {fade: 0.1}}', ('--namespace', 'robot 1'), 2,
         "check_config: error: --namespace is 'robot 1', expected one of ROS"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, capsys, text, arguments, code, message):
    path = tmp_path / 'robot.yaml'
    if text is not None:
        path.write_text(text)
    assert main([str(path), *arguments]) == code
    said = capsys.readouterr()
    assert 'Traceback' not in said.out + said.err
    lines = [*said.out.splitlines(), *said.err.splitlines()]
    assert any(re.match(message, line) for line in lines), odd(lines)


def test_one_joint_that_is_elsewhere_is_in_no_other_units(check):
    # Near to zero anything is, if it is made small enough.
    def elsewhere(message):
        position = message.content.position.copy()
        position[2] = 1.9
        return dataclasses.replace(message.content, position=position)

    code, lines = check(lambda content: None, on('arm', elsewhere))
    assert code == 1
    (line,) = [line for line in lines if line.startswith('WRONG  task.state')]
    assert 'arm/left_joint_3/position is 1.9' in line
    assert 'scale=' not in line and line.endswith('joints in another order?')


def test_joint_states_that_come_seldom_are_no_quicker(check):
    code, lines = check(limit('left_joint_2', 'max_velocity', 0.65), on('arm', every(4)))
    assert code == 0
    assert not [line for line in lines if 'moved at' in line], odd(lines)


def test_an_input_without_a_message_is_named(check):
    def late(message):
        return message.content if message.time > 2e9 else None

    code, lines = check(lambda content: None, on('rgb_left', late), '--seconds', '1')
    assert code == 1
    assert any(re.match('WRONG  rgb_left .*nothing came on it', line) for line in lines)


def test_of_several_recordings_each_is_told_of(check, folder, tmp_path, capsys):
    write(tmp_path / 'other', bags.run(2))
    code, lines = check(lambda content: None, None, '--bag', str(tmp_path / 'other'),
                        '--bag', str(tmp_path / 'nowhere'))  # fmt: skip
    assert code == 1
    for name in (folder / 'run', tmp_path / 'other'):
        assert any(f'{name}, of which is what follows' in line for line in lines)
    assert sum(line.startswith('fits   arm ') for line in lines) == 2
    assert any(re.match("WRONG  bag .*no bag '.*nowhere'", line) for line in lines), odd(lines)


def test_what_no_tick_was_asked_of_does_not_fit(check):
    def short(message):
        soon = message.time < 5e8 and message.what != 'rgb_left'
        return [message] if soon else []

    code, lines = check(lambda content: None, short)
    assert code == 1
    assert any(re.match('open   rgb_main .*too little came', line) for line in lines), odd(lines)
    assert not any(re.match('fits   (rgb_|arm|base)', line) for line in lines)
