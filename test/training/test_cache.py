"""Episodes are decoded once and kept: whole or not there, whatever happens."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from act_ros.errors import ActError
from act_ros.training import cache as cached
from act_ros.training import dataset
from act_ros.training.cache import Cache
from act_ros.training.dataset import assemble, decode
from act_ros.training.episodes import do_job
from test.bags import bags
from test.training.recordings import (
    ALONE,
    RECIPE,
    SMALL,
    SMALL_TASK,
    everything,
    found,
    kept,
    read,
)


def times(cache):
    files = (path for path in cache.rglob('*') if path.is_file() and path.name != cached.LOCK)
    return {path: path.stat().st_mtime_ns for path in files}


def test_what_is_known_is_not_decoded_again_and_else_it_is(several, tmp_path):
    cache = tmp_path / 'cache'
    read([several], cache)
    before = times(cache)
    assert len(kept(cache)) == 4
    read([several], cache)
    assert times(cache) == before
    # Another recipe for the training alone changes nothing, one for the samples does.
    read([several], cache, replace(RECIPE, chunk_size=30, lr=1e-3, seed=3))
    assert times(cache) == before
    read([several], cache, replace(RECIPE, sample_every=5))
    assert len(kept(cache)) == 8
    read([several], cache, settings=replace(SMALL, max_age=0.05))
    assert len(kept(cache)) == 12
    read([several], cache, duration=0.8)
    assert len(kept(cache)) == 16
    os.utime(next((several / 'run1').glob('*.mcap')), ns=(1, bags.START))
    read([several], cache)
    assert len(kept(cache)) == 17
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
    assert len(kept(cache)) == 1


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
    assert len(kept(cache.folder)) == 4


KILLED = """
import os, sys
from pathlib import Path
from act_ros.training import episodes
from test.training.recordings import read
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
    whole = [path for path in kept(cache) if not path.name.startswith('.')]
    assert len(whole) == 1 and len(kept(cache)) == 2
    read([several], cache)
    assert len(kept(cache)) == 4
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
    assert len(kept(cache)) == 1
    monkeypatch.setattr(dataset, 'free', lambda path: 900_000)
    with pytest.raises(ActError, match='the frames need 1 MB, and 1 MB are free for'):
        read([several], cache)
    assert len(kept(cache)) == 1


def test_what_a_bag_does_is_not_blamed_on_the_cache(several, tmp_path):
    bag = shutil.copytree(several / 'run3', tmp_path / 'run')
    (episode,) = found([bag], tmp_path / 'cache', recipe=ALONE)

    def broken(ticks):
        raise OSError(errno.EIO, 'of the disk with the bags')

    (tmp_path / 'building').mkdir()
    with pytest.raises(OSError, match='of the disk with the bags'):
        do_job(dataset.Job(episode, tmp_path / 'cache', tmp_path / 'building'), broken)
    shutil.rmtree(bag)
    with pytest.raises(ActError, match=str(bag)) as caught:
        decode([episode], Cache(tmp_path / 'cache'))
    assert '--cache' not in str(caught.value)


def test_what_another_program_has_kept_meanwhile_stays(several, tmp_path):
    (episode,) = found([several / 'run0'], tmp_path / 'cache', recipe=ALONE)
    cache = Cache(tmp_path / 'cache')
    with cache.building() as building:
        job = dataset.Job(episode, cache.folder, building)
        with cache.begun(episode.identity(), building) as slower:
            do_job(job)
            before = times(cache.folder / cached.key_of(episode.identity()))
            slower.keep({}, {})
        assert kept(building) == []
    assert times(cache.folder) == before and len(before) == 3


def test_what_is_kept_has_reached_the_disk(several, tmp_path, monkeypatch):
    """Each file, as long as it is in the end, and the folder; only then has it its place."""
    synced = {}

    def fsync(handle):
        reach(handle)
        assert not (cache / entry_key).exists()
        synced[Path(f'/proc/self/fd/{handle}').readlink().name] = os.fstat(handle).st_size

    reach, cache = os.fsync, tmp_path / 'cache'
    (episode,) = found([several / 'run0'], cache, recipe=ALONE)
    entry_key = cached.key_of(episode.identity())
    monkeypatch.setattr(os, 'fsync', fsync)
    (entry,) = read([several / 'run0'], cache, ALONE)
    sizes = {path.name: path.stat().st_size for path in entry.frames.parent.iterdir()}
    assert len(sizes) == 3 and sizes.items() <= synced.items()
    assert entry_key in synced


def test_many_threads_read_more_files_than_are_open_at_once(several, tmp_path, monkeypatch):
    monkeypatch.setattr(cached, '_opened', lru_cache(maxsize=1)(cached._open))
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


@pytest.mark.filterwarnings('error')
def test_a_cache_that_was_removed_meanwhile_is_one_line(several, tmp_path):
    entries = read([several / 'run0'], tmp_path / 'cache', ALONE)
    data, _ = assemble(entries, SMALL_TASK, ALONE)
    shutil.rmtree(tmp_path / 'cache')
    with pytest.raises(ActError, match=r'frames.rgb cannot be read: No such file or directory; t'):
        everything(data.train)


def test_a_job_leaves_nothing_where_it_fails(several, tmp_path):
    episode, *_ = found([several], tmp_path / 'cache')
    folder = tmp_path / 'building'
    folder.mkdir()
    broken = replace(episode, bag=Path('/nowhere'))
    with pytest.raises((ActError, OSError)):
        do_job(dataset.Job(broken, tmp_path / 'cache', folder))
    assert list(folder.iterdir()) == []
