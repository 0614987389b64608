"""Pose and velocity of a base from nav_msgs/Odometry."""

import math

import numpy as np
import pytest

from act_ros.errors import TaskError
from act_ros.observation.odometry import OdometryReader
from act_ros.task import Entry
from test.messages import TURN, odometry

ENTRIES = [
    Entry('base', name, quantity)
    for quantity in ('position', 'velocity')
    for name in ('x', 'y', 'z', 'roll', 'pitch', 'yaw')
]
POSE, TWIST = ENTRIES[:6], ENTRIES[6:]


def read(message, frame, entries=ENTRIES):
    """Values, what is wrong with them, and what was assumed."""
    reading = OdometryReader('base', entries, frame).read(message)
    assert reading.slots == tuple(range(len(entries)))
    wrong = set(reading.wrong.values())
    assert len(wrong) in (0, 1)
    assert np.isnan(reading.values).all() or not wrong
    return reading.values, ''.join(wrong), reading.remark


def test_the_pose_and_the_twist_in_its_own_frame():
    values, fault, remark = read(odometry(), 'base_link')
    assert (fault, remark) == ('', '')
    expected = [4, 5, 6, 0, 0, math.pi / 2, 1, 2, 3, 0.1, 0.2, 0.3]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_the_twist_turned_into_the_frame_of_the_pose():
    values, _, _ = read(odometry(), 'world')
    # Ahead of a base that looks to the left is the world's y.
    np.testing.assert_allclose(values[6:], [-2, 1, 3, -0.2, 0.1, 0.3], atol=1e-12)


@pytest.mark.parametrize('angles', [(0.3, -0.5, 2.0), (-3.0, 1.2, -0.4)])
def test_angles_are_of_fixed_axes(angles):
    roll, pitch, yaw = angles
    half = [(math.sin(a / 2), math.cos(a / 2)) for a in angles]
    (sr, cr), (sp, cp), (sy, cy) = half
    q = (
        sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy, cr * cp * cy + sr * sp * sy,
    )  # fmt: skip
    values, _, _ = read(odometry(q), 'world')
    np.testing.assert_allclose(values[3:6], [roll, pitch, yaw], atol=1e-12)


def test_turned_by_a_quaternion_made_by_hand():
    # A third of a turn about (1, 1, 1): x to y, y to z, z to x.
    values, fault, _ = read(odometry((0.5, 0.5, 0.5, 0.5)), 'world')
    assert fault == ''
    np.testing.assert_allclose(values[6:], [3, 1, 2, 0.3, 0.1, 0.2], atol=1e-12)
    entries = [Entry('base', name, 'position') for name in ('qx', 'qy', 'qz', 'qw')]
    np.testing.assert_array_equal(read(odometry(), '', entries)[0], TURN)


def test_a_rounded_quaternion_is_one():
    assert read(odometry((0, 0, 0, 1.0009)), 'world')[1] == ''


def test_an_unknown_frame_is_named():
    assert read(odometry(), 'map')[1] == (
        "base is an Odometry of 'base_link' in 'world', but twist_frame is 'map'; expected one "
        'of the two'
    )


NONE = [(0, 0, 0, 0), (0, 0, 0, 1.0011), (math.nan, 0, 0, 1)]


@pytest.mark.parametrize('orientation', NONE)
@pytest.mark.parametrize(
    ('entries', 'frame'), [(ENTRIES, 'world'), (TWIST, 'world'), (POSE, ''), (POSE[:1], '')]
)
def test_an_orientation_that_is_none_is_named_where_the_pose_is_used(orientation, entries, frame):
    assert 'no unit quaternion' in read(odometry(orientation), frame, entries)[1]


@pytest.mark.parametrize('orientation', NONE)
def test_an_orientation_that_nobody_uses_need_not_be_one(orientation):
    values, fault, _ = read(odometry(orientation), 'base_link', TWIST)
    assert fault == ''
    assert list(values) == [1, 2, 3, 0.1, 0.2, 0.3]


AS_IT_IS, TURNED = [1, 2, 3, 0.1, 0.2, 0.3], [-2, 1, 3, -0.2, 0.1, 0.3]


@pytest.mark.parametrize(
    ('child', 'frame', 'wanted', 'expected', 'remark'),
    [
        # A leading slash, as tf1 had it.
        ('/base_link', 'world', 'base_link', AS_IT_IS, ''),
        ('base_link', '/world', 'world', TURNED, ''),
        ('base_link', 'world', '/base_link', AS_IT_IS, ''),
        # A frame without a name is the wanted one if the other is not.
        ('', 'world', 'base_link', AS_IT_IS,
         "base has no child_frame_id: twist_frame 'base_link' is taken for it"),
        ('base_link', '', 'world', TURNED,
         "base has no frame_id: twist_frame 'world' is taken for it"),
        ('base_link', '', 'base_link', AS_IT_IS, ''),
        ('', 'world', 'world', TURNED,
         'base has no child_frame_id: its twist is turned as one of the base'),
    ],
)  # fmt: skip
def test_the_twist_by_the_names_of_its_frames(child, frame, wanted, expected, remark):
    message = odometry()
    message.child_frame_id, message.header.frame_id = child, frame
    values, fault, said = read(message, wanted, TWIST)
    assert (fault, said) == ('', remark)
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_a_twist_of_no_frame_at_all_is_refused_but_not_the_pose():
    message = odometry()
    message.child_frame_id = message.header.frame_id = ''
    assert 'without frame_id and child_frame_id' in read(message, 'base_link')[1]
    values, fault, remark = read(message, '', POSE)
    assert (list(values[:3]), fault, remark) == ([4, 5, 6], '', '')


@pytest.mark.parametrize(
    ('entry', 'frame', 'message'),
    [
        (Entry('base', 'w', 'position'), 'world', 'base/w/position is not in an Odometry'),
        (Entry('base', 'qx', 'velocity'), 'world', 'base/qx/velocity is not in an Odometry'),
        (Entry('base', 'x', 'velocity'), '', "'twist_frame' is not set"),
    ],
)
def test_what_is_refused(entry, frame, message):
    with pytest.raises(TaskError, match=message):
        OdometryReader('base', [entry], frame)
