"""Mutations of pickles that keep most of them readable.

Of bytes that are changed anywhere nearly all are refused. These are changed between opcodes, by
pieces of which each leaves a value behind, and what the stack holds at the end becomes one tuple.
"""

import contextlib
import io
import itertools
import pickle
import pickletools
import random

import numpy as np

VALUES = [
    b'N', b'\x88', b'\x89', b'I01\n', b'I-7\n', b'L99L\n', b'J\xff\xff\xff\xff', b'K\5', b'M\0\1',
    b'\x8a\2\xff\x7f', b'\x8a\0', b'F1e300\n', b'Fnan\n', b'G' + bytes(8), b'V\\u20ac\n',
    b"S'a\\x41'\n", b'X\2\0\0\0\xc3\xa9', b'\x8c\1a', b'U\2\xff\0', b'T\1\0\0\0\xe9', b'C\2ab',
    b'B\1\0\0\0\xff', b'\x8e\1' + bytes(7) + b'a', b'\x96\1' + bytes(7) + b'a',
    b']', b'}', b')', b'(l', b'(d', b'(t',
    b'c_codecs\nencode\nVa\nVlatin1\n\x86R', b'cbuiltins\nbytearray\nC\1a\x85R',
    b'cbuiltins\nbytes\n)R',
]  # fmt: skip
ARRAYS = [
    np.arange(6).reshape(2, 3), np.arange(3, dtype='>f4'), np.array([True, False]), np.float16(1),
    np.asfortranarray(np.arange(4.0).reshape(2, 2)), np.zeros((0, 2), 'c8'), np.array(1, '<u2'),
    np.arange(8).reshape(2, 2, 2).transpose(1, 0, 2),
]  # fmt: skip
VALUES += [pickle.dumps(value, protocol)[2 * (protocol > 1) : -1]
           for value in ARRAYS for protocol in (0, 2, 3)]  # fmt: skip
# These take values off the stack, or look at it.
USES = [
    b'a', b's', b'\x85', b'\x86', b'\x87', b'2', b'0', b'\x94', b'(', b'1', b't', b'l', b'd', b'e',
    b'u', b'b', b'R', b'q\1', b'h\1', b'h\0', b'p300\n', b'g300\n', b'r\0\1\0\0', b'j\0\1\0\0',
    b'Vk\n', b'X\1\0\0\0a', b'\x80\4', b'\x95' + bytes(8),
]  # fmt: skip
WHOLE = (b'(', b't.')


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Another pickle much like one."""
    parts = _parts(data)
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(parts) + 1)
        match rng.randrange(5):
            case 0 | 1:
                parts.insert(i, rng.choice(VALUES))
            case 2:
                parts.insert(i, rng.choice(USES))
            case 3:
                del parts[i : i + rng.randint(1, 3)]
            case 4:
                parts[i:i] = parts[(j := rng.randrange(len(parts) + 1)) : j + rng.randint(1, 8)]
    return WHOLE[0] + b''.join(parts) + WHOLE[1]


def _parts(data: bytes) -> list[bytes]:
    """The opcodes with their arguments, without those of `WHOLE`; in one piece what are none."""
    cuts = [0]
    with contextlib.suppress(Exception):
        cuts += [start for _, _, start in pickletools.genops(io.BytesIO(data)) if start]
    parts = [data[start:end] for start, end in itertools.pairwise([*cuts, len(data)])]
    if parts[-1:] == [b'.']:
        parts.pop()
    return parts[1:-1] if parts[:1] == [b'('] and parts[-1:] == [b't'] else parts
