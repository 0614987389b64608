"""Why nothing comes on a topic, from what is known of it."""

import pytest

from act_ros.topics import Publisher, explain, near, with_cause

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
JOINTS, ODOMETRY = 'sensor_msgs/msg/JointState', 'nav_msgs/msg/Odometry'
BOOL = 'std_msgs/msg/Bool'


@pytest.mark.parametrize(
    ('type_', 'publishers', 'heard', 'expected'),
    [
        (IMAGE, [], False, 'nobody publishes /front; near: /camera/front (sensor_msgs/msg/Image)'),
        (JOINTS, [], True, 'nobody publishes /front any more'),
        (IMAGE, [Publisher('/cam', COMPRESSED)], False,
         f'/front is published as {COMPRESSED} by /cam, but read as {IMAGE}: set camera_types to '
         f'CompressedImage'),
        (JOINTS, [Publisher('/base', ODOMETRY)], False,
         f'/front is published as {ODOMETRY} by /base, but read as {JOINTS}: set state_types to '
         f'Odometry'),
        (BOOL, [Publisher('/joy', 'std_msgs/msg/Empty')], False,
         f'/front is published as std_msgs/msg/Empty by /joy, but read as {BOOL}'),
        (JOINTS, [Publisher('/arm', JOINTS, 'Volatile publisher')], False,
         '/front of /arm cannot be read, its QoS differs: Volatile publisher'),
        # One that can be read is enough.
        (JOINTS,
         [Publisher('/a', JOINTS, 'x'), Publisher('/b', ODOMETRY), Publisher('/c', JOINTS)],
         True, '/front is published by /c'),
        (JOINTS, [Publisher('/arm', JOINTS)] * 2, False,
         '/front is published by /arm, but nothing has come: is it idle?'),
        (IMAGE, [Publisher('/cam', IMAGE)], False,
         '/front is published by /cam, but nothing has come: is it idle, or do its images get '
         'lost (see Fast DDS in docs/robot.md)?'),
    ],
)  # fmt: skip
def test_what_is_known_of_a_silent_topic(type_, publishers, heard, expected):
    others = {'/camera/front': [IMAGE], '/rosout': ['rcl_interfaces/msg/Log']}
    assert explain('/front', type_, publishers, others, heard=heard) == expected


@pytest.mark.parametrize(
    ('topic', 'type_', 'others', 'expected'),
    [
        ('/front/image_raw', IMAGE, {}, []),
        # The right type first, then that which can be read, then the likeness of names.
        ('/front/image_raw', IMAGE,
         {'/camera/front/compressed': [COMPRESSED], '/wrist/image_raw': [IMAGE],
          '/camera/front/image_raw': [IMAGE], '/joint_states': [JOINTS]},
         ['/camera/front/image_raw', '/wrist/image_raw', '/camera/front/compressed']),
        # At most three.
        ('/a', IMAGE, {f'/camera_{i}': [IMAGE] for i in range(9)},
         ['/camera_0', '/camera_1', '/camera_2']),
        # A topic of two types, and one of almost the same name and none that could be read.
        ('/joint_states', JOINTS, {'/x': ['a/msg/B', JOINTS]}, ['/x']),
        ('/arm/joint_states', JOINTS, {'/arm/joint_state': ['a/msg/B'], '/b': ['a/msg/B']},
         ['/arm/joint_state']),
    ],
)  # fmt: skip
def test_topics_that_are_near(topic, type_, others, expected):
    text = near(topic, type_, others)
    assert text.startswith('; near: ') == bool(expected)
    assert [word for word in text.split() if word.startswith('/')] == expected


def test_a_fault_and_its_cause_are_one_line():
    assert with_cause('front has not arrived', 'nobody') == 'front has not arrived: nobody'
    assert with_cause('front is stale: 1 s old', 'nobody') == 'front is stale: 1 s old (nobody)'
