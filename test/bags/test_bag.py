"""Bags that are whole, and bags that a crash left behind."""

import numpy as np
import pytest

from act_ros.bags.bag import Bag
from act_ros.errors import ActError
from act_ros.recording.episodes import split
from test.bags import bags
from test.bags.bags import KINDS, START, Message, write

INPUTS = [topic for what, topic in bags.TOPICS.items() if what != 'command']


def content(bag):
    return [(m.topic, m.receipt) for m in bag.messages(bag.topics)]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp('bag') / 'run', bags.run(6, (96, 128)))


def test_messages_come_in_order_and_within_their_times(whole):
    bag = Bag(whole)
    found = content(bag)
    assert [receipt for _, receipt in found] == sorted(receipt for _, receipt in found)
    assert (bag.start, bag.damage) == (START, [])
    some = bag.messages(['/base/joint_states'], START + 10**9, START + 2 * 10**9)
    assert [m.receipt for m in some] == [START + 10**9 + k * 10_000_000 for k in range(100)]


@pytest.mark.parametrize('share', [0.999, 0.93, 0.5, 0.21])
@pytest.mark.parametrize('metadata', [True, False])
@pytest.mark.parametrize('compression', [None, 'storage'])
def test_a_file_cut_at_any_byte_is_read_as_far_as_it_goes(
    whole, tmp_path, share, metadata, compression
):
    path = whole
    if compression:
        path = write(tmp_path / 'run', bags.run(6, (96, 128)), compression=compression)
    data = (path / 'run.mcap').read_bytes()
    broken = tmp_path / 'broken'
    broken.mkdir()
    (broken / 'run.mcap').write_bytes(data[: int(share * len(data))])
    if metadata:
        (broken / 'metadata.yaml').write_bytes((path / 'metadata.yaml').read_bytes())
    bag = Bag(broken)
    found, expected = content(bag), content(Bag(whole))
    assert found == expected[: len(found)]
    assert len(found) >= (share - 0.05) * len(expected)
    assert any('no intact end' in text for text in bag.damage)
    assert any('metadata' in text for text in bag.damage)


def test_every_single_cut_is_either_read_or_refused_by_name(tmp_path):
    data = (write(tmp_path / 'run', bags.run(0.2, (24, 32))) / 'run.mcap').read_bytes()
    file = tmp_path / 'cut.mcap'
    rng = np.random.default_rng(0)
    for size in [*range(64), *rng.integers(64, len(data), 60), *range(len(data) - 64, len(data))]:
        file.write_bytes(data[:size])
        try:
            assert content(Bag(file))
        except ActError as error:
            assert 'cut.mcap' in str(error)


def test_damage_in_the_middle_costs_only_what_it_hit(whole, tmp_path):
    data = bytearray((whole / 'run.mcap').read_bytes())
    half = len(data) // 2
    data[half : half + 4_000_000] = bytes(min(4_000_000, len(data) - half))
    (tmp_path / 'run.mcap').write_bytes(bytes(data))
    bag = Bag(tmp_path / 'run.mcap')
    expected = content(Bag(whole))
    found = content(bag)
    assert set(found) < set(expected)
    assert found[-1] == expected[-1]
    assert bag.damage


def test_sqlite_without_metadata(tmp_path):
    path = write(tmp_path / 'run', bags.run(1), storage='sqlite3')
    expected = content(Bag(path))
    (path / 'metadata.yaml').unlink()
    bag = Bag(path)
    assert content(bag) == expected
    assert 'metadata.yaml is missing' in bag.damage[0]


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (lambda p: None, 'no bag'),
        (lambda p: p.mkdir(), r'has no .mcap or .db3 file \(found nothing\)'),
        (lambda p: p.write_text('x'), 'is no bag: expected a folder, a .mcap or a .db3'),
        (lambda p: (p.mkdir(), (p / 'a.mcap').write_bytes(b'')), 'no file of .* can be read'),
        (lambda p: (p.mkdir(), (p / 'a.db3').write_bytes(b'x' * 5000)), 'a.db3 cannot be read'),
        (lambda p: write(p, []), 'is an empty bag'),
    ],
)
def test_what_is_no_bag_is_refused_by_name(tmp_path, make, text):
    make(tmp_path / 'thing')
    with pytest.raises(ActError, match=text):
        Bag(tmp_path / 'thing')


# --- episodes


def pauses(messages, begin, end):
    return (m for m in messages if not begin * 1e9 <= m.time < end * 1e9)


def seconds(windows):
    return [((w.start - START) / 1e9, (w.stop - START) / 1e9) for w in windows]


def test_the_whole_bag_is_one_episode(whole):
    (window,) = split(Bag(whole), 'whole', INPUTS)
    assert (window.name, window.start, window.exact) == ('episode 0', START, False)


def test_gaps(tmp_path):
    bag = Bag(write(tmp_path / 'run', pauses(bags.run(6), 2, 4)))
    windows = split(bag, 'gaps:1', INPUTS)
    (a, b), (c, d) = seconds(windows)
    assert (a, round(b, 1), c, round(d, 1)) == (0, 2.0, 4.0, 6.0)
    assert len(split(bag, 'gaps:3', INPUTS)) == 1
    (late,) = split(bag, 'gaps:1', INPUTS, start=3.0)
    assert (late.name, late.exact) == ('episode 1', False)


def test_a_topic_begins_and_ends_episodes(tmp_path):
    kind = KINDS['std_msgs/msg/Bool']
    marks = [Message(int(t * 1e9), '/episode', kind(v)) for t, v in
             ((1, True), (2, False), (3, True))]  # fmt: skip
    messages = sorted([*bags.run(5), *marks], key=lambda m: m.time)
    bag = Bag(write(tmp_path / 'run', messages))
    (a, b), (c, d) = seconds(split(bag, 'topic:/episode', INPUTS))
    assert (a, b, c, round(d, 1)) == (1, 2, 3, 5.0)
    with pytest.raises(ActError, match='has no /mark to split by; it has /arm/joint_commands'):
        split(bag, 'topic:/mark', INPUTS)


def test_a_table(whole, tmp_path):
    table = tmp_path / 'table.csv'
    table.write_text('start,end,name\n# the first try\n1,2,grasp\n\n2.5,4\n')
    windows = split(Bag(whole), f'table:{table}', INPUTS)
    assert seconds(windows) == [(1, 2), (2.5, 4)]
    assert [w.name for w in windows] == ['grasp', 'episode 1']
    table.write_text('1,2\n4,3\n')
    with pytest.raises(ActError, match=r"line 2 is '4,3'; expected start,end"):
        split(Bag(whole), f'table:{table}', INPUTS)


@pytest.mark.parametrize('how', ['gaps', 'gaps:x', 'gaps:-1', 'topic:', 'half', 'whole:1'])
def test_another_way_to_split_is_refused(whole, how):
    with pytest.raises(ActError, match='expected'):
        split(Bag(whole), how, INPUTS)


def test_nothing_left_is_refused(whole):
    with pytest.raises(ActError, match=r'lasts 6.0 s, so nothing is left with --start 9'):
        split(Bag(whole), 'whole', INPUTS, start=9)
