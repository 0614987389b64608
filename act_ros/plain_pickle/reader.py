"""The stack machine that reads a pickle of plain data."""

import codecs
import pickletools
import struct
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any

from act_ros.plain_pickle.arrays import (
    FROMBUFFER,
    NAMES,
    STAND_INS,
    Args,
    Array,
    CopyBudget,
    Dtype,
    Name,
    described,
)
from act_ros.plain_pickle.errors import ONLY, UnsafePickleError, need

_MAX_NUMBER = 1024  # bytes in one integer, in the text of a number, or in a global name
_BORROW_FROM = 1024  # array data this long is viewed in place; less is copied, and so aligned
_ESCAPES = (b'n', b'r', b't', b"'", b'"', b'x')  # what follows a backslash in Python 2's repr
_OPCODE_NAMES = {opcode.code: opcode.name for opcode in pickletools.opcodes}
# Other hashable types are left out: tuples, complex numbers and long integers that all hash
# alike are easy to make, and filling a dict with those takes quadratic time.
_KEYS = frozenset({NoneType, bool, int, float, str, bytes})
# Equal long keys are compared to their ends each time one is set, and the memo makes that cheap
# to ask for.
_MAX_KEY = 1024


def _need_plain(items: Iterable) -> None:
    plain = STAND_INS.isdisjoint(map(type, items))
    need(plain, f'refused: a dtype, a name or raw array data as a value; {ONLY}')


def _unescape(text: bytes) -> bytes:
    # At the speed of C: an image in protocol 0 has a million escapes.
    alone = text.replace(b'\\\\', b'')
    known = sum(alone.count(b'\\' + code) for code in _ESCAPES)
    need(known == alone.count(b'\\'), 'a Python 2 string with an unknown escape')
    return codecs.escape_decode(text)[0]


class _Machine:
    """One message being read. ``stack`` is what lies above the latest MARK."""

    def __init__(self, view: memoryview) -> None:
        self.view, self.pos, self.end = view, 0, len(view)
        self.stack: list = []
        self.outer: list[list] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}  # a dict, so that a huge index costs nothing
        self.budget = CopyBudget(self.end)

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
        need(self.pos == self.end, 'bytes follow the end of the pickle')
        single = len(self.stack) == 1 and not self.outer
        need(single, 'the pickle does not end with exactly one value')
        _need_plain(self.stack)
        return self.stack[0]

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
        need(self.outer, 'the pickle closes a group that it did not open')
        items, self.stack = self.stack, self.outer.pop()
        return items

    # --- numbers, text and bytes

    def push_int(self) -> None:
        text = self.line(_MAX_NUMBER)
        self.stack.append(text == b'01' if text in (b'00', b'01') else int(text))

    def push_long(self, size: int) -> None:
        need(size <= _MAX_NUMBER, f'refused: an integer of {size} bytes')
        self.stack.append(int.from_bytes(self.take(size), 'little', signed=True))

    def push_unicode(self) -> None:
        text = str(self.line(), 'raw-unicode-escape')
        text.encode()  # raises if the escapes spell half of a surrogate pair
        self.stack.append(text)

    def push_string(self) -> None:
        text = self.line()
        quoted = len(text) >= 2 and text[:1] == text[-1:] and text[:1] in (b"'", b'"')
        need(quoted, 'a Python 2 string is not quoted')
        self.stack.append(_unescape(text[1:-1]).decode('latin-1'))

    def push_raw(self, size: int, make: Callable[[memoryview], object]) -> None:
        # NumPy writes an array's data in two places: last of the five parts of an array's state,
        # and first of the arguments of _frombuffer. There, and only there, it need not be copied.
        stack, raw = self.stack, self.take(size)
        state = len(stack) == 4 and type(stack[2]) is Dtype
        buffer = not stack and self.outer and self.outer[-1] and self.outer[-1][-1] is FROMBUFFER
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
        plain = STAND_INS.isdisjoint(map(type, items))
        self.stack.append(tuple(items) if plain else Args(items))

    def push_filled(self, empty: list | dict) -> None:
        items = self.pop_mark()
        self.stack.append(empty)
        self.fill(type(empty), items)

    def fill(self, kind: type, items: list) -> None:
        target = self.stack[-1]
        need(type(target) is kind, f'the pickle adds items to what is no {kind.__name__}')
        _need_plain(items)
        if kind is list:
            target.extend(items)
            return
        need(len(items) % 2 == 0, 'a dict key has no value')
        for key in items[::2]:
            if type(key) not in _KEYS or (type(key) is int and abs(key) >> 64):
                keys = 'keys are None, bool, 64-bit int, float, str or bytes'
                raise UnsafePickleError(f'refused: {described(key)} as a dict key; {keys}')
            long = type(key) in (str, bytes) and len(key) > _MAX_KEY
            need(not long, f'refused: a dict key of more than {_MAX_KEY} characters')
        target.update(zip(items[::2], items[1::2], strict=True))

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise UnsafePickleError(f'the pickle wants value {index}, which it did not store')
        value = self.memo[index]
        built = type(value) is Array and value.value is not None
        self.stack.append(value.value if built else value)

    # --- names, and what is done with them

    def push_global(self, module: Any, name: Any) -> None:
        need(type(module) is type(name) is str, 'refused: a global name that is not text')
        known = NAMES.get((module, name))
        if known is None:
            shown = f'{module[:60]}.{name[:60]}'
            raise UnsafePickleError(f"refused: the pickle names '{shown}'; {ONLY}")
        self.stack.append(known)

    def global_line(self) -> None:
        module, name = self.line(_MAX_NUMBER), self.line(_MAX_NUMBER)
        self.push_global(module.decode('latin-1'), name.decode('latin-1'))

    def reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Name or not function.call or not isinstance(args, tuple):
            raise UnsafePickleError(f'refused: a call of {described(function)}; {ONLY}')
        self.stack.append(function.call(args, self.budget))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Dtype and target.dtype is None:
            target.build(state)
        elif type(target) is Array and target.value is None:
            # Later references through the memo find the array in the stand-in.
            target.build(state, self.budget)
            self.stack[-1] = target.value
        else:
            raise UnsafePickleError(f'refused: new state for {described(target)}; {ONLY}')

    def frame(self) -> None:
        need(self.size(8) <= self.end - self.pos, 'the pickle is cut short: a frame is missing')

    def protocol(self) -> None:
        need(self.byte() <= 5, 'the pickle is of a protocol later than 5')

    def refuse(self) -> None:
        opcode = self.view[self.pos - 1]
        if opcode == 0x69:  # INST: name the class, as for every other global
            self.global_line()
        name = _OPCODE_NAMES.get(chr(opcode), f'{opcode:#04x}')
        raise UnsafePickleError(f'refused: pickle opcode {name}; {ONLY}')


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
