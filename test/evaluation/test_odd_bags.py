"""Bags that are unusual, damaged or incomplete, and what is made of them."""

import dataclasses
import sqlite3
from dataclasses import replace

import cv2
import numpy as np
import pytest

from act_ros.bags.bag import Bag
from act_ros.errors import ActError, BagError
from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.report.results import write_results
from act_ros.evaluation.run.evaluate import carry_out
from act_ros.evaluation.run.plan import Options, make_plan
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.recording.episodes import split
from test.bags import bags
from test.bags.bags import JOINTS, KINDS, Message, write
from test.evaluation.test_evaluate import SMALL, plan, total, worst_error, written
from test.limits import changed


def test_what_was_commanded_last_does_not_count_for_ever(tmp_path):
    messages = (m for m in bags.run(4) if m.what != 'command' or m.time < 2e9)
    evaluation = written(plan(write(tmp_path / 'run', messages)), tmp_path / 'out')
    ticks = total(evaluation)['ticks']
    # The last command is of 1.98 s; it counts for a second.
    assert ticks['scored'] == pytest.approx(148, abs=2)
    assert ticks['not_commanded'] == ticks['looked'] - ticks['scored'] > 40
    assert 'at which nobody commanded' in (tmp_path / 'out' / 'report.html').read_text()


def test_a_recording_without_commands_has_no_errors_and_says_so(tmp_path):
    messages = (m for m in bags.run(1) if m.what != 'command')
    evaluation = written(plan(write(tmp_path / 'run', messages)), tmp_path / 'out')
    figures = total(evaluation)
    assert figures['ticks']['scored'] == 0
    assert figures['groups']['joint positions']['mae'] is None
    assert metrics(evaluation)['topics_not_recorded'] == ['/arm/joint_commands']
    assert 'was not recorded' in (tmp_path / 'out' / 'report.html').read_text()


def halves(messages):
    """Arm and gripper in messages of their own."""
    for m in messages:
        if m.what != 'command':
            yield m
            continue
        c = m.content
        for late, part in ((0, slice(0, 7)), (1_000_000, slice(7, 8))):
            yield Message(m.time + late, m.what, bags.joints(
                m.time, c.name[part], c.position[part], c.velocity[part]))  # fmt: skip


def test_commands_in_parts_are_one_action(tmp_path):
    messages = sorted(halves(bags.run(2)), key=lambda m: m.time)
    figures = total(carry_out(plan(write(tmp_path / 'run', messages)), tmp_path / 'out'))
    assert figures['groups']['joint positions']['count'] > 600
    assert figures['groups']['gripper']['count'] > 90
    assert worst_error(figures) < 1e-6


def test_what_was_measured_may_be_scored_against(tmp_path):
    path = write(tmp_path / 'run', bags.run(2))
    settings = replace(SMALL, outputs=['arm/joint_states JointState arm/*/position'])
    figures = total(carry_out(plan(path, settings=settings), tmp_path / 'out'))
    assert figures['groups']['joint positions']['count'] > 600
    assert figures['groups']['velocities']['count'] == 0


def test_limits_know_how_many_ticks_lie_between_two_actions(tmp_path):
    path = write(tmp_path / 'run', bags.run(6))
    for stride in (1, 5):
        made = plan(path, options=Options(stride=stride))
        assert total(carry_out(made, tmp_path / str(stride)))['limits']['hits'] == {}
    slow = changed(SMALL, max_step=0.002)
    made = plan(path, options=Options(stride=5), settings=slow)
    assert 'step' in total(carry_out(made, tmp_path / 'slow'))['limits']['hits']


@pytest.mark.parametrize('stride', [1, 5, 40])
@pytest.mark.parametrize(('end', 'stops'), [(1.8, 0), (2.5, 1)])
def test_a_stride_does_not_make_a_stop_of_a_tick(tmp_path, stride, end, stops):
    # Every 40th tick is 0.8 s after the last; command_timeout is 0.5 s.
    messages = (m for m in bags.run(6) if m.what != 'rgb_left' or not 1.4 < m.time / 1e9 < end)
    made = plan(write(tmp_path / 'run', messages), options=Options(stride=stride))
    ticks = total(carry_out(made, tmp_path / 'out'))['ticks']
    assert ticks['skipped'] >= 1 + stops
    assert (ticks['stops'], ticks['resets']) == (stops, 0)


def test_the_start_counts_from_the_first_receipt_that_is_a_time(tmp_path):
    first, *rest = bags.run(3)
    stray = Message(-bags.START, first.what, first.content)
    made = plan(write(tmp_path / 'run', [stray, *rest]), start=1.0, duration=1.0)
    (result,) = carry_out(made, tmp_path / 'out').results.values()
    assert result.ticks['time'].tolist() == [bags.START + 10**9 + k * bags.TICK for k in range(50)]
    assert 'have a receipt that no clock gave' in result.about['damage'][0]


def test_a_message_that_cannot_be_read_is_left_out_and_told(tmp_path):
    path = write(tmp_path / 'run', bags.run(2), storage='sqlite3')
    with sqlite3.connect(path / 'run.db3') as file:
        (topic,) = file.execute(
            "SELECT id FROM topics WHERE name = '/arm/joint_states'").fetchone()  # fmt: skip
        where = 'SELECT id FROM messages WHERE topic_id = ? ORDER BY id LIMIT 1 OFFSET 50'
        file.execute(
            f'UPDATE messages SET data = ? WHERE id = ({where})', (b'\0\1\0\0x', topic)
        )
    evaluation = carry_out(plan(path), tmp_path / 'out')
    text = str(evaluation.damage())
    assert 'a message of /arm/joint_states is no sensor_msgs/msg/JointState' in text
    assert total(evaluation)['ticks']['scored'] > 90


def test_a_cut_sqlite_file_is_read_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / 'run', bags.run(3), storage='sqlite3')
    expected = [(m.topic, m.receipt) for m in Bag(path).messages(bags.TOPICS.values())]
    data = (path / 'run.db3').read_bytes()
    (path / 'run.db3').write_bytes(data[: len(data) // 2])
    for _ in range(2):
        bag = Bag(path)
        found = [(m.topic, m.receipt) for m in bag.messages(bags.TOPICS.values())]
        assert 0.3 * len(expected) < len(found) < len(expected)
        assert found == expected[: len(found)]
        assert any('no intact end' in text for text in bag.damage)
        (path / 'metadata.yaml').unlink(missing_ok=True)


def test_damage_in_the_middle_of_an_indexed_file_is_told(tmp_path):
    path = write(tmp_path / 'run', bags.run(4)) / 'run.mcap'
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    path.write_bytes(bytes(data))
    assert carry_out(plan(path), tmp_path / 'out').damage()


def test_a_bad_first_frame_is_no_reason_to_refuse_a_bag(tmp_path):
    messages = list(bags.run(1))
    first = next(m for m in messages if m.what == 'rgb_left')
    first.content = dataclasses.replace(first.content, data=np.empty(0, np.uint8))
    figures = total(carry_out(plan(write(tmp_path / 'run', messages)), tmp_path / 'out'))
    assert figures['ticks']['scored'] > 40


def test_names_that_are_alike_stay_apart(tmp_path):
    path = write(tmp_path / 'run', bags.run(0.5))
    made = make_plan([path], {'run-1': SMALL, 'run_1': SMALL}, options=Options(),
                     load='test.evaluation.stub:load')  # fmt: skip
    write_results(carry_out(made, tmp_path / 'out'), tmp_path / 'out')
    assert set(Bag(tmp_path / 'out' / 'predictions.mcap').topics) == {
        '/predicted/run_1_0/arm/joint_commands', '/predicted/run_1_1/arm/joint_commands',
    }  # fmt: skip


def test_a_bool_that_is_said_again_is_the_same_episode(tmp_path):
    kind = KINDS['std_msgs/msg/Bool']
    marks = [Message(k * 100_000_000, '/episode', kind(k < 10)) for k in range(20)]
    messages = sorted([*bags.run(2), *marks], key=lambda m: m.time)
    bag = Bag(write(tmp_path / 'run', messages))
    (window,) = split(bag, 'topic:/episode', [])
    assert window.stop - window.start == 10**9


@pytest.mark.parametrize('line', ['0,inf', 'nan,3', '1o,20'])
def test_a_table_with_no_number_is_refused(tmp_path, line):
    bag = Bag(write(tmp_path / 'run', bags.run(0.2)))
    (tmp_path / 'table').write_text(f'{line}\n')
    with pytest.raises(ActError, match='expected start,end'):
        split(bag, f'table:{tmp_path / "table"}', [])


def test_a_resumption_sees_other_files_and_other_beginnings(tmp_path):
    path, out = write(tmp_path / 'run', bags.run(1)), tmp_path / 'out'
    carry_out(plan(path), out)
    with pytest.raises(ActError, match='with other episodes'):
        carry_out(plan(path, start=0.0), out, resume=True)
    file = next(out.glob('episodes/*.npz'))
    expected = EpisodeResult.load(file)
    file.write_bytes(file.read_bytes()[:1000])
    carry_out(plan(path), out, resume=True)  # done again
    np.testing.assert_array_equal(
        EpisodeResult.load(file).ticks['predicted'], expected.ticks['predicted']
    )
    data = (path / 'run.mcap').read_bytes()
    (path / 'run.mcap').unlink()
    (path / 'run.mcap').write_bytes(data)
    with pytest.raises(ActError, match='with other files'):
        carry_out(plan(path), out, resume=True)


def with_frames(change, seconds=0.5):
    """A run whose camera rgb_left sends something else: number and message to content."""
    number = 0
    for m in bags.run(seconds):
        content = m.content
        if m.what == 'rgb_left':
            content, number = change(number, content), number + 1
        yield Message(m.time, m.what, content)


def jpeg_of(image, lost=0):
    """The frame as JPEG, without that share of its data."""
    data = cv2.imencode('.jpeg', image.data.reshape(*bags.SIZE, 3))[1]
    cut = len(data) - int(lost * len(data))
    kept = np.concatenate((data[: cut - 2], data[-2:]))
    return KINDS['sensor_msgs/msg/CompressedImage'](image.header, 'jpeg', kept)


JPEG_CAMERA = dataclasses.replace(SMALL, camera_types=['Image', 'CompressedImage', 'Image'])


@pytest.mark.parametrize(
    ('change', 'settings', 'text'),
    [
        (lambda n, m: dataclasses.replace(m, encoding='16UC1'), SMALL,
         "/rgb_left/image_raw: encoding '16UC1' is not supported: it has more than 8 bits a"),
        (lambda n, m: jpeg_of(m, 0.5), JPEG_CAMERA,
         '/rgb_left/image_raw: a JPEG that has lost part of its data: Corrupt JPEG data: '),
    ],
    ids=['depth', 'damaged'],
)  # fmt: skip
def test_frames_of_which_none_can_be_decoded_are_refused_before_anything_is_run(
    tmp_path, change, settings, text
):
    path = write(tmp_path / 'run', with_frames(change))
    with pytest.raises(BagError) as caught:
        plan(path, settings=settings)
    assert text in str(caught.value)


def test_frames_that_are_damaged_at_the_start_only_are_faults_of_their_ticks(tmp_path):
    messages = with_frames(lambda n, m: jpeg_of(m, 0.5 if n < 12 else 0), seconds=2)
    figures = total(
        carry_out(
            plan(write(tmp_path / 'run', messages), settings=JPEG_CAMERA), tmp_path / 'out'
        )
    )
    assert 50 < figures['ticks']['scored'] < 90
    assert figures['ticks']['without_action'] > 10


def drivers(messages, *, until=9.0, rival=None):
    """Base, arm and gripper drivers on one topic, that of a mobile base's wheels too.

    :param until: when the gripper's dies [s].
    :param rival: what another one says of the gripper.
    """
    for m in messages:
        c = m.content
        if m.what not in ('base', 'arm'):
            yield m
            continue
        parts = [(0, slice(0, 99))] if m.what == 'base' else [(0, slice(0, 7)), (1, slice(7, 8))]
        for late, part in parts:
            if part.start == 0 or m.time < until * 1e9:
                yield Message(m.time + late, '/joint_states', bags.joints(
                    m.time + late, c.name[part], c.position[part], c.velocity[part]))  # fmt: skip
        wheels = bags.joints(m.time + 2, ['wheel_1', 'wheel_2'], [np.nan, 1.0])
        yield Message(m.time + 2, '/joint_states', wheels)
        if rival is not None and m.what == 'arm':
            other = bags.joints(m.time + 3, JOINTS[6:], [c.position[6], rival(c.position[7])])
            yield Message(m.time + 3, '/joint_states', other)


def of_drivers(tmp_path, name, **how):
    messages = sorted(drivers(bags.run(2), **how), key=lambda m: m.time)
    settings = replace(SMALL, state_topics=('/joint_states', '/joint_states'))
    path = write(tmp_path / name, messages)
    return written(plan(path, settings=settings), tmp_path / f'{name} results')


def test_drivers_that_share_a_topic_are_as_good_as_one(tmp_path):
    whole = written(plan(write(tmp_path / 'whole', bags.run(2))), tmp_path / 'out')
    shared = of_drivers(tmp_path, 'shared')
    (one,), (other,) = whole.results.values(), shared.results.values()
    assert one.ticks['complete'].sum() > 90
    for name in ('complete', 'qpos', 'predicted', 'measured'):
        np.testing.assert_array_equal(one.ticks[name], other.ticks[name])
    assert other.about['damage'] == []


def test_a_driver_that_dies_in_a_bag_is_noticed_by_its_joint(tmp_path):
    figures = total(of_drivers(tmp_path, 'dies', until=1.0))
    assert figures['skipped']['arm']['first'].startswith('arm (left_gripper) is stale: 0.1')
    assert figures['ticks']['skipped'] > 40


def test_two_drivers_of_one_joint_in_a_bag_are_named(tmp_path):
    # They agree, and may be one: that is told. They differ by more than the joint may be sent.
    agreed = of_drivers(tmp_path, 'agreed', rival=lambda position: position)
    assert total(agreed)['ticks']['skipped'] == 0
    (texts,) = agreed.damage().values()
    assert texts == [
        'arm (left_joint_7, left_gripper) comes in messages of two kinds by turns: do two '
        'publishers send it?'
    ]
    with pytest.raises(ActError, match='observation: arm/left_gripper/position jumps between'):
        of_drivers(tmp_path, 'differ', rival=lambda position: position + 0.5)
