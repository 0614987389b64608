"""`python -m act_ros.new_robot`: a parameter file from a recording, a description, a dataset."""

import io
import json
import math
import os
import pty
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from act_ros import check_config, evaluate_bag
from act_ros.new_robot import main
from act_ros.parameter_file import read_parameter_file
from act_ros.safety import lacking_limits
from act_ros.task import Task
from test.bags import bags
from test.bags.bags import KINDS, Message, write
from test.policy.lerobot import write_lerobot
from test.rule import small_config, write_random

ARM = """<robot name="arm">
  <joint name="world" type="fixed"/>
  <joint name="waist" type="revolute"><limit lower="-1.5" upper="1.5" velocity="2" effort="9"/></joint>
  <joint name="elbow" type="revolute"><limit lower="-0.5" upper="2.5" velocity="3"/></joint>
  <joint name="wrist" type="continuous"><limit velocity="4"/></joint>
  <joint name="gripper" type="prismatic"><limit lower="0" upper="0.04" velocity="0"/></joint>
  <joint name="finger" type="prismatic"><mimic joint="gripper"/><limit lower="0" upper="0"/></joint>
</robot>
"""  # noqa: E501
MOVEIT = """joint_limits:
  waist: {has_velocity_limits: true, max_velocity: 1.0, has_acceleration_limits: true,
          max_acceleration: 5.0}
  head: {max_velocity: 1.0}
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A recording and a checkpoint that was trained for such a robot."""
    folder = tmp_path_factory.mktemp('robot')
    write(folder / 'run', bags.run(2))
    write_random(folder / 'ckpt', small_config(chunk_size=20), image_size=list(bags.SIZE))
    return folder


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Draft a file; gives the exit code, what was said, and the file."""
    monkeypatch.setattr('sys.stdin', io.StringIO())  # nobody can be asked

    def run(*arguments, out=tmp_path / 'mine.yaml'):
        code = main([*map(str, arguments), '--out', str(out)])
        said = capsys.readouterr()
        assert 'Traceback' not in said.err
        return code, said, out

    return run


def marked(said, mark):
    return [line.split(maxsplit=1)[1] for line in said.out.splitlines() if line.startswith(mark)]


def test_the_evaluator_runs_what_a_recording_gives_unchanged(call, folder, capsys, tmp_path):
    code, said, out = call('--bag', folder / 'run', '--ckpt-dir', folder / 'ckpt')
    assert code == 0
    settings = read_parameter_file(out)
    task = Task.from_settings(settings)
    assert (task.cameras, task.state, task.action, task.rate) == (
        bags.TASK.cameras, bags.TASK.state, bags.TASK.action, 50.0)  # fmt: skip
    assert task.image_size == bags.SIZE
    assert settings.outputs == ('/arm/joint_commands JointState',)
    assert settings.dry_run
    # Nothing says limits, and nothing is made up.
    assert not settings.joint_limits
    assert len(lacking_limits(settings, task)) == 8
    assert {line.split()[0] for line in marked(said, 'OPEN')} == {
        'min_position', 'max_position', 'max_velocity', 'max_acceleration', 'max_tracking_error',
    }  # fmt: skip
    assert 'Seen at 0.1 to 0.5' in out.read_text()
    last = said.out.splitlines()[-1]
    assert last.startswith('then: python -m act_ros.check_config ')

    evaluation = tmp_path / 'evaluation'
    assert evaluate_bag.main([str(folder / 'run'), '--params-file', str(out),
                              '--out', str(evaluation)]) == 0  # fmt: skip
    metrics = json.loads((evaluation / 'metrics.json').read_text())
    assert metrics['checkpoints']['ckpt']['total']['ticks']['scored'] > 90
    capsys.readouterr()
    assert check_config.main(last.split()[4:]) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = {line.split()[1] for line in lines if line.startswith('WRONG')}
    # Its statistics are made up, and how busy this machine is nobody knows.
    assert wrong - {'task.state', 'task.action', 'timing'} == {'limits'}
    (limits,) = [line for line in lines if 'limits' in line.split()[:2]]
    assert 'arm/left_joint_4/position, ... (8) have no min_position' in limits


def test_without_the_name_of_a_task_what_has_the_right_size_is_to_be_confirmed(call, folder):
    write_random(folder / 'nameless', small_config(), image_size=list(bags.SIZE))
    side = yaml.safe_load((folder / 'nameless/config.yaml').read_text())
    del side['task']
    (folder / 'nameless/config.yaml').write_text(yaml.safe_dump(side))
    code, said, out = call('--bag', folder / 'run', '--ckpt-dir', folder / 'nameless')
    assert code == 0
    task = Task.from_settings(read_parameter_file(out))
    assert (task.state, task.action) == (bags.TASK.state, bags.TASK.action)
    confirm = marked(said, 'CONFIRM')
    for text in ('the order of task.state', 'the order of task.action', 'control_rate'):
        assert any(line.startswith(text) for line in confirm), confirm
    assert out.read_text().count('# CONFIRM: ') == len(confirm)


def test_a_description_and_moveits_file_give_the_limits_that_they_know(call, tmp_path):
    (tmp_path / 'arm.urdf').write_text(ARM)
    (tmp_path / 'joint_limits.yaml').write_text(MOVEIT)
    code, said, out = call('--urdf', tmp_path / 'arm.urdf', '--joint-limits',
                           tmp_path / 'joint_limits.yaml')  # fmt: skip
    assert code == 0
    settings = read_parameter_file(out)
    assert [text.split('/')[1] for text in settings.task_action] == [
        'waist', 'elbow', 'wrist', 'gripper']  # fmt: skip
    limits = {joint: each.given for joint, each in settings.joint_limits.items()}
    assert limits['waist'] == {
        'min_position': -1.5, 'max_position': 1.5, 'max_velocity': 1.0, 'max_acceleration': 5.0,
    }  # of two speeds the lower
    assert limits['elbow'] == {'min_position': -0.5, 'max_position': 2.5, 'max_velocity': 3.0}
    assert limits['wrist'] == {
        'min_position': -math.inf, 'max_position': math.inf, 'max_velocity': 4.0}  # fmt: skip
    assert limits['gripper'] == {'min_position': 0.0, 'max_position': 0.04}
    assert settings.continuous == ('arm/wrist/position',)
    opened = marked(said, 'OPEN')
    assert 'max_acceleration of elbow, wrist, gripper (gentle' in '\n'.join(opened)
    assert any(line.startswith('max_velocity of gripper') for line in opened)
    assert any(line.startswith('where commands go') for line in opened)
    assert any(line.startswith('the cameras, ') for line in opened)

    for i, none in enumerate(('-1', 'inf')):
        (tmp_path / 'arm.urdf').write_text(ARM.replace('velocity="0"', f'velocity="{none}"'))
        _, said, out = call('--urdf', tmp_path / 'arm.urdf', out=tmp_path / f'{i}.yaml')
        assert any(line.startswith('max_velocity of gripper') for line in marked(said, 'OPEN'))


def test_a_lerobot_dataset_gives_names_rate_and_cameras(call, tmp_path):
    write_lerobot(tmp_path / 'ckpt', 'plain')
    names = ['shoulder_pan.pos', 'shoulder_lift.pos', 'elbow_flex.pos', 'wrist_flex.pos',
             'wrist_roll.pos', 'gripper.pos']  # fmt: skip
    info = {
        'fps': 30,
        'features': {
            'observation.state': {'dtype': 'float32', 'shape': [6], 'names': names},
            'action': {'dtype': 'float32', 'shape': [6], 'names': {'motors': names}},
            'observation.images.front': {'shape': [120, 160, 3], 'names': ['height', 'width']},
            'observation.images.wrist': {'shape': [3, 120, 160]},
        },
    }
    (tmp_path / 'info.json').write_text(json.dumps(info))
    joints = ['Gripper', 'elbow_flex_joint', 'shoulder_lift', 'shoulder_pan', 'wrist_flex', 'x']
    content = [
        Message(time, '/so101/joint_states', bags.joints(time, joints, [0.1] * 6))
        for time in range(0, 10**9, 10**7)
    ]
    write(tmp_path / 'run', content)
    code, said, out = call('--ckpt-dir', tmp_path / 'ckpt', '--dataset-info',
                           tmp_path / 'info.json', '--bag', tmp_path / 'run')  # fmt: skip
    assert code == 0
    settings = read_parameter_file(out)
    assert settings.control_rate == 30.0
    assert settings.task_cameras == ('front', 'wrist')
    assert settings.task_image_size == (120, 160)
    assert settings.state_topics == ('/so101/joint_states',)
    # By the names of the robot's joints; the one that it has not keeps the dataset's.
    assert settings.task_state == tuple(
        f'so101/{joint}/position'
        for joint in ('shoulder_pan', 'shoulder_lift', 'elbow_flex_joint', 'wrist_flex',
                      'wrist_roll', 'Gripper')
    )  # fmt: skip
    opened = '\n'.join(marked(said, 'OPEN'))
    assert "the dataset calls an entry 'wrist_roll', and no joint that is seen is" in opened
    assert "no topic is like the camera 'front'" in opened
    assert not any('order' in line for line in marked(said, 'CONFIRM'))


def spread(topic, rate, content, seconds=1):
    """Messages of a topic; `content` makes one of its time."""
    times = range(0, round(seconds * 1e9), round(1e9 / rate))
    return [Message(time, topic, content(time)) for time in times]


def states(topic, names=('waist', 'gripper'), values=(0.1, 0.2), rate=50):
    return spread(topic, rate, lambda time: bags.joints(time, names, values))


def trajectories(topic, names=('waist', 'gripper'), rate=50):
    def content(time):
        none = np.empty(0)
        soon = KINDS['builtin_interfaces/msg/Duration'](0, 20_000_000)
        point = KINDS['trajectory_msgs/msg/JointTrajectoryPoint'](
            np.array([0.1] * len(names)), none, none, none, soon
        )
        return KINDS['trajectory_msgs/msg/JointTrajectory'](bags.stamp(time), [*names], [point])

    return spread(topic, rate, content)


def frames(topic, rate=30):
    return spread(topic, rate, lambda time: bags.image(time, np.zeros((48, 64, 3), np.uint8)))


@pytest.fixture
def draft(call, tmp_path):
    """Draft a file from a recording of some topics."""

    def run(*topics, arguments=()):
        messages = [message for topic in topics for message in topic]
        write(tmp_path / 'run', sorted(messages, key=lambda message: message.time))
        code, said, out = call('--bag', tmp_path / 'run', *arguments)
        assert code == 0, said.err
        return read_parameter_file(out), said, out.read_text()

    return run


def test_two_arms_whose_joints_are_called_alike_are_told_apart(draft):
    arms = ('left', 'right')
    settings, _, text = draft(
        *[states(f'/puppet_{arm}/joint_states') for arm in arms],
        *[states(f'/master_{arm}/joint_states') for arm in arms],
        *[trajectories(f'/{arm}/controller/joint_trajectory') for arm in arms],
        frames('/high/image_raw'),
    )
    both = tuple(f'puppet_{arm}/{j}/position' for arm in arms for j in ('waist', 'gripper'))
    assert settings.task_state == settings.task_action == both
    assert settings.outputs == tuple(
        f'/{arm}/controller/joint_trajectory JointTrajectory puppet_{arm}/*' for arm in arms
    )
    # What a person holds is no part of the robot.
    assert settings.state_topics == tuple(f'/puppet_{arm}/joint_states' for arm in arms)
    assert '# Not used: /master_left/joint_states (sensor_msgs/msg/JointState)' in text
    assert '# left/waist:' not in text
    assert '# puppet_left/waist:' in text


def arrays(topic, size=2):
    kinds = (KINDS['std_msgs/msg/Float64MultiArray'], KINDS['std_msgs/msg/MultiArrayLayout'])
    return spread(topic, 50, lambda time: kinds[0](kinds[1]([], 0), np.zeros(size)))


@pytest.mark.parametrize(
    ('topics', 'outputs'),
    [
        (('/right/commands', '/left/commands'),
         ('/left/commands Float64MultiArray left_arm/*',
          '/right/commands Float64MultiArray right_arm/*')),
        (('/right/commands',), ('/right/commands Float64MultiArray right_arm/*',)),
        # Which arm nothing tells, so it is left to a person.
        (('/arm/commands',), None),
    ],
)  # fmt: skip
def test_no_arm_gets_the_commands_of_the_other(draft, topics, outputs):
    settings, said, _ = draft(
        *[states(f'/{arm}_arm/joint_states') for arm in ('left', 'right')], *map(arrays, topics)
    )
    if outputs is None:
        assert any(line.startswith('where commands go') for line in marked(said, 'OPEN'))
        assert any(line.startswith('that the policy commands nothing on /arm/commands')
                   for line in marked(said, 'CONFIRM'))  # fmt: skip
    else:
        assert settings.outputs == outputs


def test_a_dataset_of_two_arms_finds_the_joints_of_each(draft, tmp_path):
    names = ['right_waist.pos', 'right_gripper.pos', 'left_waist.pos', 'left_gripper.pos']
    feature = {'dtype': 'float32', 'shape': [4], 'names': names}
    info = {'fps': 50, 'features': {'observation.state': feature, 'action': feature}}
    (tmp_path / 'info.json').write_text(json.dumps(info))
    settings, said, _ = draft(
        *[states(f'/follower_{arm}/joint_states') for arm in ('left', 'right')],
        arguments=('--dataset-info', tmp_path / 'info.json'),
    )
    assert settings.task_action == tuple(
        f'follower_{arm}/{joint}/position'
        for arm in ('right', 'left') for joint in ('waist', 'gripper')
    )  # fmt: skip
    assert 'no joint that is seen is called so' not in said.out


def test_a_dataset_that_does_not_tell_two_arms_apart_is_told(draft, tmp_path):
    feature = {'dtype': 'float32', 'shape': [1], 'names': ['waist.pos']}
    info = {'fps': 50, 'features': {'observation.state': feature, 'action': feature}}
    (tmp_path / 'info.json').write_text(json.dumps(info))
    _, said, _ = draft(
        *[states(f'/{arm}/joint_states') for arm in ('left', 'right')],
        arguments=('--dataset-info', tmp_path / 'info.json'),
    )
    (told,) = [line for line in marked(said, 'OPEN') if 'waist' in line and 'dataset' in line]
    assert told == (
        "the dataset calls an entry 'waist', and left, right have a joint that is called so"
    )


def description(topic, *joints):
    """A URDF as a robot publishes it, of joints with a range and a speed."""
    text = ''.join(
        f'<joint name="{name}" type="revolute"><limit lower="{low}" upper="1" velocity="2"/>'
        f'</joint>'
        for name, low in joints
    )
    return [Message(0, topic, KINDS['std_msgs/msg/String'](f'<robot>{text}</robot>'))]


def test_of_several_descriptions_the_narrower_limits_count(draft):
    settings, said, text = draft(
        states('/joint_states'),
        description('/arm/robot_description', ('waist', -1)),
        description('/robot_description', ('waist', -0.5), ('gripper', -0.2)),
        description('/camera/robot_description'),
    )
    limits = {joint: each.given['min_position'] for joint, each in settings.joint_limits.items()}
    assert limits == {'waist': -0.5, 'gripper': -0.2}
    assert not any('description' in line for line in marked(said, 'OPEN'))
    assert '# Not used: /camera/robot_description in the bag run has no joint that can' in text


def test_a_description_that_cannot_be_read_is_told_and_the_rest_is_drafted(draft):
    settings, said, _ = draft(states('/joint_states'), description('/robot_description'))
    assert settings.task_state == ('arm/waist/position', 'arm/gripper/position')
    (opened,) = [line for line in marked(said, 'OPEN') if 'description' in line]
    assert opened.startswith('the limits: /robot_description in the bag run has no joint')
    assert opened.endswith('--urdf takes a file in its place')


def test_each_camera_is_one_whatever_it_sends(draft):
    jpeg = cv2.imencode('.jpg', np.zeros((48, 64, 3), np.uint8))[1].ravel()

    def compressed(time):
        return KINDS['sensor_msgs/msg/CompressedImage'](bags.stamp(time), 'jpeg', jpeg)

    settings, _, text = draft(
        states('/joint_states'), frames('/front/image_rect'), frames('/front/image_raw'),
        spread('/front/image_raw/compressed', 30, compressed),
        spread('/wrist/image_raw/compressed', 30, compressed),
    )  # fmt: skip
    assert settings.task_cameras == ('front', 'wrist')
    assert settings.camera_topics == ('/front/image_raw', '/wrist/image_raw/compressed')
    assert settings.camera_types == ('Image', 'CompressedImage')
    assert '# Not used: /front/image_rect (sensor_msgs/msg/Image)' in text


def test_a_joint_without_a_number_is_a_joint(draft):
    settings, _, text = draft(states('/joint_states', values=(0.1, math.nan)))
    assert settings.task_state == ('arm/waist/position', 'arm/gripper/position')
    assert '# Seen without a number.' in text


def test_what_is_commanded_beside_the_arm_is_not_passed_over(draft):
    def speed(time):
        vector = KINDS['geometry_msgs/msg/Vector3']
        return KINDS['geometry_msgs/msg/Twist'](vector(0.1, 0, 0), vector(0, 0, 0))

    settings, said, _ = draft(
        states('/joint_states'), trajectories('/controller/joint_trajectory'),
        spread('/cmd_vel', 50, speed),
    )  # fmt: skip
    assert settings.outputs == ('/controller/joint_trajectory JointTrajectory',)
    assert (
        'that the policy commands nothing on /cmd_vel (geometry_msgs/msg/Twist)'
        in marked(said, 'CONFIRM')
    )


def test_what_interpolates_is_no_policy(draft):
    settings, said, _ = draft(
        states('/joint_states'), frames('/cam/image_raw', rate=15),
        trajectories('/controller/joint_trajectory', rate=1000),
    )  # fmt: skip
    assert settings.control_rate == 15.0
    assert any(
        line.startswith('control_rate, which is that of the cameras: 1000 commands a second')
        for line in marked(said, 'CONFIRM')
    )


def test_what_comes_too_seldom_to_act_on_makes_no_patience(draft):
    settings, said, _ = draft(frames('/cam/image_raw'), states('/joint_states', rate=2))
    assert settings.max_age == 0.1
    assert any(line.startswith('max_age, 0.1 s if') for line in marked(said, 'OPEN'))


def test_what_makes_no_parameters_makes_no_file(call, tmp_path):
    feature = {'shape': [1], 'names': ['waist']}
    features = {'observation.state': feature, 'action': feature,
                'observation.images.front': {'shape': [0, 9000, 3]}}  # fmt: skip
    (tmp_path / 'info.json').write_text(json.dumps({'fps': 50, 'features': features}))
    code, said, out = call('--dataset-info', tmp_path / 'info.json')
    assert code == 2
    assert f"nothing is written: {out}: parameter 'task.image_size' is 0; expected" in said.err
    assert not out.exists()


def test_nothing_of_a_robot_makes_no_file(call, tmp_path):
    text = KINDS['std_msgs/msg/String']('hello')
    write(tmp_path / 'run', [Message(0, '/chatter', text)])
    code, said, out = call('--bag', tmp_path / 'run')
    assert code == 2
    assert 'the bag run shows no camera and no joint' in said.err
    assert not out.exists()


@pytest.mark.parametrize(
    ('answers', 'state'),
    [
        (['y', 'y'], ['waist', 'elbow', 'wrist', 'gripper']),
        (['4 4', '4, 2 1', 'yes'], ['gripper', 'elbow', 'waist']),
        (['n', 'y'], ['waist', 'elbow', 'wrist', 'gripper']),
    ],
)
def test_a_person_is_asked_for_the_order(tmp_path, answers, state):
    (tmp_path / 'arm.urdf').write_text(ARM)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-m', 'act_ros.new_robot', '--urdf', str(tmp_path / 'arm.urdf'),
         '--out', str(tmp_path / 'mine.yaml')],
        stdin=theirs, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for answer in answers:
            os.write(ours, f'{answer}\n'.encode())
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 0
    assert '   1  arm/waist/position' in said
    settings = read_parameter_file(tmp_path / 'mine.yaml')
    assert [text.split('/')[1] for text in settings.task_state] == state
    text = (tmp_path / 'mine.yaml').read_text()
    assert ('that you have confirmed' in text) == ('n' not in answers)
    assert ('CONFIRM: the order' in text) == ('n' in answers)
    if '4 4' in answers:
        assert 'expected y, n, or different numbers from 1 to 4' in said


def test_odd_names_make_a_file_that_can_be_read(call, tmp_path):
    names = ['on', '1e3', "it's", 'a: b', '#', 'joint one', 'ж', '[x]', '- y', 'n/m']
    content = [
        Message(time, '/joint_states', bags.joints(time, names, [0.1] * len(names)))
        for time in range(0, 10**9, 10**7)
    ]
    write(tmp_path / 'run', content)
    code, _, out = call('--bag', tmp_path / 'run')
    assert code == 0
    settings = read_parameter_file(out)
    assert settings.task_state == tuple(f'arm/{name}/position' for name in names)


def test_what_is_there_stays(call, folder, tmp_path):
    (tmp_path / 'mine.yaml').write_text('mine')
    code, said, out = call('--bag', folder / 'run')
    assert code == 2
    assert 'is there already, and stays: give another --out' in said.err
    assert out.read_text() == 'mine'


@pytest.mark.parametrize(
    ('flag', 'text', 'message'),
    [
        ('--urdf', '<robot', 'is no URDF: unclosed token'),
        ('--urdf', '<model/>', "is no URDF: it holds a 'model', expected a robot"),
        ('--urdf', '<robot><joint name="${side}_a" type="revolute"/></robot>', 'is a xacro'),
        ('--urdf', '<robot><joint name="a" type="fixed"/></robot>', 'no joint that can be moved'),
        ('--urdf', '<robot><joint name="" type="revolute"/></robot>', 'has a joint without'),
        ('--urdf', '<!DOCTYPE a [<!ENTITY b "c">]><robot/>', 'has a type declaration'),
        ('--urdf', '<robot><joint name="a" type="revolute"><limit lower="x"/></joint></robot>',
         "lower of joint 'a' is 'x', expected a number"),
        ('--urdf', None, 'cannot read the description'),
        ('--dataset-info', '{', 'cannot read'),
        ('--dataset-info', '[]', "no meta/info.json of a LeRobot dataset: expected 'features'"),
        ('--dataset-info', '{"fps": 30, "features": {}}', 'observation.state has the names None'),
        ('--bag', None, 'no bag'),
        ('--bag', 'text', 'is no bag: expected a folder, a .mcap or a .db3'),
        ('--joint-limits', 'a: 1', "has no 'joint_limits:' at its top"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(call, tmp_path, flag, text, message):
    path = tmp_path / 'input'
    if text is not None:
        path.write_text(text)
    more = []
    if flag == '--joint-limits':
        (tmp_path / 'arm.urdf').write_text(ARM)
        more = ['--urdf', tmp_path / 'arm.urdf']
    code, said, out = call(flag, path, *more)
    assert code == 2
    (line,) = said.err.splitlines()
    assert re.match('new_robot: error: ', line)
    assert message in line
    assert not out.exists()


def test_nothing_to_draft_from_is_said(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert 'give --bag, --live, --urdf or --dataset-info' in capsys.readouterr().err
