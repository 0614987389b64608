"""From actions to messages."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from act_ros.bags.bag import Bag
from act_ros.bags.typestore import BagMessages, deserialize, typestore
from act_ros.bags.writing import BagWriter
from act_ros.commands import OUTPUT_TYPES
from act_ros.errors import ActError, ParameterError, TaskError
from act_ros.interfaces import dry_run_topic, unsent
from act_ros.nodes.message_classes import RosMessages, message_class
from act_ros.nodes.outputs import parse_outputs
from act_ros.task import Entry, Task
from test.commands.messages import ahead

NOW = Time(sec=3)
BOTH = ('arm/b/velocity', 'arm/a/position', 'arm/b/position', 'arm/a/velocity')
VALUES = np.array([1.0, 2.0, 3.0, 4.0])


def make_task(*action):
    entries = tuple(map(Entry.parse, action))
    return Task('t', ('camera',), entries, entries, 50.0, (4, 6))


def only(text, *action):
    task = make_task(*(action or BOTH))
    (spec,) = parse_outputs([text], task)
    return spec.output_type.encoder(spec, task.rate, RosMessages())


def example(name):
    """An output of a type, and an action that has what it takes."""
    holds = OUTPUT_TYPES[name].holds
    if holds == 'twist':
        return f'x {name}', ('base/x/velocity', 'base/y/velocity', 'base/z/velocity',
                             'base/yaw/velocity')  # fmt: skip
    return f'x {name}{" arm/a/position" * (holds == "gripper")}', BOTH


def seconds(duration):
    return duration.sec + duration.nanosec / 1e9


def test_joint_state():
    message = only('commands JointState').encode(VALUES, NOW)
    assert list(message.name) == ['b', 'a']
    assert list(message.position) == [3.0, 2.0]
    assert list(message.velocity) == [1.0, 4.0]
    assert message.header.stamp.sec == 3


def test_a_pattern_selects_and_orders():
    message = only('commands JointState arm/a arm/b/position arm/b/velocity').encode(VALUES, NOW)
    assert list(message.name) == ['a', 'b']
    assert list(message.position) == [2.0, 3.0]
    assert list(message.velocity) == [4.0, 1.0]
    message = only('commands JointState */position').encode(VALUES, NOW)
    assert list(message.position) == [2.0, 3.0]
    assert not len(message.velocity)


def test_an_entry_matched_twice_is_sent_once():
    output = only('g Float64MultiArray arm/a/velocity arm/a arm/*')
    assert list(output.encode(VALUES, NOW).data) == [4.0, 2.0, 1.0, 3.0]


def test_patterns_tell_upper_from_lower_case():
    with pytest.raises(ParameterError, match="'arm/A/\\*' matches no entry"):
        only('g Float64MultiArray arm/A/*')


def test_a_trajectory_begins_at_once_with_a_point_one_tick_ahead():
    message = only('t JointTrajectory').encode(VALUES, NOW, ahead(VALUES, np.ones((3, 4))))
    assert message.joint_names == ['b', 'a']
    (point,) = message.points
    assert list(point.positions) == [3.0, 2.0]
    assert list(point.velocities) == [1.0, 4.0]
    assert seconds(point.time_from_start) == pytest.approx(0.02)
    assert message.header.stamp == Time()


def test_a_horizon_has_the_coming_ticks():
    coming = np.array([VALUES + 10, VALUES + 20])
    message = only('t JointTrajectoryHorizon').encode(VALUES, NOW, ahead(VALUES, coming))
    assert [list(p.positions) for p in message.points] == [[3, 2], [13, 12], [23, 22]]
    times = [seconds(point.time_from_start) for point in message.points]
    assert times == pytest.approx([0.02, 0.04, 0.06])


@pytest.mark.parametrize('coming', [None, ahead(VALUES, np.empty((0, 4)))])
def test_without_coming_ticks_a_horizon_is_one_point(coming):
    message = only('t JointTrajectoryHorizon').encode(VALUES, NOW, coming)
    assert [list(p.positions) for p in message.points] == [[3, 2]]


def test_horizons_that_grow_and_shrink_do_not_mix():
    output = only('t JointTrajectoryHorizon')
    sent = []
    for count in (1, 3, 0, 2):
        coming = 100 * count + np.arange(4.0 * count).reshape(count, 4)
        message = output.encode(VALUES + count, NOW, ahead(VALUES + count, coming))
        assert len(message.points) == count + 1
        sent.append((serialize_message(message), np.vstack((VALUES + count, coming))))
    for data, rows in sent:
        points = deserialize_message(data, JointTrajectory).points
        assert [list(p.positions) for p in points] == rows[:, [2, 1]].tolist()
        assert [list(p.velocities) for p in points] == rows[:, [0, 3]].tolist()
        times = [seconds(p.time_from_start) for p in points]
        assert times == pytest.approx(0.02 * np.arange(1, len(rows) + 1))


def test_a_trajectory_of_positions_has_no_velocities():
    (point,) = only('t JointTrajectory */position').encode(VALUES, NOW).points
    assert list(point.positions) == [2.0, 3.0]
    assert not len(point.velocities)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('JointState', JointState),
        ('JointTrajectory', JointTrajectory),
        ('JointTrajectoryHorizon', JointTrajectory),
        ('Float64MultiArray', Float64MultiArray),
    ],
)
def test_every_type_goes_over_the_wire(name, expected):
    message = only(f'arm/commands {name}').encode(VALUES, NOW, ahead(VALUES, np.ones((3, 4))))
    assert message_class(OUTPUT_TYPES[name].message_type) is expected is type(message)
    assert deserialize_message(serialize_message(message), expected) == message


@pytest.mark.parametrize('name', OUTPUT_TYPES)
def test_live_and_in_a_bag_a_command_is_the_same(name, request):
    if OUTPUT_TYPES[name].message_type.startswith('control_msgs'):
        request.getfixturevalue('control_msgs')
    text, action = example(name)
    (spec,) = parse_outputs([text], make_task(*action))
    live, bag = only(text, *action), BagMessages()
    message_type = spec.message_type
    offline = spec.output_type.encoder(spec, 50.0, bag)
    for k in range(3):  # filled anew each time
        values, coming = VALUES * k, ahead(VALUES * k, np.ones((k, 4)))
        sent = serialize_message(live.encode(values, Time(nanosec=k), coming))
        message = offline.encode(values, bag.stamp(k), coming)
        written = typestore().serialize_cdr(message, message_type)
        # Serialised by one library: what fills the gaps between numbers is anything.
        received = deserialize(sent, message_type)
        assert typestore().serialize_cdr(received, message_type) == written


@pytest.mark.parametrize('text', ['JointState arm/a', 'JointTrajectoryHorizon */position'])
def test_what_a_script_serialises_and_writes_to_a_bag_is_read(tmp_path, text):
    """It is longer than the message is."""
    coming = np.arange(24.0)[:, np.newaxis] * VALUES
    sent = only(f'x {text}').encode(VALUES, NOW, ahead(VALUES, coming))
    (spec,) = parse_outputs([f'x {text}'], make_task(*BOTH))
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/x', spec.message_type)
        writer.write_raw('/x', 1, serialize_message(sent))
    with Bag(tmp_path / 'bag') as bag:
        (read,) = bag.messages(['/x'])
        assert not bag.damage
    decoder = spec.output_type.decoder(spec, 4)
    np.testing.assert_array_equal(
        decoder.decode(read.message).values, decoder.decode(sent).values
    )


def test_messages_that_check_their_fields_take_the_values():
    """As those of older distributions always do; the variable counts at import."""
    program = """
import numpy as np
from test.nodes.test_outputs import NOW, VALUES, ahead, example, only
from act_ros.commands import OUTPUT_TYPES
assert VALUES.dtype == np.float64
for name, output_type in OUTPUT_TYPES.items():
    if output_type.message_type.startswith('control_msgs'):
        continue
    text, action = example(name)
    message = only(text, *action).encode(VALUES, NOW, ahead(VALUES, np.ones((3, 4))))
    assert message._check_fields
"""
    done = subprocess.run(
        [sys.executable, '-c', program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, 'ROS_PYTHON_CHECK_FIELDS': '1'},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_array_says_its_layout():
    message = only('g Float64MultiArray arm/b/position arm/a/position').encode(VALUES, NOW)
    assert list(message.data) == [3.0, 2.0]
    (dimension,) = message.layout.dim
    assert (dimension.label, dimension.size) == ('arm/b/position,arm/a/position', 2)
    assert dimension.stride == 2
    assert message.layout.data_offset == 0


def test_what_no_output_carries():
    task = make_task(*BOTH)
    outputs = parse_outputs(['x JointTrajectory arm/a', 'y JointState arm/b/position'], task)
    assert unsent(outputs, task) == ['arm/b/velocity']


def test_the_shadow_topics():
    assert dry_run_topic('arm/commands') == '~/dry_run/arm/commands'
    assert dry_run_topic('/arm/commands') == '~/dry_run/arm/commands'
    assert dry_run_topic('~/commands') == '~/dry_run/commands'


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        ([], "'outputs' is empty"),
        ([''], "output '' is not of the form"),
        (['commands'], 'not of the form TOPIC TYPE'),
        (['commands JointStat'], "type 'JointStat'; expected one of JointState, JointTraj"),
        (['commands float64array'], 'nearest: Float64MultiArray'),
        (['commands JointState arm/c/position'], "'arm/c/position' matches no entry"),
        (['g Float64MultiArray arm/a arm/bb/velocity'], "nearest is 'arm/b/velocity'"),
        (['a JointState', 'a JointTrajectory'], "topic 'a' twice"),
        (['bad-name JointState'], 'bad-name'),
        (['a//b JointState'], "repeated '/'"),
        (['a{b} JointState'], 'unknown substitution'),
        (['a JointState */position arm/b'], "velocity of some joints but none of 'a'"),
        (['a JointTrajectory */velocity'], 'needs positions'),
        (['a JointTrajectoryHorizon */velocity'], 'needs positions'),
    ],
)
def test_what_is_refused(texts, message):
    with pytest.raises(ActError, match=message) as caught:
        parse_outputs(texts, make_task(*BOTH))
    line = str(caught.value)
    assert '\n' not in line
    assert not texts or repr(texts[0]) in line or 'twice' in line


def test_one_message_is_for_one_source():
    task = make_task('left/j/position', 'right/j/position')
    for name in ('JointState', 'JointTrajectory', 'JointTrajectoryHorizon'):
        with pytest.raises(TaskError, match='sources left, right'):
            parse_outputs([f'a {name}'], task)
    array = only('a Float64MultiArray', 'left/j/position', 'right/j/position')
    assert list(array.encode(np.array([1.0, 2.0]), NOW).data) == [1.0, 2.0]
    assert len(parse_outputs(['a JointState left/*', 'b JointState right/*'], task)) == 2
