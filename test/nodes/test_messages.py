"""The plan as a message."""

import numpy as np
import pytest

from act_ros.nodes.messages import chunk_message
from act_ros.task import Entry, Task

CHUNK = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])


def plan(*action):
    entries = tuple(map(Entry.parse, action))
    task = Task('t', ('camera',), entries, entries, 50.0, (4, 6))
    return chunk_message(task, CHUNK[:, : len(entries)], 3_000_000_020)


def test_velocities_stand_with_their_joints_whatever_the_order_of_the_action():
    message = plan('arm/b/velocity', 'arm/a/position', 'arm/b/position', 'arm/a/velocity')
    assert message.joint_names == ['a', 'b']
    assert [list(point.positions) for point in message.points] == [[2, 3], [6, 7]]
    assert [list(point.velocities) for point in message.points] == [[4, 1], [8, 5]]
    assert [point.time_from_start.nanosec for point in message.points] == [0, 20_000_000]
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 20)


@pytest.mark.parametrize('velocities', [(), ('arm/b/velocity',)])
def test_velocities_of_some_joints_only_are_left_out(velocities):
    point = plan('arm/a/position', 'arm/b/position', *velocities).points[0]
    assert list(point.positions) == [1.0, 2.0]
    assert not len(point.velocities)
