"""What was commanded at any time, from commands as they were recorded."""

import numpy as np
import pytest

from act_ros.interfaces import parse_output
from act_ros.recording.command_faults import joined, lines, unreadable
from act_ros.recording.commands import LIFETIME, RecordedCommands
from act_ros.task import Entry, Task
from test.commands.messages import LIBRARY, MS, START, ahead, array, joint_state, trajectory

NAN = float('nan')
JOINTS = ['a', 'b']
TICK = 20 * MS


class Recording:
    """Commands on one topic /x; times in ms since START."""

    def __init__(self, text, *action, **options):
        entries = tuple(map(Entry.parse, action or ('arm/a/position', 'arm/b/position')))
        self.task = Task('t', ('camera',), entries, entries, 50.0, (4, 6))
        self.spec = parse_output(f'/x {text}', self.task)
        self.commands = RecordedCommands({'/x': self.spec}, self.task, **options)

    def put(self, receipt, message):
        self.commands.put('/x', message, START + round(receipt * MS))

    def at(self, *times):
        return np.array([self.commands.at(START + round(time * MS)) for time in times])

    def told(self):
        return lines(self.commands.about())


def trajectories(*action):
    return Recording('JointTrajectory', *action)


def test_a_trajectory_of_many_points_is_sampled_by_time_from_start():
    recording = trajectories()
    points = [(100 * k, [k, -k]) for k in range(6)]
    recording.put(0, trajectory(JOINTS, points))
    times = np.array([0, 10, 100, 250, 490, 500])
    np.testing.assert_allclose(recording.at(*times), np.column_stack((times, -times)) / 100)
    # Its last point is held for as long as any command counts.
    np.testing.assert_array_equal(recording.at(501, 1499), [[5, -5]] * 2)
    assert np.isnan(recording.at(1500)).all()
    assert not recording.told()


def cubic(t):
    return 1 + 2 * t - 3 * t**2 + 4 * t**3, 2 - 6 * t + 12 * t**2


def test_between_points_with_velocities_the_way_is_the_cubic():
    recording = trajectories('arm/a/position', 'arm/a/velocity')
    points = []
    for after in (0, 400, 1000):
        position, velocity = cubic(after / 1e3)
        points.append((after, [position], [velocity]))
    recording.put(0, trajectory(['a'], points))
    times = np.arange(0, 1001, 50)
    np.testing.assert_allclose(recording.at(*times), np.column_stack(cubic(times / 1e3)))


def test_velocities_bend_the_way_though_only_positions_are_asked_for():
    recording = trajectories('arm/a/position')
    points = [(after, [cubic(after / 1e3)[0]], [cubic(after / 1e3)[1]]) for after in (0, 1000)]
    recording.put(0, trajectory(['a'], points))
    np.testing.assert_allclose(recording.at(300)[0], cubic(0.3)[0])


def test_to_a_first_point_further_ahead_the_way_is_straight_from_the_last_command():
    recording = trajectories()
    recording.put(0, trajectory(JOINTS, [(2000, [1, 2])]))
    recording.put(5000, trajectory(JOINTS, [(2000, [3, 0])]))
    assert np.isnan(recording.at(500, 1999)).all()  # nobody knows where it began
    # The controller goes on from where it had come to, however long ago that was.
    np.testing.assert_allclose(recording.at(2000, 2999), [[1, 2]] * 2)
    assert np.isnan(recording.at(3001)).all()
    np.testing.assert_allclose(recording.at(5000, 6000, 7000), [[1, 2], [2, 1], [3, 0]])


def test_a_new_trajectory_replaces_the_rest_of_the_old_from_its_start_on():
    recording = trajectories()
    recording.put(0, trajectory(JOINTS, [(0, [0, 0]), (1000, [10, 10])]))
    recording.put(400, trajectory(JOINTS, [(100, [0, 0])]))
    found = recording.at(300, 400, 450, 500, 600)[:, 0]
    np.testing.assert_allclose(found, [3, 4, 2, 0, 0])


def test_a_stamp_in_the_future_begins_then():
    recording = trajectories()
    recording.put(0, trajectory(JOINTS, [(0, [1, 1])]))
    recording.put(100, trajectory(JOINTS, [(0, [5, 5]), (500, [6, 6])], stamp=START + 500 * MS))
    np.testing.assert_allclose(recording.at(499, 500, 750)[:, 0], [1, 5, 5.5])
    # One that came later and starts earlier is what the controller follows instead.
    recording.put(760, trajectory(JOINTS, [(0, [8, 8])], stamp=START + 3000 * MS))
    recording.put(770, trajectory(JOINTS, [(0, [7, 7]), (3000, [7, 7])]))
    np.testing.assert_allclose(recording.at(769, 770, 3500)[:, 0], [5.538, 7, 7])


def test_a_trajectory_of_some_joints_leaves_the_others_theirs():
    recording = trajectories()
    recording.put(0, trajectory(JOINTS, [(0, [0, 0]), (1000, [10, 10])]))
    recording.put(500, trajectory(['b'], [(500, [0])]))
    np.testing.assert_allclose(recording.at(500, 750, 1000), [[5, 5], [7.5, 2.5], [10, 0]])


@pytest.mark.parametrize('name', ['JointState', 'JointTrajectory', 'JointTrajectoryHorizon',
                                  'Float64MultiArray'])  # fmt: skip
@pytest.mark.parametrize('phase', [0, 2, 19.9])
def test_what_the_node_sends_at_a_tick_counts_from_that_tick_on(name, phase):
    recording = Recording(name)
    actions = np.random.default_rng(0).normal(size=(40, 2))
    encoder = recording.spec.output_type.encoder(recording.spec, 50.0, LIBRARY)
    found = []
    for k in range(30):
        stamp = LIBRARY.stamp(START + k * TICK)
        coming = ahead(actions[k], actions[k + 1 : k + 10])
        recording.put(20 * k, encoder.encode(actions[k], stamp, coming))
        if k >= 1:  # as the evaluator asks: when the next one is known already
            found.append(recording.at(20 * (k - 1) + phase)[0])
    np.testing.assert_allclose(found, actions[:29])


def test_a_horizon_plays_on_where_the_next_one_is_missing():
    recording = Recording('JointTrajectoryHorizon')
    encoder = recording.spec.output_type.encoder(recording.spec, 50.0, LIBRARY)
    rows = np.arange(10.0)[:, np.newaxis] * [1, -1]
    recording.put(0, encoder.encode(rows[0], LIBRARY.stamp(0), ahead(rows[0], rows[1:])))
    np.testing.assert_allclose(recording.at(20, 50, 200)[:, 0], [0, 1.5, 9])


def test_a_late_stamp_counts_by_the_stamps_and_is_told():
    recording = Recording('JointState')
    for receipt, stamp in ((0, 0), (20, 20), (40, 10), (60, 60)):
        recording.put(receipt, joint_state(JOINTS, [stamp] * 2, stamp=START + stamp * MS))
    np.testing.assert_allclose(recording.at(5, 15, 25, 65)[:, 0], [0, 10, 20, 60])
    (line,) = recording.told()
    assert '1 of 4 messages of /x are stamped 0.01 s before the one before them' in line


@pytest.mark.parametrize(
    ('stamp', 'said'),
    [
        (12 * 1000 * MS, 'are stamped 53.9 years before they were recorded: the clocks differ'),
        (START - 5000 * MS, 'are stamped 5 s before they were recorded'),
        (START + 7200_000 * MS, 'are stamped 7.2e+03 s after they were recorded'),
        (START + 3 * 86400_000 * MS, 'are stamped 3 days after'),
    ],
)
@pytest.mark.parametrize('name', ['JointState', 'JointTrajectory'])
def test_stamps_of_another_clock_are_told_and_receipts_can_be_asked_for(name, stamp, said):
    message = (
        joint_state(JOINTS, [1, 2], stamp=stamp) if name == 'JointState'
        else trajectory(JOINTS, [(0, [1, 2])], stamp=stamp)
    )  # fmt: skip
    recording = Recording(name)
    recording.put(0, message)
    assert np.isnan(recording.at(10)).all()
    (line,) = recording.told()
    assert line.startswith(f'1 of 1 messages of /x {said}')
    assert line.endswith('(set stamp_source: receipt): they are left out')
    by_receipt = Recording(name, by_header=False)
    by_receipt.put(0, message)
    np.testing.assert_array_equal(by_receipt.at(10), [[1, 2]])
    assert not by_receipt.told()


def test_a_trajectory_may_be_planned_ahead_and_a_command_be_stamped_a_little_off():
    recording = trajectories()
    recording.put(0, trajectory(JOINTS, [(0, [1, 2])], stamp=START + 30_000 * MS))
    np.testing.assert_array_equal(recording.at(30_000), [[1, 2]])
    recording = Recording('JointState')
    recording.put(900, joint_state(JOINTS, [1, 2], stamp=START + MS))
    recording.put(901, joint_state(JOINTS, [3, 4], stamp=START + 1900 * MS))
    np.testing.assert_array_equal(recording.at(950, 1900), [[1, 2], [3, 4]])
    assert not recording.told()


def test_what_cannot_be_read_is_told_with_count_and_first_text():
    recording = Recording('JointState')
    recording.put(0, joint_state([], [1, 2]))
    for k in range(3):
        recording.put(20 + k, joint_state(['right_1', 'right_2'], [1, 2]))
    about = recording.commands.about()
    assert (about['/x']['messages'], about['/x']['unread']) == (4, 4)
    assert unreadable(about)
    assert recording.told() == [
        '1 of 4 messages of /x name no joint; expected a, b: they are left out',
        '3 of 4 messages of /x name right_1, right_2; expected a, b: they are left out',
    ]
    recording.put(40, joint_state(JOINTS, [1, NAN]))
    assert not unreadable(recording.commands.about())
    assert recording.told()[2:] == [
        '1 of 5 messages of /x hold nan for arm/b/position: these values are left out',
        'no message of /x holds arm/b/position: not known',
    ]
    np.testing.assert_array_equal(recording.at(50), [[1, NAN]])


def test_positions_alone_say_nothing_of_the_velocities():
    recording = Recording('JointState', 'arm/a/position', 'arm/a/velocity')
    recording.put(0, joint_state(['a'], [1]))
    np.testing.assert_array_equal(recording.at(0), [[1, NAN]])
    assert recording.told() == ['no message of /x holds arm/a/velocity: not known']


def test_no_message_at_all_is_told_and_is_no_mistake():
    recording = Recording('Float64MultiArray')
    assert recording.told() == ['/x has no message: what is sent there is not known']
    assert not unreadable(recording.commands.about())


def test_episodes_are_told_together():
    first, second = Recording('Float64MultiArray'), Recording('Float64MultiArray')
    first.put(0, array([1, NAN]))
    first.put(1, array([1, 2, 3]))
    second.put(0, array([NAN, 2]))
    second.put(1, array([1]))
    total = joined([first.commands.about(), second.commands.about()])
    assert lines(total) == [
        '2 of 4 messages of /x hold nan for arm/b/position, or the like: '
        'these values are left out',
        '2 of 4 messages of /x hold 3 values; expected 2: arm/a/position, arm/b/position, or the '
        'like: they are left out',
    ]


def test_outputs_are_one_action():
    recording = Recording('JointState arm/a')
    other = parse_output('/y Float64MultiArray arm/b', recording.task)
    commands = RecordedCommands({'/x': recording.spec, '/y': other}, recording.task)
    commands.put('/x', joint_state(['a'], [1]), START)
    commands.put('/y', array([2]), START + TICK)
    np.testing.assert_array_equal(commands.at(START), [1, NAN])
    np.testing.assert_array_equal(commands.at(START + TICK), [1, 2])
    np.testing.assert_array_equal(commands.at(START + LIFETIME), [NAN, 2])
