"""Recordings that several modules read."""

import pytest

from test.bags import bags
from test.bags.bags import write
from test.training.recordings import read


@pytest.fixture(scope='module')
def several(tmp_path_factory):
    folder = tmp_path_factory.mktemp('several')
    for i in range(4):
        write(folder / f'run{i}', bags.run(1 + 0.2 * i, seed=i))
    return folder


@pytest.fixture(scope='module')
def entries(several, tmp_path_factory):
    return read([several], tmp_path_factory.mktemp('data') / 'cache')
