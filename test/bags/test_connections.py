"""Messages whose topic, type or time is not what it should be: the rest is read, they are told."""

import sqlite3

import pytest
from mcap.writer import Writer as McapWriter

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.bags.typestore import typestore
from act_ros.errors import BagError
from test.bags import bags
from test.bags.bags import KINDS, SETTINGS, START, TASK, Message, write, write_mcap

SIZE = (24, 32)
STATES = '/arm/joint_states'
JOINTS = 'sensor_msgs/msg/JointState'
BOOL = 'std_msgs/msg/Bool'


def content(bag):
    return [(m.topic, m.receipt) for m in bag.messages(bag.topics)]


def strays(every):
    """A run in which others speak on the topic of the arm's states."""
    for i, message in enumerate(bags.run(1, SIZE)):
        yield message
        if i % every == 0:
            yield Message(message.time + 1, STATES, KINDS[BOOL](True))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('every', [1, 100])
def test_of_a_topic_with_two_types_the_wanted_one_is_read(tmp_path, storage, every):
    bag = Bag(write(tmp_path / 'run', strays(every), storage=storage))
    assert bag.topics[STATES] == (BOOL if every == 1 else JOINTS)
    Topics(SETTINGS, TASK, bag)
    assert bag.topics[STATES] == JOINTS
    found = list(bag.messages([STATES]))
    assert len(found) == 100
    assert all(len(m.message.position) == 8 for m in found)
    (told,) = bag.damage
    assert told.endswith(f'messages of {STATES} are of the type {BOOL}, not {JOINTS}; left out')


def test_two_files_with_a_topic_of_two_types(tmp_path):
    write_mcap(tmp_path / 'a.mcap', bags.run(1, SIZE))
    others = [Message(m.time + 1, STATES, KINDS[BOOL](True)) for m in bags.run(0.1, SIZE)]
    write_mcap(tmp_path / 'b.mcap', others)
    bag = Bag(tmp_path)
    assert bag.topics[STATES] == JOINTS
    assert len(list(bag.messages([STATES]))) == 100
    assert f'{len(others)} messages of {STATES} are of the type {BOOL}' in str(bag.damage)


def test_another_type_alone_is_refused_by_name(tmp_path):
    messages = [m for m in strays(1) if m.what != 'arm']
    with pytest.raises(BagError, match=f"{STATES} is a '{BOOL}', expected {JOINTS}"):
        Topics(SETTINGS, TASK, Bag(write_mcap(tmp_path / 'run.mcap', messages)))


def mcap_with(path, encoding='cdr', channel=0, schema=0, **options):
    """A run whose arm states are of other channels, schemas or encodings than there are."""
    with path.open('wb') as file:
        writer = McapWriter(file, chunk_size=50_000, **options)
        writer.start('ros2', 'test')
        ends = {}
        for message in bags.run(1, SIZE):
            kind, topic = message.content.__msgtype__, bags.TOPICS[message.what]
            is_arm = message.what == 'arm'
            if topic not in ends:
                number = writer.register_schema(kind, 'ros2msg', b'')
                number = schema if schema and is_arm else number
                ends[topic] = writer.register_channel(topic, encoding if is_arm else 'cdr', number)
            raw, time = typestore().serialize_cdr(message.content, kind), START + message.time
            end = channel if channel and is_arm else ends[topic]
            writer.add_message(end, time, bytes(raw), time)
        writer.finish()
    return path


@pytest.mark.parametrize('options', [{}, {'use_statistics': False}])
def test_messages_of_an_unknown_channel_are_told(tmp_path, options):
    bag = Bag(mcap_with(tmp_path / 'run.mcap', channel=77, **options))
    assert bag.damage == ['run.mcap does not say of what topic 100 messages are; left out']
    assert len(content(bag)) == len([m for m in bags.run(1, (1, 1)) if m.what != 'arm'])


def test_a_channel_whose_schema_is_missing_is_of_an_unknown_type(tmp_path):
    bag = Bag(mcap_with(tmp_path / 'run.mcap', schema=77))
    with pytest.raises(BagError, match=f"{STATES} is a 'unknown', expected {JOINTS}"):
        Topics(SETTINGS, TASK, bag)


@pytest.mark.parametrize('options', [{'repeat_channels': False}, {'repeat_schemas': False}])
def test_a_summary_without_channels_is_no_damage(tmp_path, options):
    bag = Bag(mcap_with(tmp_path / 'run.mcap', **options))
    Topics(SETTINGS, TASK, bag)
    assert bag.damage == []
    assert len(list(bag.messages([STATES]))) == 100


def test_messages_that_are_no_cdr_are_of_another_type(tmp_path):
    bag = Bag(mcap_with(tmp_path / 'run.mcap', encoding='ros1'))
    with pytest.raises(BagError, match=rf"{STATES} is a '{JOINTS} \(ros1\)', expected {JOINTS}"):
        Topics(SETTINGS, TASK, bag)


@pytest.mark.parametrize('cut', [False, True])
def test_rows_of_no_topic_are_told(tmp_path, cut):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage='sqlite3') / 'run.db3'
    with sqlite3.connect(path) as file:
        file.execute('UPDATE messages SET topic_id = 99 WHERE id % 10 = 0')
    if cut:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    bag = Bag(path)
    told = [text for text in bag.damage if 'does not say of what topic' in text]
    assert len(told) == 1
    assert cut or told == [
        'run.db3 does not say of what topic 34 messages are (topic_id 99); left out'
    ]
    found = content(bag)
    assert len(found) == 340 - 34 if not cut else len(found) > 100


# --- times


def at(messages, *times):
    """The first messages at other times."""
    messages = list(messages)
    return [
        Message(time - START, m.what, m.content) for time, m in zip(times, messages, strict=False)
    ] + messages[len(times) :]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('times', [(0,), (0, 0, 0, 0, 0, 0, 0), (5, 100)])
def test_what_came_before_there_was_a_clock_is_left_out_and_told(tmp_path, storage, times):
    messages = at(bags.run(1, SIZE), *times)
    bag = Bag(write(tmp_path / 'run', messages, storage=storage))
    assert bag.start == START + messages[len(times)].time
    assert len(content(bag)) == len(messages) - len(times)
    assert bag.damage == [
        f'run: {len(times)} messages have a receipt that no clock gave, as 0 is; left out'
    ]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('end', [2**62, 2**63 - 2])
def test_what_no_clock_will_ever_say_is_left_out_and_told(tmp_path, storage, end):
    messages = list(bags.run(1, SIZE))
    late = Message(end - START, 'arm', messages[0].content)
    bag = Bag(write(tmp_path / 'run', [*messages, late], storage=storage))
    assert bag.end == START + messages[-1].time
    assert len(content(bag)) == len(messages)
    assert bag.damage == ['run: 1 messages have a receipt that no clock gave, as 0 is; left out']


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_simulated_time_begins_at_0(tmp_path, storage):
    messages = [Message(m.time - START, m.what, m.content) for m in bags.run(2, SIZE)]
    bag = Bag(write(tmp_path / 'run', messages, storage=storage))
    assert (bag.start, bag.damage) == (0, [])
    assert len(content(bag)) == len(messages)


def test_a_time_below_0_is_none(tmp_path):
    path = write(tmp_path / 'run', bags.run(1, SIZE), storage='sqlite3') / 'run.db3'
    with sqlite3.connect(path) as file:
        file.execute('UPDATE messages SET timestamp = -timestamp WHERE id < 4')
    bag = Bag(path)
    assert bag.start == START
    assert bag.damage == ['run.db3 has 3 rows that are no messages; left out']
