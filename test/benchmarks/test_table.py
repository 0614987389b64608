"""The command line that benchmarks share."""

import json

import pytest

from benchmarks.table import run


def measured():
    raise AssertionError('minutes of measuring for a file that cannot be written')


@pytest.mark.parametrize(
    ('path', 'message'), [('', 'is a folder, expected a file'), ('no/where.json', 'make it first')]
)
def test_a_file_that_cannot_be_written_is_told_before_the_measuring(
    tmp_path, capsys, path, message
):
    with pytest.raises(SystemExit, match='2'):
        run('this', 'text', measured, {}, ['--json', str(tmp_path / path)])
    assert message in capsys.readouterr().err


def test_figures_are_shown_and_written(tmp_path, capsys):
    path = tmp_path / 'figures.json'
    assert run('this', 'text', lambda: {'ratio': 1.25}, {}, ['--json', str(path)]) == 0
    assert json.loads(path.read_text()) == {'ratio': 1.25}
    shown = capsys.readouterr().out
    assert 'ratio' in shown and '1.25' in shown
