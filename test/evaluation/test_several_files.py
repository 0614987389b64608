"""A run in several files is the run in one."""

import pytest

from act_ros.evaluation.report.tables import write_ticks
from act_ros.evaluation.run.evaluate import carry_out
from test.bags import bags
from test.bags.bags import write, write_mcap
from test.evaluation.test_evaluate import plan


def halves(m):
    return m.time < 10**9


def cameras(m):
    return m.what.startswith('rgb')


def turns(m):
    return m.time // 10_000_000 % 2 == 0


@pytest.fixture(scope='module')
def messages():
    return list(bags.run(2))


@pytest.fixture(scope='module')
def expected(messages, tmp_path_factory):
    folder = tmp_path_factory.mktemp('one')
    return ticks(write(folder / 'run', messages), folder)


def ticks(bag, folder):
    write_ticks(carry_out(plan(bag), folder / 'out'), folder / 'ticks.csv')
    text = (folder / 'ticks.csv').read_text()
    assert text.count('\n') == 100
    return text.replace(str(bag), 'BAG')


@pytest.mark.parametrize('which', [halves, cameras, turns])
@pytest.mark.parametrize('names', [('b', 'a'), ('run_2', 'run_10')])
def test_the_ticks_are_those_of_one_file(messages, expected, tmp_path, which, names):
    run = tmp_path / 'run'
    run.mkdir()
    for name, part in zip(names, (True, False), strict=True):
        write_mcap(run / f'{name}.mcap', [m for m in messages if which(m) == part])
    assert ticks(run, tmp_path) == expected
