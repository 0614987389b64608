"""Pose and velocity of a base from nav_msgs/Odometry."""

import math

import numpy as np
import pytest

from act_ros.errors import TaskError
from act_ros.observation import StateReader
from act_ros.task import Entry
from test.messages import TURN, odometry

ENTRIES = [
    Entry('base', name, quantity)
    for quantity in ('position', 'velocity')
    for name in ('x', 'y', 'z', 'roll', 'pitch', 'yaw')
]
def read(message, frame, entries=ENTRIES):
    return StateReader(entries, {'base': 'Odometry'}, frame).read({'base': message})


def test_the_pose_and_the_twist_in_its_own_frame():
    values, faults = read(odometry(), 'base_link')
    assert faults == {}
    expected = [4, 5, 6, 0, 0, math.pi / 2, 1, 2, 3, 0.1, 0.2, 0.3]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_the_twist_turned_into_the_frame_of_the_pose():
    values, _ = read(odometry(), 'world')
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
    values, _ = read(odometry(q), 'world')
    np.testing.assert_allclose(values[3:6], [roll, pitch, yaw], atol=1e-12)


def test_turned_by_a_quaternion_made_by_hand():
    # A third of a turn about (1, 1, 1): x to y, y to z, z to x.
    values, faults = read(odometry((0.5, 0.5, 0.5, 0.5)), 'world')
    assert faults == {}
    np.testing.assert_allclose(values[6:], [3, 1, 2, 0.3, 0.1, 0.2], atol=1e-12)
    entries = [Entry('base', name, 'position') for name in ('qx', 'qy', 'qz', 'qw')]
    np.testing.assert_array_equal(read(odometry(), '', entries)[0], TURN)


def test_a_rounded_quaternion_is_one():
    assert read(odometry((0, 0, 0, 1.0009)), 'world')[1] == {}


def test_an_unknown_frame_is_named():
    _, faults = read(odometry(), 'map')
    assert faults['base'] == (
        "base is an Odometry of 'base_link' in 'world', but twist_frame is 'map'; expected one "
        'of the two'
    )


@pytest.mark.parametrize('orientation', [(0, 0, 0, 0), (0, 0, 0, 1.0011), (math.nan, 0, 0, 1)])
def test_an_orientation_that_is_none_is_named(orientation):
    _, faults = read(odometry(orientation), 'world')
    assert 'no unit quaternion' in faults['base']


def test_a_value_that_is_no_number_is_named():
    _, faults = read(odometry(linear=(math.inf, 0, 0)), 'base_link')
    assert faults['base'].startswith('base/x/velocity is inf')


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
        StateReader([entry], {'base': 'Odometry'}, frame)
