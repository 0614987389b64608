"""Commands as bags hold them, through the whole evaluation."""

import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest

from act_ros.commands import OUTPUT_TYPES
from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.run.evaluate import carry_out
from act_ros.evaluation.run.plan import Options
from test.bags import bags
from test.bags.bags import JOINTS, START, TICK, Message, write
from test.commands.messages import trajectory
from test.evaluation.test_evaluate import SMALL, plan, total, worst_error, written


def commanding(messages, change):
    """A recording with other commands; None leaves one out."""
    for m in messages:
        content = change(m.content, m.time) if m.what == 'command' else m.content
        if content is not None:
            yield Message(m.time, m.what, content)


def every_second(command, time):
    """A trajectory of the coming second in place of 50 commands."""
    n = time // TICK
    if n % 50:
        return None
    rows = bags.commanded(np.arange(n, n + 51))
    return trajectory(JOINTS, [(20 * k, row[:8], row[8:]) for k, row in enumerate(rows)])


def test_a_recorded_trajectory_is_scored_by_the_time_of_its_points(tmp_path):
    path = write(tmp_path / 'run', commanding(bags.run(3), every_second))
    settings = dataclasses.replace(SMALL, outputs=['arm/joint_commands JointTrajectory'])
    evaluation = carry_out(plan(path, settings=settings, offset=0), tmp_path / 'whole')
    ticks = total(evaluation)['ticks']
    assert ticks['scored'] == ticks['looked'] > 140
    # The ticks lie 2 ms after the points: so far the arm has gone on between two of them.
    (result,) = evaluation.results.values()
    truth = bags.commanded((result.ticks['time'] - START) / TICK)
    np.testing.assert_allclose(result.recorded, truth, atol=1e-4)
    # Also where the evaluation begins in the middle of it.
    late = carry_out(plan(path, settings=settings, offset=0, start=0.5), tmp_path / 'late')
    ticks = total(late)['ticks']
    assert ticks['scored'] == ticks['looked'] > 110
    assert metrics(late)['recorded_commands'][str(path)]['/arm/joint_commands']['unread'] == 0


# No entry of this robot is one of a twist.
@pytest.mark.parametrize('name', [n for n, it in OUTPUT_TYPES.items() if it.holds != 'twist'])
def test_what_the_evaluator_predicts_it_reads_as_the_same(tmp_path, name):
    gripper = OUTPUT_TYPES[name].holds == 'gripper'
    name += ' arm/left_gripper/position' * gripper
    path = write(tmp_path / 'run', bags.run(1))
    settings = dataclasses.replace(SMALL, outputs=[f'x {name}'])
    (result,) = written(plan(path, settings=settings), tmp_path / 'out').results.values()
    shutil.copy(tmp_path / 'out' / 'predictions.mcap', path)
    (path / 'metadata.yaml').unlink()
    settings = dataclasses.replace(SMALL, outputs=[f'/predicted/x {name}'])
    (again,) = carry_out(plan(path, settings=settings), tmp_path / 'again').results.values()
    read = ~np.isnan(again.recorded).all(axis=0)
    assert read.sum() == (1 if gripper else 16)
    np.testing.assert_array_equal(again.recorded[:, read], result.ticks['predicted'][:, read])


def unnamed(command, time):
    return dataclasses.replace(command, name=[])


def test_commands_that_cannot_be_read_are_told_by_bag_topic_and_cause(tmp_path, caplog):
    good = write(tmp_path / 'good', bags.run(1))

    def unnamed_at_first(command, time):
        return unnamed(command, time) if time < 5e8 else command

    mixed = write(tmp_path / 'mixed', commanding(bags.run(1), unnamed_at_first))
    with caplog.at_level(logging.WARNING):
        made = plan(good, mixed)
    assert f'{mixed}: nothing is scored if all are as the first: 10 of 10' in caplog.text
    assert str(good) not in caplog.text
    evaluation = written(made, tmp_path / 'out')
    content = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    told = content['recorded_commands'][str(mixed)]['/arm/joint_commands']
    assert (told['messages'], told['unread']) == (50, 25)
    assert told['faults']['no names']['first'].startswith('name no joint; expected left_joint_1')
    assert not content['recorded_commands'][str(good)]['/arm/joint_commands']['faults']
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert '<b>mixed</b>: 25 of 50 messages of /arm/joint_commands name no joint' in page
    assert worst_error(total(evaluation)) < 1e-6


def test_episodes_of_one_bag_are_told_together(tmp_path):
    path = write(tmp_path / 'run', commanding(bags.run(2), unnamed))
    (tmp_path / 'table').write_text('0,1\n1,2\n')
    evaluation = carry_out(plan(path, episodes=f'table:{tmp_path / "table"}'), tmp_path / 'out')
    told = evaluation.commands()[str(path)]['/arm/joint_commands']
    assert (told['messages'], told['unread']) == (100, 100)


def test_degrees_for_radians_are_told(tmp_path):
    def degrees(command, time):
        return dataclasses.replace(command, position=np.degrees(command.position))

    path = write(tmp_path / 'run', commanding(bags.run(1), degrees))
    evaluation = carry_out(plan(path, options=Options(stride=5)), tmp_path / 'out')
    lines = metrics(evaluation)['checkpoints']['ckpt']['far_from_training']
    assert 'arm/left_joint_1/position was commanded to' in lines[0]
    assert 'in training it was 1 with a standard deviation of 0.5' in lines[0]
    good = carry_out(plan(write(tmp_path / 'good', bags.run(1))), tmp_path / 'right')
    assert not metrics(good)['checkpoints']['ckpt']['far_from_training']


def test_names_from_a_bag_are_no_markup(tmp_path):
    def named(command, time):
        return dataclasses.replace(command, name=['<script>alert(1)</script>'] * 8)

    path = write(tmp_path / 'a<b>&"c', commanding(bags.run(0.5), named))
    written(plan(path), tmp_path / 'out')
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert '<script' not in page and '&lt;script&gt;alert(1)' in page
    assert 'a<b>' not in page and 'a&lt;b&gt;&amp;&#34;c' in page
