"""Bags of several files: whatever their names and order, they are one recording."""

import os
import random
import shutil

import pytest
import yaml
from zstandard import ZstdCompressor

from act_ros.bags.bag import Bag
from act_ros.bags.merging import merged
from test.bags import bags
from test.bags.bags import START, write, write_mcap

SIZE = (24, 32)
SECOND = 10**9


def content(bag, *times):
    return [(m.topic, m.receipt) for m in bag.messages(bag.topics, *times)]


def in_order(seconds):
    """What a bag of so many seconds holds; of the same receipt by name."""
    return sorted((START + m.time, bags.TOPICS[m.what]) for m in bags.run(seconds, (1, 1)))


def check_whole(bag, seconds=2):
    """It holds all of the run, in the order of time."""
    found = [(receipt, topic) for topic, receipt in content(bag)]
    assert [time for time, _ in found] == sorted(time for time, _ in found)
    assert sorted(found) == in_order(seconds)


def damage_of(bag):
    """What is told beside the missing metadata."""
    return [text for text in bag.damage if 'metadata.yaml is missing' not in text]


def by_time(messages, part):
    return [m for m in messages if part == m.time // (SECOND // 2)]


def by_topic(messages, part):
    names = [*bags.TOPICS]
    return [m for m in messages if part == names.index(m.what) % 3]


def by_turns(messages, part):
    return [m for i, m in enumerate(messages) if i % 3 == part]


@pytest.mark.parametrize('split', [by_time, by_topic, by_turns])
@pytest.mark.parametrize('names', [('c', 'a', 'd', 'b'), ('run_10', 'run_2', 'run_9', 'run_1')])
def test_files_are_read_as_one_in_the_order_of_time(tmp_path, split, names):
    messages = list(bags.run(2, SIZE))
    for part, name in enumerate(names):
        if some := split(messages, part):
            write_mcap(tmp_path / f'{name}.mcap', some, chunk_size=50_000)
    bag = Bag(tmp_path)
    check_whole(bag)
    assert damage_of(bag) == []
    assert (bag.start, bag.end) == (START, in_order(2)[-1][0])
    some = content(bag, START + SECOND, START + SECOND + 10**8)
    assert sorted((t, n) for n, t in some) == [
        m for m in in_order(2) if START + SECOND <= m[0] < START + SECOND + 10**8
    ]


def test_files_of_every_kind_are_read_as_one(tmp_path):
    kinds = [('mcap', None), ('sqlite3', 'file'), ('mcap', 'message')]
    (tmp_path / 'all').mkdir()
    for part, (storage, compression) in enumerate(kinds):
        messages = by_turns(list(bags.run(2, SIZE)), part)
        path = write(tmp_path / f'{part}', messages, storage=storage, compression=compression)
        for file in path.iterdir():
            if file.name != 'metadata.yaml':
                file.rename(tmp_path / 'all' / file.name)
    bag = Bag(tmp_path / 'all')
    check_whole(bag)
    assert damage_of(bag) == []


def test_the_order_of_the_metadata_is_not_that_of_time(tmp_path):
    path = write(tmp_path / 'run', by_time(list(bags.run(2, SIZE)), 0))
    for part in range(1, 4):
        write_mcap(path / f'{9 - part}.mcap', by_time(list(bags.run(2, SIZE)), part))
    about = yaml.safe_load((path / 'metadata.yaml').read_text())
    names = ['7.mcap', 'run.mcap', '8.mcap', '6.mcap']
    about['rosbag2_bagfile_information']['relative_file_paths'] = names
    (path / 'metadata.yaml').write_text(yaml.safe_dump(about))
    bag = Bag(path)
    check_whole(bag)
    assert bag.damage == []


def test_a_cut_file_among_several_costs_only_its_end(tmp_path):
    messages = list(bags.run(2, SIZE))
    whole = write_mcap(tmp_path / 'states.mcap', by_topic(messages, 1))
    cut = write_mcap(tmp_path / 'rest.mcap', by_topic(messages, 0) + by_topic(messages, 2),
                     chunk_size=50_000)  # fmt: skip
    os.truncate(cut, cut.stat().st_size // 2)
    found = content(Bag(tmp_path))
    assert [time for _, time in found] == sorted(time for _, time in found)
    assert [m for m in found if m in set(content(Bag(whole)))] == content(Bag(whole))
    assert any('rest.mcap has no intact end' in text for text in Bag(tmp_path).damage)


@pytest.mark.parametrize('cut', [False, True])
def test_rows_that_were_not_written_in_the_order_of_time(tmp_path, cut):
    messages = list(bags.run(1, SIZE))
    random.Random(0).shuffle(messages)
    path = write(tmp_path / 'run', messages, storage='sqlite3') / 'run.db3'
    if cut:
        os.truncate(path, path.stat().st_size // 2)
    bag = Bag(path)
    found = content(bag)
    assert [time for _, time in found] == sorted(time for _, time in found)
    assert len(found) > 0.3 * len(messages) if cut else len(found) == len(messages)
    some = content(bag, START + SECOND // 2, START + SECOND // 2 + 10**8)
    assert some == [m for m in found if START + SECOND // 2 <= m[1] < START + SECOND // 2 + 10**8]
    assert content(bag, START + SECOND) == []


@pytest.mark.parametrize('cut', [False, True])
def test_messages_that_were_not_written_in_the_order_of_time(tmp_path, cut):
    messages = list(bags.run(1, SIZE))
    random.Random(0).shuffle(messages)
    path = write_mcap(tmp_path / 'run.mcap', messages, chunk_size=50_000)
    if cut:
        os.truncate(path, path.stat().st_size * 9 // 10)
    found = content(Bag(path))
    assert [time for _, time in found] == sorted(time for _, time in found)
    assert len(found) > 0.7 * len(messages) if cut else len(found) == len(messages)


def test_a_file_that_is_there_twice_counts_once_and_is_told(tmp_path):
    write_mcap(tmp_path / 'run.mcap', bags.run(2, SIZE))
    shutil.copy(tmp_path / 'run.mcap', tmp_path / 'run (copy).mcap')
    bag = Bag(tmp_path)
    check_whole(bag)
    assert any('has files with the same messages: each counts once' in t for t in bag.damage)


def test_what_the_metadata_do_not_name_is_told(tmp_path):
    path = write(tmp_path / 'run', by_topic(list(bags.run(2, SIZE)), 0))
    write_mcap(path / 'other.mcap', by_topic(list(bags.run(2, SIZE)), 1))
    bag = Bag(path)
    expected = by_topic(list(bags.run(2, SIZE)), 0)
    assert len(content(bag)) == len(expected)
    assert bag.damage == [
        'metadata.yaml does not name other.mcap: not read (if it is of this run, remove '
        'metadata.yaml)'
    ]
    (path / '._run.mcap').write_bytes(b'of the system')
    assert Bag(path).damage == bag.damage


@pytest.mark.parametrize('bad', ['unpacked', 'packed', 'both'])
def test_of_a_file_that_is_there_unpacked_and_packed_the_whole_one_is_read(tmp_path, bad):
    path = write_mcap(tmp_path / 'run.mcap', bags.run(2, SIZE))
    packed = tmp_path / 'run.mcap.zstd'
    packed.write_bytes(ZstdCompressor().compress(path.read_bytes()))
    for file in (path, packed):
        if bad == 'both' or (bad == 'packed') == (file == packed):
            os.truncate(file, file.stat().st_size * 9 // 10)
    bag = Bag(tmp_path)
    if bad == 'both':
        assert any('no intact end' in text for text in damage_of(bag))
        assert 0.7 * len(in_order(2)) < len(content(bag)) < len(in_order(2))
    else:
        check_whole(bag)
        assert damage_of(bag) == []
    os.truncate(path, 0)
    assert content(Bag(tmp_path))


def test_only_what_may_be_due_is_begun(tmp_path):
    begun = []

    def stream(name, *times):
        begun.append(name)
        for time in times:
            yield name, time, b''

    streams = [(40, stream('late', 50, 60)), (10, stream('a', 10, 20, 20)), (15, stream('b', 20))]
    found = []
    for message in merged(streams):
        found.append((*message[:2], list(begun)))
    assert [m[:2] for m in found] == [
        ('a', 10), ('a', 20), ('a', 20), ('b', 20), ('late', 50), ('late', 60)
    ]  # fmt: skip
    assert found[0][2] == ['a']
    assert found[3][2] == ['a', 'b']
