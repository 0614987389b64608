"""Joint states and poses in other messages than JointState and Odometry."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from act_ros.errors import TaskError
from act_ros.observation import ObservationStore
from act_ros.task import Entry, Task
from test.messages import TURN, header, image

NOW, MS = 1_000_000_000_000, 1_000_000
FRAME = np.zeros((4, 6, 3), np.uint8)


def make_store(kind, state, action=()):
    entries = [tuple(map(Entry.parse, texts)) for texts in (state, action or state)]
    task = Task('t', ('eye',), *entries, 50.0, (4, 6))
    source = entries[0][0].source
    return ObservationStore(task, max_age=0.1, max_skew=0.1, kinds={source: kind})


def look(store, message, now=NOW):
    """qpos, or what is wrong with the source."""
    store.put('eye', image(FRAME, stamp=now), now)
    store.put('s', message, now)
    snapshot, faults = store.snapshot(now)
    return faults['s'] if snapshot is None else snapshot.qpos.tolist()


def vector(*values):
    return SimpleNamespace(**dict(zip('xyzw', values, strict=False)))


def pose(frame='tool', orientation=TURN, stamp=NOW):
    message = SimpleNamespace(header=header(stamp), pose=SimpleNamespace(
        position=vector(1.0, 2.0, 3.0), orientation=vector(*orientation)))  # fmt: skip
    message.header.frame_id = frame
    return message


def twist(frame='tool', stamp=NOW):
    message = SimpleNamespace(header=header(stamp), twist=SimpleNamespace(
        linear=vector(1.0, 2.0, 3.0), angular=vector(0.1, 0.2, 0.3)))  # fmt: skip
    message.header.frame_id = frame
    return message


def array(*values, offset=0):
    return SimpleNamespace(layout=SimpleNamespace(data_offset=offset, dim=[]), data=values)


def trajectory(names, *points, stamp=0):
    return SimpleNamespace(
        header=header(stamp), joint_names=list(names),
        points=[SimpleNamespace(positions=p, velocities=v) for p, v in points],
    )  # fmt: skip


POSE = ['s/z/position', 's/yaw/position', 's/qw/position']
TWIST = ['s/yaw/velocity', 's/x/velocity']
JOINTS = ['s/b/position', 's/a/position', 's/a/velocity']


def test_a_pose():
    found = look(make_store('PoseStamped', POSE), pose())
    np.testing.assert_allclose(found, [3.0, math.pi / 2, math.sqrt(0.5)], atol=1e-6)
    said = look(make_store('PoseStamped', POSE), pose(orientation=(0, 0, 0, 0)))
    assert 's: the orientation [0, 0, 0, 0] is no unit quaternion' in said


def test_a_twist_is_in_the_frame_of_its_message():
    np.testing.assert_allclose(look(make_store('TwistStamped', TWIST), twist()), [0.3, 1.0])


@pytest.mark.parametrize(
    ('kind', 'entries', 'make'), [('PoseStamped', POSE, pose), ('TwistStamped', TWIST, twist)]
)
def test_a_frame_that_changes_is_another_number(kind, entries, make):
    store = make_store(kind, entries)
    assert isinstance(look(store, make('/tool')), list)
    later = NOW + 10 * MS
    assert "s is in 'world', and was in 'tool' before" in look(store, make('world', stamp=later),
                                                               later)  # fmt: skip
    assert isinstance(look(store, make('tool', stamp=later + MS), later + MS), list)


def test_an_array_is_the_entries_of_qpos_in_their_order():
    store = make_store('Float64MultiArray', JOINTS, ['s/a/position'])
    np.testing.assert_allclose(look(store, array(1.0, 2.0, 3.0)), [1.0, 2.0, 3.0])
    measured, faults = store.measured(NOW)
    assert measured.tolist() == [2.0] and faults == {}
    assert 's has no header stamp: its age counts from its receipt' in store.remarks()
    np.testing.assert_allclose(look(store, array(9.0, 1.0, 2.0, 3.0, offset=1)), [1.0, 2.0, 3.0])
    assert 's has 2 numbers, expected 3: as many as task.state' in look(store, array(1.0, 2.0))
    assert 's/b/position is nan' in look(store, array(math.nan, 2.0, 3.0))
    store.put('eye', image(FRAME, stamp=NOW + 200 * MS), NOW + 200 * MS)
    assert 'is stale' in store.snapshot(NOW + 200 * MS)[1]['s']


def test_a_trajectory_is_read_by_joint_name_at_its_first_point():
    store = make_store('JointTrajectory', JOINTS)
    message = trajectory(['a', 'c', 'b'], ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), ([9.0] * 3, []))
    np.testing.assert_allclose(look(store, message), [3.0, 1.0, 4.0])
    said = look(make_store('JointTrajectory', JOINTS), trajectory(['a', 'b']))
    assert 's/b/position has not arrived' in said
    message = trajectory(['a', 'b'], ([1.0] * 3, [1.0, 2.0]))
    said = look(make_store('JointTrajectory', JOINTS), message)
    assert '2 joint names but 3 values in position' in said


@pytest.mark.parametrize(
    ('kind', 'state', 'action', 'message'),
    [
        ('PoseStamped', ['s/x/velocity'], (), 's/x/velocity is not in a PoseStamped; expected x'),
        ('PoseStamped', ['s/w/position'], (), 's/w/position is not in a PoseStamped'),
        ('TwistStamped', ['s/x/position'], (), 's/x/position is not in a TwistStamped; expected'),
        ('TwistStamped', ['s/qx/velocity'], (), 's/qx/velocity is not in a TwistStamped'),
        ('Float64MultiArray', ['s/a/position'], ['s/b/position'],
         "s/b/position is commanded but not measured: 's' is a Float64MultiArray"),
    ],
)
def test_entries_that_such_messages_do_not_have(kind, state, action, message):
    with pytest.raises(TaskError, match=message):
        make_store(kind, state, action)
