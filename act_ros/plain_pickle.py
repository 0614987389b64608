"""Read and write plain data as pickle without ever running what a pickle asks for.

The wire protocol carries one pickled Python object in each message, and a stock
:class:`pickle.Unpickler` runs whatever such a message names. Subclassing it and overriding
``find_class`` is the usual remedy, and it is not enough here:

* a few bytes (``LONG_BINPUT`` with a huge index) make its memo table grow to gigabytes;
* ``BUILD`` sets attributes, or calls ``__setstate__``, on whatever ``find_class`` let through;
* an allowed ``numpy.dtype`` still has its ``__setstate__`` called with flags, field names and
  sizes of the sender's choosing, and NumPy trusts them when it later follows pointers.

So :func:`loads` is a small stack machine of its own. It knows the opcodes that plain data needs,
looks global names up in a fixed table of inert stand-ins, and builds each array itself from a
checked type code, a checked shape and the bytes in the message. Nothing is imported, looked up
with ``getattr`` or called on a message's behalf, and nothing here recurses.
"""

import math
import pickle
import pickletools
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal

import numpy as np

__all__ = ['UnsafePickleError', 'dumps', 'loads']

_MAX_NUMBER = 1024  # bytes in one integer, in the text of a number, or in a global name
_MAX_DIMS = 32  # NumPy 1's own limit
_BORROW_FROM = 1024  # array data this long is viewed in place; less is copied, and so aligned
_ESCAPE = re.compile(rb'\\(x[0-9a-fA-F]{2}|.?)', re.DOTALL)
_ESCAPED = {b'n': b'\n', b'r': b'\r', b't': b'\t', b'\\': b'\\', b"'": b"'", b'"': b'"'}
_OPCODE_NAMES = {opcode.code: opcode.name for opcode in pickletools.opcodes}
# Long double is left out: its size and layout differ between machines.
_TYPE_CODE = re.compile(r'b1|[iu][1248]|f[248]|c8|c16')
_ONLY = 'only plain data and numeric NumPy arrays are read'


class UnsafePickleError(ValueError):
    """The message is not a pickle of plain data; the text is one short printable line."""

    def __init__(self, message: str) -> None:
        super().__init__(message[:200].encode('unicode_escape').decode()[:200])


# --- what stands on the machine's stack for things that are no plain data


@dataclass(slots=True, eq=False)
class _Name:
    """A global that NumPy's own pickles name; ``call`` is what REDUCE on it means here."""

    text: str
    call: 'Callable[[_Machine, tuple], object] | None' = None


class _Args(tuple):
    """A tuple with a stand-in inside: good as arguments or state, never as a value."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class _Dtype:
    """``numpy.dtype(code)``; BUILD gives it its byte order, and with that its dtype."""

    code: str
    dtype: np.dtype | None = None


@dataclass(slots=True, eq=False)
class _Array:
    """An array made by ``_reconstruct``, which BUILD fills; the memo may hold it until then."""

    value: np.ndarray | None = None


# A memoryview is a long run of array data, still inside the message.
_STAND_INS = frozenset({_Name, _Args, _Dtype, _Array, memoryview})
# Other hashable types are left out: tuples, complex numbers and long integers that all hash
# alike are easy to make, and filling a dict with those takes quadratic time.
_KEYS = frozenset({NoneType, bool, int, float, str, bytes})


def _need(condition: object, message: str) -> None:
    if not condition:
        raise UnsafePickleError(message)


def _need_plain(items: Iterable) -> None:
    plain = _STAND_INS.isdisjoint(map(type, items))
    _need(plain, f'refused: a dtype, a name or raw array data as a value; {_ONLY}')


def _need_ints(value: Any, what: str) -> None:
    ints = type(value) is tuple and all(type(item) is int for item in value)
    _need(ints, f'refused: {what} that is no tuple of int')


def _unescape(match: re.Match) -> bytes:
    code = match[1]
    _need(len(code) == 3 or code in _ESCAPED, 'a Python 2 string with an unknown escape')
    return bytes((int(code[1:], 16),)) if len(code) == 3 else _ESCAPED[code]


def _described(value: Any) -> str:
    kind = type(value)
    return value.text if kind is _Name else f'something of type {kind.__name__.strip("_")}'


class _Machine:
    """One message being read. ``stack`` is what lies above the latest MARK."""

    def __init__(self, view: memoryview) -> None:
        self.view, self.pos, self.end = view, 0, len(view)
        self.stack: list = []
        self.outer: list[list] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}  # a dict, so that a huge index costs nothing
        # The memo lets a short message ask for the same bytes to be copied again and again. An
        # honest one copies each at most four times: encode, bytearray, array data, bool check.
        self.credit = 4 * self.end

    def run(self, max_opcodes: int) -> object:
        view, end, table = self.view, self.end, _TABLE
        for _ in range(max_opcodes):
            pos = self.pos
            if pos >= end:
                raise UnsafePickleError('the pickle is cut short')
            opcode = view[pos]
            self.pos = pos + 1
            if opcode == 0x2E:  # STOP
                return self.result()
            table[opcode](self)
        raise UnsafePickleError(f'the pickle has more than {max_opcodes} opcodes')

    def result(self) -> object:
        _need(self.pos == self.end, 'bytes follow the end of the pickle')
        single = len(self.stack) == 1 and not self.outer
        _need(single, 'the pickle does not end with exactly one value')
        _need_plain(self.stack)
        return self.stack[0]

    def charge(self, size: int) -> None:
        self.credit -= size
        _need(self.credit >= 0, 'the pickle has the same bytes copied over and over')

    # --- taking bytes from the message, and values from the stack

    def take(self, size: int) -> memoryview:
        start = self.pos
        self.pos = stop = start + size
        if stop > self.end:
            raise UnsafePickleError('the pickle is cut short')
        return self.view[start:stop]

    def byte(self) -> int:
        pos = self.pos
        if pos >= self.end:
            raise UnsafePickleError('the pickle is cut short')
        self.pos = pos + 1
        return self.view[pos]

    def size(self, width: int) -> int:
        return int.from_bytes(self.take(width), 'little')

    def line(self, limit: int | None = None) -> bytes:
        # Looking in ever longer pieces keeps the cost in proportion to the line, not the message.
        first, stop = self.pos, self.end if limit is None else min(self.end, self.pos + limit + 1)
        start, step = first, 64
        while start < stop:
            piece = bytes(self.view[start : min(start + step, stop)])
            found = piece.find(b'\n')
            if found >= 0:
                self.pos = start + found + 1
                return piece[:found] if start == first else bytes(self.view[first : start + found])
            start, step = start + step, 2 * step
        raise UnsafePickleError('a line of text is too long or cut short')

    def number(self) -> int:
        return int(self.line(_MAX_NUMBER).removesuffix(b'L'))

    def pop_some(self, count: int) -> list:
        stack = self.stack
        if len(stack) < count:
            raise IndexError
        items = stack[-count:]
        del stack[-count:]
        return items

    def pop_mark(self) -> list:
        _need(self.outer, 'the pickle closes a group that it did not open')
        items, self.stack = self.stack, self.outer.pop()
        return items

    # --- numbers, text and bytes

    def push_int(self) -> None:
        text = self.line(_MAX_NUMBER)
        self.stack.append(text == b'01' if text in (b'00', b'01') else int(text))

    def push_long(self, size: int) -> None:
        _need(size <= _MAX_NUMBER, f'refused: an integer of {size} bytes')
        self.stack.append(int.from_bytes(self.take(size), 'little', signed=True))

    def push_unicode(self) -> None:
        text = str(self.line(), 'raw-unicode-escape')
        text.encode()  # raises if the escapes spell half of a surrogate pair
        self.stack.append(text)

    def push_string(self) -> None:
        text = self.line()
        quoted = len(text) >= 2 and text[:1] == text[-1:] and text[:1] in (b"'", b'"')
        _need(quoted, 'a Python 2 string is not quoted')
        self.stack.append(_ESCAPE.sub(_unescape, text[1:-1]).decode('latin-1'))

    def push_raw(self, size: int, make: Callable[[memoryview], object]) -> None:
        # NumPy writes an array's data in two places: last of the five parts of an array's state,
        # and first of the arguments of _frombuffer. There, and only there, it need not be copied.
        stack, raw = self.stack, self.take(size)
        state = len(stack) == 4 and type(stack[2]) is _Dtype
        buffer = not stack and self.outer and self.outer[-1] and self.outer[-1][-1] is _FROMBUFFER
        if state or buffer:
            make = memoryview if size >= _BORROW_FROM else bytes
        stack.append(make(raw))

    # --- containers and the memo

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def push_tuple(self, items: list) -> None:
        plain = _STAND_INS.isdisjoint(map(type, items))
        self.stack.append(tuple(items) if plain else _Args(items))

    def push_filled(self, empty: list | dict) -> None:
        items = self.pop_mark()
        self.stack.append(empty)
        self.fill(type(empty), items)

    def fill(self, kind: type, items: list) -> None:
        target = self.stack[-1]
        _need(type(target) is kind, f'the pickle adds items to what is no {kind.__name__}')
        _need_plain(items)
        if kind is list:
            target.extend(items)
            return
        _need(len(items) % 2 == 0, 'a dict key has no value')
        for key in items[::2]:
            if type(key) not in _KEYS or (type(key) is int and abs(key) >> 64):
                keys = 'keys are None, bool, 64-bit int, float, str or bytes'
                raise UnsafePickleError(f'refused: {_described(key)} as a dict key; {keys}')
        target.update(zip(items[::2], items[1::2], strict=True))

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise UnsafePickleError(f'the pickle wants value {index}, which it did not store')
        value = self.memo[index]
        built = type(value) is _Array and value.value is not None
        self.stack.append(value.value if built else value)

    # --- names, and what is done with them

    def push_global(self, module: Any, name: Any) -> None:
        _need(type(module) is type(name) is str, 'refused: a global name that is not text')
        known = _NAMES.get((module, name))
        if known is None:
            shown = f'{module[:60]}.{name[:60]}'
            raise UnsafePickleError(f"refused: the pickle names '{shown}'; {_ONLY}")
        self.stack.append(known)

    def global_line(self) -> None:
        module, name = self.line(_MAX_NUMBER), self.line(_MAX_NUMBER)
        self.push_global(module.decode('latin-1'), name.decode('latin-1'))

    def reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if type(function) is not _Name or not function.call or not isinstance(args, tuple):
            raise UnsafePickleError(f'refused: a call of {_described(function)}; {_ONLY}')
        self.stack.append(function.call(self, args))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is _Dtype and target.dtype is None:
            self.build_dtype(target, state)
        elif type(target) is _Array and target.value is None:
            # Later references through the memo find the array in the stand-in.
            self.stack[-1] = target.value = self.array_of_state(state)
        else:
            raise UnsafePickleError(f'refused: new state for {_described(target)}; {_ONLY}')

    def frame(self) -> None:
        _need(self.size(8) <= self.end - self.pos, 'the pickle is cut short: a frame is missing')

    def protocol(self) -> None:
        _need(self.byte() <= 5, 'the pickle is of a protocol later than 5')

    def refuse(self) -> None:
        opcode = self.view[self.pos - 1]
        if opcode == 0x69:  # INST: name the class, as for every other global
            self.global_line()
        name = _OPCODE_NAMES.get(chr(opcode), f'{opcode:#04x}')
        raise UnsafePickleError(f'refused: pickle opcode {name}; {_ONLY}')

    # --- NumPy's own functions, as far as its pickles use them

    def encode(self, args: tuple) -> bytes:
        """``_codecs.encode(text, 'latin1')``: how protocols 0 to 2 write bytes."""
        text, encoding = args
        latin = type(text) is type(encoding) is str and encoding in ('latin1', 'latin-1')
        _need(latin, 'refused: bytes that are not encoded as latin-1 text')
        self.charge(len(text))
        return text.encode('latin-1')

    def empty_bytes(self, args: tuple) -> bytes:
        _need(not args, 'refused: a call of bytes with arguments')
        return b''

    def bytearray(self, args: tuple) -> bytearray:
        if len(args) == 2:  # Python 2: bytearray(u'...', 'latin-1')
            return bytearray(self.encode(args))
        (raw,) = args or (b'',)
        _need(type(raw) is bytes, f'refused: a bytearray made from {_described(raw)}')
        self.charge(len(raw))
        return bytearray(raw)

    def dtype(self, args: tuple) -> _Dtype:
        code, _align, _copy = args
        known = type(code) is str and _TYPE_CODE.fullmatch(code)
        shown = f"'{code[:60]}'" if type(code) is str else _described(code)
        _need(known, f'refused: NumPy dtype {shown}; {_ONLY}')
        return _Dtype(code)

    def build_dtype(self, target: _Dtype, state: Any) -> None:
        # Version, byte order; then no subarray, names, fields, size, alignment or flags.
        _need(type(state) is tuple, 'refused: dtype state that is no tuple')
        version, order, *rest = state
        usual = all(type(item) in (NoneType, int) for item in (version, *rest))
        usual = usual and version == 3 and rest == [None, None, None, -1, -1, 0]
        orders = ('<', '>', '|') if target.code[1:] == '1' else ('<', '>')
        _need(usual and type(order) is str and order in orders, 'refused: an unusual dtype')
        target.dtype = np.dtype(order + target.code)

    def reconstruct(self, args: tuple) -> _Array:
        # The shape and type code that follow are placeholders, which BUILD replaces.
        kind, _shape, _code = args
        _need(kind is _NDARRAY, f'refused: an array made from {_described(kind)}; {_ONLY}')
        return _Array()

    def array_of_state(self, state: Any) -> np.ndarray:
        _need(type(state) is _Args, 'refused: array state without a dtype')
        version, shape, kind, fortran, data = state
        usual = type(version) is int and version == 1 and type(fortran) in (bool, int)
        _need(usual, 'refused: unusual array state')
        return self.array(data, kind, shape, 'F' if fortran else 'C')

    def frombuffer(self, args: tuple) -> np.ndarray:
        data, kind, shape, order, *axes = args
        _need(len(axes) <= 1, 'refused: unusual array arguments')
        if axes and type(order) is str and order == 'K':  # NumPy 2: axes in memory in any order
            _need_ints(axes[0], 'an order of axes')
            return self.array(data, kind, shape, 'C').transpose(*axes)
        _need(type(order) is str and order in ('C', 'F'), 'refused: an unusual array order')
        return self.array(data, kind, shape, order)

    def scalar(self, args: tuple) -> Any:
        kind, data = args
        return self.array(data, kind, (), 'C')[()]

    def array(self, data: Any, kind: Any, shape: Any, order: Literal['C', 'F']) -> np.ndarray:
        """Build a read-only array over ``data``, which must be just as long as its shape needs."""
        _need(type(kind) is _Dtype and kind.dtype is not None, 'refused: an array without a dtype')
        _need_ints(shape, 'an array shape')
        _need(len(shape) <= _MAX_DIMS and min(shape, default=0) >= 0, 'refused: an array shape')
        if type(data) is str:  # Python 2, which has no other bytes
            data = self.encode((data, 'latin-1'))
        elif type(data) is bytearray:
            self.charge(len(data))
            data = bytes(data)
        _need(type(data) in (bytes, memoryview), 'refused: array data that is no bytes')
        size = math.prod(shape) * kind.dtype.itemsize
        _need(len(data) == size, f'{len(data)} bytes of data for an array of another size')
        if kind.code == 'b1' and size:
            # NumPy counts True values by adding bytes up; a 2 would lead it out of bounds.
            self.charge(size)
            _need(np.frombuffer(data, np.uint8).max() <= 1, 'a bool array holds other bytes')
        flat = np.frombuffer(data, kind.dtype) if size else np.zeros(0, kind.dtype)
        array = flat.reshape(shape, order=order)
        array.flags.writeable = False
        return array


_NDARRAY = _Name('numpy.ndarray')
_FROMBUFFER = _Name('numpy.core.numeric._frombuffer', _Machine.frombuffer)
_NAMES = {
    ('numpy', 'ndarray'): _NDARRAY,
    ('numpy', 'dtype'): _Name('numpy.dtype', _Machine.dtype),
    ('_codecs', 'encode'): _Name('_codecs.encode', _Machine.encode),
}
for _core in ('numpy.core', 'numpy._core'):
    _NAMES[f'{_core}.numeric', '_frombuffer'] = _FROMBUFFER
    _NAMES[f'{_core}.multiarray', '_reconstruct'] = _Name('_reconstruct', _Machine.reconstruct)
    _NAMES[f'{_core}.multiarray', 'scalar'] = _Name('scalar', _Machine.scalar)
for _module in ('builtins', '__builtin__'):
    _NAMES[_module, 'bytes'] = _Name('bytes', _Machine.empty_bytes)
    _NAMES[_module, 'bytearray'] = _Name('bytearray', _Machine.bytearray)


def _latin(raw: memoryview) -> str:
    return str(raw, 'latin-1')


_OPCODES: dict[bytes, Callable[[_Machine], object]] = {
    b'\x80': _Machine.protocol,
    b'\x95': _Machine.frame,
    b'N': lambda m: m.stack.append(None),
    b'\x88': lambda m: m.stack.append(True),
    b'\x89': lambda m: m.stack.append(False),
    b'I': _Machine.push_int,
    b'L': lambda m: m.stack.append(m.number()),
    b'J': lambda m: m.push_long(4),
    b'K': lambda m: m.stack.append(m.byte()),
    b'M': lambda m: m.stack.append(m.size(2)),
    b'\x8a': lambda m: m.push_long(m.byte()),
    b'\x8b': lambda m: m.push_long(m.size(4)),
    b'F': lambda m: m.stack.append(float(m.line(_MAX_NUMBER))),
    b'G': lambda m: m.stack.append(struct.unpack('>d', m.take(8))[0]),
    b'V': _Machine.push_unicode,
    b'X': lambda m: m.stack.append(str(m.take(m.size(4)), 'utf-8')),
    b'\x8c': lambda m: m.stack.append(str(m.take(m.byte()), 'utf-8')),
    b'\x8d': lambda m: m.stack.append(str(m.take(m.size(8)), 'utf-8')),
    b'S': _Machine.push_string,
    b'T': lambda m: m.push_raw(m.size(4), _latin),
    b'U': lambda m: m.push_raw(m.byte(), _latin),
    b'B': lambda m: m.push_raw(m.size(4), bytes),
    b'C': lambda m: m.push_raw(m.byte(), bytes),
    b'\x8e': lambda m: m.push_raw(m.size(8), bytes),
    b'\x96': lambda m: m.push_raw(m.size(8), bytearray),
    b'(': _Machine.mark,
    b'0': _Machine.pop,
    b'1': _Machine.pop_mark,
    b'2': lambda m: m.stack.append(m.stack[-1]),
    b']': lambda m: m.stack.append([]),
    b'a': lambda m: m.fill(list, m.pop_some(1)),
    b'e': lambda m: m.fill(list, m.pop_mark()),
    b'l': lambda m: m.push_filled([]),
    b'}': lambda m: m.stack.append({}),
    b's': lambda m: m.fill(dict, m.pop_some(2)),
    b'u': lambda m: m.fill(dict, m.pop_mark()),
    b'd': lambda m: m.push_filled({}),
    b')': lambda m: m.stack.append(()),
    b'\x85': lambda m: m.push_tuple(m.pop_some(1)),
    b'\x86': lambda m: m.push_tuple(m.pop_some(2)),
    b'\x87': lambda m: m.push_tuple(m.pop_some(3)),
    b't': lambda m: m.push_tuple(m.pop_mark()),
    b'p': lambda m: m.put(m.number()),
    b'q': lambda m: m.put(m.byte()),
    b'r': lambda m: m.put(m.size(4)),
    b'\x94': _Machine.memoize,
    b'g': lambda m: m.get(m.number()),
    b'h': lambda m: m.get(m.byte()),
    b'j': lambda m: m.get(m.size(4)),
    b'c': _Machine.global_line,
    b'\x93': lambda m: m.push_global(*m.pop_some(2)),
    b'R': _Machine.reduce,
    b'b': _Machine.build,
}
_TABLE = [_OPCODES.get(bytes((code,)), _Machine.refuse) for code in range(256)]


def loads(data: bytes | memoryview, *, max_opcodes: int = 100_000) -> object:
    """Read one pickled object made of plain data and numeric arrays.

    Reads what Python 2.7 and 3 with NumPy 1 and 2 write in protocols 0 to 5. Arrays are
    read-only, and long ones are views of ``data``: they keep it alive, change if it changes, and
    may be unaligned. Copy an array to write to it or to outlive a buffer that will be reused. A
    Python 2 ``str`` that is not array data becomes ``str``, each byte one latin-1 character.

    :param data: The whole message; any contiguous buffer.
    :param max_opcodes: The most pickle opcodes to read: one or two for each number or string.
    :returns: None, bool, int, float, str, bytes, bytearray, list, tuple, dict, or a NumPy array
        or scalar. Containers may be nested to any depth, and may contain themselves.
    :raises UnsafePickleError: If the message is anything else.
    """
    view = memoryview(data).toreadonly().cast('B')
    try:
        return _Machine(view).run(max_opcodes)
    except UnsafePickleError:
        raise
    # What else Python and NumPy raise is about the message, such as text that is no number.
    except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise UnsafePickleError(f'the pickle is malformed: {error}') from None
    except IndexError:
        raise UnsafePickleError('the pickle takes more off its stack than it put there') from None


# --- writing

_LEAVES = frozenset({NoneType, bool, int, float, str, bytearray})
_GROUPS: dict[type, tuple[bytes, bytes]] = {
    list: (b'](', b'e'),
    tuple: (b'(', b't'),
    dict: (b'}(', b'u'),
}


@dataclass(slots=True, eq=False)
class _Close:
    """Where a container ends among what is still to be written."""

    opcode: bytes
    container: int


def _stock(leaf: object) -> bytes:
    # Between its header and its STOP, a stock pickle of plain data can stand in a longer one.
    return pickle.dumps(leaf, 3)[2:-1]


def _long_bytes(raw: bytes | memoryview) -> list:
    if len(raw) >> 32:
        raise ValueError('4 GiB or more in one value do not fit pickle protocol 3')
    return [b'B' + struct.pack('<I', len(raw)), raw]


def _dtype_parts(dtype: np.dtype) -> list[bytes]:
    order, code = dtype.str[0], dtype.str[1:]
    if not _TYPE_CODE.fullmatch(code):
        raise TypeError(f'NumPy data of dtype {dtype} cannot be written as plain data')
    build = b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
    return [b'cnumpy\ndtype\n', _stock(code), b'\x89\x88\x87R(K\x03', _stock(order), build]


def _array_parts(array: np.ndarray) -> list:
    # NumPy 2 still finds _reconstruct under its NumPy 1 name; NumPy 1 knows no other.
    dtype, raw = _dtype_parts(array.dtype), np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    start = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01'
    return [start, _stock(array.shape), *dtype, b'\x89', *_long_bytes(raw.data), b'tb']


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
    parts: list[bytes | memoryview] = [b'\x80\x03']
    unfinished: set[int] = set()
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is _Close:
            parts.append(item.opcode)
            unfinished.remove(item.container)
        elif kind in _LEAVES:
            parts.append(_stock(item))
        elif kind is bytes:
            parts.extend(_long_bytes(item))
        elif kind is np.ndarray:
            parts.extend(_array_parts(item))
        elif isinstance(item, np.generic):
            dtype = _dtype_parts(item.dtype)
            data = _long_bytes(item.tobytes())
            parts.extend([b'cnumpy.core.multiarray\nscalar\n', *dtype, *data, b'\x86R'])
        elif kind in _GROUPS:
            if id(item) in unfinished:
                raise ValueError(f'a {kind.__name__} that contains itself cannot be written')
            opening, closing = _GROUPS[kind]
            parts.append(opening)
            unfinished.add(id(item))
            todo.append(_Close(closing, id(item)))
            inside = [x for pair in item.items() for x in pair] if kind is dict else item
            todo.extend(reversed(inside))
        else:
            name = f'{kind.__module__}.{kind.__qualname__}'
            raise TypeError(f'{name} cannot be written as plain data')
    parts.append(b'.')
    return b''.join(parts)
