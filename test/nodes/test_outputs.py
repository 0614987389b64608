"""From actions to messages."""

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from act_ros.errors import ActError
from act_ros.nodes.outputs import dry_run_topic, parse_outputs, unsent
from act_ros.task import Entry, Task

NOW = Time(sec=3)
BOTH = ('arm/b/velocity', 'arm/a/position', 'arm/b/position', 'arm/a/velocity')
VALUES = np.array([1.0, 2.0, 3.0, 4.0])


def make_task(*action):
    entries = tuple(map(Entry.parse, action))
    return Task('t', ('camera',), entries, entries, 50.0, (4, 6))


def only(text, *action):
    (output,) = parse_outputs([text], make_task(*(action or BOTH)))
    return output


def seconds(duration):
    return duration.sec + duration.nanosec / 1e9


def test_joint_state():
    message = only('commands JointState').build(VALUES, NOW)
    assert list(message.name) == ['b', 'a']
    assert list(message.position) == [3.0, 2.0]
    assert list(message.velocity) == [1.0, 4.0]
    assert message.header.stamp.sec == 3


def test_a_pattern_selects_and_orders():
    message = only('commands JointState arm/a arm/b/position arm/b/velocity').build(VALUES, NOW)
    assert list(message.name) == ['a', 'b']
    assert list(message.position) == [2.0, 3.0]
    assert list(message.velocity) == [4.0, 1.0]
    message = only('commands JointState */position').build(VALUES, NOW)
    assert list(message.position) == [2.0, 3.0]
    assert not len(message.velocity)


def test_a_trajectory_begins_at_once_with_a_point_one_tick_ahead():
    message = only('t JointTrajectory').build(VALUES, NOW, np.ones((3, 4)))
    assert message.joint_names == ['b', 'a']
    (point,) = message.points
    assert list(point.positions) == [3.0, 2.0]
    assert list(point.velocities) == [1.0, 4.0]
    assert seconds(point.time_from_start) == pytest.approx(0.02)
    assert message.header.stamp == Time()


def test_a_horizon_has_the_coming_ticks():
    output = only('t JointTrajectoryHorizon')
    assert output.needs_horizon
    message = output.build(VALUES, NOW, np.array([VALUES + 10, VALUES + 20]))
    assert [list(p.positions) for p in message.points] == [[3, 2], [13, 12], [23, 22]]
    times = [seconds(point.time_from_start) for point in message.points]
    assert times == pytest.approx([0.02, 0.04, 0.06])


def test_an_array_says_its_layout():
    message = only('g Float64MultiArray arm/b/position arm/a/position').build(VALUES, NOW)
    assert list(message.data) == [3.0, 2.0]
    (dimension,) = message.layout.dim
    assert (dimension.label, dimension.size) == ('arm/b/position,arm/a/position', 2)


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
        (['commands'], 'not of the form TOPIC TYPE'),
        (['commands JointStat'], "type 'JointStat'; expected one of JointState, JointTraj"),
        (['commands JointState arm/c/position'], "'arm/c/position' matches no entry"),
        (['a JointState', 'a JointTrajectory'], "topic 'a' twice"),
        (['bad-name JointState'], 'bad-name'),
        (['a JointState */position arm/b'], "velocity of some joints but none of 'a'"),
        (['a JointTrajectory */velocity'], 'needs positions'),
    ],
)
def test_what_is_refused(texts, message):
    with pytest.raises(ActError, match=message):
        parse_outputs(texts, make_task(*BOTH))


def test_one_message_is_for_one_source():
    task = make_task('left/j/position', 'right/j/position')
    with pytest.raises(ActError, match='sources left, right'):
        parse_outputs(['a JointState'], task)
    assert len(parse_outputs(['a JointState left/*', 'b JointState right/*'], task)) == 2
