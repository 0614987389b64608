"""Commands become messages and are read from them again; one table of both."""

import numpy as np
import pytest

from act_ros.bags.typestore import typestore
from act_ros.commands import OUTPUT_TYPES
from act_ros.errors import ActError, CommandError
from act_ros.interfaces import parse_output
from act_ros.task import Entry, Task
from test.commands.messages import LIBRARY, ahead, array, joint_state, trajectory

ENTRIES = ('arm/b/velocity', 'arm/a/position', 'arm/b/position', 'arm/a/velocity')
VALUES = np.array([1.0, 2.0, 3.0, 4.0])
NAN = float('nan')


def make_spec(text, *action):
    entries = tuple(map(Entry.parse, action or ENTRIES))
    return parse_output(text, Task('t', ('camera',), entries, entries, 50.0, (4, 6)))


def decode(text, message):
    return make_spec(text).output_type.decoder(make_spec(text), 4).decode(message)


JOINTED = [name for name, it in OUTPUT_TYPES.items() if it.holds in ('joints', 'values')]


@pytest.mark.parametrize('name', JOINTED)
@pytest.mark.parametrize('patterns', ['', ' arm/a', ' */position'])
def test_what_is_encoded_is_decoded_to_the_same(name, patterns):
    spec = make_spec(f'x {name}{patterns}')
    encoder = spec.output_type.encoder(spec, 50.0, LIBRARY)
    horizon = np.array([VALUES + 10, VALUES + 20])
    message = encoder.encode(VALUES, LIBRARY.stamp(3), ahead(VALUES, horizon))
    raw = typestore().serialize_cdr(message, spec.message_type)
    found = spec.output_type.decoder(spec, 4).decode(
        typestore().deserialize_cdr(raw, spec.message_type)
    )
    expected = np.full((3, 4), NAN)
    expected[:, spec.columns] = np.vstack((VALUES, horizon))[:, spec.columns]
    points = 3 if spec.output_type.horizon else 1
    np.testing.assert_array_equal(found.values, expected[:points])
    ticks = np.arange(1, points + 1) * 20_000_000
    assert found.after.tolist() == (ticks.tolist() if spec.output_type.trajectory else [0])
    assert found.fault is None


def test_joints_are_read_by_name_and_further_ones_ignored():
    found = decode('x JointState', joint_state(['c', 'a', 'b'], [9, 2, 3], [9, 4, 1]))
    assert found.values.tolist() == [VALUES.tolist()]
    found = decode('x JointTrajectory', trajectory(['c', 'a', 'b'], [(0, [9, 2, 3], [9, 4, 1])]))
    assert found.values.tolist() == [VALUES.tolist()]
    assert found.slopes.tolist() == [[1, 4]]


def test_some_joints_or_one_quantity_may_be_left_out():
    found = decode('x JointState', joint_state(['a'], [2]))
    np.testing.assert_array_equal(found.values, [[NAN, 2, NAN, NAN]])
    found = decode('x JointState', joint_state(['b', 'a'], [], [1, 4]))
    np.testing.assert_array_equal(found.values, [[1, NAN, NAN, 4]])
    found = decode('x JointTrajectory', trajectory(['b'], [(0, [3]), (20, [4], [1])]))
    np.testing.assert_array_equal(found.values, [[NAN, NAN, 3, NAN], [1, NAN, 4, NAN]])
    assert found.fault is None


def test_a_value_that_is_no_number_is_left_out_alone():
    found = decode('x JointState', joint_state(['b', 'a'], [3, NAN], [np.inf, 4]))
    np.testing.assert_array_equal(found.values, [[NAN, NAN, 3, 4]])
    assert (found.fault.cause, str(found.fault)) == ('numbers', 'hold inf for arm/b/velocity')


def test_an_array_is_read_by_the_labels_of_its_layout():
    text = 'x Float64MultiArray arm/a/position arm/b/position'
    ordered = np.array([[NAN, 2, 3, NAN]])
    for message in (
        array([2, 3]),
        array([2, 3], label='arm'),  # says nothing of the order
        array([3, 2], label='arm/b/position,arm/a/position'),
        array([9, 3, 2], label='arm/c/position,arm/b/position,arm/a/position'),
        array([9, 9, 2, 3], offset=2),  # the layout's padding
    ):
        np.testing.assert_array_equal(decode(text, message).values, ordered)


@pytest.mark.parametrize(
    ('text', 'message', 'cause', 'said'),
    [
        ('JointState', joint_state([], [1, 2]), 'no names', 'name no joint; expected b, a'),
        ('JointState', joint_state([]), 'no names', 'name no joint'),
        ('JointState', joint_state(['r1', 'r2'], [1, 2]), 'names', 'name r1, r2; expected b, a'),
        ('JointState', joint_state(['a\nb', 'r' * 999], [1, 2]), 'names', r"name 'a\nb', 'rrr"),
        ('JointState', joint_state(['a', 'a'], [1, 2]), 'twice', 'name a twice'),
        ('JointState', joint_state(['a', 'b'], [1]), 'length',
         'hold 2 joint names but 1 values in position'),
        ('JointState', joint_state(['a', 'b'], [1, 2], [1]), 'length', '1 values in velocity'),
        ('JointState', joint_state(['a', 'b'], [], [], [1, 2]), 'values',
         'hold no position or velocity (effort)'),
        ('JointState */position', joint_state(['a', 'b'], [], [1, 2]), 'values',
         'hold no position (velocity)'),
        ('JointState */position', joint_state(['a', 'b'], [NAN, NAN]), 'numbers', 'hold nan for'),
        ('JointTrajectory', trajectory([], [(0, [1, 2])]), 'no names', 'name no joint'),
        ('JointTrajectory', trajectory(['r1'], [(0, [1])]), 'names', 'name r1; expected b, a'),
        ('JointTrajectory', trajectory(['a', 'b'], []), 'points', 'hold no point'),
        ('JointTrajectory', trajectory(['a', 'b'], [(0, [1, 2]), (20, [1])]), 'length',
         'hold 2 joint names but 1 values in positions'),
        ('JointTrajectory', trajectory(['a', 'b'], [(0, [1, 2]), (20, [], [1, 2])]), 'values',
         'hold a point without positions'),
        ('JointTrajectory', trajectory(['a'], [(0, [1]), (40, [2]), (20, [3])]), 'times',
         'time_from_start 0.02 s after 0.04 s'),
        ('JointTrajectory', trajectory(['a'], [(0, [1]), (0, [2])]), 'times', '0 s after 0 s'),
        ('JointTrajectory', trajectory(['a'], [(-20, [1])]), 'times', '-0.02 s after 0 s'),
        ('Float64MultiArray', array([1, 2, 3]), 'length',
         'hold 3 values; expected 4: arm/b/velocity, arm/a/position'),
        ('Float64MultiArray', array([1, 2, 3, 4], offset=1), 'length',
         'hold 3 values after a data_offset of 1'),
        ('Float64MultiArray', array([], offset=9), 'length', 'hold 0 values'),
        ('Float64MultiArray arm/a/position', array([1], label='arm/a/velocity'), 'names',
         'name arm/a/velocity; expected arm/a/position'),
        ('Float64MultiArray arm/a/position', array([-np.inf]), 'numbers', 'hold -inf for arm/a'),
    ],
)  # fmt: skip
def test_what_commands_nothing_is_refused_with_what_was_found(text, message, cause, said):
    with pytest.raises(CommandError) as caught:
        decode(f'x {text}', message)
    assert caught.value.cause == cause
    assert said in str(caught.value)


def test_many_names_are_shortened():
    names = [f'joint_{i}' for i in range(40)]
    with pytest.raises(CommandError, match=r'joint_3, \.\.\. \(40\); expected b, a$'):
        decode('x JointState', joint_state(names, np.zeros(40)))


# --- of one thing: a base, a gripper

BASE = ('base/yaw/velocity', 'arm/a/position', 'base/x/velocity')


def round_trip(text, values=(0.5, 2.0, -1.5)):
    spec = make_spec(text, *BASE)
    message = spec.output_type.encoder(spec, 50.0, LIBRARY).encode(
        np.array(values), LIBRARY.stamp(3_000_000_007)
    )
    raw = typestore().serialize_cdr(message, spec.message_type)
    message = typestore().deserialize_cdr(raw, spec.message_type)
    return message, spec.output_type.decoder(spec, 3).decode(message).values.tolist()[0]


def test_a_base_is_sent_as_a_twist_whose_other_numbers_are_0():
    message, found = round_trip('cmd_vel Twist base/*')
    linear, angular = message.linear, message.angular
    assert (linear.x, linear.y, linear.z) == (-1.5, 0.0, 0.0)
    assert (angular.x, angular.y, angular.z) == (0.0, 0.0, 0.5)
    np.testing.assert_array_equal(found, [0.5, NAN, -1.5])
    message, found = round_trip('cmd_vel TwistStamped frame_id=base_link base/*')
    assert (message.header.frame_id, message.header.stamp.nanosec) == ('base_link', 7)
    assert message.twist.linear.x == -1.5
    np.testing.assert_array_equal(found, [0.5, NAN, -1.5])


@pytest.mark.parametrize('kind', ['GripperCommand', 'GripperCommandAction'])
def test_a_gripper_is_sent_with_its_effort(kind):
    message, found = round_trip(f'grip {kind} max_effort=40 arm/a/position')
    assert (message.position, message.max_effort) == (2.0, 40.0)
    np.testing.assert_array_equal(found, [NAN, 2.0, NAN])


def test_what_a_twist_says_that_is_no_number_is_left_out():
    spec = make_spec('cmd_vel Twist base/*', *BASE)
    encoder = spec.output_type.encoder(spec, 50.0, LIBRARY)
    message = encoder.encode(np.array([NAN, 2.0, 1.0]), None)
    found = spec.output_type.decoder(spec, 3).decode(message)
    np.testing.assert_array_equal(found.values[0], [NAN, NAN, 1.0])
    assert 'hold nan for base/yaw/velocity' in str(found.fault)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x Twist', 'has entries of the sources arm, base, but one message is of one'),
        ('x Twist arm/a/position', 'arm/a/position is not in a Twist; expected x, y, z, roll'),
        ('x TwistStamped frame_id=a frame_id=b base/*', 'gives frame_id twice'),
        ('x Twist frame_id=a base/*', "'frame_id=a' matches no entry"),
        ('x GripperCommand base/*', 'a gripper is commanded by one position'),
        ('x GripperCommand max_effort=much arm/*', "max_effort is 'much', expected a number of 0"),
        ('x GripperCommandAction tolerance=-1 arm/*', "tolerance is '-1', expected a number of 0"),
    ],
)
def test_entries_and_options_that_make_no_such_message(text, message):
    with pytest.raises(ActError, match=message):
        make_spec(text, *BASE)
