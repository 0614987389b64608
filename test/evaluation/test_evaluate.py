"""Bags with known answers, through the whole of it."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from act_ros.bags.typestore import typestore
from act_ros.errors import ActError
from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.report.results import write_results
from act_ros.evaluation.report.tables import write_ticks
from act_ros.evaluation.run.evaluate import carry_out
from act_ros.evaluation.run.plan import Options, make_plan
from act_ros.evaluation.run.result import EpisodeResult
from test.bags import bags
from test.bags.bags import JOINTS, MS, SETTINGS, START, TICK, write
from test.limits import changed, limits_of
from test.processes import alive, children, started
from test.rule import small_config, write_random
from test.waiting import wait_until

SLOW = {**os.environ, 'SECONDS_A_PASS': '0.01'}
SMALL = replace(SETTINGS, task_image_size=list(bags.SIZE))


def plan(*paths, load='load', settings=SMALL, options=Options(), **rest):  # noqa: B008
    return make_plan(
        paths, {'ckpt': settings}, options=options, load=f'test.evaluation.stub:{load}', **rest
    )


def written(made, out, **how):
    """Carried out, with all files."""
    evaluation = carry_out(made, out, **how)
    write_results(evaluation, out)
    return evaluation


def total(evaluation):
    return metrics(evaluation)['checkpoints']['ckpt']['total']


def worst_error(figures):
    return max(group['max'] for group in figures['groups'].values())


def without_timings(metrics):
    if isinstance(metrics, dict):
        return {k: without_timings(v) for k, v in metrics.items() if k != 'timings'}
    return [without_timings(v) for v in metrics] if isinstance(metrics, list) else metrics


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return write(tmp_path_factory.mktemp('bag') / 'run', bags.run(4))


@pytest.mark.parametrize(('load', 'right'), [('load', 0), ('load_shifted', 1)])
def test_a_policy_that_repeats_the_recording_has_no_error_at_the_right_offset(
    bag, tmp_path, load, right
):
    for offset in (None, -1, 0, 1, 2):
        folder = tmp_path / str(offset)
        figures = total(carry_out(plan(bag, load=load, offset=offset), folder))
        if offset in (None, right):
            assert worst_error(figures) < 1e-6
            for group in figures['horizon'].values():
                assert max(group['mae']) < 1e-6
        else:
            assert worst_error(figures) > 1e-3
        scan = figures['offset_scan']
        assert min(scan, key=scan.get) == str(right)
    evaluation = carry_out(plan(bag, load=load), tmp_path / 'out')
    assert metrics(evaluation)['checkpoints']['ckpt']['offset'] == right


def test_the_baselines_are_those_of_holding_the_first_pose_and_of_the_mean(bag, tmp_path):
    evaluation = carry_out(plan(bag, offset=0), tmp_path / 'out')
    (result,) = evaluation.results.values()
    n = (result.ticks['time'] - START) // TICK
    truth = bags.commanded(n)
    seen = bags.commanded(np.maximum(n - 1, 0))[:, :7]
    pose = seen[:1]
    held = total(evaluation)['baselines']['hold the pose']
    assert held['joint positions']['mae'] == pytest.approx(np.abs(pose - truth[:, :7]).mean())
    assert held['velocities']['mae'] == pytest.approx(np.abs(truth[:, 8:]).mean())
    standing = total(evaluation)['horizon_standing']['joint positions']['mae']
    for ahead in (0, 10):
        later = bags.commanded(n[ahead:])[:, :7]
        error = np.abs(seen[: len(later)] - later).mean()
        assert standing[ahead] == pytest.approx(error)
    mean = total(evaluation)['baselines']['mean of the recording']
    spread = np.abs(truth - truth.mean(axis=0))[:, :7]
    assert mean['joint positions']['mae'] == pytest.approx(spread.mean())
    assert mean['joint positions']['mae_normalised'] == pytest.approx(spread.mean() / 0.5)


def test_ticks_begin_with_the_first_complete_observation_and_keep_the_rate(bag, tmp_path):
    (result,) = written(plan(bag), tmp_path / 'out').results.values()
    times = result.ticks['time'] - START
    assert times[0] == 22 * MS  # the last camera's first frame
    assert set(np.diff(times)) == {TICK}
    assert times[-1] + TICK > 4e9 - 20 * MS
    with (tmp_path / 'out' / 'ticks.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['time_ns']) - START for row in rows] == times.tolist()
    first = rows[0]
    assert int(first['stamp_ns/rgb_under']) == START + 22 * MS
    assert float(first['qpos/base/x/position']) == pytest.approx(0.02)
    assert float(first['recorded/arm/left_joint_1/position']) == pytest.approx(
        bags.commanded(1)[0]
    )
    assert float(rows[7]['predicted/arm/left_joint_1/velocity']) == pytest.approx(
        bags.commanded((22 + 7 * 20) // 20)[8]
    )


def without(messages, what, begin, end):
    """A recording in which something pauses [s]."""
    for message in messages:
        if not (message.what == what and begin * 1e9 <= message.time < end * 1e9):
            yield message


def test_a_tick_without_complete_input_is_counted_skipped_and_never_filled(tmp_path):
    path = write(tmp_path / 'run', without(bags.run(4), 'rgb_left', 1.0, 2.0))
    settings = replace(SMALL, max_skew=0.3)
    evaluation = written(plan(path, settings=settings), tmp_path / 'out')
    (result,) = evaluation.results.values()
    seconds = (result.ticks['time'] - START) / 1e9
    missing = ~result.ticks['complete']
    # The last frame, of 0.978 s, is good for max_age; the first after the pause ends it.
    assert set(seconds[missing]) == set(seconds[(seconds > 1.078) & (seconds < 2.011)])
    assert np.isnan(result.ticks['qpos'][missing]).all()
    assert not result.ticks['stamps'][missing].any()
    figures = total(evaluation)
    assert figures['ticks']['skipped'] == missing.sum() > 40
    assert figures['skipped']['rgb_left']['ticks'] == missing.sum()
    assert 'stale' in figures['skipped']['rgb_left']['first']
    assert figures['ticks']['stops'] == 1  # command_timeout 0.5 s went by
    assert worst_error(figures) < 1e-6
    assert 'rgb_left is stale' in (tmp_path / 'out' / 'report.html').read_text()


def test_a_stop_at_the_end_is_counted_too(tmp_path):
    path = write(tmp_path / 'run', without(bags.run(4), 'rgb_left', 2.0, 9.0))
    ticks = total(carry_out(plan(path), tmp_path / 'out'))['ticks']
    assert ticks['stops'] == 1 and ticks['resets'] == 0


def test_a_joint_that_is_not_measured_is_why_there_is_no_action(tmp_path):
    blind = [
        m if m.what != 'arm' else bags.Message(m.time, m.what, bags.joints(
            m.time, JOINTS[:7], m.content.position[:7], m.content.velocity[:7]))
        for m in bags.run(2)
    ]  # fmt: skip
    # The gripper is commanded, but is no part of qpos.
    state = [entry for entry in SMALL.task_state if 'gripper' not in entry]
    settings = replace(SMALL, task_state=state)
    figures = total(carry_out(plan(write(tmp_path / 'run', blind), settings=settings),
                              tmp_path / 'out'))  # fmt: skip
    assert figures['ticks']['without_action'] == figures['ticks']['looked'] > 50
    assert "'left_gripper' of 'arm' is missing" in figures['skipped']['arm']['first']


def test_where_nothing_is_recorded_for_long_no_ticks_are_made(tmp_path):
    year = 365 * 24 * 3600 * 1_000_000_000
    late = [bags.Message(m.time + year, m.what, restamped(m, year)) for m in bags.run(2)]
    path = write(tmp_path / 'run', [*bags.run(2), *late])
    strided = carry_out(plan(path, options=Options(stride=7)), tmp_path / 'strided')
    assert total(strided)['ticks']['paused_s'] == pytest.approx(year / 1e9 - 60, abs=3)
    evaluation = written(plan(path, load='load'), tmp_path / 'out')
    ticks = total(evaluation)['ticks']
    assert ticks['looked'] == pytest.approx(2 * 100 + 60 * 50, abs=20)
    assert ticks['paused_s'] == pytest.approx(365 * 24 * 3600 - 60, abs=3)
    assert ticks['stops'] == 1
    assert ticks['scored'] == pytest.approx(2 * 100, abs=40)
    assert 'no ticks were made there' in (tmp_path / 'out' / 'report.html').read_text()
    (result,) = evaluation.results.values()
    assert not ((result.ticks['time'] - result.ticks['time'][0]) % TICK).any()


def restamped(message, later):
    content = message.content
    content.header.stamp = bags.stamp(message.time + later).stamp
    return content


def test_late_chunks_leave_the_first_ticks_without_an_action(bag, tmp_path):
    figures = total(carry_out(plan(bag, options=Options(latencies=(0.05,))), tmp_path / 'out'))
    assert figures['ticks']['without_action'] == 3
    assert figures['ticks']['chunks_late'] == 0
    assert worst_error(figures) < 1e-6
    late = total(carry_out(plan(bag, options=Options(latencies=(0.42,))), tmp_path / 'late'))
    assert late['ticks']['chunks_late'] > 0  # 20 actions last 0.4 s


def test_stride_start_and_duration(bag, tmp_path):
    made = plan(bag, options=Options(stride=5), start=1.0, duration=2.0)
    (result,) = carry_out(made, tmp_path / 'out').results.values()
    times = result.ticks['time'] - START
    assert times[0] == 10**9
    assert set(np.diff(times)) == {5 * TICK}
    assert times[-1] < 3e9
    assert result.about['grid'] == 100
    assert len(result.durations) == len(times) == 20
    assert worst_error(total(carry_out(made, tmp_path / 'again'))) < 1e-6


def test_aggregation_off_asks_for_a_chunk_only_when_one_has_run_out(bag, tmp_path):
    settings = replace(SMALL, temporal_aggregation=False)
    evaluation = carry_out(plan(bag, settings=settings), tmp_path / 'out')
    (result,) = evaluation.results.values()
    assert len(result.durations) == pytest.approx(len(result.ticks['time']) / 20, abs=1)
    assert worst_error(total(evaluation)) < 1e-6


def test_limits_that_would_have_cut_in_are_counted_by_joint(bag, tmp_path):
    high = limits_of(SMALL).max_position
    high[2] = 0.4
    low = changed(SMALL, max_position=high)
    figures = total(carry_out(plan(bag, settings=low), tmp_path / 'out'))
    assert set(figures['limits']['hits']['range']) == {'arm/left_joint_3/position'}
    assert worst_error(figures) < 1e-6  # what is scored is the action before them
    # Ten commands in each of the policy's steps may go as far as one did.
    quick = replace(changed(low, max_step=limits_of(low).max_step / 10), command_rate=500.0)
    again = total(carry_out(plan(bag, settings=quick), tmp_path / 'quick'))
    assert without_timings(again) == without_timings(figures)
    narrow = changed(SMALL, max_position=0.1)
    figures = total(carry_out(plan(bag, settings=narrow), tmp_path / 'narrow'))
    assert any('arm/left_joint_1/position' in text for text in figures['limits']['refused'])


KINDS = [('mcap', None), ('mcap', 'file'), ('mcap', 'message'), ('mcap', 'storage'),
         ('sqlite3', None), ('sqlite3', 'file'), ('sqlite3', 'message')]  # fmt: skip


@pytest.mark.parametrize(('storage', 'compression'), KINDS)
def test_every_kind_of_bag_gives_the_same(bag, tmp_path, storage, compression):
    path = write(tmp_path / 'run', bags.run(4), storage=storage, compression=compression)
    found = carry_out(plan(path), tmp_path / 'out')
    expected = carry_out(plan(bag), tmp_path / 'expected')
    assert total(found) == total(expected)
    if compression in (None, 'storage') and storage == 'mcap':
        alone = carry_out(plan(path / 'run.mcap'), tmp_path / 'alone')
        assert total(alone) == total(expected)


def test_predictions_are_a_bag_with_the_recordings_stamps(bag, tmp_path):
    (result,) = written(plan(bag), tmp_path / 'out').results.values()
    with Reader(tmp_path / 'out' / 'predictions.mcap') as reader:
        assert {c.topic: c.msgtype for c in reader.connections} == {
            '/predicted/arm/joint_commands': 'sensor_msgs/msg/JointState'
        }
        messages = [
            (time, typestore().deserialize_cdr(raw, c.msgtype))
            for c, time, raw in reader.messages()
        ]
    assert [time for time, _ in messages] == result.ticks['time'].tolist()
    stamp = messages[5][1].header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec == messages[5][0]
    np.testing.assert_array_equal(messages[5][1].position, result.ticks['predicted'][5, :8])
    np.testing.assert_array_equal(messages[5][1].velocity, result.ticks['predicted'][5, 8:])
    assert messages[5][1].name == bags.JOINTS


def test_two_checkpoints_stand_side_by_side(bag, tmp_path):
    made = make_plan(
        [bag], {'a': SMALL, 'b': replace(SMALL, decay=0.5)}, options=Options(),
        load='test.evaluation.stub:load',
    )  # fmt: skip
    figures = metrics(written(made, tmp_path / 'out'))
    assert list(figures['checkpoints']) == ['a', 'b']
    with Reader(tmp_path / 'out' / 'predictions.mcap') as reader:
        assert {c.topic for c in reader.connections} == {
            '/predicted/a/arm/joint_commands', '/predicted/b/arm/joint_commands',
        }  # fmt: skip


@pytest.fixture(scope='module')
def several(tmp_path_factory):
    folder = tmp_path_factory.mktemp('several')
    return [write(folder / f'run{i}', bags.run(1.5, seed=i)) for i in range(4)]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ckpt')
    write_random(folder, small_config(chunk_size=20), image_size=list(bags.SIZE))
    return folder


def test_a_folder_of_bags_is_all_of_them(several):
    assert [*plan(several[0].parent).bags] == [path.resolve() for path in several]


def real(paths, checkpoint, duration=None, **options):
    settings = replace(SMALL, ckpt_dir=str(checkpoint), torch_threads=1)
    made = Options(**options)
    return make_plan(paths, {'ckpt': settings}, options=made, duration=duration)


def test_workers_and_ray_give_the_same_as_one_process(several, checkpoint, tmp_path):
    pytest.importorskip('ray')
    made = real(several, checkpoint, duration=0.4, latencies=(0.0, 0.06))
    one = metrics(carry_out(made, tmp_path / 'one'))
    for name, how in {'two': {'workers': 2}, 'ray': {'ray': 'local'}}.items():
        found = metrics(carry_out(made, tmp_path / name, **how))
        assert without_timings(found) == without_timings(one)


def test_a_lost_worker_costs_a_retry_and_not_the_run(several, tmp_path, monkeypatch):
    monkeypatch.setenv('MAY_DIE', '1')
    folder = tmp_path / 'ckpt'
    folder.mkdir()
    (folder / 'died').touch()  # not in this process
    made = plan(*several, load='load_and_die_once', settings=replace(SMALL, ckpt_dir=str(folder)))

    def progress(job, ticks):
        nonlocal killed
        if not killed:
            killed = True
            (folder / 'died').unlink()
        return True

    killed = False
    found = metrics(carry_out(made, tmp_path / 'out', workers=2, progress=progress))
    assert (folder / 'died').exists()
    monkeypatch.delenv('MAY_DIE')
    assert without_timings(found) == without_timings(metrics(carry_out(made, tmp_path / 'one')))


def test_batches_give_the_same_as_one_by_one(several, checkpoint, tmp_path):
    (single,) = carry_out(real(several[:1], checkpoint, batch=1), tmp_path / 'a').results.values()
    (batched,) = carry_out(real(several[:1], checkpoint, batch=7), tmp_path / 'b').results.values()
    np.testing.assert_allclose(
        batched.ticks['predicted'], single.ticks['predicted'], rtol=0, atol=1e-5
    )
    assert len(single.durations) == len(batched.durations)


RUN = """
import sys
from pathlib import Path
from test.evaluation.test_evaluate import plan, carry_out, write_results
*bags, out = map(Path, sys.argv[1:])
write_results(carry_out(plan(*bags, load='load_slow'), out, resume=out.exists()), out)
"""


def test_killed_and_resumed_equals_uninterrupted(several, tmp_path):
    out = tmp_path / 'out'
    command = [sys.executable, '-c', RUN, *map(str, several), str(out)]
    with started(command, env=SLOW) as process:
        wait_until(lambda: list(out.glob('episodes/*.npz')), 60, 'a finished episode')
        process.kill()
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob('episodes/*.npz')}
    assert 0 < len(finished) < 4
    assert not (out / 'report.html').exists()
    subprocess.run(command, check=True)
    for name, time in finished.items():
        assert (out / 'episodes' / name).stat().st_mtime_ns == time, 'done a second time'
    whole = carry_out(plan(*several, load='load_slow'), tmp_path / 'whole')
    found = json.loads((out / 'metrics.json').read_text())
    assert without_timings(found) == without_timings(metrics(whole))
    write_ticks(whole, tmp_path / 'ticks.csv')
    assert (out / 'ticks.csv').read_text() == (tmp_path / 'ticks.csv').read_text()


def test_a_resumption_of_something_else_is_refused(several, tmp_path):
    out = tmp_path / 'out'
    carry_out(plan(several[0]), out)
    with pytest.raises(ActError, match='holds an evaluation already; give another --out, or --re'):
        carry_out(plan(several[0]), out)
    with pytest.raises(ActError, match='with other settings'):
        carry_out(plan(several[0], settings=replace(SMALL, decay=0.2)), out, resume=True)
    with pytest.raises(ActError, match='with other episodes'):
        carry_out(plan(several[1]), out, resume=True)


def test_what_does_not_fit_is_said_before_the_folder_is_made(several, tmp_path):
    out = tmp_path / 'out'
    backward = limits_of(SMALL).max_velocity
    backward[2] = -1.0
    wrong = changed(SMALL, max_velocity=backward)
    with pytest.raises(ActError, match='max_velocity'):
        carry_out(plan(several[0], settings=wrong), out)
    assert not out.exists()


def test_results_in_the_bags_own_folder_are_no_part_of_it(tmp_path):
    bag = write(tmp_path / 'run', bags.run(1.5))
    first = carry_out(plan(bag), bag / 'evaluation')
    again = carry_out(plan(bag), bag / 'evaluation', resume=True)
    assert without_timings(metrics(again)) == without_timings(metrics(first))


def test_a_damaged_result_is_done_again(several, tmp_path):
    out = tmp_path / 'out'
    first = carry_out(plan(several[0]), out)
    (kept,) = out.glob('episodes/*.npz')
    content = kept.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content) - 8, 60):
        kept.write_bytes(content[:place] + bytes(8) + content[place + 8 :])
        EpisodeResult.load(kept)  # perhaps still readable, and never a traceback
    kept.write_bytes(content[:-100])
    again = carry_out(plan(several[0]), out, resume=True)
    assert without_timings(metrics(again)) == without_timings(metrics(first))


def test_the_engine_that_was_chosen_stays_chosen(several, tmp_path):
    out = tmp_path / 'out'
    auto = replace(SMALL, engine='auto')
    carry_out(plan(several[0], settings=auto), out)
    assert json.loads((out / 'run.json').read_text())['settings']['ckpt']['engine'] == 'torch'
    # Another would be found best now.
    made = plan(several[0], settings=auto, load='load_openvino')
    evaluation = carry_out(made, out, resume=True)
    assert evaluation.plan.checkpoints['ckpt'].engine == 'torch'


ORPHANS = """
import sys
from pathlib import Path
from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.run.evaluate import carry_out
from test.evaluation.test_evaluate import plan
*bags, out = map(Path, sys.argv[1:])
if __name__ == '__main__':
    carry_out(plan(*bags, load='load_slow'), out, workers=2)
"""


def test_workers_end_with_a_parent_that_is_killed(several, tmp_path):
    script = tmp_path / 'run.py'
    script.write_text(ORPHANS)
    out = tmp_path / 'out'
    command = [sys.executable, str(script), *map(str, several), str(out)]
    with started(command, env={**SLOW, 'PYTHONPATH': str(Path.cwd())}) as process:
        wait_until(lambda: list(out.glob('episodes/*.npz')), 60, 'a finished episode')
        workers = children(process.pid)
        process.kill()
    assert len(workers) >= 2
    wait_until(lambda: not any(map(alive, workers)), 10, 'the end of the workers')
