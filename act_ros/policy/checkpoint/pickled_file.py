"""Files that training pickled, by torch.save or by pickle, read without running them.

`torch.load(weights_only=True)` is not used: it ran code from a file before torch 2.6
(CVE-2025-32434), could be made to write beside its memory before 2.10 (CVE-2026-24747), and
refuses a file that holds anything beside weights. Robots keep the torch that was built for
them, so here nothing of torch sees a file: the pickle in it is read by `act_ros.plain_pickle`,
and a tensor is a checked view of bytes.

What torch.save writes is a zip archive of one pickle, `NAME/data.pkl`, and the numbers of each
storage, `NAME/data/KEY`. Before torch 1.6 it was three short pickles, that one, the storages'
keys, and then their numbers.
"""

import contextlib
import io
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from act_ros.errors import CheckpointError, one_line, shorten
from act_ros.plain_pickle import Name, read_inert
from act_ros.plain_pickle.arrays import NAMES, CopyBudget
from act_ros.plain_pickle.errors import need

_ZIP = b'PK\x03\x04'
_PICKLES = b'\x80(]}cd'  # what a pickle of a container may begin with, in any protocol
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    'Float': torch.float32, 'Double': torch.float64, 'Half': torch.float16,
    'BFloat16': torch.bfloat16, 'Byte': torch.uint8, 'Char': torch.int8, 'Short': torch.int16,
    'Int': torch.int32, 'Long': torch.int64, 'Bool': torch.bool,
}  # fmt: skip


class Storage:
    """Numbers in a file, read when they are wanted and then once.

    :param load: their bytes, (n,) uint8.
    :param count: how many they are.
    """

    def __init__(self, load: Callable[[int], np.ndarray], dtype: torch.dtype, count: int) -> None:
        self._load, self.dtype, self.count = load, dtype, count

    @cached_property
    def numbers(self) -> torch.Tensor:
        """All of them, (count,)."""
        if not self.count:
            return torch.empty(0, dtype=self.dtype)
        return torch.from_numpy(self._load(self.count * self.dtype.itemsize)).view(self.dtype)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: what is known of it before its numbers are read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    def load(self) -> torch.Tensor:
        """The tensor itself; only while the file is open."""
        return self.storage.numbers.as_strided(self.shape, self.stride, self.offset)


@contextlib.contextmanager
def open_pickled(path: Path, what: str = 'checkpoint') -> Iterator[object]:
    """Read what a file holds.

    :param what: it is, for an error.
    :returns: plain data and NumPy arrays, a `StoredTensor` for each tensor, and a `Name` for
        everything else. Tensors can be loaded until the block is left.
    :raises CheckpointError: one line that names the file and what is wrong with it.
    """
    with contextlib.ExitStack() as stack:
        with readable(path, what):
            file = stack.enter_context(path.open('rb'))
            beginning = file.read(40)
            file.seek(0)
            if beginning.startswith(_ZIP):
                archive = stack.enter_context(zipfile.ZipFile(file))
                content = _read_archive(archive, path.stat().st_size)
            elif beginning[:1] and beginning[0] in _PICKLES:
                content = _read_pickles(file.read())
            else:
                raise CheckpointError(
                    f'{path} is no {what}, it begins with {shorten(beginning)}: expected a '
                    f'file as training writes it (perhaps `git lfs pull` brings it)'
                )
        yield content


@contextlib.contextmanager
def readable(path: Path, what: str = 'checkpoint') -> Iterator[None]:
    """Say of a file what is wrong with it, whatever a reader stumbles over.

    :raises CheckpointError: for any exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = one_line(error)
        raise CheckpointError(f'{path} is not a readable {what}: {reason}') from None


def _read_archive(archive: zipfile.ZipFile, file_size: int) -> object:
    """What torch.save writes since 1.6."""
    entries = {info.filename: info for info in archive.infolist()}
    roots = [name.removesuffix('/data.pkl') for name in entries if name.endswith('/data.pkl')]
    need(len(roots) == 1, 'the archive has no data.pkl, as torch.save writes it')
    (root,) = roots
    if f'{root}/constants.pkl' in entries:
        raise CheckpointError(
            f'{archive.filename} is a TorchScript program, which is not run; save the '
            f"state_dict of the policy: torch.save(policy.state_dict(), 'policy_best.ckpt')"
        )
    stored = all(info.compress_type == zipfile.ZIP_STORED for info in entries.values())
    need(stored, 'the archive is compressed, which torch.save never does; save it anew')
    total = sum(info.file_size for info in entries.values())
    need(total <= file_size, 'the entries of the archive overlap')
    order = f'{root}/byteorder'
    need(order not in entries or archive.read(order) == b'little', 'it is not little-endian')

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        info = entries.get(f'{root}/data/{key}')
        need(info is not None, f'the numbers of storage {shorten(key)} are missing')
        assert info is not None
        fits = info.file_size == count * dtype.itemsize
        need(fits, f'storage {shorten(key)} has {info.file_size} bytes for {count} numbers')

        def load(size: int) -> np.ndarray:
            with archive.open(info) as file:
                numbers = file.read(size)
            need(len(numbers) == size, 'the archive is cut short')
            return np.frombuffer(numbers, np.uint8).copy()

        return Storage(load, dtype, count)

    pickled = archive.read(f'{root}/data.pkl')
    return read_inert(io.BytesIO(pickled), len(pickled), _TORCH_NAMES, _storages(storage))


def _read_pickles(data: bytes) -> object:
    """A pickle, or the several of torch.save before 1.6 with the numbers after them."""
    stream = io.BytesIO(data)
    content = read_inert(stream, len(data), _TORCH_NAMES)
    if type(content) is not int or content != _OLD_MAGIC:
        return content
    for _ in ('version', 'system'):
        read_inert(stream, len(data))
    return _read_old(stream, data)


def _read_old(stream: BinaryIO, data: bytes) -> object:
    places: dict[str, tuple[int, int]] = {}  # of each storage: where it begins, how many numbers
    sizes: dict[str, int] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        sizes[key] = dtype.itemsize

        def load(size: int) -> np.ndarray:
            need(key in places and places[key][1] == count, 'the numbers of a storage are missing')
            start, _ = places[key]
            return np.frombuffer(data, np.uint8, size, start).copy()

        return Storage(load, dtype, count)

    content = read_inert(stream, len(data), _TORCH_NAMES, _storages(storage))
    keys: Any = read_inert(stream, len(data))
    need(type(keys) is list and all(key in sizes for key in keys), 'the storages are not listed')
    for key in keys:
        count = int.from_bytes(stream.read(8), 'little')
        places[key] = stream.tell(), count
        need(count * sizes[key] <= len(data) - stream.tell(), 'the file is cut short')
        stream.seek(count * sizes[key], io.SEEK_CUR)
    return content


def _storages(make: Callable[[torch.dtype, str, int], Storage]) -> Callable[[Any], object]:
    """What stands for a storage that a pickle refers to: each key's numbers once."""
    made: dict[str, Storage] = {}

    def persistent(reference: Any) -> object:
        # ('storage', type, key, device, count), before torch 1.6 with a view as the last.
        need(isinstance(reference, tuple) and reference, 'an unusual reference to a storage')
        what, kind, *rest = reference
        if what != 'storage' or type(kind) is not Name:  # an object with its source code
            return kind if type(kind) is Name else Name('persistent object')
        key, _, count, *view = rest
        usual = type(key) is str and type(count) is int and count >= 0 and not any(view)
        need(usual, 'an unusual reference to a storage')
        dtype = _DTYPES.get(kind.text.removeprefix('torch.').removesuffix('Storage'))
        if dtype is None:
            return kind
        if key not in made:
            made[key] = make(dtype, key, count)
        return made[key] if made[key].dtype == dtype else kind

    return persistent


def _tensor(arguments: tuple, budget: CopyBudget) -> StoredTensor:
    storage, offset, shape, stride, *_ = arguments
    need(type(storage) is Storage, 'no dense tensor of a usual type')
    for numbers in (shape, stride):
        usual = type(numbers) is tuple and all(type(n) is int and n >= 0 for n in numbers)
        need(usual and len(numbers) == len(shape) <= 16, 'an unusual shape')
    need(type(offset) is int and offset >= 0, 'an unusual offset')
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    inside = math.prod(shape) == 0 or (last < storage.count and math.prod(shape) <= storage.count)
    need(inside, 'a tensor that reaches beyond its numbers')
    return StoredTensor(storage, offset, shape, stride)


def _first(arguments: tuple, budget: CopyBudget) -> object:
    return arguments[0]


def _ordered_dict(arguments: tuple, budget: CopyBudget) -> dict:
    need(not arguments, 'an OrderedDict made from something')
    return {}


def _nested(arguments: tuple, budget: CopyBudget) -> Storage:
    """A storage that a plain pickle of a tensor holds as a file of its own."""
    (data,) = arguments
    need(type(data) is bytes, 'a storage that is no bytes')
    budget.charge(len(data))
    content = _read_pickles(data)
    need(type(content) is Storage, 'a storage that is none')
    assert isinstance(content, Storage)
    return content


_TORCH_NAMES = {
    **NAMES,
    ('collections', 'OrderedDict'): Name('collections.OrderedDict', _ordered_dict),
    ('torch._utils', '_rebuild_tensor'): Name('torch.Tensor', _tensor),
    ('torch._utils', '_rebuild_tensor_v2'): Name('torch.Tensor', _tensor),
    ('torch._utils', '_rebuild_parameter'): Name('torch.nn.Parameter', _first),
    ('torch._utils', '_rebuild_parameter_with_state'): Name('torch.nn.Parameter', _first),
    ('torch.storage', '_load_from_bytes'): Name('torch.storage', _nested),
}
