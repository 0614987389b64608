"""Bags become samples: the ticks, frames and actions that the evaluator sees."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from act_ros.bags.bag import Bag
from act_ros.errors import ActError
from act_ros.evaluation.run.evaluate import carry_out
from act_ros.evaluation.run.plan import Options, make_plan
from act_ros.recording.playback import Playback
from act_ros.training.dataset import assemble
from act_ros.training.episodes import _Ticks
from test.bags import bags
from test.bags.bags import TASK, write
from test.evaluation.stub import Repeater
from test.training.recordings import (
    ALONE,
    RECIPE,
    SMALL,
    SMALL_TASK,
    everything,
    found,
    not_numbers,
    read,
)


def physical(batch, statistics):
    """qpos and actions of a batch as they were; padded actions as NaN."""
    qpos = batch.qpos.numpy() * statistics.qpos_std + statistics.qpos_mean
    actions = batch.actions.numpy() * statistics.action_std + statistics.action_mean
    actions[batch.is_pad.numpy()] = np.nan
    return qpos, actions


class Seeing(Repeater):
    """Keeps what it is shown."""

    seen: ClassVar[list] = []

    def predict(self, qpos, images):
        self.seen.append((qpos, np.stack([images[name] for name in TASK.cameras])))
        return super().predict(qpos, images)


def load_seeing(ckpt_dir, *, task, **_):
    return Seeing(task)


@pytest.mark.parametrize('offset', [0, 1, -2])
def test_samples_are_what_the_evaluator_sees(several, tmp_path, offset):
    path, every = several / 'run0', 3
    recipe = replace(ALONE, sample_every=every, action_offset=offset)
    data, _ = assemble(read([path], tmp_path / 'cache', recipe), SMALL_TASK, recipe)
    batch = everything(data.train)
    Seeing.seen.clear()
    plan = make_plan([path], {'ckpt': SMALL}, options=Options(stride=every),
                     load=f'{__name__}:load_seeing')  # fmt: skip
    (result,) = carry_out(plan, tmp_path / 'out').results.values()
    # A sample has a first action.
    kept = [i for i, k in enumerate(result.ticks['index'])
            if 0 <= k - offset < len(result.recorded)]  # fmt: skip
    assert len(kept) == len(data.train) > 10
    seen = [Seeing.seen[i] for i in kept]
    qpos, actions = physical(batch, data.statistics)
    np.testing.assert_array_equal(batch.images.numpy(), [images for _, images in seen])
    np.testing.assert_allclose(qpos, [qpos for qpos, _ in seen], atol=1e-6)
    recorded = np.vstack((result.recorded, np.full((30, 16), np.nan)))
    first = result.ticks['index'][kept] - offset
    expected = np.stack([recorded[k : k + RECIPE.chunk_size] for k in first])
    np.testing.assert_allclose(actions, expected, atol=1e-6)


def test_a_frame_that_several_samples_show_is_kept_once(several, tmp_path):
    recipe = replace(RECIPE, sample_every=1)
    (entry, *_) = read([several], tmp_path / 'cache', recipe)
    shown = len(np.unique(entry.frame))
    assert shown < entry.frame.size * 0.7  # 50 ticks and 30 frames a second
    assert entry.frames.stat().st_size == shown * np.prod(bags.SIZE) * 3
    again = np.array([entry.frame[i, 0] for i in range(5)])
    assert len(set(again)) < 5


def test_policy_units_are_those_of_the_task(several, tmp_path):
    entries = [f'{entry} scale=2.0 offset=0.5' for entry in SMALL.task_action]
    scaled = replace(SMALL, task_action=entries)
    plain, other = (read([several / 'run0'], tmp_path / 'cache', ALONE, settings=s)[0]
                    for s in (SMALL, scaled))  # fmt: skip
    np.testing.assert_allclose(other.action, 2 * plain.action + 0.5, atol=1e-6)


def without(messages, what, begin, end):
    return [m for m in messages if m.what != what or not begin * 1e9 <= m.time < end * 1e9]


def test_what_was_not_commanded_is_padding_and_begins_no_sample(tmp_path):
    path = write(tmp_path / 'run', without(bags.run(5), 'command', 1.0, 3.0))
    recipe = replace(ALONE, sample_every=1)
    (entry,) = read([path], tmp_path / 'cache', recipe)
    data, _ = assemble([entry], SMALL_TASK, recipe)
    batch, seconds = everything(data.train), (entry.time[entry.sample] - bags.START) / 1e9
    # The last command counts for a second.
    assert not ((seconds > 2.0) & (seconds < 2.99)).any()
    assert ((seconds > 3.0) & (seconds < 4.9)).any()
    length = (~batch.is_pad).sum(dim=1).numpy()
    before = seconds < 2.0
    np.testing.assert_array_equal(
        length[before], np.minimum(np.ceil((1.981 - seconds[before]) * 50), 20)
    )
    assert length[before].min() == 1 and length[seconds < 1].min() == 20
    assert batch.actions.isfinite().all()


def test_nothing_that_was_commanded_before_a_pause_counts_after_it(several):
    """Nor is there a sample without an action: here, of the ticks just before pauses."""
    pauses, written = (20, 21, 35), []
    (episode,) = found([several / 'run0'], several / 'none', recipe=replace(ALONE, sample_every=1))
    ticks = _Ticks(SMALL_TASK, episode, written.append)
    with Bag(episode.bag) as bag:
        for i, tick in enumerate(Playback(bag, episode.window, SMALL, SMALL_TASK).ticks()):
            ticks.look(replace(tick, pause=int(i in pauses)))
            ticks.command(np.zeros(16))
    arrays = ticks.arrays()
    left_out = [pause - 1 for pause in pauses]
    assert np.isnan(arrays['action']).all(axis=1).nonzero()[0].tolist() == left_out
    assert set(range(len(arrays['time']))) - {*arrays['sample']} == {*left_out}
    assert len(arrays['frame']) == len(arrays['sample'])


def test_ticks_without_an_observation_are_no_samples_and_said(tmp_path, caplog):
    path = write(tmp_path / 'run', without(bags.run(2), 'arm', 0.6, 1.0))
    recipe = ALONE
    entries = read([path], tmp_path / 'cache', recipe)
    data, _ = assemble(entries, SMALL_TASK, recipe)
    full = read([write(tmp_path / 'full', bags.run(2))], tmp_path / 'cache', recipe)
    assert 0 < len(data.train) < len(full[0].sample)
    (line,) = [line for line in caplog.messages if 'no samples' in line]
    assert f'{path}, episode 0: 15 of 99 ticks are no samples: arm is stale' in line


@pytest.mark.parametrize(
    ('what', 'text'),
    [
        ('arm', 'ticks are no samples: arm/left_joint_3/position is nan, expected a number'),
        ('command', '10 of 100 messages of /arm/joint_commands hold nan for arm/left_joint_3'),
    ],
)
def test_values_that_are_no_numbers_are_left_out_and_said(tmp_path, caplog, what, text):
    path = write(tmp_path / 'run', not_numbers(list(bags.run(2)), what))
    recipe = ALONE
    data, _ = assemble(read([path], tmp_path / 'cache', recipe), SMALL_TASK, recipe)
    assert any(text in line for line in caplog.messages)
    batch = everything(data.train)
    assert batch.qpos.isfinite().all() and batch.actions.isfinite().all()


def test_episodes_are_held_back_by_seed_and_never_shared(entries):
    def held(seed, share=0.3):
        recipe = replace(RECIPE, seed=seed, validation_share=share)
        _, parts = assemble(entries, SMALL_TASK, recipe)
        train, validation = ([e.key for e in of] for of in (parts.train, parts.validation))
        assert sorted(train + validation) == sorted(entry.key for entry in entries)
        return validation

    assert held(0) == held(0)
    assert len({*map(tuple, map(held, range(10)))}) > 1
    assert [len(held(0, share)) for share in (0, 0.01, 0.3, 0.6, 0.9)] == [0, 1, 1, 2, 3]


def test_the_fingerprint_tells_other_samples(entries, several, tmp_path):
    def fingerprint(entries, recipe=RECIPE):
        return assemble(entries, SMALL_TASK, recipe)[0].fingerprint

    assert fingerprint(entries) == fingerprint(entries)
    assert fingerprint(entries) != fingerprint(entries[:3])
    other = replace(RECIPE, sample_every=5)
    assert fingerprint(entries) != fingerprint(read([several], tmp_path / 'cache', other))


def test_statistics_are_those_of_the_ticks_that_are_trained_on(entries, caplog):
    data, parts = assemble(entries, SMALL_TASK, RECIPE)
    qpos, action = (np.concatenate([getattr(e, name) for e in parts.train]).astype(float)
                    for name in ('qpos', 'action'))  # fmt: skip
    statistics = data.statistics
    np.testing.assert_allclose(statistics.qpos_mean, qpos.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.action_mean, action.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(statistics.action_std, action.std(axis=0, ddof=1), rtol=1e-5)
    # The base stands still but for x, and so does its speed.
    np.testing.assert_array_equal(statistics.qpos_std[1:9], np.float32(0.01))
    (line,) = caplog.messages
    assert line == (
        'base/y/position, base/z/position, base/x/velocity, base/y/velocity, ... (8) never moves '
        'in qpos: its deviation counts as 0.01'
    )


def test_episodes_shorter_than_a_chunk_are_padded_unless_all_are(entries, caplog):
    assemble(entries, SMALL_TASK, replace(RECIPE, chunk_size=55))
    (line,) = [line for line in caplog.messages if 'shorter' in line]
    assert line.startswith('1 of 4 episodes are shorter than a chunk of 55 actions (1.1 s), the')
    assert 'run0, episode 0, has 49:' in line
    with pytest.raises(ActError, match=r'no episode is as long as a chunk of 90 .*run3.* has 79'):
        assemble(entries, SMALL_TASK, replace(RECIPE, chunk_size=90))
