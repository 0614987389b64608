"""From actions to messages."""

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from act_ros.errors import TaskError
from act_ros.nodes.messages import JointCommandBuilder
from act_ros.task import Entry, Task


def make_task(*action):
    entries = tuple(map(Entry.parse, action))
    return Task('t', ('camera',), entries, entries, 50.0, (4, 6))


def test_joints_are_named_once_and_values_stand_with_their_joint_in_the_robots_units():
    task = make_task(
        'arm/b/velocity', 'arm/a/position', 'arm/b/position scale=2 offset=1', 'arm/a/velocity'
    )
    message = JointCommandBuilder(task).build(np.array([1.0, 2.0, 7.0, 4.0]), Time(sec=3))
    assert list(message.name) == ['b', 'a']
    assert list(message.position) == [3.0, 2.0]
    assert list(message.velocity) == [1.0, 4.0]
    assert message.header.stamp.sec == 3


@pytest.mark.parametrize(
    ('action', 'message'),
    [
        (('left/j/position', 'right/j/position'), 'names the sources left, right'),
        (('arm/a/position', 'arm/b/position', 'arm/a/velocity'), "velocity .* none of 'b'"),
    ],
)
def test_an_action_that_is_no_joint_state_is_refused(action, message):
    with pytest.raises(TaskError, match=message):
        JointCommandBuilder(make_task(*action))
