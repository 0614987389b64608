"""What NumPy's pickles name, as inert stand-ins, and arrays built from checked parts.

A pickled array is a call of ``_reconstruct`` or ``_frombuffer`` with a ``numpy.dtype`` that is a
call itself. Here each such name is a key of a fixed table, and a call of it is a function of this
module, which trusts none of its arguments.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal

import numpy as np

from act_ros.plain_pickle.errors import ONLY, need
from act_ros.plain_pickle.texts import MAX_VALUE, LongText

# Long double is left out: its size and layout differ between machines.
TYPE_CODE = re.compile(r'b1|[iu][1248]|f[248]|c8|c16')
_MAX_DIMS = 32  # NumPy 1's own limit
_MAX_SIZE = 1 << 48  # of one dimension: the product of integers of any length takes long


class CopyBudget:
    """How many bytes may still be copied.

    The memo lets a short message ask for the same bytes to be copied again and again. An honest
    one has each copied twice at most: a text is encoded, and a bytearray made of that.

    :param message_size: bytes in the message.
    """

    def __init__(self, message_size: int) -> None:
        self._left = 2 * message_size + MAX_VALUE

    def charge(self, size: int) -> None:
        """Take the cost of one copy off.

        :raises UnsafePickleError: the message asks for more than an honest one would.
        """
        self._left -= size
        need(self._left >= 0, 'the pickle has the same bytes copied over and over')


# --- what stands on the reader's stack for things that are no plain data


@dataclass(slots=True, eq=False)
class Name:
    """A global that NumPy's own pickles name; ``call`` is what REDUCE on it means here."""

    text: str
    call: Callable[[tuple, CopyBudget], object] | None = None


class Args(tuple):
    """A tuple with a stand-in inside: good as arguments or state, never as a value."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class Dtype:
    """``numpy.dtype(code)``; BUILD gives it its byte order, and with that its dtype."""

    code: str
    dtype: np.dtype | None = None

    def build(self, state: Any) -> None:
        """Take in NumPy's own state of a plain dtype."""
        # Version, byte order; then no subarray, names, fields, size, alignment or flags.
        need(type(state) is tuple, 'refused: dtype state that is no tuple')
        version, order, *rest = state
        usual = all(type(item) in (NoneType, int) for item in (version, *rest))
        usual = usual and version == 3 and rest == [None, None, None, -1, -1, 0]
        orders = ('<', '>', '|') if self.code[1:] == '1' else ('<', '>')
        need(usual and type(order) is str and order in orders, 'refused: an unusual dtype')
        self.dtype = np.dtype(order + self.code)


@dataclass(slots=True, eq=False)
class Array:
    """An array made by ``_reconstruct``, which BUILD fills; the memo may hold it until then."""

    value: np.ndarray | None = None

    def build(self, state: Any, budget: CopyBudget) -> None:
        """Take in NumPy's own state of an array."""
        need(type(state) is Args, 'refused: array state without a dtype')
        version, shape, kind, fortran, data = state
        usual = type(version) is int and version == 1 and type(fortran) in (bool, int)
        need(usual, 'refused: unusual array state')
        self.value = _array(data, kind, shape, 'F' if fortran else 'C', budget)


# Too long for values, and so still in the message: what an array may be made of.
LONG = {
    memoryview: f'bytes longer than {MAX_VALUE}',
    LongText: f'text longer than {MAX_VALUE} bytes',
}
STAND_INS = frozenset({Name, Args, Dtype, Array, *LONG})


def described(value: Any) -> str:
    """Name a value that may be a stand-in, for a message."""
    kind = type(value)
    if kind is Name:
        return value.text
    return LONG.get(kind, f'something of type {kind.__name__}')


# --- NumPy's own functions, as far as its pickles use them


def _encode(args: tuple, budget: CopyBudget) -> bytes | memoryview:
    """``_codecs.encode(text, 'latin1')``: how protocols 0 to 2 write bytes."""
    text, encoding = args
    latin = type(encoding) is str and encoding in ('latin1', 'latin-1')
    need(latin, 'refused: bytes that are not encoded as latin-1 text')
    if type(text) is LongText:
        budget.charge(len(text.raw))
        return text.encode()
    need(type(text) is str, 'refused: bytes that are encoded from no text')
    budget.charge(len(text))
    return text.encode('latin-1')


def _empty_bytes(args: tuple, budget: CopyBudget) -> bytes:
    need(not args, 'refused: a call of bytes with arguments')
    return b''


def _bytearray(args: tuple, budget: CopyBudget) -> bytearray:
    # Two arguments, bytearray(u'...', 'latin-1'), come from protocols 0 to 2.
    (raw,) = (_encode(args, budget),) if len(args) == 2 else args or (b'',)
    need(type(raw) is bytes, f'refused: a bytearray made from {described(raw)}')
    budget.charge(len(raw))
    return bytearray(raw)


def _dtype(args: tuple, budget: CopyBudget) -> Dtype:
    code, _align, _copy = args
    known = type(code) is str and TYPE_CODE.fullmatch(code)
    shown = f"'{code[:60]}'" if type(code) is str else described(code)
    need(known, f'refused: NumPy dtype {shown}; {ONLY}')
    return Dtype(code)


def _reconstruct(args: tuple, budget: CopyBudget) -> Array:
    # The shape and type code that follow are placeholders, which BUILD replaces.
    kind, _shape, _code = args
    need(kind is NDARRAY, f'refused: an array made from {described(kind)}; {ONLY}')
    return Array()


def _frombuffer(args: tuple, budget: CopyBudget) -> np.ndarray:
    data, kind, shape, order, *axes = args
    need(len(axes) <= 1, 'refused: unusual array arguments')
    if axes and type(order) is str and order == 'K':  # NumPy 2: axes in memory in any order
        _need_ints(axes[0], 'an order of axes')
        return _array(data, kind, shape, 'C', budget).transpose(*axes)
    need(type(order) is str and order in ('C', 'F'), 'refused: an unusual array order')
    return _array(data, kind, shape, order, budget)


def _scalar(args: tuple, budget: CopyBudget) -> Any:
    kind, data = args
    return _array(data, kind, (), 'C', budget)[()]


def _array(
    data: Any, kind: Any, shape: Any, order: Literal['C', 'F'], budget: CopyBudget
) -> np.ndarray:
    """Build a read-only array over ``data``, which must be just as long as its shape needs."""
    need(type(kind) is Dtype and kind.dtype is not None, 'refused: an array without a dtype')
    _need_ints(shape, 'an array shape')
    known = len(shape) <= _MAX_DIMS and all(0 <= size < _MAX_SIZE for size in shape)
    need(known, 'refused: an array shape')
    if type(data) in (str, LongText):  # Python 2, which has no other bytes
        data = _encode((data, 'latin-1'), budget)
    elif type(data) is bytearray:
        budget.charge(len(data))
        data = bytes(data)
    need(type(data) in (bytes, memoryview), 'refused: array data that is no bytes')
    size = math.prod(shape) * kind.dtype.itemsize
    need(len(data) == size, f'{len(data)} bytes of data for an array of another size')
    if kind.code == 'b1' and size:
        # NumPy counts True values by adding bytes up; a 2 would lead it out of bounds.
        budget.charge(size // 8)  # which is so much faster than a copy
        need(np.frombuffer(data, np.uint8).max() <= 1, 'a bool array holds other bytes')
    flat = np.frombuffer(data, kind.dtype) if size else np.zeros(0, kind.dtype)
    array = flat.reshape(shape, order=order)
    array.flags.writeable = False
    return array


def _need_ints(value: Any, what: str) -> None:
    ints = type(value) is tuple and all(type(item) is int for item in value)
    need(ints, f'refused: {what} that is no tuple of int')


NDARRAY = Name('numpy.ndarray')
FROMBUFFER = Name('numpy.core.numeric._frombuffer', _frombuffer)
NAMES = {
    ('numpy', 'ndarray'): NDARRAY,
    ('numpy', 'dtype'): Name('numpy.dtype', _dtype),
    ('_codecs', 'encode'): Name('_codecs.encode', _encode),
}
for _core in ('numpy.core', 'numpy._core'):
    NAMES[f'{_core}.numeric', '_frombuffer'] = FROMBUFFER
    NAMES[f'{_core}.multiarray', '_reconstruct'] = Name('_reconstruct', _reconstruct)
    NAMES[f'{_core}.multiarray', 'scalar'] = Name('scalar', _scalar)
for _module in ('builtins', '__builtin__'):
    NAMES[_module, 'bytes'] = Name('bytes', _empty_bytes)
    NAMES[_module, 'bytearray'] = Name('bytearray', _bytearray)
