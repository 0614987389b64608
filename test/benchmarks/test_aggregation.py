"""The benchmark of temporal aggregation: its rows, and that it notices a wrong action."""

import json
import math

import numpy as np
import pytest

from act_ros.errors import ActError
from act_ros.policy import TemporalAggregator
from benchmarks import aggregation

STEPS = (10, 1_000, 10_000)  # the last already too long for the public buffer
KEYS = [
    'step', 'microseconds', 'p99_microseconds', 'bytes', 'public_microseconds', 'public_bytes',
]  # fmt: skip


@pytest.fixture(scope='module')
def rows():
    return aggregation.measure(STEPS, rounds=2, block=5)


def test_each_step_has_a_row_with_every_figure(rows):
    assert [row['step'] for row in rows] == [*STEPS]
    for row in rows:
        assert [*row] == KEYS
        assert 0 < row['microseconds'] <= row['p99_microseconds'] < math.inf


def test_the_aggregator_holds_as_much_at_every_step(rows):
    assert len({row['bytes'] for row in rows}) == 1
    assert rows[0]['bytes'] > 100 * 100 * 16 * 8  # what the chunks alone take


def test_the_public_buffer_is_made_while_it_fits(rows):
    for row in rows[:2]:
        assert 0 < row['public_microseconds'] < math.inf
        assert row['public_bytes'] == aggregation.PublicFormula(row['step'], 16).buffer.nbytes
    assert rows[2]['public_microseconds'] is None
    assert aggregation.PublicFormula.size(100_000, 16) == 640_640_000_000


def test_what_grows_is_counted():
    aggregator = TemporalAggregator(100, 16)
    before = aggregation.held_bytes(aggregator)
    aggregator.log = [np.zeros(1000)]
    assert aggregation.held_bytes(aggregator) - before == 8000


@pytest.mark.parametrize('fault', [1e-5, math.nan])
def test_another_action_than_the_public_one_ends_the_run(monkeypatch, fault):
    action = TemporalAggregator.action
    monkeypatch.setattr(TemporalAggregator, 'action', lambda *a: action(*a) + fault)
    with pytest.raises(ActError, match=r'at step 9 the actions of .* differ by'):
        aggregation.measure((10,), rounds=1, block=1)


def test_the_rows_are_printed_and_written(rows, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(aggregation, 'measure', lambda: rows)
    assert aggregation.main(['--json', str(tmp_path / 'rows.json')]) == 0
    assert json.loads((tmp_path / 'rows.json').read_text()) == rows
    printed = capsys.readouterr().out
    assert all(key in printed for key in KEYS) and '10,000' in printed
