"""The stack machine that reads a pickle of plain data."""

import pickletools
import re
import struct
from collections.abc import Callable, Set
from typing import Any

from act_ros.plain_pickle.arrays import (
    LONG,
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
from act_ros.plain_pickle.texts import (
    MAX_VALUE,
    Decoder,
    LongText,
    raw_unicode_escape,
    read_text,
    string_escape,
    utf_8,
)

# Between two of Python's instructions another thread can take the interpreter; within one it
# waits. So whatever one instruction here walks through is bounded: a number, a text, a dict.
_MAX_NUMBER = 1024  # bytes in one integer, in the text of a number, or in a global name
_MAX_SEARCH = 1 << 16  # bytes searched at once for the end of a line
_OPCODE_NAMES = {opcode.code: opcode.name for opcode in pickletools.opcodes}
# As every pickler writes it. Readers disagree about others: 010 is ten, eight, or no number.
_DECIMAL = re.compile(rb'0|-?[1-9][0-9]*')
_MAX_VALUES = 1 << 23  # bytes of all texts, and of all bytes that are no long array's
# Filling a dict with keys that hash alike takes quadratic time. Such numbers, and tuples of them,
# are easy to find; texts are too, where PYTHONHASHSEED is set. So: few keys, and only texts.
_MAX_KEYS = 256
_MAX_KEY = 1024  # characters: equal keys are compared to their ends
# Neither may numbers that hash alike fill the memo. Honest ones are counted up from 0 or 1.
_MAX_MEMO = 1 << 20


class _Machine:
    """One message being read. ``stack`` is what lies above the latest MARK."""

    def __init__(self, view: memoryview, stand_ins: Set[type]) -> None:
        self.view, self.pos, self.end = view, 0, len(view)
        self.stand_ins = stand_ins
        self.stack: list = []
        self.outer: list[list] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}  # a dict, so that a large index costs nothing
        # Lists and dicts that lie in another value, by their id. They grow no more: so that no
        # value comes to contain itself, and all memory is free when the message is refused.
        self.complete: dict[int, list | dict] = {}
        self.values_left = _MAX_VALUES
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
        self.need_plain(self.stack)
        return self.stack[0]

    def need_plain(self, items: list) -> None:
        if self.stand_ins.isdisjoint(map(type, items)):
            return
        for item in items:
            long = type(item) in LONG and type(item) in self.stand_ins
            need(not long, f'refused: {described(item)} as a value')
        raise UnsafePickleError(f'refused: a dtype, a name or raw array data as a value; {ONLY}')

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

    def line(self, limit: int | None = None) -> memoryview:
        # Looking in ever longer pieces keeps the cost in proportion to the line, not the message.
        first, stop = self.pos, self.end if limit is None else min(self.end, self.pos + limit + 1)
        start, step = first, 64
        while start < stop:
            found = bytes(self.view[start : min(start + step, stop)]).find(b'\n')
            if found >= 0:
                self.pos = start + found + 1
                return self.view[first : start + found]
            start, step = start + step, min(2 * step, _MAX_SEARCH)
        raise UnsafePickleError('a line of text is too long or cut short')

    def number(self) -> int:
        return _decimal(bytes(self.line(_MAX_NUMBER)).removesuffix(b'L'))

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
        text = bytes(self.line(_MAX_NUMBER))
        self.stack.append(text == b'01' if text in (b'00', b'01') else _decimal(text))

    def push_long(self, size: int) -> None:
        need(size <= _MAX_NUMBER, f'refused: an integer of {size} bytes')
        self.stack.append(int.from_bytes(self.take(size), 'little', signed=True))

    def push_text(self, raw: memoryview, decode: Decoder = utf_8) -> None:
        # Longer ones are an array's data, which is decoded when the array asks for it.
        if len(raw) > MAX_VALUE:
            self.stack.append(LongText(raw, decode))
        else:
            self.charge_value(len(raw))
            self.stack.append(read_text(raw, decode))

    def push_string(self) -> None:
        line = self.line()
        quoted = len(line) >= 2 and line[0] == line[-1] and line[0] in b'\'"'
        need(quoted, 'a Python 2 string is not quoted')
        self.push_text(line[1:-1], string_escape)

    def push_raw(self, size: int, make: Callable[[memoryview], object] = bytes) -> None:
        # Longer ones are an array's data, which is viewed where it lies.
        raw = self.take(size)
        if size > MAX_VALUE:
            self.stack.append(raw)
        else:
            self.charge_value(size)
            self.stack.append(make(raw))

    def charge_value(self, size: int) -> None:
        self.values_left -= size
        need(self.values_left >= 0, f'the pickle has over {_MAX_VALUES} bytes of text')

    # --- containers and the memo

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def enclose(self, items: list) -> None:
        """Let the items lie in another value from now on."""
        for item in items:
            if type(item) is list or type(item) is dict:
                self.complete[id(item)] = item

    def push_tuple(self, items: list) -> None:
        self.enclose(items)
        plain = self.stand_ins.isdisjoint(map(type, items))
        self.stack.append(tuple(items) if plain else Args(items))

    def push_filled(self, empty: list | dict) -> None:
        items = self.pop_mark()
        self.stack.append(empty)
        self.fill(type(empty), items)

    def fill(self, kind: type, items: list) -> None:
        target = self.stack[-1]
        need(type(target) is kind, f'the pickle adds items to what is no {kind.__name__}')
        self.need_plain(items)
        self.enclose(items)
        need(id(target) not in self.complete, f'refused: a {kind.__name__} that contains itself')
        if kind is list:
            target.extend(items)
        else:
            self.fill_dict(target, items)

    def fill_dict(self, target: dict, items: list) -> None:
        need(len(items) % 2 == 0, 'a dict key has no value')
        many = f'refused: a dict of more than {_MAX_KEYS} keys'
        need(len(items) <= 2 * _MAX_KEYS, many)
        for key in items[::2]:
            if type(key) is not str:
                raise UnsafePickleError(f'refused: {described(key)} as a dict key; keys are text')
            need(len(key) <= _MAX_KEY, f'refused: a dict key of more than {_MAX_KEY} characters')
        target.update(zip(items[::2], items[1::2], strict=True))
        need(len(target) <= _MAX_KEYS, many)

    def put(self, index: int) -> None:
        need(0 <= index < _MAX_MEMO, f'refused: a memo index that is not below {_MAX_MEMO}')
        self.memo[index] = self.stack[-1]

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        need(index in self.memo, 'the pickle wants a value that it did not store')
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
        self.push_global(_latin(module), _latin(name))

    def reduce(self) -> None:
        function, args = self.pop_some(2)
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


def _decimal(text: bytes) -> int:
    need(_DECIMAL.fullmatch(text), 'an integer that is not written as a pickler does')
    return int(text)


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
    b'F': lambda m: m.stack.append(float(bytes(m.line(_MAX_NUMBER)))),
    b'G': lambda m: m.stack.append(struct.unpack('>d', m.take(8))[0]),
    b'V': lambda m: m.push_text(m.line(), raw_unicode_escape),
    b'X': lambda m: m.push_text(m.take(m.size(4))),
    b'\x8c': lambda m: m.push_text(m.take(m.byte())),
    b'\x8d': lambda m: m.push_text(m.take(m.size(8))),
    b'S': _Machine.push_string,
    b'T': lambda m: m.push_raw(m.size(4), _latin),
    b'U': lambda m: m.push_raw(m.byte(), _latin),
    b'B': lambda m: m.push_raw(m.size(4)),
    b'C': lambda m: m.push_raw(m.byte()),
    b'\x8e': lambda m: m.push_raw(m.size(8)),
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


def loads(
    data: bytes | memoryview, *, max_opcodes: int = 100_000, long_bytes: bool = False
) -> object:
    """Read one pickled object made of plain data and numeric arrays.

    Reads what Python 2.7 and 3 with NumPy 1 and 2 write in protocols 0 to 5. Arrays are
    read-only, and long ones are views of ``data``: they keep it alive, change if it changes, and
    may be unaligned. Copy an array to write to it or to outlive a buffer that will be reused. A
    Python 2 ``str`` that is not array data becomes ``str``, each byte one latin-1 character.

    Whatever the message holds, this takes no longer than its opcodes and two walks through its
    bytes do, and no more memory than the message and some 40 MB. Another thread has to wait for
    the interpreter for some milliseconds at most, and nothing stays in memory once the result, or
    the error, is gone.

    :param data: The whole message; any contiguous buffer.
    :param max_opcodes: The most pickle opcodes to read: one or two for each number or string.
    :param long_bytes: Read bytes longer than 64 KB as values too: as memoryviews of ``data``.
    :returns: None, bool, int, float, str, bytes, bytearray, list, tuple, dict, or a NumPy array
        or scalar. A text, and bytes that are no array's, take 64 KB at most. A dict has 256 keys
        at most, and these are text of 1024 characters at most. Containers may be nested to any
        depth, but none contains itself.
    :raises UnsafePickleError: If the message is anything else.
    """
    view = memoryview(data).toreadonly().cast('B')
    stand_ins = STAND_INS - {memoryview} if long_bytes else STAND_INS
    try:
        return _Machine(view, stand_ins).run(max_opcodes)
    except UnsafePickleError:
        raise
    # What else Python and NumPy raise is about the message, such as text that is no number.
    except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise UnsafePickleError(f'the pickle is malformed: {error}') from None
    except IndexError:
        raise UnsafePickleError('the pickle takes more off its stack than it put there') from None
