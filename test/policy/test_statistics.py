"""dataset_stats.pkl as people have it."""

import argparse
import collections
import io
import os
import pathlib
import pickle
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

from act_ros.errors import CheckpointError
from act_ros.policy.checkpoint.statistics import KEYS, read_statistics

PROTOCOLS = range(6)
SIZES = {'qpos_mean': 3, 'qpos_std': 3, 'action_mean': 2, 'action_std': 2}


def arrays(dtype=np.float32):
    return {key: (np.arange(size) + 1.5 * (i + 1)).astype(dtype)
            for i, (key, size) in enumerate(SIZES.items())}  # fmt: skip


def read(path):
    return read_statistics(path, 3, 2)


def check(path, expected=None):
    found = read(path)
    for key, value in (expected or arrays()).items():
        array = getattr(found, key)
        assert (array.dtype, array.flags.writeable) == (np.float32, True)
        np.testing.assert_array_equal(array, value)


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert '\n' not in str(caught.value)
    return str(caught.value)


class Series:
    """As of a library that is not installed where the policy runs: NumPy can convert it."""

    def __init__(self, values):
        self.values = values
        assert not os.environ.get('FORBIDDEN'), 'it was built'

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)

    def __setstate__(self, state):
        assert not os.environ.get('FORBIDDEN'), 'it was built'
        self.__dict__ = state


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_further_keys_are_left_alone_whatever_they_hold(protocol, tmp_path, monkeypatch):
    content = {
        'example_qpos': np.zeros((400, 3), np.float32), 'table': Series([1]),
        'args': argparse.Namespace(lr=1), 'path': pathlib.Path('/data'), 'name': 'x',
        **arrays(), 'objects': np.full(2, None), 'words': np.array(['a', 'b']),
        'when': np.datetime64('2024-01-01'), 'classes': {1: Series}, 'all': {1, 2},
        'counts': collections.Counter('aab'), 'order': collections.OrderedDict(a=Series([2])),
        'text': np.str_('x'), 'long': np.longdouble(1), 'fields': np.zeros(2, 'i4,f4'),
        'cameras': ['a', 'b'], 5: 6, 'self': None, 'fn': os.getcwd, 'masked': np.ma.zeros(3),
    }  # fmt: skip
    content['self'] = content
    content['objects'][0] = Series([1])
    (tmp_path / 's').write_bytes(pickle.dumps(content, protocol))
    monkeypatch.setenv('FORBIDDEN', '1')
    check(tmp_path / 's')


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize(
    'convert',
    [
        lambda a: a, lambda a: a.astype(np.float64), lambda a: a.astype('>f4'),
        lambda a: a[None], lambda a: a.astype(np.float16), lambda a: a.tolist(),
        lambda a: tuple(a), lambda a: list(a), lambda a: [a.tolist()],
        lambda a: np.lib.stride_tricks.as_strided(np.repeat(a, 2), a.shape, (8,)),
        lambda a: torch.from_numpy(a), lambda a: torch.from_numpy(a).double(),
        lambda a: torch.nn.Parameter(torch.from_numpy(a)),
    ],
)  # fmt: skip
def test_whatever_has_the_numbers_is_read(convert, protocol, tmp_path):
    content = {key: convert(value) for key, value in arrays().items()}
    (tmp_path / 's').write_bytes(pickle.dumps(content, protocol))
    check(tmp_path / 's')


def test_a_file_of_torch_save_is_read(tmp_path):
    torch.save({**arrays(), 'other': Series([1])}, tmp_path / 's')
    check(tmp_path / 's')
    torch.save({key: torch.from_numpy(value) for key, value in arrays().items()}, tmp_path / 's')
    check(tmp_path / 's')


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_either_numpy_reads_the_other(protocol, tmp_path):
    written = pickle.dumps(arrays(np.float64), protocol)
    ours, others = b'numpy._core', b'numpy.core'
    if ours not in written:
        ours, others = others, ours
    out = io.BytesIO()
    # The names have a length before them from protocol 4 on: written anew by Python's own.
    if protocol < 4:
        out.write(written.replace(ours, others))
    else:
        old, new = ours.decode(), others.decode()
        for name in ('.multiarray', '.numeric'):
            a, b = (text.encode() + name.encode() for text in (old, new))
            written = written.replace(bytes([len(a)]) + a, bytes([len(b)]) + b)
        # A frame that is longer or shorter than it says is read to its end by no reader.
        start = written.index(b'\x95')
        size = len(written) - start - 9
        out.write(written[: start + 1] + size.to_bytes(8, 'little') + written[start + 9 :])
    assert others in out.getvalue()
    (tmp_path / 's').write_bytes(out.getvalue())
    check(tmp_path / 's')


def test_what_is_not_numbers_is_told_with_a_command_that_helps(tmp_path):
    content = arrays()
    path = tmp_path / 'dataset stats.pkl'
    path.write_bytes(pickle.dumps({**content, 'qpos_std': Series(content['qpos_std'])}))
    text = refusal(path)
    assert f"is not a dict of plain arrays: 'qpos_std' is a {__name__}.Series; where you" in text
    program, *arguments = shlex.split(text[text.index('python3 -c') :])
    assert program == 'python3'
    subprocess.run([sys.executable, *arguments], check=True, timeout=60,
                   env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})  # fmt: skip
    check(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'qpos_mean': None}, "'qpos_mean' is nothing, expected an array; the file has ['qpos_me"),
        ({'qpos_mean': 'x'}, "'qpos_mean' is a str; where you trained"),
        ({'qpos_mean': [1, 'x', 2]}, "'qpos_mean' is a list; where you trained"),
        ({'qpos_mean': [[1], [1, 2]]}, "'qpos_mean' is a list; where you trained"),
        ({'qpos_mean': np.array(['a', 'b', 'c'])}, "'qpos_mean' is a numpy."),
        ({'qpos_mean': np.ones(3, bool)}, "'qpos_mean' is a bool array"),
        ({'qpos_mean': np.ones(3, complex)}, "'qpos_mean' is a complex128 array"),
        ({'qpos_std': np.ones(4)}, "'qpos_std' has shape (4,), the weights need (3,)"),
        ({'qpos_std': np.ones((3, 2))}, "'qpos_std' has shape (3, 2), the weights need (3,)"),
        ({'qpos_std': [1, 0, 1]}, "'qpos_std' has an entry that is not positive: 0 at 1 (of 0 to"),
        ({'qpos_std': [1, 1, -2]}, 'that is not positive: -2 at 2 (of 0 to 2)'),
        ({'qpos_std': [1, 1e-60, 1]}, 'that is not positive: 0 at 1 (of 0 to 2)'),
        ({'qpos_std': [1, 1, np.inf]}, 'that is not finite: inf at 2'),
        ({'action_mean': [np.nan, 1]}, "'action_mean' has an entry that is not finite: nan at 0"),
        ({'action_mean': [1e300, 1]}, "'action_mean' has an entry that is not finite: inf at 0"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(change, message, tmp_path):
    (tmp_path / 's').write_bytes(pickle.dumps(arrays() | change))
    assert message in refusal(tmp_path / 's')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', "is no dict of plain arrays, it begins with b''"),
        (b'version https://git-lfs', "it begins with b'version https"),
        (pickle.dumps([1]), 'is not a dict of plain arrays: it holds a list'),
        (pickle.dumps(Series([1])), f'plain arrays: it holds a {__name__}.Series'),
        (pickle.dumps(arrays())[:-20], 'is not a readable dict of plain arrays: the pickle is'),
        (pickle.dumps({'qpos': 1}), "'qpos_mean' is nothing, expected an array; the file has ["),
    ],
)  # fmt: skip
def test_files_that_are_no_statistics_are_named(content, message, tmp_path):
    (tmp_path / 's').write_bytes(content)
    assert message in refusal(tmp_path / 's')


def test_actions_may_be_normalised_as_states(tmp_path):
    content = {key: np.full(3, i + 1.0) for i, key in enumerate(KEYS)}
    (tmp_path / 's').write_bytes(pickle.dumps(content))
    found = read_statistics(tmp_path / 's', 3, 3, 'qpos')
    assert (found.action_mean[0], found.action_std[0], found.qpos_std[0]) == (1, 2, 2)
