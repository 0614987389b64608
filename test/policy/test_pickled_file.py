"""Files of training: what is read of them, and that nothing in them runs."""

import argparse
import collections
import contextlib
import io
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.errors import CheckpointError
from act_ros.plain_pickle import Name
from act_ros.policy.checkpoint.pickled_file import StoredTensor, open_pickled

PROTOCOLS = range(6)
RUN_TORCHSCRIPT = torch.jit.load


@pytest.fixture(autouse=True)
def no_other_reader(monkeypatch):
    """Nothing of torch, and no unpickler of Python, is given a file of others."""

    def reached(*_, **__):
        raise AssertionError('a reader that can run code was reached')

    for module, name in ((torch, 'load'), (torch.jit, 'load'), (pickle, 'load'),
                         (pickle, 'loads'), (pickle, 'Unpickler')):  # fmt: skip
        monkeypatch.setattr(module, name, reached)


def read(path):
    """What a file holds, with its tensors loaded."""

    def loaded(value):
        if isinstance(value, StoredTensor):
            return value.load()
        return {k: loaded(v) for k, v in value.items()} if isinstance(value, dict) else value

    with open_pickled(path) as content:
        return loaded(content)


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    text = str(caught.value)
    assert '\n' not in text
    assert str(path) in text
    return text


def tensors():
    rng = torch.Generator().manual_seed(0)
    grid = torch.randn(6, 8, generator=rng)
    made = {str(dtype): grid.to(dtype) for dtype in
            (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8)}
    image = torch.randn(2, 3, 4, 5, generator=rng)
    return {
        **made,
        'scalar': torch.tensor(3),
        'empty': torch.zeros(0, 4),
        'bool': grid > 0,
        'transposed': grid.T,
        'a part': grid[1:4, ::2],
        'channels last': image.to(memory_format=torch.channels_last),
        'parameter': torch.nn.Parameter(grid),
        'tied': grid,
    }  # fmt: skip


def save_zip(content, path):
    torch.save(content, path)


def save_old(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize('save', [save_zip, save_old, save_pickle])
def test_tensors_are_those_that_were_saved(save, tmp_path):
    expected = tensors()
    save({**expected, 'inside': {'of': collections.OrderedDict(expected)}}, tmp_path / 'x')
    found = read(tmp_path / 'x')
    for each in (found, found['inside']['of']):
        for key, value in expected.items():
            assert each[key].dtype == value.dtype
            assert torch.equal(each[key], value), key


def test_storages_are_read_once_and_only_those_that_are_wanted(tmp_path):
    flat = torch.arange(1000.0)
    torch.save({'a': flat[:10], 'b': flat[500:], 'other': torch.full((7,), 0.123)}, tmp_path / 'x')
    place = (tmp_path / 'x').read_bytes().index(struct.pack('<7f', *[0.123] * 7))
    with (tmp_path / 'x').open('r+b') as file:
        file.seek(place)
        file.write(b'damaged')
    with open_pickled(tmp_path / 'x') as content:
        a, b = content['a'].load(), content['b'].load()
        assert torch.equal(a, flat[:10])
        assert torch.equal(b, flat[500:])
        assert a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
        with pytest.raises(zipfile.BadZipFile, match='CRC'):
            content['other'].load()


class Odd:
    """What a file of others may hold."""

    def __init__(self):
        self.value = [np.ones(3), {'a': self.__class__}]


class OddDict(dict):
    pass


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_what_is_not_plain_is_named_and_the_rest_is_read(protocol, tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    content = {
        'array': array, 'scalar': np.float32(1.5), 'text': 'x', 'numbers': [1, 2.5, True, None],
        'args': argparse.Namespace(lr=1e-4, path=pathlib.Path('/a')),
        'odd': Odd(), 'class': Odd, 'function': os.getcwd, 'set': {1, 2},
        'frozen': frozenset((1,)),
        'objects': np.array([Odd(), None]), 'fields': np.zeros(3, 'i4,f4'),
        'words': np.array(['a', 'b']), 'dates': np.array(['2024-01-01'], 'datetime64[D]'),
        'dict': OddDict(a=1), 'complex': 1j, 'range': range(3),
        ('a', 'tuple'): 1, 'nested': ({'odd': Odd(), 'array': array},),
        'default': collections.defaultdict(list, a=[1]),
    }  # fmt: skip
    (tmp_path / 'x').write_bytes(pickle.dumps(content, protocol))
    found = read(tmp_path / 'x')
    np.testing.assert_array_equal(found['array'], array)
    np.testing.assert_array_equal(found['nested'][0]['array'], array)
    assert (found['scalar'], found['text'], found['numbers']) == (1.5, 'x', [1, 2.5, True, None])
    assert ('a', 'tuple') not in found
    names = {key: value.text for key, value in found.items() if isinstance(value, Name)}
    assert {'args', 'odd', 'class', 'function', 'set', 'frozen', 'objects', 'fields', 'words',
            'dates', 'dict', 'complex', 'range'} <= names.keys()  # fmt: skip
    assert 'Odd' in names['class']
    if protocol >= 2:
        assert names['args'] == 'argparse.Namespace'
        assert names['odd'] == f'{__name__}.Odd'
        assert names['dict'] == f'{__name__}.OddDict'


class Hostile:
    """Makes a file, whichever way a pickle can call something."""

    def __init__(self, marker, how):
        self.marker, self.how = str(marker), how

    def __reduce_ex__(self, protocol):
        call = (open, (self.marker, 'w'))
        return {
            'reduce': call,
            'state': (Odd, (), call),
            'items': (list, (), None, iter([Nested(call)])),
            'setter': (str, (f'open({self.marker!r}, "w")',), {}, None, None, exec),
        }[self.how]


class Nested:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('how', ['reduce', 'state', 'items', 'setter'])
@pytest.mark.parametrize(
    ('save', 'protocol'),
    [(save_zip, 2), (save_zip, 5), (save_old, 2), *((save_pickle, i) for i in PROTOCOLS)],
)
def test_nothing_that_a_file_names_is_called(how, save, protocol, tmp_path):
    marker = tmp_path / 'ran'
    hostile = Hostile(marker, how)
    content = {'model.x': torch.ones(3), 'y': hostile, 'z': [(hostile,)]}
    if save is save_pickle:
        (tmp_path / 'x').write_bytes(pickle.dumps(content, protocol))
    else:
        torch.save(content, tmp_path / 'x', pickle_protocol=protocol,
                   _use_new_zipfile_serialization=save is save_zip)  # fmt: skip
    with open_pickled(tmp_path / 'x') as found:
        assert torch.equal(found['model.x'].load(), torch.ones(3))
    assert not marker.exists()


@pytest.mark.parametrize(
    'pickled',
    [
        b'cos\nsystem\n(S"touch {0}"\ntR.',
        b'(S"touch {0}"\nios\nsystem\n.',
        b'(cos\nsystem\nS"touch {0}"\no.',
        b'\x80\x02cos\nsystem\nX\x00\x00\x00\x00\x85\x81.',
        b'\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85}\x92.',
        # New items and a new state for what is no dict: memory beside it, in older readers.
        b'\x80\x02K\x05(K\x01K\x02u.',
        b'\x80\x02U\x01a]b.',
        b'\x80\x02cbuiltins\ndict\n}U\x07__class__U\x01xsb.',
    ],
)
def test_pickles_made_by_hand_run_nothing(pickled, tmp_path):
    marker = tmp_path / 'ran'
    (tmp_path / 'x').write_bytes(pickled.replace(b'{0}', os.fsencode(marker)))
    with contextlib.suppress(CheckpointError):
        assert not isinstance(read(tmp_path / 'x'), dict)
    assert not marker.exists()


class Program(torch.nn.Module):
    """As TorchScript it writes a file when it is loaded."""

    def __init__(self, marker: str):
        super().__init__()
        self.marker = marker

    def forward(self, x: torch.Tensor):
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return (self.marker, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        torch.save(torch.zeros(1), state[0])
        self.marker = state[0]
        self.training = state[1]


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_a_torchscript_program_is_not_run(tmp_path):
    """The way in before torch 2.6, whatever weights_only says (CVE-2025-32434)."""
    marker = tmp_path / 'ran'
    torch.jit.script(Program(str(marker))).save(str(tmp_path / 'x'))
    RUN_TORCHSCRIPT(str(tmp_path / 'x'))
    assert marker.exists()  # so it would
    marker.unlink()
    assert 'is a TorchScript program, which is not run' in refusal(tmp_path / 'x')
    assert not marker.exists()


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """Write an archive anew, each entry changed by a function of its name and content."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in entries.items():
            content = change(name, content)
            if content is not None:
                archive.writestr(name, content)


def reference(count, *, offset=0, shape=(4,), stride=(1,), key='0', storage='FloatStorage'):
    """The pickle of a dict with one tensor, of numbers that may be anything."""
    out = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, torch.UntypedStorage):
                return 'storage', getattr(torch, storage), key, 'cpu', count
            return None

    class Tensor:
        def __reduce__(self):
            arguments = (torch.UntypedStorage(0), offset, shape, stride, False, {})
            return torch._utils._rebuild_tensor_v2, arguments

    Pickler(out, 2).dump({'x': Tensor()})
    return out.getvalue()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda n, c: None if n.endswith('data/0') else c, "the numbers of storage '0' are miss"),
        (lambda n, c: c[:-4] if n.endswith('data/0') else c, "storage '0' has 12 bytes for 4 num"),
        (lambda n, c: None if n.endswith('data.pkl') else c, 'the archive has no data.pkl'),
        (lambda n, c: b'big' if n.endswith('byteorder') else c, 'it is not little-endian'),
        (lambda n, c: c[:40] if n.endswith('data.pkl') else c, 'the pickle is malformed'),
        (lambda n, c: reference(2**40) if n.endswith('data.pkl') else c, 'for 1099511627776 num'),
        (lambda n, c: reference(4, key='../data.pkl') if n.endswith('data.pkl') else c,
         "the numbers of storage '../data.pkl' are missing"),
    ],
)  # fmt: skip
def test_an_archive_that_lies_is_refused(change, message, tmp_path):
    torch.save({'x': torch.arange(4.0)}, tmp_path / 'x')
    rewrite(tmp_path / 'x', change)
    assert message in refusal(tmp_path / 'x')


@pytest.mark.parametrize(
    'lie',
    [
        {'offset': 1}, {'offset': -1}, {'offset': 2**62}, {'shape': (5,)}, {'shape': (-1,)},
        {'stride': (2,)}, {'stride': (-1,)}, {'stride': (2**61,)}, {'stride': ()},
        {'shape': (2, 2), 'stride': (4, 1)}, {'shape': (1000, 1000), 'stride': (0, 0)},
        {'shape': (2**40,), 'stride': (0,)}, {'shape': (4.0,)}, {'offset': True},
    ],
    ids=str,
)  # fmt: skip
def test_a_tensor_beyond_its_numbers_is_none(lie, tmp_path):
    """Shapes and sizes of the sender's choosing: memory beside it, before torch 2.10."""
    torch.save({'x': torch.arange(4.0)}, tmp_path / 'x')
    made = reference(4, **lie)
    rewrite(tmp_path / 'x', lambda name, content: made if name.endswith('data.pkl') else content)
    with open_pickled(tmp_path / 'x') as content:
        assert isinstance(content['x'], Name)
        assert content['x'].text.startswith('torch.Tensor (')


def test_a_storage_of_another_type_is_named(tmp_path):
    torch.save({'x': torch.arange(4.0)}, tmp_path / 'x')
    made = reference(4, storage='ComplexFloatStorage')
    rewrite(tmp_path / 'x', lambda name, content: made if name.endswith('data.pkl') else content)
    assert isinstance(read(tmp_path / 'x')['x'], Name)


def test_an_archive_that_was_packed_again_is_refused(tmp_path):
    torch.save({'x': torch.zeros(100_000)}, tmp_path / 'x')
    rewrite(tmp_path / 'x', lambda _, content: content, zipfile.ZIP_DEFLATED)
    assert 'the archive is compressed, which torch.save never does' in refusal(tmp_path / 'x')


def test_entries_that_overlap_are_refused(tmp_path):
    path = tmp_path / 'x'
    torch.save({'x': torch.arange(1000.0)}, path)
    # A second name for the numbers, in the directory at the end only.
    with zipfile.ZipFile(path, 'a') as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith('data/0'))
        for i in range(3):
            twin = zipfile.ZipInfo(info.filename + str(i))
            twin.header_offset, twin.CRC = info.header_offset, info.CRC
            twin.file_size = twin.compress_size = info.file_size
            archive.filelist.append(twin)
        archive._didModify = True
    assert 'the entries of the archive overlap' in refusal(path)


@pytest.mark.parametrize('part', [0.3, 0.9, 0.999])
@pytest.mark.parametrize('save', [save_zip, save_old])
def test_a_file_that_is_cut_is_refused(save, part, tmp_path):
    save({str(i): torch.ones(1000) for i in range(3)}, tmp_path / 'x')
    content = (tmp_path / 'x').read_bytes()
    (tmp_path / 'x').write_bytes(content[: int(len(content) * part)])
    assert 'is not a readable checkpoint' in refusal(tmp_path / 'x')


def test_numbers_of_an_old_file_that_are_not_those_announced_are_refused(tmp_path):
    save_old({'x': torch.ones(1000)}, tmp_path / 'x')
    content = (tmp_path / 'x').read_bytes()
    place = content.rindex(struct.pack('<q', 1000))
    for count in (0, 999, 2**62):
        (tmp_path / 'x').write_bytes(
            content[:place] + struct.pack('<q', count) + content[place + 8 :]
        )
        with pytest.raises((ValueError, CheckpointError), match=r'missing|cut short'):
            read(tmp_path / 'x')


SMALL = io.BytesIO()
torch.save({'a': torch.ones(3), 'b': [1, (2, 'x')], 'c': Odd()}, SMALL)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_the_bytes_are_they_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp('x') / 'x'
    path.write_bytes(SMALL.getvalue())
    with zipfile.ZipFile(path) as archive:
        pickled = bytearray(archive.read(next(n for n in archive.namelist() if 'data.pkl' in n)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(pickled) - 1))
        pickled[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    rewrite(path, lambda n, content: bytes(pickled) if n.endswith('data.pkl') else content)
    try:
        with open_pickled(path) as content:
            if isinstance(content, dict) and isinstance(content.get('a'), StoredTensor):
                assert content['a'].load().numel() <= 3
    except CheckpointError as error:
        assert '\n' not in str(error)
