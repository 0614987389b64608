"""What fuzzing has kept is read again, and its targets see what they are there for."""

import pickle
import subprocess
import sys
from importlib.util import find_spec

import msgpack
import pytest

from act_ros import plain_msgpack, plain_pickle
from act_ros.bridge import requests, zmtp
from test import fuzz
from test.bridge.servers import ROOT
from test.fuzz import targets
from test.fuzz.__main__ import NAMES
from test.fuzz.targets import TARGETS

CORPUS = fuzz.corpus()


@pytest.mark.parametrize('name', NAMES)
def test_every_input_that_was_kept_does_as_it_must(name):
    assert len(CORPUS[name]) > 20
    for data in CORPUS[name]:
        TARGETS[name](data)


def test_all_targets_are_there():
    assert {*CORPUS} == {*NAMES} == {*TARGETS}


def test_the_inputs_are_read_as_well_as_refused():
    read = {'pickle': 0, 'msgpack': 0, 'request': 0}
    for name, loads, error in (
        ('pickle', plain_pickle.loads, plain_pickle.UnsafePickleError),
        ('msgpack', plain_msgpack.loads, plain_msgpack.MsgpackError),
        ('request', requests.parse, requests.RequestError),
    ):
        for data in CORPUS[name]:
            try:
                loads(data)
            except error:
                continue
            read[name] += 1
    assert all(10 < count < len(CORPUS[name]) - 10 for name, count in read.items()), read


def wrong(*_, **__):
    return [1]


def late(*_, **__):
    raise KeyError('not its own error')


def impatient(connection, size):
    """A body of what has come by now."""
    here = min(size, connection._end - connection._start)
    connection._start += here
    yield from ()
    return memoryview(bytearray(here))


def after_hello(data):
    return b'\2\0\0\0' + data


FAULTS = {
    'another value': ('pickle', plain_pickle, 'loads', wrong, pickle.dumps([2])),
    'another error': ('pickle', plain_pickle, 'loads', late, b'N.'),
    'another map': ('msgpack', plain_msgpack, 'loads', wrong, msgpack.packb([2])),
    'an unknown kind': ('request', requests, 'parse', late, b'N.'),
    'a frame that is not waited for': (
        'zmtp', zmtp.Connection, '_read_body', impatient, after_hello(b'\0\3abc'),
    ),
    'messages without end': (
        'zmtp', zmtp.Connection, '_is_full', lambda self: False,
        after_hello((b'\0\xff' + bytes(255)) * 40),
    ),
}  # fmt: skip


@pytest.mark.parametrize(('name', 'owner', 'what', 'fault', 'data'), FAULTS.values(), ids=FAULTS)
def test_a_target_sees_a_fault(name, owner, what, fault, data, monkeypatch):
    TARGETS[name](data)
    monkeypatch.setattr(owner, what, fault)
    with pytest.raises((AssertionError, KeyError)):
        TARGETS[name](data)


@pytest.mark.parametrize('bound', ['MAX_TIME', 'MAX_MEMORY'])
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('data', [b'\xff' * 9, b'\x80\3N.', b'\x93\1\2\3'])
def test_what_is_read_and_what_is_refused_is_bounded(name, bound, data, monkeypatch):
    TARGETS[name](data)
    monkeypatch.setattr(targets, bound, 0)
    with pytest.raises(AssertionError, match='it took'):
        TARGETS[name](data)


@pytest.mark.skipif(find_spec('atheris') is not None, reason='atheris is here')
def test_without_atheris_it_says_what_is_missing():
    done = subprocess.run(
        [sys.executable, '-m', 'test.fuzz', 'pickle'], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == 'atheris is not installed; pip install atheris\n'
