"""Bags become samples: the ticks, frames and actions that the evaluator sees."""

import dataclasses
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from act_ros.bags.folder import bags_of
from act_ros.errors import ActError
from act_ros.evaluation.run.evaluate import carry_out
from act_ros.evaluation.run.plan import Options, make_plan
from act_ros.training import cache as cached
from act_ros.training import dataset
from act_ros.training.cache import Cache
from act_ros.training.dataset import Selection, assemble, decode, find_episodes
from act_ros.training.episodes import do_job
from act_ros.training.recipe import Recipe
from test.bags import bags
from test.bags.bags import SETTINGS, TASK, write
from test.evaluation.stub import Repeater

SMALL = replace(SETTINGS, task_image_size=bags.SIZE)
SMALL_TASK = replace(TASK, image_size=bags.SIZE)
RECIPE = Recipe(chunk_size=20, sample_every=4, validation_share=0.3)
ALONE = replace(RECIPE, validation_share=0)  # nothing to validate by


def found(paths, cache, settings=SMALL, recipe=RECIPE, **selection):
    return find_episodes(bags_of(paths), settings, recipe, Selection(**selection), Cache(cache))


def read(paths, cache, recipe=RECIPE, **more):
    """All of it, from bags to entries."""
    return decode(found(paths, cache, recipe=recipe, **more), Cache(cache))


def everything(samples):
    return samples.batch(np.arange(len(samples)))


def physical(batch, statistics):
    """qpos and actions of a batch as they were; padded actions as NaN."""
    qpos = batch.qpos.numpy() * statistics.qpos_std + statistics.qpos_mean
    actions = batch.actions.numpy() * statistics.action_std + statistics.action_mean
    actions[batch.is_pad.numpy()] = np.nan
    return qpos, actions


@pytest.fixture(scope='module')
def several(tmp_path_factory):
    folder = tmp_path_factory.mktemp('several')
    for i in range(4):
        write(folder / f'run{i}', bags.run(1 + 0.2 * i, seed=i))
    return folder


@pytest.fixture(scope='module')
def entries(several, tmp_path_factory):
    return read([several], tmp_path_factory.mktemp('data') / 'cache')


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


def test_ticks_without_an_observation_are_no_samples_and_said(tmp_path, caplog):
    path = write(tmp_path / 'run', without(bags.run(2), 'arm', 0.6, 1.0))
    recipe = ALONE
    entries = read([path], tmp_path / 'cache', recipe)
    data, _ = assemble(entries, SMALL_TASK, recipe)
    full = read([write(tmp_path / 'full', bags.run(2))], tmp_path / 'cache', recipe)
    assert 0 < len(data.train) < len(full[0].sample)
    (line,) = [line for line in caplog.messages if 'no samples' in line]
    assert f'{path}, episode 0: 15 of 99 ticks are no samples: arm is stale' in line


def not_numbers(messages, what, times=(0.6, 0.8)):
    """A recording in which values are NaN for a while."""
    for m in messages:
        if m.what == what and times[0] * 1e9 <= m.time < times[1] * 1e9:
            m.content.position[2] = np.nan
    return messages


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
    found = data.statistics
    np.testing.assert_allclose(found.qpos_mean, qpos.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.action_mean, action.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.action_std, action.std(axis=0, ddof=1), rtol=1e-5)
    # The base stands still but for x, and so does its speed.
    np.testing.assert_array_equal(found.qpos_std[1:9], np.float32(0.01))
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


# --- the cache


def times(cache):
    return {path: path.stat().st_mtime_ns for path in cache.rglob('*') if path.is_file()}


def test_what_is_known_is_not_decoded_again_and_else_it_is(several, tmp_path):
    cache = tmp_path / 'cache'
    read([several], cache)
    before = times(cache)
    assert len(list(cache.iterdir())) == 4
    read([several], cache)
    assert times(cache) == before
    # Another recipe for the training alone changes nothing, one for the samples does.
    read([several], cache, replace(RECIPE, chunk_size=30, lr=1e-3, seed=3))
    assert times(cache) == before
    read([several], cache, replace(RECIPE, sample_every=5))
    assert len(list(cache.iterdir())) == 8
    read([several], cache, settings=replace(SMALL, max_age=0.05))
    assert len(list(cache.iterdir())) == 12
    read([several], cache, duration=0.8)
    assert len(list(cache.iterdir())) == 16
    os.utime(next((several / 'run1').glob('*.mcap')), ns=(1, bags.START))
    read([several], cache)
    assert len(list(cache.iterdir())) == 17
    assert before.items() <= times(cache).items()


@pytest.mark.parametrize('name', ['frames.rgb', 'ticks.npz', 'about.json'])
def test_what_is_damaged_is_made_again(several, tmp_path, name):
    cache = tmp_path / 'cache'
    (entry,) = read([several / 'run0'], cache, ALONE)
    file, content = entry.frames.parent / name, (entry.frames.parent / name).read_bytes()
    file.write_bytes(content[: len(content) // 2])
    read([several / 'run0'], cache, ALONE)
    assert file.read_bytes()[: len(content) // 2] == content[: len(content) // 2]
    assert file.stat().st_size == len(content)
    assert len(list(cache.iterdir())) == 1


def test_processes_give_the_same_as_one(several, tmp_path):
    here = read([several], tmp_path / 'here')
    cache = Cache(tmp_path / 'there')
    there = decode(found([several], cache.folder), cache, processes=2)
    for one, other in zip(here, there, strict=True):
        assert one.frames.read_bytes() == other.frames.read_bytes()
        for name, values in one.arrays().items():
            np.testing.assert_array_equal(values, getattr(other, name))


def die_once(job, tell):
    """As if the system had killed the process, for want of memory."""
    try:
        job.cache.with_name('died').touch(exist_ok=False)
    except FileExistsError:
        return do_job(job, tell)
    return do_job(job, lambda ticks: os.kill(os.getpid(), signal.SIGKILL))


def test_the_work_of_a_process_that_was_lost_is_done_again(several, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, 'do_job', die_once)
    cache = Cache(tmp_path / 'cache')
    assert len(decode(found([several], cache.folder), cache, processes=2)) == 4
    assert len(list(cache.folder.iterdir())) == 4


KILLED = """
import os, sys
from pathlib import Path
from act_ros.training import episodes
from test.training.test_dataset import read
begin, written = episodes._Ticks._write, []
def killed(self, *of):
    written.append(of)
    if len(written) > 20:
        os.kill(os.getpid(), 9)
    begin(self, *of)
episodes._Ticks._write = killed
read([Path(sys.argv[1])], Path(sys.argv[2]))
"""


def test_killed_it_goes_on_with_what_is_whole(several, tmp_path):
    cache = tmp_path / 'cache'
    command = [sys.executable, '-c', KILLED, str(several), str(cache)]
    assert subprocess.run(command, check=False).returncode == -9
    left = times(cache)
    whole = [path for path in cache.iterdir() if not path.name.startswith('.')]
    assert len(whole) == 1 and len(list(cache.iterdir())) == 2
    read([several], cache)
    assert len(list(cache.iterdir())) == 4
    assert times(whole[0]).items() <= left.items()


def test_a_full_disk_is_one_line_and_leaves_what_is_whole(several, tmp_path, monkeypatch):
    cache = tmp_path / 'cache'
    read([several / 'run0'], cache, ALONE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(ActError, match=r'cannot write to --cache \S+: File too large'):
            read([several], cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(list(cache.iterdir())) == 1
    usage = dataclasses.make_dataclass('usage', ['free'])
    monkeypatch.setattr(dataset.shutil, 'disk_usage', lambda path: usage(900_000))
    with pytest.raises(ActError, match='the frames need 1 MB, and 1 MB are free at'):
        read([several], cache)
    assert len(list(cache.iterdir())) == 1


# --- bags that do not fit


def larger(messages):
    return list(bags.run(0.5, (60, 80)))


def renamed(messages):
    return [dataclasses.replace(m, what='/other') if m.what == 'arm' else m for m in messages]


def other_joints(messages):
    names = [f'right_{i}' for i in range(8)]
    return [dataclasses.replace(m, content=dataclasses.replace(m.content, name=names))
            if m.what == 'arm' else m for m in messages]  # fmt: skip


def uncommanded(messages):
    return [m for m in messages if m.what != 'command']


def unnamed(messages):
    return [dataclasses.replace(m, content=dataclasses.replace(m.content, name=[]))
            if m.what == 'command' else m for m in messages]  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (larger, '/rgb_main/image_raw: 60x80 pixels, expected 48x64'),
        (renamed, 'has no /arm/joint_states; near: /base/joint_states'),
        (other_joints, "no tick has a complete observation: joints 'left_joint_1', 'left_j"),
        (lambda m: not_numbers(m, 'arm', (0, 9)), 'arm/left_joint_3/position is nan'),
        (uncommanded, 'has no /arm/joint_commands with the commands of arm/left_joint_1/position'),
        (unnamed, 'no command can be read: 10 of 10 messages of /arm/joint_commands name no'),
    ],
)
def test_a_bag_that_does_not_fit_is_named_and_nothing_is_written(several, tmp_path, change, text):
    other = write(tmp_path / 'other', change(list(bags.run(0.5))))
    with pytest.raises(ActError) as error:
        read([several, other], tmp_path / 'cache')
    assert text in str(error.value) and str(other) in str(error.value)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize(
    ('changes', 'selection', 'text'),
    [
        ({'chunk_size': 90}, {}, r'no episode is as long as a chunk of 90 actions \(1.8 s\)'),
        ({}, {'start': 9.0}, 'nothing is left with --start 9'),
        ({}, {'episodes': 'parts'}, "--episodes is 'parts'; expected whole"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_decoded(
    several, tmp_path, changes, selection, text
):
    with pytest.raises(ActError, match=text):
        found([several], tmp_path / 'cache', recipe=replace(RECIPE, **changes), **selection)


def test_one_episode_is_too_few(several, tmp_path):
    with pytest.raises(ActError, match=r'there is one episode only, \S+run0, episode 0, and none'):
        found([several / 'run0'], tmp_path / 'cache')


def test_frames_in_another_order_of_colours_are_refused(several, tmp_path):
    with pytest.raises(ActError, match="parameter 'colour_order' is bgr, expected rgb"):
        found([several], tmp_path / 'cache', settings=replace(SMALL, colour_order='bgr'))


def test_many_threads_read_more_files_than_are_open_at_once(several, tmp_path, monkeypatch):
    monkeypatch.setattr(cached, '_opened', lru_cache(maxsize=1)(cached._Opened))
    entries = read([several], tmp_path / 'cache')
    samples = assemble(entries, SMALL_TASK, ALONE)[0].train
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(samples.batch, [[i] for i in [*range(len(samples))] * 3]))
    expected = everything(samples).images
    for i, part in enumerate(parts):
        assert (part.images[0] == expected[i % len(samples)]).all()


def test_a_cache_that_was_cut_meanwhile_is_one_line(several, tmp_path):
    recipe = ALONE
    entries = read([several / 'run0'], tmp_path / 'cache', recipe)
    data, _ = assemble(entries, SMALL_TASK, recipe)
    entries[0].frames.write_bytes(b'')
    with pytest.raises(ActError, match=r'frames.rgb has been cut while it was read; train again'):
        everything(data.train)


def test_a_job_leaves_nothing_where_it_fails(several, tmp_path):
    episode, *_ = found([several], tmp_path / 'cache')
    folder = tmp_path / 'building'
    folder.mkdir()
    broken = replace(episode, bag=Path('/nowhere'))
    with pytest.raises((ActError, OSError)):
        do_job(dataset.Job(broken, tmp_path / 'cache', folder))
    assert list(folder.iterdir()) == []
