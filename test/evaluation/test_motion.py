"""How smooth what would be sent is, and what latencies and fades do to it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from act_ros.errors import ActError
from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.run.evaluate import carry_out
from act_ros.evaluation.run.passes import Passes
from act_ros.evaluation.run.plan import Options
from act_ros.evaluation.run.sweep import fades
from act_ros.observation import Snapshot
from act_ros.safety import CommandLimiter, Limits
from test.bags import bags
from test.bags.bags import TASK, write
from test.evaluation.stub import Erring
from test.evaluation.test_evaluate import SMALL, plan, without, without_timings, written
from test.limits import changed

LATENCIES = (0.06, 0.0, 0.3)
FREE = replace(changed(SMALL, max_step=1, max_velocity=50, max_acceleration=1e6), ramp_time=0.0)
ARM = [str(entry) for entry in TASK.action[:7]]


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return write(tmp_path_factory.mktemp('bag') / 'run', bags.run(2))


@pytest.fixture(scope='module')
def swept(bag, tmp_path_factory):
    """A sweep, and its folder."""
    out = tmp_path_factory.mktemp('swept') / 'out'
    Erring.asked.clear()
    return written(erring(bag), out), out, list(Erring.asked)


def erring(*paths, latencies=LATENCIES, settings=FREE, **rest):
    return plan(
        *paths, load='load_erring', settings=settings, options=Options(latencies), offset=0, **rest
    )


def one(evaluation):
    """The figures of the one checkpoint."""
    return metrics(evaluation)['checkpoints']['ckpt']


def by_hand(positions):
    """Jerk rms and max, and the largest step, over the arm's joints; which have the largest."""
    jerk, steps = np.abs(np.diff(positions, 3, axis=0)) * 50**3, np.abs(np.diff(positions, axis=0))
    return {
        'jerk_rms': pytest.approx(np.sqrt((jerk**2).mean())),
        'jerk_max': pytest.approx(jerk.max()),
        'jerk_max_at': ARM[int(jerk.max(axis=0).argmax())],
        'seam': pytest.approx(steps.max()),
        'seam_at': ARM[int(steps.max(axis=0).argmax())],
    }


def test_what_passes_the_limits_is_measured_as_it_is(bag, tmp_path):
    evaluation = carry_out(erring(bag, latencies=(0.0,)), tmp_path / 'out')
    (result,) = evaluation.results.values()
    found = one(evaluation)
    # A chunk comes at every tick.
    expected = by_hand(result.ticks['predicted'][:, :7])
    assert found['motion']['sent']['groups']['joint positions'] == expected
    truth = by_hand(bags.commanded((result.ticks['time'] - bags.START) // bags.TICK)[:, :7])
    assert found['motion']['recorded']['groups']['joint positions'] == truth
    assert found['motion'] == found['episodes'][0]['motion']
    assert found['motion']['limit_hits'] == 0
    assert found['sweep'] == []
    gripper = found['motion']['sent']['groups']['gripper']
    assert gripper['seam_at'] == 'arm/left_gripper/position'


def test_what_the_limits_change_is_measured_as_it_would_be_sent(bag, tmp_path):
    slow = changed(SMALL, max_velocity=0.3)
    evaluation = carry_out(erring(bag, latencies=(0.0,), settings=slow), tmp_path / 'out')
    (result,) = evaluation.results.values()
    ticks, motion = result.ticks, one(evaluation)['motion']
    limiter = CommandLimiter(TASK, Limits.from_settings(slow, TASK), 50.0)
    limiter.start(ticks['measured'][0])
    sent = [limiter.limit(row, i / 50)[:7] for i, row in enumerate(ticks['predicted'])]
    assert motion['sent']['groups']['joint positions'] == by_hand(sent)
    hits = sum(sum(counts.values()) for counts in limiter.hits.values())
    assert motion['limit_hits'] == hits > 0


def test_episodes_are_told_together(bag, tmp_path):
    (tmp_path / 'table').write_text('0,0.8\n1,1.9\n')
    made = erring(bag, latencies=(0.0,), episodes=f'table:{tmp_path / "table"}')
    evaluation = carry_out(made, tmp_path / 'out')
    parts = [result.ticks['predicted'][:, :7] for result in evaluation.in_order()]
    found = one(evaluation)['motion']['sent']['groups']['joint positions']
    jerks = np.concatenate([np.diff(part, 3, axis=0) for part in parts]) * 50**3
    assert found['jerk_rms'] == pytest.approx(np.sqrt((jerks**2).mean()))
    assert found['jerk_max'] == pytest.approx(np.abs(jerks).max())
    assert found['seam'] == max(by_hand(part)['seam'].expected for part in parts)


def test_nothing_is_measured_over_what_was_not_sent(tmp_path):
    silent = replace(FREE, stop_policy='silent', max_skew=0.3)
    path = write(tmp_path / 'run', without(bags.run(3), 'rgb_left', 0.5, 2.0))
    made = plan(path, settings=silent, options=Options(), offset=0)
    evaluation = carry_out(made, tmp_path / 'out')
    (result,) = evaluation.results.values()
    found = one(evaluation)['motion']['sent']
    acted = np.isfinite(result.ticks['predicted'][:, 0])
    assert 30 < (~acted).sum() < 80
    # By hand: the recording's own jerk on both sides, and no jump between them.
    parts = np.split(np.arange(len(acted)), np.flatnonzero(np.diff(acted)) + 1)
    jerks = [np.diff(result.ticks['predicted'][part, :7], 3, axis=0) for part in parts]
    largest = np.nanmax(np.abs(np.concatenate(jerks))) * 50**3
    assert found['groups']['joint positions']['jerk_max'] == pytest.approx(largest)
    held = carry_out(plan(path, settings=replace(silent, stop_policy='hold'), offset=0),
                     tmp_path / 'held')  # fmt: skip
    stopped = one(held)['motion']['sent']['groups']['joint positions']['jerk_max']
    assert stopped > 2 * largest  # it stands, and goes on from there


def test_what_is_sent_is_not_known_where_ticks_are_left_out(bag, tmp_path):
    evaluation = written(plan(bag, options=Options(stride=2)), tmp_path / 'out')
    motion = one(evaluation)['motion']
    assert motion['sent'] is None
    assert motion['recorded']['groups']['joint positions']['jerk_rms'] > 0
    assert 'not known where ticks are left out' in (tmp_path / 'out' / 'report.html').read_text()


@pytest.mark.parametrize(
    ('configured', 'chunk_size', 'expected'),
    [
        (0.4, 100, [0, 10, 20, 40]),
        (0.0, 100, [0, 10, 20, 40]),  # the default's
        (0.8, 100, [0, 20, 40, 50]),  # half a chunk is the longest
        (0.4, 20, [0, 5, 10]),
        (0.02, 100, [0, 1, 2]),
        (9.0, 5000, [0, 225, 450, 500]),  # the parameter ends there
        (0.4, 1, [0]),
    ],
)
def test_fades_are_the_configured_its_half_its_double_and_none(configured, chunk_size, expected):
    assert fades(configured, chunk_size, 50.0) == expected


def test_a_sweep_has_a_row_for_each_latency_and_fade(swept):
    rows = one(swept[0])['sweep']
    assert [(row['latency_ms'], row['fade_s'], row['configured']) for row in rows] == [
        (latency * 1e3, fade, fade == 0.4)
        for latency in LATENCIES
        for fade in (0.0, 0.2, 0.4, 0.8)
    ]  # fmt: skip
    of = {(row['latency_ms'], row['fade_s']): row for row in rows}
    for latency in (60, 300):
        assert of[latency, 0.4]['jerk_rms'] < of[latency, 0.0]['jerk_rms'] / 10
        assert of[latency, 0.4]['seam_mrad'] < of[latency, 0.0]['seam_mrad']
    at_once = [{**of[0, fade], 'fade_s': 0, 'configured': 0} for fade in (0.0, 0.2, 0.4, 0.8)]
    assert all(row == at_once[0] for row in at_once)  # chunks of their own step are not faded


@pytest.mark.parametrize(('latency', 'fade'), [(0.06, 0.4), (0.06, 0.0), (0.0, 0.8), (0.3, 0.2)])
def test_a_row_is_what_an_evaluation_of_its_own_would_find(bag, swept, tmp_path, latency, fade):
    made = erring(bag, latencies=(latency,), settings=replace(FREE, fade=fade))
    figures = one(carry_out(made, tmp_path / 'out'))
    arm = figures['motion']['sent']['groups']['joint positions']
    (row,) = [
        row for row in one(swept[0])['sweep']
        if (row['latency_ms'], row['fade_s']) == (latency * 1e3, fade)
    ]  # fmt: skip
    assert row == {
        'latency_ms': latency * 1e3,
        'fade_s': fade,
        'configured': fade == 0.4,
        'jerk_rms': arm['jerk_rms'],
        'jerk_max': arm['jerk_max'],
        'seam_mrad': arm['seam'] * 1e3,
        'limit_hits': figures['motion']['limit_hits'],
        'error': pytest.approx(figures['total']['groups']['joint positions']['mae_normalised']),
        'without_action': figures['total']['ticks']['without_action'],
    }
    if (latency, fade) == (0.06, 0.4):
        swept_figures = {**one(swept[0]), 'sweep': []}
        assert without_timings(swept_figures) == without_timings(figures)


def test_the_network_is_asked_once_a_tick_at_most(bag, swept, tmp_path):
    _, _, asked = swept
    ticks = len(swept[0].in_order()[0].ticks['time'])
    assert len(asked) == len(set(asked)) == ticks  # one latency is 0: all of them
    Erring.asked.clear()
    carry_out(erring(bag, latencies=(0.06, 0.3)), tmp_path / 'late')
    late = list(Erring.asked)
    assert len(late) == len(set(late)) < ticks / 2
    assert set(late) < set(asked)


def test_a_chunk_that_is_forgotten_is_inferred_again():
    passes = Passes(Erring(TASK))
    Erring.asked.clear()
    looks = [Snapshot(np.full(17, n / 50), {}, {}, n) for n in range(3)]
    passes.run(looks)
    for look in looks:
        passes.chunk(look)
    assert Erring.asked == [0, 1, 2]
    passes.forget(2)
    passes.chunk(looks[2])
    passes.chunk(looks[1])
    assert Erring.asked == [0, 1, 2, 1]


def test_with_aggregation_off(bag, tmp_path):
    settings = replace(FREE, temporal_aggregation=False)
    Erring.asked.clear()
    rows = one(carry_out(erring(bag, settings=settings), tmp_path / 'out'))['sweep']
    assert len(rows) == 12
    assert all(row['error'] is not None for row in rows)
    assert len(Erring.asked) == len(set(Erring.asked)) < 20


def test_a_latency_that_needs_a_longer_time_out_has_it_and_says_so(bag, tmp_path):
    evaluation = written(erring(bag, latencies=(0.1, 0.6)), tmp_path / 'out')
    figures = metrics(evaluation)
    assert figures['command_timeouts'] == {'600': pytest.approx(2 * 0.6 + 0.02 + 0.1)}
    late = figures['checkpoints']['ckpt']['sweep'][4:]
    assert all(30 <= row['without_action'] <= 32 and row['error'] for row in late)
    text = (tmp_path / 'out' / 'report.html').read_text()
    assert 'with so late chunks; taken was 1.32 s at 600 ms.' in text


def test_a_resumption_knows_the_sweep(bag, swept, tmp_path):
    evaluation, out, _ = swept
    Erring.asked.clear()
    again = carry_out(erring(bag), out, resume=True)
    assert Erring.asked == []
    assert without_timings(metrics(again)) == without_timings(metrics(evaluation))
    for latencies in (LATENCIES[:2], LATENCIES[::-1]):
        with pytest.raises(ActError, match='with other latencies'):
            carry_out(erring(bag, latencies=latencies), out, resume=True)


def test_an_interrupted_sweep_tells_what_there_is(bag, tmp_path):
    made, out = erring(bag), tmp_path / 'out'
    evaluation = written(made, out, progress=lambda job, ticks: ticks < 40)
    assert evaluation.partial
    rows = one(evaluation)['sweep']
    assert len(rows) == 12
    known = [row for row in rows if row['latency_ms'] < 100]
    assert all(row['error'] is not None for row in known)
    assert 'Latency and fade' in (out / 'report.html').read_text()


def test_the_report_has_picture_and_table(swept):
    _, out, _ = swept
    text = (out / 'report.html').read_text()
    assert text.count('alt="seam, jerk and error against latency, ckpt"') == 1
    section = text[text.index('<h2 id="sweep">Latency and fade') :]
    section = section[: section.index('<h2', 1)]
    assert section.count('<tr') == 1 + 12
    assert section.count('(configured)') == 3
    rows = json.loads((out / 'metrics.json').read_text())['checkpoints']['ckpt']['sweep']
    for row in rows:
        assert f'<td>{row["jerk_rms"]:.4g}</td><td>{row["jerk_max"]:.4g}</td>' in section
    assert 'the results are of the first latency, 60 ms' in text
