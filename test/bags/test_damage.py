"""Files that a crash, a full disk or a bad one left: all that is there is read, the rest told."""

import errno
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from mcap.reader import SeekingReader
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from zstandard import ZstdCompressor

from act_ros.bags import mcap_file
from act_ros.bags.bag import Bag
from act_ros.errors import BagError
from test.bags import bags
from test.bags.bags import START, write, write_mcap

SIZE = (24, 32)
SMALL_CHUNKS = {'chunk_size': 100_000, 'compression': CompressionType.ZSTD}
STATES = '/arm/joint_states'


def content(bag, *times):
    return [(m.topic, m.receipt) for m in bag.messages(bag.topics, *times)]


def in_order(seconds):
    """What a bag of so many seconds holds."""
    return [(bags.TOPICS[m.what], START + m.time) for m in bags.run(seconds, (1, 1))]


def chunks(path):
    with path.open('rb') as file:
        return SeekingReader(file).get_summary().chunk_indexes


def overwrite(path, position, data):
    with path.open('r+b') as file:
        file.seek(position)
        file.write(data)


def open_files():
    return len(list(Path('/dev/fd').iterdir()))


# --- MCAP


@pytest.mark.parametrize('compression', CompressionType)
@pytest.mark.parametrize('chunk_size', [100_000, 1 << 30])
def test_of_the_chunk_that_was_cut_only_the_end_is_missing(tmp_path, compression, chunk_size):
    path = tmp_path / 'cut.mcap'
    write_mcap(path, bags.run(4, SIZE), chunk_size=chunk_size, compression=compression)
    os.truncate(path, path.stat().st_size * 9 // 10)
    bag, expected = Bag(path), in_order(4)
    found = content(bag)
    assert found == expected[: len(found)]
    assert len(found) > 0.8 * len(expected)
    (told,) = bag.damage
    assert told == 'cut.mcap has no intact end and is read as far as it goes'


@pytest.mark.parametrize('begin', [0, 200])
@pytest.mark.parametrize('cut', [0, 1])
def test_a_damaged_chunk_costs_no_other(tmp_path, begin, cut):
    path = write_mcap(tmp_path / 'run.mcap', bags.run(4, SIZE), **SMALL_CHUNKS)
    bad = chunks(path)[3]
    if cut:
        os.truncate(path, path.stat().st_size - cut)
    length = 512 if begin else 1  # data of the chunk, or what kind of record it is
    overwrite(path, bad.chunk_start_offset + begin, bytes(length))
    bag = Bag(path)
    lost = range(bad.message_start_time, bad.message_end_time + 1)
    found, expected = content(bag), in_order(4)
    assert [m for m in found if m[1] not in lost] == [m for m in expected if m[1] not in lost]
    assert len(found) < len(expected)
    told = f'run.mcap is damaged at byte {bad.chunk_start_offset}'
    # Without the index nothing says that it should have been a chunk: another line does.
    assert any(told in text for text in bag.damage) or (cut and not begin)
    assert bag.damage


def test_chunks_that_overlap_in_time_are_read_in_order(tmp_path):
    messages = list(bags.run(2, SIZE))
    late = [m for m in messages if m.what == 'arm']
    messages = [m for m in messages if m.what != 'arm']
    for i, message in enumerate(late):
        messages.insert(min(len(messages), 4 * i + 40), message)
    path = write_mcap(tmp_path / 'run.mcap', messages, **SMALL_CHUNKS)
    found = content(Bag(path))
    assert len(found) == len(messages)
    assert [time for _, time in found] == sorted(time for _, time in found)


@pytest.mark.parametrize('options', [
    {'use_chunking': False},
    {'use_chunking': False, 'index_types': IndexType.NONE, 'use_statistics': False},
    {**SMALL_CHUNKS, 'index_types': IndexType.NONE},
    {**SMALL_CHUNKS, 'index_types': IndexType.CHUNK},
])  # fmt: skip
def test_an_intact_file_without_index_is_not_damaged(tmp_path, options):
    messages = list(bags.run(2, SIZE))
    messages[40], messages[41] = messages[41], messages[40]
    messages[40].time += 5  # [ns]
    bag = Bag(write_mcap(tmp_path / 'run.mcap', messages, **options))
    assert len(content(bag)) == len(messages)
    assert bag.damage == []
    some = content(bag, START + 10**9, START + 11 * 10**8)
    assert some == [m for m in in_order(2) if START + 10**9 <= m[1] < START + 11 * 10**8]


def test_a_chunk_without_a_message_has_no_time(tmp_path):
    path = tmp_path / 'run.mcap'
    with path.open('wb') as file:
        writer = McapWriter(file)
        writer.start()
        schema = writer.register_schema('std_msgs/msg/Empty', 'ros2msg', b'')
        channel = writer.register_channel('/topic', 'cdr', schema)
        # A chunk with nothing else in it, which others write, and this writer would not.
        writer._Writer__chunk_builder.num_messages = 1
        writer.flush()
        writer.add_message(channel, START, bytes(4), START)
        writer.finish()
    assert (Bag(path).start, Bag(path).end) == (START, START)


def test_files_of_a_name_with_numbers_are_in_order(tmp_path):
    for number in range(12):
        second = [bags.Message(m.time + number * 10**9, m.what, m.content)
                  for m in bags.run(0.1, (1, 1))]  # fmt: skip
        write_mcap(tmp_path / f'lab_1.5_{number}.mcap', second)
    times = [time for _, time in content(Bag(tmp_path))]
    assert times == sorted(times)
    assert times[-1] - times[0] > 11 * 10**9


def test_messages_without_a_name_of_their_topic_are_told(tmp_path):
    path = write_mcap(tmp_path / 'run.mcap', bags.run(2, SIZE), **SMALL_CHUNKS)
    overwrite(path, chunks(path)[0].chunk_start_offset + 200, bytes(50))
    os.truncate(path, path.stat().st_size * 3 // 4)
    with pytest.raises(BagError, match=r'does not say of what topic \d+ messages are'):
        Bag(path)


def test_a_damaged_file_is_looked_at_once_and_then_read_where_it_is_asked(tmp_path, monkeypatch):
    path = write_mcap(tmp_path / 'run.mcap', bags.run(4, SIZE), **SMALL_CHUNKS)
    os.truncate(path, path.stat().st_size * 9 // 10)
    read, records = [], mcap_file._records
    monkeypatch.setattr(
        mcap_file, '_records', lambda *of: (read.append(of[1:]), records(*of))[1]
    )
    content(Bag(path))
    once = len(read)
    assert content(Bag(path), START + 10**9, START + 10**9 + 10**8)
    assert len(read) - once < once / 10


# --- sqlite


def test_a_last_file_without_messages_is_told_and_counts_for_nothing(tmp_path):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage='sqlite3')
    (path / 'metadata.yaml').unlink()
    (path / 'run.db3').rename(path / 'run_0.db3')
    empty = write(tmp_path / 'empty', [], storage='sqlite3')
    (empty / 'empty.db3').rename(path / 'run_1.db3')
    bag = Bag(path)
    assert (bag.start, bag.end) == (START, in_order(1)[-1][1])
    assert 'run_1.db3 is an empty bag: it holds no message' in bag.damage


def test_what_a_crash_left_in_the_log_is_read_and_nothing_is_written(tmp_path):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage='sqlite3')
    crashed = tmp_path / 'crashed'
    crashed.mkdir()
    with sqlite3.connect(path / 'run.db3') as file:
        file.execute('PRAGMA journal_mode = WAL')
        file.execute(
            'INSERT INTO messages (topic_id, timestamp, data) '
            'SELECT topic_id, timestamp + 1000000000, data FROM messages'
        )
        file.commit()
        for name in ('run.db3', 'run.db3-wal'):
            shutil.copy(path / name, crashed)
    before = {file.name: file.read_bytes() for file in crashed.iterdir()}
    bag = Bag(crashed)
    assert len(content(bag)) == 2 * len(in_order(1))
    assert 'run.db3-wal was left by a crash; its messages are read from a copy' in bag.damage
    assert {file.name: file.read_bytes() for file in crashed.iterdir()} == before


def test_a_log_that_cannot_be_copied_is_told(tmp_path, monkeypatch):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage='sqlite3')
    (path / 'run.db3-wal').write_bytes(b'log')

    def full(*of):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(shutil, 'copyfile', full)
    bag = Bag(path)
    assert content(bag) == in_order(1)
    (told,) = bag.damage
    assert 'run.db3-wal cannot be read' in told
    assert 'No space left on device' in told


def test_a_folder_that_may_not_be_opened_is_refused_by_name(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(Path, 'iterdir', refuse)
    with pytest.raises(BagError, match='cannot be opened: Permission denied'):
        Bag(tmp_path)


@pytest.mark.parametrize('cut', [False, True])
@pytest.mark.parametrize('name', ['take#1.db3', 'take?mode=rwc.db3', 'take%41.db3'])
def test_names_are_names_and_no_file_appears_beside_them(tmp_path, name, cut):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage='sqlite3')
    (path / 'run.db3').rename(path / name)
    if cut:
        os.truncate(path / name, (path / name).stat().st_size * 3 // 4)
    before = sorted(path.iterdir())
    found = content(Bag(path / name))
    assert len(found) > 0.5 * len(in_order(1)) if cut else found == in_order(1)
    assert sorted(path.iterdir()) == before


@pytest.mark.parametrize('cut', [False, True])
def test_rows_that_are_no_messages_are_left_out_and_told(tmp_path, cut):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage='sqlite3') / 'run.db3'
    with sqlite3.connect(path) as file:
        file.execute("UPDATE messages SET timestamp = 'soon' WHERE id = 3")
        file.execute("UPDATE messages SET data = 'text' WHERE id = 4")
    if cut:
        os.truncate(path, path.stat().st_size * 3 // 4)
    bag = Bag(path)
    found, expected = content(bag), in_order(1)
    del expected[2:4]
    assert found == expected[: len(found)]
    assert cut or len(found) == len(expected)
    told = 'has no intact end' if cut else 'run.db3 has 2 rows that are no messages; left out'
    assert any(told in text for text in bag.damage)


def spoil(path, which, data=b'\0\1\0\0x'):
    """Make messages of the arm's states too short."""
    with sqlite3.connect(path / 'run.db3') as file:
        (topic,) = file.execute('SELECT id FROM topics WHERE name = ?', (STATES,)).fetchone()
        file.execute(
            f'UPDATE messages SET data = ? WHERE id IN (SELECT id FROM messages '
            f'WHERE topic_id = ? AND {which})', (data, topic),
        )  # fmt: skip


def test_a_bad_message_is_left_out_wherever_the_reading_begins(tmp_path):
    path = write(tmp_path / 'run', bags.run(2, SIZE), storage='sqlite3')
    spoil(path, f'timestamp = {START + 10**9}')
    for start in (None, START + 10**9):
        bag = Bag(path)
        expected = [m for m in in_order(2) if start is None or m[1] >= start]
        expected.remove((STATES, START + 10**9))
        assert content(bag, start) == expected
        assert [text.endswith('left out') for text in bag.damage] == [True]


def test_a_topic_that_is_never_of_its_type_is_refused(tmp_path):
    path = write(tmp_path / 'run', bags.run(2, SIZE), storage='sqlite3')
    spoil(path, '1')
    with pytest.raises(BagError, match=f'a message of {STATES} is no sensor_msgs/msg/JointState'):
        content(Bag(path))


# --- folders, compression


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_an_unpacked_copy_has_no_name_and_ends_with_its_use(tmp_path, monkeypatch, storage):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage=storage, compression='file')
    (tmp_path / 'tmp').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    before = open_files()
    bag = Bag(path)
    assert list((tmp_path / 'tmp').iterdir()) == []
    assert content(bag) == in_order(1)
    del bag
    assert open_files() == before
    with Bag(path) as bag:
        next(bag.raw(bag.topics))
    assert open_files() == before


def test_packed_files_are_read_without_metadata_and_as_far_as_they_go(tmp_path):
    path = write(tmp_path / 'run', bags.run(2, SIZE), compression='file')
    (path / 'metadata.yaml').unlink()
    assert content(Bag(path)) == in_order(2)
    (packed,) = path.iterdir()
    os.truncate(packed, packed.stat().st_size // 2)
    bag = Bag(packed)
    found = content(bag)
    assert 0.4 * len(in_order(2)) < len(found) < 0.6 * len(in_order(2))
    assert found == in_order(2)[: len(found)]
    assert any('no intact end' in text for text in bag.damage)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_packed_messages(tmp_path, storage):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage=storage, compression='message')
    bag = Bag(path)
    assert (content(bag), bag.damage) == (in_order(1), [])
    whole = ZstdCompressor().compress(bytes(500))
    for bad in (whole[:-3], whole[:4] + b'x' * 20) if storage == 'sqlite3' else ():
        spoil(path, f'timestamp = {START + 5 * 10**8}', bad)
        bag = Bag(path)
        assert len(content(bag)) == len(in_order(1)) - 1
        assert f'a message of {STATES} is damaged' in str(bag.damage)


def test_of_a_folder_the_files_that_its_metadata_name_are_read(tmp_path):
    path = write(tmp_path / 'run', bags.run(1, SIZE))
    shutil.copy(path / 'run.mcap', path / 'copy.mcap')
    bag = Bag(path)
    assert content(bag) == in_order(1)
    (path / 'run.mcap').unlink()
    bag = Bag(path)
    assert content(bag) == in_order(1)
    assert bag.damage == ['metadata.yaml does not fit: there is no run.mcap']
