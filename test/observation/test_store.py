"""One instant: complete, fresh, within skew; qpos by joint name."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from act_ros.errors import ObservationError, TaskError
from act_ros.observation import ObservationStore
from act_ros.task import Entry, Task
from test.messages import header, image, joints, odometry

MS = 1_000_000
NOW = 1_000_000 * MS
TASK = Task(
    name='t',
    cameras=('left', 'right'),
    state=tuple(
        map(
            Entry.parse,
            [
                'base/x/position',
                'base/x/velocity',
                'arm/b/position',
                'arm/a/position scale=2 offset=1',
            ],
        )
    ),
    action=(Entry.parse('arm/a/position'),),
    rate=50.0,
    image_size=(4, 6),
)
FRAME = np.zeros((4, 6, 3), np.uint8)


def make_store(**changes):
    return ObservationStore(TASK, **{'max_age': 0.1, 'max_skew': 0.05, **changes})


def fill(store, stamp=NOW - 10 * MS, receipt=NOW, base=None):
    for camera in TASK.cameras:
        store.put(camera, image(FRAME, stamp=stamp), receipt)
    store.put('base', base or joints(['x'], [0.5], [0.25], stamp=stamp), receipt)
    store.put('arm', joints(['a', 'b'], [3.0, 4.0], stamp=stamp), receipt)


def faults(store, now=NOW):
    snapshot, found = store.snapshot(now)
    assert snapshot is None
    return found


def test_a_complete_fresh_instant_is_a_snapshot():
    store = make_store()
    fill(store)
    snapshot, found = store.snapshot(NOW)
    assert found == {}
    np.testing.assert_allclose(snapshot.qpos, [0.5, 0.25, 4.0, 2 * 3.0 + 1])
    assert snapshot.qpos.dtype == np.float32
    assert snapshot.age == 10 * MS
    assert set(snapshot.stamps) == {'left', 'right', 'base', 'arm'}
    np.testing.assert_array_equal(snapshot.images()['left'], FRAME)


def test_every_missing_input_is_named():
    assert set(faults(make_store())) == {'left', 'right', 'base', 'arm'}


def test_joints_are_read_by_name_whatever_their_order_and_company():
    store = make_store()
    fill(store)
    store.put('arm', joints(['z', 'b', 'y', 'a'], [9.0, 4.0, np.nan, 3.0], stamp=NOW), NOW)
    snapshot, _ = store.snapshot(NOW)
    np.testing.assert_allclose(snapshot.qpos[2:], [4.0, 7.0])
    store.put('arm', joints(['a', 'b'], [5.0, 6.0], stamp=NOW + 1), NOW)
    snapshot, _ = store.snapshot(NOW)
    np.testing.assert_allclose(snapshot.qpos[2:], [6.0, 11.0])


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (joints(['a', 'b', 'b'], [1.0, 2.0, 3.0]), "joint 'b' of 'arm' is listed 2 times"),
        (joints(['a', 'b'], [np.nan, 2.0]), 'arm/a/position is nan'),
        (joints(['a', 'b'], [1.0, np.inf]), 'arm/b/position is inf'),
        (joints(['a', 'b'], [1.0]), 'arm: 2 joint names but 1 values in position'),
    ],
)
def test_joint_states_that_do_not_fit_are_named(message, text):
    store = make_store(stamp_source='receipt')
    fill(store)
    message.header = header(NOW)
    store.put('arm', message, NOW)
    assert text in faults(store)['arm']


def test_the_oldest_input_makes_the_age():
    store = make_store()
    fill(store)
    store.put('base', joints(['x'], [0.0], stamp=NOW - 80 * MS), NOW)
    snapshot, _ = store.snapshot(NOW)
    assert snapshot.age == 80 * MS


def test_stale_and_future_stamps_are_named_with_their_age():
    store = make_store()
    fill(store)
    # Just received, but older than that by now: late, and no question of clocks.
    store.put('base', joints(['x'], [0.0], stamp=NOW - 101 * MS), NOW - 94 * MS)
    store.put('left', image(FRAME, stamp=NOW + 500 * MS), NOW)
    found = faults(store)
    assert found['base'] == 'base is stale: 0.101 s old, max_age 0.1 s'
    assert '0.500 s in the future: the clocks differ' in found['left']


def test_a_clock_a_little_ahead_makes_nothing_younger_than_now():
    store = make_store()
    fill(store, stamp=NOW + 90 * MS)
    assert store.snapshot(NOW)[0].age == 0


@pytest.mark.parametrize('source', ['header', 'receipt'])
def test_a_stamp_that_does_not_advance_ages(source):
    store = make_store(stamp_source=source)
    fill(store, stamp=NOW, receipt=NOW)
    for tick in range(1, 20):
        now = NOW + tick * 10 * MS
        store.put('left', image(FRAME, stamp=NOW), now)
        store.put('right', image(FRAME, stamp=now), now)
    assert faults(store, now)['left'] == (
        'left is frozen: 19 messages with the same stamp, 0.190 s old, max_age 0.1 s'
    )
    assert 'right' not in faults(store, now)
    store.put('left', image(FRAME, stamp=now), now)
    assert 'left' not in faults(store, now)


def test_a_repeated_stamp_that_ceases_is_stale_like_any_other():
    store = make_store()
    fill(store, stamp=NOW)
    store.put('left', image(FRAME, stamp=NOW), NOW + 20 * MS)
    later = NOW + 500 * MS
    assert faults(store, later)['left'] == 'left is stale: 0.500 s old, max_age 0.1 s'


def test_clocks_that_differ_are_told_with_the_offset():
    store = make_store()
    fill(store, stamp=NOW - 3012 * MS)
    assert faults(store)['left'] == (
        'left is stamped 3.012 s before it arrived, max_age 0.1 s: the clocks differ, or its '
        'driver is late (synchronise them, or set stamp_source: receipt)'
    )
    advised = make_store(stamp_source='receipt')
    fill(advised, stamp=NOW - 3012 * MS)
    assert advised.snapshot(NOW)[1] == {}


def test_the_same_picture_for_too_long_is_frozen_if_that_is_asked_for():
    patient, strict = make_store(), make_store(frozen_timeout=1.0)
    moving = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    for tick in range(60):
        now = NOW + tick * 20 * MS
        for store in (patient, strict):
            fill(store, stamp=now, receipt=now)
            store.put('right', image(moving + tick, stamp=now + 1), now)
    assert patient.snapshot(now)[1] == {}
    assert faults(strict, now) == {
        'left': 'left is frozen: the same picture for 1.2 s, frozen_timeout 1 s'
    }
    strict.put('left', image(moving, stamp=now + 1), now)
    assert strict.snapshot(now)[1] == {}


@pytest.mark.parametrize('change', [0, 71])
def test_one_other_byte_is_another_picture(change):
    store = make_store(frozen_timeout=0.05)
    other = FRAME.copy()
    other.flat[change] = 1
    for tick in range(10):
        now = NOW + tick * 20 * MS
        fill(store, stamp=now, receipt=now)
        store.put('left', image(other if tick % 2 else FRAME, stamp=now + 1), now)
    # The right one, which never changes, is what is named.
    assert set(faults(store, now)) == {'right'}


def test_a_camera_slower_than_frozen_timeout_is_not_frozen():
    store = make_store(frozen_timeout=0.01)
    fill(store, stamp=NOW)
    assert store.snapshot(NOW + 90 * MS)[1] == {}


def test_measured_positions_are_those_of_the_action_in_the_robots_units():
    store = make_store()
    assert store.measured(NOW) == (None, {'arm': 'arm has not arrived'})
    fill(store)
    values, faults = store.measured(NOW)
    assert faults == {}
    np.testing.assert_array_equal(values, [3.0])
    # A camera may be missing, the arm must not be old.
    store.clear()
    store.put('arm', joints(['a', 'b'], [3.0, 4.0], stamp=NOW), NOW)
    assert store.measured(NOW + 100 * MS)[1] == {}
    assert 'arm is stale' in store.measured(NOW + 101 * MS)[1]['arm']


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (joints(['b'], [1.0], stamp=NOW), "joint 'a' of 'arm' is missing (found: b)"),
        (joints(['a'], [np.nan], stamp=NOW), 'arm/a/position is nan, expected a number'),
    ],
)
def test_a_joint_that_is_not_measured_now_is_named(message, text):
    store = make_store()
    store.put('arm', message, NOW)
    assert store.measured(NOW) == (None, {'arm': text})


@pytest.mark.parametrize(
    ('messages', 'text'),
    [
        ([], 'arm has not arrived'),
        ([joints(['a'], [1.0])], "joint 'b' of 'arm' is missing (found: a)"),
        ([joints(['x'], [1.0]), joints(['y'], [1.0])],
         "joints 'b', 'a' of 'arm' are missing (found: x, y)"),
        ([joints([], [1.0])], "joints 'b', 'a' of 'arm' are missing (found: no names)"),
        ([joints(['a', 'b'], [], [1.0, 1.0])],
         'arm/b/position has not arrived: no message with the joint holds it'),
        ([joints(['a\nb'], [1.0])],
         "joints 'b', 'a' of 'arm' are missing (found: 'a\\nb')"),
    ],
)  # fmt: skip
def test_a_joint_that_never_came_is_named_with_those_that_did(messages, text):
    store = make_store(stamp_source='receipt')
    for message in messages:
        store.put('arm', message, NOW)
    assert faults(store)['arm'] == text
    # What comes is no stranger after a jump of the clock either.
    store.clear()
    assert faults(store)['arm'] == 'arm has not arrived'


def test_several_inputs_at_fault_are_each_named_by_their_own_name():
    store = make_store()
    fill(store)
    store.put('base', joints(['x'], [np.nan], [0.0], stamp=NOW), NOW)
    store.put('arm', joints(['b', 'b'], [0.0, 0.0], stamp=NOW), NOW)
    found = faults(store)
    assert set(found) == {'base', 'arm'}
    assert found['base'].startswith('base/x/position is nan')
    assert found['arm'].startswith("joint 'b' of 'arm' is listed 2 times")


def test_a_base_from_odometry():
    store = make_store(kinds={'base': 'Odometry'}, twist_frame='base_link')
    fill(store, base=odometry(linear=(0.25, 0.0, 0.0), stamp=NOW))
    snapshot, found = store.snapshot(NOW)
    assert found == {}
    np.testing.assert_allclose(snapshot.qpos, [4.0, 0.25, 4.0, 7.0])
    with pytest.raises(TaskError, match="'twist_frame' is not set"):
        make_store(kinds={'base': 'Odometry'})


def test_a_joint_that_is_commanded_but_not_measured_is_refused():
    task = replace(TASK, action=(Entry.parse('gripper/g/position'),))
    with pytest.raises(TaskError, match='gripper/g/position is commanded but not measured'):
        ObservationStore(task, max_age=0.1, max_skew=0.1)


def test_ages():
    store = make_store()
    store.put('left', image(FRAME, stamp=NOW - 30 * MS), NOW)
    store.put('base', joints(['x'], [0.0], stamp=NOW - 20 * MS), NOW)
    store.put('arm', joints(['a'], [0.0], stamp=NOW), NOW)
    assert store.ages(NOW) == {'left': 0.03, 'right': None, 'base': 0.02, 'arm': None}
    store.put('arm', joints(['b'], [0.0], stamp=NOW - 40 * MS), NOW)
    assert store.ages(NOW)['arm'] == 0.04


def test_skew_between_cameras_is_named():
    store = make_store()
    fill(store)
    store.put('left', image(FRAME, stamp=NOW - 61 * MS), NOW)
    store.put('right', image(FRAME, stamp=NOW), NOW)
    assert faults(store) == {
        'left': 'left is 0.061 s behind right, more than max_skew 0.05 s'
    }


def test_receipt_counts_where_told_and_where_there_is_no_stamp():
    by_receipt = make_store(stamp_source='receipt')
    fill(by_receipt, stamp=5, receipt=NOW - 20 * MS)
    by_receipt.put('left', image(FRAME, stamp=0), NOW - 20 * MS)
    assert by_receipt.snapshot(NOW)[0].age == 20 * MS
    assert by_receipt.remarks() == []

    by_header = make_store()
    fill(by_header)
    for _ in range(3):
        by_header.put('left', image(FRAME, stamp=0), NOW - 30 * MS)
        by_header.put('arm', joints(['a'], [0.0], stamp=0), NOW - 30 * MS)
    assert by_header.snapshot(NOW)[0].age == 30 * MS
    assert by_header.remarks() == [
        'left has no header stamp: its age counts from its receipt',
        'arm (a) has no header stamp: its age counts from its receipt',
    ]


def test_a_frame_of_another_size_is_named():
    store = make_store()
    fill(store)
    store.put('right', image(np.zeros((4, 8, 3), np.uint8), stamp=NOW), NOW)
    assert 'right: 4x8 pixels, expected 4x6' in faults(store)['right']


def test_clear_forgets_everything():
    store = make_store()
    fill(store)
    store.clear()
    assert faults(store) == {
        name: f'{name} has not arrived' for name in ('left', 'right', 'base', 'arm')
    }
    assert store.measured(NOW) == (None, {'arm': 'arm has not arrived'})
    assert set(store.ages(NOW).values()) == {None}


def test_a_snapshot_is_an_instant_that_later_messages_do_not_change():
    store = make_store()
    fill(store)
    snapshot, _ = store.snapshot(NOW)
    store.put('base', joints(['x'], [7.0], stamp=NOW), NOW)
    assert snapshot.qpos[0] == 0.5


def jpeg(pixels, stamp=NOW):
    data = cv2.imencode('.jpeg', pixels)[1].tobytes()
    return SimpleNamespace(header=header(stamp), format='jpeg', data=data)


@pytest.mark.parametrize('grey', [image(FRAME[..., :1], 'mono8', stamp=NOW), jpeg(FRAME[..., 0])],
                         ids=['mono8', 'jpeg'])  # fmt: skip
def test_a_camera_that_sends_grey_pictures_is_remarked(grey):
    store = make_store()
    fill(store)
    store.put('left', jpeg(FRAME, stamp=NOW - MS), NOW)
    assert store.snapshot(NOW)[0] is not None
    assert store.remarks() == []
    store.put('left', grey, NOW)
    snapshot, found = store.snapshot(NOW)
    assert found == {}
    assert snapshot.images()['left'].shape == FRAME.shape
    assert store.remarks() == ['left sends grey pictures: red, green and blue are the same']


def test_frames_that_cannot_be_decoded_are_named():
    store = make_store()
    fill(store)
    cut = jpeg(FRAME, stamp=NOW - MS)
    cut.data = cut.data[:-4] + cut.data[-2:]
    store.put('left', cut, NOW)
    snapshot, _ = store.snapshot(NOW)
    (text,) = snapshot.damaged().values()
    assert text.startswith('left: a JPEG that has lost part of its data: Corrupt JPEG data: ')
    with pytest.raises(ObservationError, match='left: a JPEG that has lost'):
        snapshot.images()
    store.put('left', jpeg(FRAME), NOW)
    assert store.snapshot(NOW)[0].damaged() == {}


def test_what_nobody_decodes_is_a_fault_of_the_camera():
    store = make_store()
    fill(store)
    store.put('left', image(FRAME, '16UC1', stamp=NOW), NOW)
    text = faults(store)['left']
    assert text.startswith("left: encoding '16UC1' is not supported: it has more than 8 bits")
