"""Plain data and numeric arrays as a pickle that every Python 3 and NumPy reads."""

import functools
import pickle
import struct
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np

from act_ros.plain_pickle.arrays import TYPE_CODE

_NUMBERS = frozenset({NoneType, bool, int, float})
_GROUPS: dict[type, tuple[bytes, bytes]] = {
    list: (b'](', b'e'),
    tuple: (b'(', b't'),
    dict: (b'}(', b'u'),
}
# NumPy 2 still finds these under their NumPy 1 names; NumPy 1 knows no other. The second is
# the arguments of the first: placeholders, which the array's state then replaces.
_RECONSTRUCT = b'cnumpy.core.multiarray\n_reconstruct\n'
_PLACEHOLDERS = b'cnumpy\nndarray\nK\x00\x85C\x01b\x87'
_SCALAR = b'cnumpy.core.multiarray\nscalar\n'
_BYTEARRAY = b'cbuiltins\nbytearray\n'


@dataclass(slots=True, eq=False)
class _Close:
    """Where a container ends among what is still to be written."""

    opcode: bytes
    container: int


def _number(value: float | None) -> bytes:
    # Between its header and its STOP, a stock pickle of such a value can stand in a longer one.
    return pickle.dumps(value, 3)[2:-1]


def _sized(opcode: bytes, raw: bytes | memoryview) -> list:
    if len(raw) >> 32:
        raise ValueError('4 GiB or more in one value do not fit pickle protocol 3')
    return [opcode + struct.pack('<I', len(raw)), raw]


@functools.cache  # there are few that can be written
def _dtype(dtype: np.dtype) -> bytes:
    order, code = dtype.str[0], dtype.str[1:]
    if not TYPE_CODE.fullmatch(code):
        raise TypeError(f'NumPy data of dtype {dtype} cannot be written as plain data')
    start = [b'cnumpy\ndtype\n', *_sized(b'X', code.encode()), b'\x89\x88\x87R']
    state = [*_sized(b'X', order.encode()), b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t']
    return b''.join([*start, b'(K\x03', *state, b'b'])


class _Writer:
    """One message being written."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = [b'\x80\x03']
        self._memo: dict[bytes, bytes] = {}

    def once(self, constant: bytes) -> None:
        """Write one of the few constants; from the second time on, as a reference to the first.

        They are some globals and the dtypes, so that one byte is enough to number them.
        """
        known = self._memo.get(constant)
        if known is None:
            index = bytes((len(self._memo),))
            self._memo[constant] = b'h' + index
            known = constant + b'q' + index
        self.parts.append(known)

    def array(self, array: np.ndarray) -> None:
        dtype = _dtype(array.dtype)
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self.once(_RECONSTRUCT)
        self.once(_PLACEHOLDERS)
        self.parts += [b'R(K\x01(', *map(_number, array.shape), b't']
        self.once(dtype)
        self.parts += [b'\x89', *_sized(b'B', raw), b'tb']

    def scalar(self, scalar: np.generic) -> None:
        dtype = _dtype(scalar.dtype)
        self.once(_SCALAR)
        self.once(dtype)
        self.parts += [*_sized(b'B', scalar.tobytes()), b'\x86R']

    def leaf(self, value: Any) -> None:
        kind = type(value)
        if kind in _NUMBERS:
            self.parts.append(_number(value))
        elif kind is str:
            self.parts += _sized(b'X', value.encode('utf-8', 'surrogatepass'))
        elif kind is bytes:
            self.parts += _sized(b'B', value)
        elif kind is bytearray:
            self.once(_BYTEARRAY)
            self.parts += [*_sized(b'B', bytes(value)), b'\x85R']
        elif kind is np.ndarray:
            self.array(value)
        elif isinstance(value, np.generic):
            self.scalar(value)
        else:
            name = f'{kind.__module__}.{kind.__qualname__}'
            raise TypeError(f'{name} cannot be written as plain data')


def dumps(value: Any) -> bytes:
    """Write plain data and numeric arrays as a protocol 3 pickle for any Python 3 and NumPy.

    A stock :func:`pickle.loads` makes writable arrays of it, in the reader's byte order. A value
    held in two places is written, and comes back, as two.

    :param value: None, bool, int, float, str, bytes, bytearray, list, tuple, dict, or a numeric
        NumPy array or scalar; of just these types, so that they come back as they were.
    :returns: The message. It holds the one copy made of a contiguous array's data.
    :raises TypeError: If the value, or one inside it, is of another type.
    :raises ValueError: If a container contains itself, or one value takes 4 GiB or more.
    """
    writer = _Writer()
    unfinished: set[int] = set()
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is _Close:
            writer.parts.append(item.opcode)
            unfinished.remove(item.container)
        elif kind in _GROUPS:
            if id(item) in unfinished:
                raise ValueError(f'a {kind.__name__} that contains itself cannot be written')
            opening, closing = _GROUPS[kind]
            writer.parts.append(opening)
            unfinished.add(id(item))
            todo.append(_Close(closing, id(item)))
            inside = [x for pair in item.items() for x in pair] if kind is dict else item
            todo.extend(reversed(inside))
        else:
            writer.leaf(item)
    writer.parts.append(b'.')
    return b''.join(writer.parts)
