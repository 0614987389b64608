"""Several publishers of one input: of joints of their own, or of the same."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from act_ros.observation import ObservationStore
from act_ros.task import Entry, Task
from test.messages import image, joints, odometry

MS = 1_000_000
NOW = 1_000_000 * MS
NAMES = ('j1', 'j2', 'grip')
POSITIONS = tuple(Entry('arm', name, 'position') for name in NAMES)
TASK = Task('t', ('eye',), POSITIONS, POSITIONS, 50.0, (4, 6))
FRAME = np.zeros((4, 6, 3), np.uint8)


def make_store(task=TASK, **changes):
    return ObservationStore(task, **{'max_age': 0.1, 'max_skew': 0.05, **changes})


def look(store, now):
    """The joints' values, or what is wrong with the arm."""
    store.put('eye', image(FRAME, stamp=now), now)
    snapshot, faults = store.snapshot(now)
    measured, unmeasured = store.measured(now)
    assert faults == unmeasured
    if faults:
        assert list(faults) == ['arm']
        return faults['arm']
    np.testing.assert_array_equal(snapshot.qpos, measured.astype(np.float32))
    return snapshot.qpos.tolist()


def arm(stamp, *values, names=('j1', 'j2')):
    return joints(names, values, stamp=stamp)


def gripper(stamp, value):
    return joints(['grip'], [value], stamp=stamp)


# --- joints of their own ---------------------------------------------------------------------


def test_an_arm_and_a_gripper_driver_on_one_topic_are_one_source():
    store = make_store()
    store.put('arm', arm(NOW, 1.0, 2.0), NOW)
    assert look(store, NOW) == "joint 'grip' of 'arm' is missing (found: j1, j2)"
    for tick in range(5):
        now = NOW + tick * 10 * MS
        store.put('arm', arm(now, 1.0 + tick, 2.0), now)
        store.put('arm', gripper(now - 3 * MS, 0.5 - tick), now + MS)
        assert look(store, now + MS) == [1.0 + tick, 2.0, 0.5 - tick]
    assert store.remarks() == []
    snapshot, _ = store.snapshot(now + MS)
    assert snapshot.stamps['arm'] == now - 3 * MS
    assert store.ages(now)['arm'] == 0.003


def test_a_publisher_that_dies_is_noticed_by_its_joints_and_the_other_goes_on():
    store = make_store()
    store.put('arm', gripper(NOW, 0.5), NOW)
    for tick in range(12):
        now = NOW + tick * 10 * MS
        store.put('arm', arm(now, 1.0, 2.0), now)
        assert isinstance(look(store, now), str) == (tick > 10)
    assert look(store, now) == 'arm (grip) is stale: 0.110 s old, max_age 0.1 s'
    # The other one dies as well, then both are back.
    later = now + 200 * MS
    assert look(store, later) == 'arm is stale: 0.310 s old, max_age 0.1 s'
    store.put('arm', gripper(later, 0.5), later)
    assert look(store, later) == 'arm (j1, j2) is stale: 0.200 s old, max_age 0.1 s'
    store.put('arm', arm(later, 1.0, 2.0), later)
    assert look(store, later) == [1.0, 2.0, 0.5]


def test_who_is_not_commanded_does_not_matter_to_what_is_measured():
    task = replace(TASK, action=POSITIONS[:2])
    store = make_store(task)
    store.put('arm', arm(NOW, 1.0, 2.0), NOW)
    values, faults = store.measured(NOW)
    assert (values.tolist(), faults) == ([1.0, 2.0], {})
    assert 'grip' in store.snapshot(NOW)[1]['arm']


def test_every_joint_may_have_a_publisher_of_its_own():
    store = make_store()
    for i, name in enumerate(NAMES):
        store.put('arm', joints([name], [float(i)], stamp=NOW + i), NOW + i, f'driver {i}')
    assert look(store, NOW + 2) == [0.0, 1.0, 2.0]
    later = NOW + 300 * MS
    store.put('arm', joints(['j2'], [1.0], stamp=later), later, 'driver 1')
    assert look(store, later) == 'arm (j1, grip) is stale: 0.300 s old, max_age 0.1 s'


def test_positions_and_velocities_may_come_in_messages_of_their_own():
    state = (Entry('arm', 'j1', 'position'), Entry('arm', 'j1', 'velocity'))
    store = make_store(replace(TASK, state=state, action=state[:1]))
    store.put('arm', joints(['j1'], [1.0], [], stamp=NOW), NOW)
    store.put('eye', image(FRAME, stamp=NOW), NOW)
    assert store.snapshot(NOW)[1] == {
        'arm': 'arm/j1/velocity has not arrived: no message with the joint holds it'
    }
    store.put('arm', joints(['j1'], [], [2.0], stamp=NOW + 1), NOW + 1)
    assert store.snapshot(NOW + 1)[0].qpos.tolist() == [1.0, 2.0]
    later = NOW + 90 * MS
    store.put('eye', image(FRAME, stamp=later + 20 * MS), later + 20 * MS)
    store.put('arm', joints(['j1'], [1.5], [], stamp=later), later)
    assert store.snapshot(later + 20 * MS)[1] == {
        'arm': 'arm (j1 velocity) is stale: 0.110 s old, max_age 0.1 s'
    }


def test_two_sources_of_one_topic_take_what_is_theirs():
    state = (*POSITIONS[:2], Entry('hand', 'grip', 'position'))
    store = make_store(replace(TASK, state=state, action=state))
    for message in (arm(NOW, 1.0, 2.0), gripper(NOW, 0.5), joints(['wheel'], [9.0], stamp=NOW)):
        for source in ('arm', 'hand'):
            store.put(source, message, NOW)
    store.put('eye', image(FRAME, stamp=NOW), NOW)
    assert store.snapshot(NOW)[0].qpos.tolist() == [1.0, 2.0, 0.5]
    assert store.received == {'eye': 1, 'arm': 1, 'hand': 1}
    assert store.heard == {'eye', 'arm', 'hand'}
    later = NOW + 200 * MS
    store.put('eye', image(FRAME, stamp=later), later)
    store.put('arm', arm(later, 1.0, 2.0), later)
    assert store.snapshot(later)[1] == {'hand': 'hand is stale: 0.200 s old, max_age 0.1 s'}


@pytest.mark.parametrize(
    'wheels',
    [joints(['left_wheel', 'right_wheel'], [np.nan, 1e9]), joints(['w', 'w'], [1.0]),
     joints([], []), joints(['j1'], [], [1.0])],
)  # fmt: skip
def test_a_message_without_what_is_wanted_neither_refreshes_nor_disturbs(wheels):
    store = make_store(stamp_source='receipt')
    store.put('arm', arm(NOW, 1.0, 2.0, 3.0, names=NAMES), NOW)
    for tick in range(1, 11):
        store.put('arm', wheels, NOW + tick * 10 * MS)
    assert look(store, NOW + 100 * MS) == [1.0, 2.0, 3.0]
    assert look(store, NOW + 101 * MS) == 'arm is stale: 0.101 s old, max_age 0.1 s'
    assert store.received['arm'] == 1
    assert store.remarks() == []


def test_a_bad_value_is_that_of_its_joint_until_a_good_one_comes():
    store = make_store()
    store.put('arm', arm(NOW, 1.0, 2.0), NOW)
    store.put('arm', joints(['grip', 'grip'], [0.5, 0.6], stamp=NOW), NOW)
    assert look(store, NOW) == "joint 'grip' of 'arm' is listed 2 times (found: grip, grip)"
    store.put('arm', arm(NOW + 1, 3.0, 4.0), NOW + 1)
    assert "'grip' of 'arm' is listed 2 times" in look(store, NOW + 1)
    store.put('arm', gripper(NOW + 2, 0.5), NOW + 2)
    assert look(store, NOW + 2) == [3.0, 4.0, 0.5]
    store.put('arm', joints(['grip', 'x'], [0.5], stamp=NOW + 3), NOW + 3)
    assert look(store, NOW + 3) == 'arm: 2 joint names but 1 values in position'
    store.put('arm', gripper(NOW + 4, np.nan), NOW + 4)
    assert look(store, NOW + 4) == 'arm/grip/position is nan, expected a number'
    store.put('arm', gripper(NOW + 5, 0.5), NOW + 5)
    assert look(store, NOW + 5) == [3.0, 4.0, 0.5]


@pytest.mark.parametrize('source', ['header', 'receipt'])
def test_a_joint_whose_stamp_does_not_advance_is_named(source):
    store = make_store(stamp_source=source)
    for tick in range(12):
        now = NOW + tick * 10 * MS
        # The same stamp as the other driver's is no repetition.
        store.put('arm', arm(now, 1.0, 2.0), now)
        store.put('arm', gripper(NOW, 0.5), now)
        if tick == 0:
            assert look(store, now) == [1.0, 2.0, 0.5]
    assert look(store, now) == (
        'arm (grip) is frozen: 11 messages with the same stamp, 0.110 s old, max_age 0.1 s'
    )


def test_drivers_whose_clocks_differ_are_told_apart():
    store = make_store()
    store.put('arm', arm(NOW, 1.0, 2.0), NOW)
    store.put('arm', gripper(NOW - 3000 * MS, 0.5), NOW)
    assert look(store, NOW).startswith('arm (grip) is stamped 3.000 s before it arrived')
    store.put('arm', gripper(NOW + 3000 * MS, 0.5), NOW)
    assert look(store, NOW).startswith('arm (grip) is stamped 3.000 s in the future')
    # A little behind is no fault, nor are stamps that lie between the other's.
    for tick in range(20):
        now = NOW + tick * 10 * MS
        store.put('arm', arm(now, 1.0, 2.0), now)
        store.put('arm', gripper(now - 35 * MS, 0.5), now)
        assert look(store, now) == [1.0, 2.0, 0.5]
    assert store.remarks() == []


@given(st.lists(st.sets(st.sampled_from((*NAMES, 'other')))))
def test_the_newest_of_each_joint_counts_whoever_sent_it(messages):
    store, newest = make_store(), {}
    for i, names in enumerate(map(sorted, messages)):
        store.put('arm', joints(names, [float(i)] * len(names), stamp=NOW + i), NOW + i)
        newest |= dict.fromkeys(names, float(i))
    found = look(store, NOW + len(messages))
    if set(NAMES) <= newest.keys():
        assert found == [newest[name] for name in NAMES]
    elif newest:
        missing = [name for name in NAMES if name not in newest]
        assert all(repr(name) in found for name in missing)


def test_what_is_seen_of_a_message_is_all_of_it():
    store = make_store(stamp_source='receipt')
    done = threading.Event()

    def publish(names):
        for i in range(3000):
            store.put('arm', joints(names, [float(i)] * len(names), stamp=i + 1), NOW)
        done.set()

    threads = [threading.Thread(target=publish, args=[n]) for n in (NAMES[:2], NAMES[2:])]
    for thread in threads:
        thread.start()
    while not done.is_set():
        values, _ = store.measured(NOW)
        assert values is None or values[0] == values[1]
    for thread in threads:
        thread.join()
    # Nor did one thread undo what the other had put.
    assert look(store, NOW) == [2999.0] * 3


# --- the same joint --------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=['known', 'unknown'])
def known(request):
    """Whether messages say who sent them, as in Kilted, or not, as in Humble and in a bag."""
    return request.param


@pytest.fixture
def who(known):
    """A publisher as `put` wants it."""
    return lambda publisher: publisher if known else None


def quarrel(store, who, value):
    """An arm driver that knows the gripper, and a gripper driver, by turns for 0.1 s."""
    for now in range(NOW, NOW + 100 * MS, 10 * MS):
        store.put('arm', arm(now, 1.0, 2.0, 0.5, names=NAMES), now, who('arm'))
        store.put('arm', gripper(now + 5 * MS, value), now + 5 * MS, who('gripper'))
    return look(store, now + 5 * MS)


def test_two_that_send_the_same_joint_are_named(known, who):
    store = make_store()
    found = quarrel(store, who, 0.5)
    if not known:  # they say the same, and may be one
        assert found == [1.0, 2.0, 0.5]
        assert store.remarks() == [
            'arm (grip) comes in messages of two kinds by turns: do two publishers send it?'
        ]
        return
    assert found == 'arm (grip) is sent by two publishers by turns: end one of them'
    assert store.remarks() == []
    # Once one has ended, the other is good, a second after it was taken up again.
    for tick in range(1, 21):
        now = NOW + 100 * MS * tick
        store.put('arm', arm(now, 1.0, 2.0, 0.5, names=NAMES), now, who('arm'))
        assert isinstance(look(store, now), str) == (tick <= 11)


def test_one_driver_that_sends_a_part_more_often_is_one(known, who):
    store = make_store(max_step=[0.01] * 3)
    for tick in range(50):
        now = NOW + tick * 10 * MS
        at = 0.009 * tick
        names = NAMES if tick % 5 == 0 else NAMES[1:]
        store.put('arm', arm(now, *[at] * len(names), names=names), now, who(0))
        assert isinstance(look(store, now), list)
    assert bool(store.remarks()) == (not known)


def test_a_driver_that_was_started_again_is_no_second_one(who):
    store = make_store()
    for tick in range(20):
        now = NOW + tick * 10 * MS
        store.put('arm', arm(now, 1.0, 2.0, 0.5, names=NAMES), now, who(tick // 5))
        assert look(store, now) == [1.0, 2.0, 0.5]
    assert store.remarks() == []


@pytest.mark.parametrize('quicker', [1, 3])
def test_values_that_cannot_be_of_one_joint_are_refused_whoever_sends_them(
    known, who, quicker
):
    store = make_store(max_step=[0.02, 0.02, 0.04])
    for tick in range(30):
        now = NOW + tick * 5 * MS
        second = tick % (quicker + 1) == quicker
        message = arm(now, *([0.0] * 3 if second else [1.0, 2.0, 0.03]), names=NAMES)
        store.put('arm', message, now, who(second))
    found = look(store, now)
    if known:
        assert found == 'arm is sent by two publishers by turns: end one of them'
        return
    assert found in [
        f'arm/j1/position jumps between {pair} again and again, faster than it may be sent: do '
        f'two publishers send it?'
        for pair in ('0 and 1', '1 and 0')
    ]
    later = now + 1010 * MS
    store.put('arm', arm(later, 1.0, 2.0, 0.5, names=NAMES), later)
    assert look(store, later) == [1.0, 2.0, 0.5]


@pytest.mark.parametrize(
    'motion',
    [
        lambda tick: 0.01 * (tick % 2),  # a last bit that flickers
        lambda tick: np.pi * (-1) ** tick,  # the end of a turn
        lambda tick: 3.14 * (-1) ** tick,
        lambda tick: 0.5 * np.sin(tick / 3),  # quicker than it may be sent, moved by hand
        lambda tick: float(tick >= 10),  # one jump
        lambda tick: 5.0 if tick in (3, 9, 15) else 0.0,  # bad values now and then
    ],
    ids=['flicker', 'turn', 'turn too', 'sine', 'jump', 'glitches'],
)
def test_what_one_joint_may_do_is_no_jump(motion):
    store = make_store(max_step=[0.02] * 3)
    for tick in range(30):
        now = NOW + tick * 10 * MS
        store.put('arm', arm(now, motion(tick), 2.0, 0.5, names=NAMES), now)
        assert isinstance(look(store, now), list)
    assert store.remarks() == []


def test_a_joint_may_move_further_between_messages_that_come_seldom():
    store = make_store(max_step=[0.02] * 3, max_age=0.5)
    for tick in range(20):
        now = NOW + tick * 200 * MS  # ten ticks
        store.put('arm', arm(now, 0.19 * (tick % 2), 2.0, 0.5, names=NAMES), now)
        assert isinstance(look(store, now), list)


def test_stamps_that_go_back_and_forth_are_told():
    store = make_store()
    for tick in range(10):
        now = NOW + tick * 10 * MS
        store.put('arm', arm(now - 30 * MS * (tick % 2), 1.0, 2.0, 0.5, names=NAMES), now)
        assert look(store, now) == [1.0, 2.0, 0.5]
    assert store.remarks() == ['the stamps of arm go back and forth: do two publishers send it?']


def test_two_cameras_on_one_topic_are_named(known, who):
    store = make_store()
    for tick in range(10):
        now = NOW + tick * 10 * MS
        message = image(FRAME, stamp=now)
        message.header.frame_id = f'camera_{tick % 2}'
        store.put('eye', message, now, who(tick % 2))
    if known:
        fault = 'eye is sent by two publishers by turns: end one of them'
        assert store.snapshot(now)[1]['eye'] == fault
    else:
        assert store.remarks() == ['eye has two frame_ids by turns: do two cameras send it?']


def test_two_odometries_on_one_topic_are_named(known, who):
    state = (Entry('base', 'x', 'position'),)
    task = replace(TASK, state=state, action=(Entry('base', 'x', 'velocity'),))
    store = make_store(task, kinds={'base': 'Odometry'})
    for tick in range(10):
        now = NOW + tick * 10 * MS
        message = odometry(stamp=now)
        message.header.frame_id = ('odom', 'map')[tick % 2]
        store.put('base', message, now, who(tick % 2))
    if known:
        fault = 'base is sent by two publishers by turns: end one of them'
        assert store.snapshot(now)[1]['base'] == fault
    else:
        assert store.remarks() == [
            'base comes in messages of two kinds by turns: do two publishers send it?'
        ]


def test_a_jump_of_the_clock_ends_every_quarrel(who):
    store = make_store(max_step=[0.02] * 3)
    assert isinstance(quarrel(store, who, 0.9), str)
    store.clear()
    store.put('arm', arm(NOW, 1.0, 2.0, 0.5, names=NAMES), NOW, who('arm'))
    assert look(store, NOW) == [1.0, 2.0, 0.5]
    assert store.remarks() == []
