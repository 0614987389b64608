"""Read and write plain data as MessagePack, within bounds.

MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md) is JSON in binary, and known
to every language. It asks for nothing to be run; what is left to an attacker are time and
memory. So here, as in `act_ros.plain_pickle`, nothing recurses, no room is made for what a length
only claims, and whatever one call of the standard library or of NumPy walks through is bounded:
until it returns no other thread runs, and one of those may be a control loop.

MessagePack knows no arrays of numbers. The map `{'dtype': '<f4', 'shape': [17], 'data': bytes}`,
with just these keys, stands for one, the numbers in C's order.
"""

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from act_ros.errors import kind_of, shorten

# As NumPy's own `dtype.str` names them on machines that are little-endian.
DTYPES = {
    code: np.dtype(code)
    for code in ('|u1', '|i1', '<u2', '<i2', '<u4', '<i4', '<u8', '<i8', '<f2', '<f4', '<f8')
}
MAX_DEPTH = 32  # of containers in each other
MAX_TEXT = 1 << 16  # bytes of one text: it is decoded at once
MAX_KEYS = 256  # of one map
MAX_KEY = 1024  # bytes of a key
_MAX_TEXTS = 1 << 23  # bytes of all texts
_MAX_DIMS = 32  # NumPy 1's own limit
_MAX_SIZE = 1 << 48  # of one dimension: the product of integers of any length takes long


class MsgpackError(ValueError):
    """The message is no MessagePack of plain data; the text is one short printable line."""


def _need(condition: object, message: str) -> None:
    if not condition:
        raise MsgpackError(message)


class _Opened(NamedTuple):
    """A container whose items are still to come.

    :ivar is_map: whose items are its keys and values in turn.
    :ivar size: how many items it will have.
    """

    is_map: bool
    size: int
    items: list


class _Reader:
    """One message being read."""

    def __init__(self, view: memoryview) -> None:
        self.view, self.pos, self.end = view, 0, len(view)
        self.opened: list[_Opened] = []
        self.text_left = _MAX_TEXTS

    def run(self, max_values: int) -> object:
        for _ in range(max_values):
            opened = self.opened
            is_key = opened and opened[-1].is_map and len(opened[-1].items) % 2 == 0
            value = self.key() if is_key else _TABLE[self.byte()](self)
            if isinstance(value, _Opened):
                _need(len(opened) < MAX_DEPTH, f'refused: nested deeper than {MAX_DEPTH}')
                if value.size:
                    opened.append(value)
                    continue
                value = _closed(value)
            while opened:
                opened[-1].items.append(value)
                if len(opened[-1].items) < opened[-1].size:
                    break
                value = _closed(opened.pop())
            else:
                _need(self.pos == self.end, 'bytes follow the end of the message')
                return value
        raise MsgpackError(f'the message has more than {max_values} values')

    # --- taking bytes from the message

    def take(self, size: int) -> memoryview:
        start = self.pos
        self.pos = stop = start + size
        _need(stop <= self.end, 'the message is cut short')
        return self.view[start:stop]

    def byte(self) -> int:
        return self.take(1)[0]

    def size(self, width: int) -> int:
        return int.from_bytes(self.take(width), 'big')

    # --- what it holds

    def number(self, layout: struct.Struct) -> float:
        return layout.unpack(self.take(layout.size))[0]

    def text(self, size: int) -> str:
        _need(size <= MAX_TEXT, f'refused: a text of more than {MAX_TEXT} bytes')
        self.text_left -= size
        _need(self.text_left >= 0, f'the message has over {_MAX_TEXTS} bytes of text')
        try:
            return str(self.take(size), 'utf-8')
        except UnicodeDecodeError:
            raise MsgpackError('a text that is not UTF-8') from None

    def key(self) -> str:
        code = self.byte()
        start = self.pos
        _need(code in _TEXTS, f'refused: a map with a key that is no text (byte {code:#04x})')
        key = _TABLE[code](self)
        _need(self.pos - start <= MAX_KEY, f'refused: a key of more than {MAX_KEY} bytes')
        return key

    def list(self, size: int) -> _Opened:
        return _Opened(False, size, [])

    def map(self, size: int) -> _Opened:
        _need(size <= MAX_KEYS, f'refused: a map of more than {MAX_KEYS} keys')
        return _Opened(True, 2 * size, [])

    def refuse(self) -> object:
        code = self.view[self.pos - 1]
        what = 'the byte c1, which means nothing' if code == 0xC1 else 'an extension type'
        raise MsgpackError(f'refused: {what}; only plain data is read')


def _closed(opened: _Opened) -> object:
    """The value of a container that has all its items."""
    items = opened.items
    if not opened.is_map:
        return items
    value = dict(zip(items[::2], items[1::2], strict=True))
    _need(2 * len(value) == opened.size, 'refused: a map that has a key twice')
    return _array(**value) if value.keys() == {'dtype', 'shape', 'data'} else value


def _array(dtype: Any, shape: Any, data: Any) -> np.ndarray:
    """A read-only array over `data`, which must be just as long as its shape needs."""
    known = DTYPES.get(dtype) if type(dtype) is str else None
    if known is None:
        # Not the repr of whatever it is: that of long texts in a list would take long.
        found = shorten(dtype) if type(dtype) is str else f'of type {kind_of(dtype)}'
        raise MsgpackError(f'an array with a dtype {found}; expected one of {", ".join(DTYPES)}')
    _need(
        type(shape) is list
        and len(shape) <= _MAX_DIMS
        and all(type(size) is int and 0 <= size < _MAX_SIZE for size in shape),
        'an array whose shape is no list of sizes',
    )
    _need(type(data) is memoryview, 'an array whose data are no bytes')
    size = math.prod(shape) * known.itemsize
    _need(len(data) == size, f'{len(data)} bytes of data for an array of another size')
    flat = np.frombuffer(data, known) if size else np.zeros(0, known)
    try:
        array = flat.reshape(shape)
    except ValueError:  # several sizes of an empty one
        raise MsgpackError('an empty array of a vast shape') from None
    array.flags.writeable = False
    return array


def _sized(width: int, take: Callable[[_Reader, int], object]) -> Callable[[_Reader], object]:
    return lambda reader: take(reader, reader.size(width))


def _of_size(size: int, take: Callable[[_Reader, int], object]) -> Callable[[_Reader], object]:
    return lambda reader: take(reader, size)


def _number(layout: str) -> Callable[[_Reader], object]:
    compiled = struct.Struct(layout)
    return lambda reader: reader.number(compiled)


def _constant(value: object) -> Callable[[_Reader], object]:
    return lambda reader: value


_CODES: dict[int, Callable[[_Reader], Any]] = {
    0xC0: _constant(None),
    0xC2: _constant(False),
    0xC3: _constant(True),
    0xC4: _sized(1, _Reader.take),
    0xC5: _sized(2, _Reader.take),
    0xC6: _sized(4, _Reader.take),
    0xCA: _number('>f'),
    0xCB: _number('>d'),
    0xCC: _number('>B'),
    0xCD: _number('>H'),
    0xCE: _number('>I'),
    0xCF: _number('>Q'),
    0xD0: _number('>b'),
    0xD1: _number('>h'),
    0xD2: _number('>i'),
    0xD3: _number('>q'),
    0xD9: _sized(1, _Reader.text),
    0xDA: _sized(2, _Reader.text),
    0xDB: _sized(4, _Reader.text),
    0xDC: _sized(2, _Reader.list),
    0xDD: _sized(4, _Reader.list),
    0xDE: _sized(2, _Reader.map),
    0xDF: _sized(4, _Reader.map),
    **{code: _constant(code) for code in range(0x80)},
    **{0x80 + size: _of_size(size, _Reader.map) for size in range(16)},
    **{0x90 + size: _of_size(size, _Reader.list) for size in range(16)},
    **{0xA0 + size: _of_size(size, _Reader.text) for size in range(32)},
    **{0x100 + value: _constant(value) for value in range(-32, 0)},
}
_TABLE = [_CODES.get(code, _Reader.refuse) for code in range(256)]
_TEXTS = frozenset((*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB))


def loads(data: bytes | memoryview, *, max_values: int = 10_000) -> object:
    """Read one message of plain data and numeric arrays.

    :param data: the whole message; any contiguous buffer.
    :param max_values: the most values to read, keys and containers included.
    :returns: None, bool, int, float, str, list, dict, or a NumPy array. Bytes are memoryviews;
        these, and arrays, are read-only views of `data`: they keep it alive, change if it
        changes, and may be unaligned. A text takes 64 KB at most, a map has 256 keys at most,
        and these are different texts. Containers lie 32 deep in each other at most.
    :raises MsgpackError: it is anything else.
    """
    return _Reader(memoryview(data).toreadonly().cast('B')).run(max_values)


# --- writing


_U8, _U16, _U32, _U64 = (range(1 << bits) for bits in (8, 16, 32, 64))
_I8, _I16, _I32, _I64 = (range(-(1 << bits), 1 << bits) for bits in (7, 15, 31, 63))
# Which values fit, the byte before them, and how they are packed; the shortest first.
_Forms = tuple[tuple[range, bytes, str], ...]
_INT: _Forms = (
    (range(1 << 7), b'', '>B'), (range(-32, 0), b'', '>b'),
    (_U8, b'\xcc', '>B'), (_U16, b'\xcd', '>H'), (_U32, b'\xce', '>I'), (_U64, b'\xcf', '>Q'),
    (_I8, b'\xd0', '>b'), (_I16, b'\xd1', '>h'), (_I32, b'\xd2', '>i'), (_I64, b'\xd3', '>q'),
)  # fmt: skip
_TEXT: _Forms = ((_U8, b'\xd9', '>B'), (_U16, b'\xda', '>H'), (_U32, b'\xdb', '>I'))
_BYTES: _Forms = ((_U8, b'\xc4', '>B'), (_U16, b'\xc5', '>H'), (_U32, b'\xc6', '>I'))
_LIST: _Forms = ((_U16, b'\xdc', '>H'), (_U32, b'\xdd', '>I'))
_MAP: _Forms = ((_U16, b'\xde', '>H'), (_U32, b'\xdf', '>I'))


def _pick(value: int, forms: _Forms) -> bytes:
    """A number, or a size, in the first form that it fits into."""
    for fitting, code, layout in forms:
        if value in fitting:
            return code + struct.pack(layout, value)
    raise ValueError(f'{shorten(value)} does not fit MessagePack')


def _size(size: int, first: int, room: int, forms: _Forms) -> bytes:
    """How many follow; within the byte that says of what, where that has room."""
    return bytes((first + size,)) if size < room else _pick(size, forms)


def _leaf(value: Any) -> list[bytes | memoryview]:
    kind = type(value)
    if value is None or kind is bool:
        return [b'\xc0' if value is None else b'\xc3' if value else b'\xc2']
    if kind is int:
        return [_pick(value, _INT)]
    if kind is float:
        return [struct.pack('>Bd', 0xCB, value)]
    if kind is str:
        raw = value.encode()
        return [_size(len(raw), 0xA0, 32, _TEXT), raw]
    if kind in (bytes, bytearray, memoryview):
        view = memoryview(value).cast('B')
        return [_pick(len(view), _BYTES), view]
    raise TypeError(f'{kind.__module__}.{kind.__qualname__} cannot be written as plain data')


def _as_map(array: np.ndarray) -> dict[str, Any]:
    order = array.dtype.newbyteorder('<')
    if order.str not in DTYPES:
        raise TypeError(f'NumPy data of dtype {array.dtype} cannot be written as plain data')
    raw = np.ascontiguousarray(array, order).reshape(-1).view(np.uint8).data
    return {'dtype': order.str, 'shape': list(array.shape), 'data': raw}


def _inside(value: Any) -> tuple[bytes, Iterator] | None:
    """What a container begins with, and the values in it; None of a value that is none."""
    if type(value) is np.ndarray:
        value = _as_map(value)
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                raise TypeError(f'{shorten(key)} cannot be the key of a map; keys are text')
        items = (item for pair in value.items() for item in pair)
        return _size(len(value), 0x80, 16, _MAP), items
    if type(value) in (list, tuple):
        return _size(len(value), 0x90, 16, _LIST), iter(value)
    return None


def dumps(value: Any) -> bytes:
    """Write plain data and numeric arrays in the shortest form.

    :param value: None, bool, int of 64 bits, float, str, bytes, bytearray, memoryview, list,
        tuple, dict with keys of text, or a numeric NumPy array; of just these types.
    :raises TypeError: it, or a value in it, is of another type.
    :raises ValueError: a number or a length that does not fit, text that is not Unicode, or
        containers nested deeper than 32, as in one that contains itself.
    """
    parts: list[bytes | memoryview] = []
    todo: list[Iterator] = [iter((value,))]
    while todo:
        for item in todo[-1]:
            inside = _inside(item)
            if inside is None:
                parts += _leaf(item)
                continue
            if len(todo) > MAX_DEPTH:
                raise ValueError(f'containers nested deeper than {MAX_DEPTH}')
            parts.append(inside[0])
            todo.append(inside[1])
            break
        else:
            todo.pop()
    return b''.join(parts)
