"""Read any pickle without building what it names.

The files of training hold more than is wanted of them: an optimizer, the arguments of a run, a
table of some library. `loads` would refuse them whole, a stock unpickler would run whatever
they name. Here plain data and numeric arrays are read, and in the place of everything else
stands its `Name`. The standard library's `pickletools` takes the opcodes apart, which calls
nothing; nothing is imported, looked up or called here either.
"""

import pickletools
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, BinaryIO

from act_ros.plain_pickle.arrays import (
    NAMES,
    STAND_INS,
    Args,
    Array,
    CopyBudget,
    Dtype,
    Name,
)
from act_ros.plain_pickle.errors import UnsafePickleError, need

Names = Mapping[tuple[str, str], Name]

# Hashing these cannot go deep, as that of nested tuples can.
_KEYS = frozenset({NoneType, bool, int, float, str, bytes})
_CONSTANTS = {
    'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': (),
    'EMPTY_SET': Name('set'),
}  # fmt: skip


def read_inert(
    stream: BinaryIO,
    size: int,
    names: Names = NAMES,
    persistent: Callable[[Any], object] = lambda key: Name('persistent object'),
) -> object:
    """Read one pickle from a stream, which is left behind its end.

    :param size: of the whole, in bytes: copies are bounded by it.
    :param names: what is known of the names in it, and what a call of each gives.
    :param persistent: what stands for an object that the pickle only refers to.
    :returns: None, numbers, str, bytes, bytearray, list, tuple, dict and NumPy arrays; a `Name`
        in the place of anything else. An item whose key is no plain value is left out.
    :raises UnsafePickleError: it is no pickle.
    """
    try:
        machine = _Machine(size, names, persistent)
        for opcode, argument, _ in pickletools.genops(stream):
            machine.step(opcode.name, argument)
        return _finished(machine.stack.pop())
    except UnsafePickleError:
        raise
    # What Python raises over bytes that are no pickle, or not all of one.
    except (ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
        raise UnsafePickleError(f'the pickle is malformed: {error}') from None


def _finished(value: object) -> object:
    if type(value) is Array:
        return Name('numpy.ndarray') if value.value is None else value.value
    return Name('numpy.dtype') if type(value) is Dtype else value


class _Machine:
    """A pickle being read. `stack` is what lies above the latest MARK."""

    def __init__(
        self, size: int, names: Names, persistent: Callable[[Any], object]
    ) -> None:
        self.stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._names, self._persistent = names, persistent
        self._budget = CopyBudget(size)

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case 'PROTO' | 'FRAME' | 'STOP' | 'READONLY_BUFFER':
                pass
            case 'MARK':
                self._outer.append(stack)
                self.stack = []
            case 'POP':
                # Above a MARK there may be nothing but that.
                stack.pop() if stack else self._pop_mark()
            case 'POP_MARK':
                self._pop_mark()
            case 'DUP':
                stack.append(stack[-1])
            case 'PUT' | 'BINPUT' | 'LONG_BINPUT':
                self._memo[argument] = stack[-1]
            case 'MEMOIZE':
                self._memo[len(self._memo)] = stack[-1]
            case 'GET' | 'BINGET' | 'LONG_BINGET':
                value = self._memo[argument]
                built = type(value) is Array and value.value is not None
                stack.append(value.value if built else value)
            case 'EMPTY_LIST':
                stack.append([])
            case 'EMPTY_DICT':
                stack.append({})
            case 'TUPLE':
                self._push_tuple(self._pop_mark())
            case 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
                self._push_tuple(self._pop(int(opcode[-1])))
            case 'LIST':
                self._push_filled([])
            case 'DICT':
                self._push_filled({})
            case 'FROZENSET':
                self._pop_mark()
                self.stack.append(Name('frozenset'))
            case 'APPEND':
                self._fill(self._pop(1))
            case 'SETITEM':
                self._fill(self._pop(2))
            case 'APPENDS' | 'SETITEMS' | 'ADDITEMS':
                self._fill(self._pop_mark())
            case 'GLOBAL':
                self._push_name(*argument.split(' ', 1))
            case 'STACK_GLOBAL':
                self._push_name(*self._pop(2))
            case 'REDUCE':
                function, arguments = self._pop(2)
                stack.append(self._call(function, arguments))
            case 'NEWOBJ':
                stack.append(_instance(self._pop(2)[0]))
            case 'NEWOBJ_EX':
                stack.append(_instance(self._pop(3)[0]))
            case 'OBJ':
                kind = self._pop_mark()[0]
                self.stack.append(_instance(kind))
            case 'INST':
                self._pop_mark()
                self.stack.append(Name(argument.replace(' ', '.', 1)))
            case 'BUILD':
                self._build(*self._pop(2))
            case 'PERSID':
                stack.append(self._persistent(argument))
            case 'BINPERSID':
                stack.append(self._persistent(stack.pop()))
            case 'EXT1' | 'EXT2' | 'EXT4':
                stack.append(Name('a registered extension'))
            case 'NEXT_BUFFER':
                raise UnsafePickleError('the pickle lacks buffers that were kept beside it')
            case _ if opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            case _:  # numbers, text and bytes
                stack.append(argument)

    def _pop(self, count: int) -> list[Any]:
        need(len(self.stack) >= count, 'the pickle takes more off its stack than it put there')
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._outer.pop()
        return items

    def _push_tuple(self, items: list[Any]) -> None:
        plain = STAND_INS.isdisjoint(map(type, items))
        self.stack.append(tuple(items) if plain else Args(items))

    def _push_filled(self, empty: list[Any] | dict[Any, Any]) -> None:
        items = self._pop_mark()
        self.stack.append(empty)
        self._fill(items)

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        items = [_finished(item) for item in items]
        if type(target) is list:
            target.extend(items)
        elif type(target) is dict:
            pairs = zip(items[::2], items[1::2], strict=True)
            target.update((key, value) for key, value in pairs if type(key) in _KEYS)
        else:
            need(type(target) is Name, f'the pickle adds items to a {type(target).__name__}')

    def _push_name(self, module: Any, name: Any) -> None:
        need(type(module) is type(name) is str, 'a name that is no text')
        self.stack.append(self._names.get((module, name)) or Name(f'{module}.{name}'))

    def _call(self, function: Any, arguments: Any) -> object:
        need(isinstance(arguments, tuple), 'a call without arguments')
        if type(function) is not Name or function.call is None:
            return _instance(function)
        try:
            return function.call(arguments, self._budget)
        # What it names is known, but this is not how it is called: an array of objects, mostly.
        except (ValueError, TypeError, AttributeError) as error:
            return Name(f'{function.text} ({error})')

    def _build(self, target: Any, state: Any) -> None:
        if type(target) is Dtype and target.dtype is None:
            target = self._built(target, lambda: target.build(state))
        elif type(target) is Array and target.value is None:
            target = self._built(target, lambda: target.build(state, self._budget))
        # Any other state would make something of a name, which stays one.
        self.stack.append(_finished(target) if type(target) is Array else target)

    def _built(self, target: Any, build: Callable[[], None]) -> Any:
        try:
            build()
        except (ValueError, TypeError, AttributeError) as error:
            return Name(f'numpy.{type(target).__name__.lower()} ({error})')
        return target


def _instance(kind: Any) -> Name:
    """What stands for an object of a class, or the result of a call."""
    return Name(kind.text) if type(kind) is Name else Name(f'a call of a {type(kind).__name__}')
