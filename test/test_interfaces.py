"""What the parameters say of a robot's topics."""

import pytest

from act_ros.errors import ParameterError
from act_ros.interfaces import check_shared, check_topics, parse_output
from act_ros.task import Entry, Task


def make_task(*joints):
    entries = tuple(
        Entry('arm', joint, quantity) for joint in joints for quantity in ('position', 'velocity')
    )
    return Task('t', ('c',), entries, entries, 50.0, (4, 6))


BRACKETS = ('joint[0]', 'joint[1]', 'joint0', 'finger[0]_tip', 'finger[1]_tip', 'star*')
SLASHES = ('panda/joint 1', 'panda/joint 2', 'ur/joint 1', "o'clock")


@pytest.mark.parametrize(
    ('joints', 'patterns', 'expected'),
    [
        # The very name comes before what a pattern would match.
        (BRACKETS, 'arm/joint[0]/position', ['arm/joint[0]/position']),
        (BRACKETS, 'arm/joint[0]', ['arm/joint[0]/position', 'arm/joint[0]/velocity']),
        (BRACKETS, 'arm/star*/velocity', ['arm/star*/velocity']),
        # A class of characters where it matches; the brackets themselves where it does not.
        (BRACKETS, 'arm/joint[0-9]/position', ['arm/joint0/position']),
        (BRACKETS, 'arm/finger[*]_tip/velocity',
         ['arm/finger[0]_tip/velocity', 'arm/finger[1]_tip/velocity']),
        (SLASHES, "'arm/panda/joint 1/position'", ['arm/panda/joint 1/position']),
        (SLASHES, "arm/panda/'joint 2'",
         ['arm/panda/joint 2/position', 'arm/panda/joint 2/velocity']),
        (SLASHES, 'arm/panda/*/position',
         ['arm/panda/joint 1/position', 'arm/panda/joint 2/position']),
        (SLASHES, '"arm/*/joint 1/velocity" arm/o"\'"clock/velocity',
         ['arm/panda/joint 1/velocity', 'arm/ur/joint 1/velocity', "arm/o'clock/velocity"]),
        (('a\\b',), 'arm/a\\b/position', ['arm/a\\b/position']),
        (('a#1',), 'arm/a#1/position', ['arm/a#1/position']),
    ],
)  # fmt: skip
def test_a_pattern_means_the_entries_of_that_name(joints, patterns, expected):
    spec = parse_output(f'commands Float64MultiArray {patterns}', make_task(*joints))
    assert [str(entry) for entry in spec.entries] == expected


@pytest.mark.parametrize(
    ('pattern', 'message'),
    [
        ('arm/ur/joint 1/position',
         "'arm/ur/joint' matches no entry .* 'arm/ur/joint 1/.*a name with a space stands in quo"),
        ("arm/o'clock/position", 'has a quote without its end; .* in double quotes'),
        ("'arm/panda/joint 3'", "'arm/panda/joint 3' matches no entry"),
    ],
)  # fmt: skip
def test_a_pattern_that_means_nothing_says_how_to_write_it(pattern, message):
    with pytest.raises(ParameterError, match=message):
        parse_output(f'commands Float64MultiArray {pattern}', make_task(*SLASHES))


def test_a_topic_is_read_as_one_type():
    check_shared({'arm': ('/joints', 'JointState'), 'hand': ('/joints', 'JointState')})
    with pytest.raises(ParameterError, match='/x is read as Odometry for base and as JointState'):
        check_shared({'base': ('/x', 'Odometry'), 'arm': ('/x', 'JointState')})


@pytest.mark.parametrize('topic', ['a', '/a_1/b2', '~/a', 'a/{node}_b', '{ns}/c'])
def test_what_ros_takes_is_a_topic(topic):
    check_topics({'it': topic})
    module = pytest.importorskip('rclpy.validate_topic_name', reason='rclpy is not importable')
    module.validate_topic_name(topic)


@pytest.mark.parametrize(
    'topic', ['', '/', '~', '~a', 'a b', '3a', 'a/', 'a//b', 'x-y', 'ä', 'a/4', 'a{b', 'a/~']
)
def test_what_ros_does_not_take_is_none(topic):
    with pytest.raises(ParameterError, match='the topic of it is '):
        check_topics({'it': topic})
