"""Requests of an attacker: whatever could make a reader slow, fat or wrong.

`ATTACKS` maps a name to what makes the frames of one message; the long ones fill what a frame may
hold. None of them is a request that could be answered with an action.
"""

import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from act_ros import plain_msgpack
from act_ros.bridge.protocol import MAX_MESSAGE_BYTES

FULL = MAX_MESSAGE_BYTES - 4096  # room for what stands around the long part of a message
SOME = 8_000_000  # where it is the number of digits, or of opcodes, that would take long
MANY = 1_000_000
MODULUS = 2**61 - 1  # integers hash to their remainder by this

ENCODE = b'c_codecs\nencode\n'
BYTEARRAY = b'cbuiltins\nbytearray\n'
RECONSTRUCT = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R'
SCALAR = b'cnumpy.core.multiarray\nscalar\n'
FROMBUFFER = b'cnumpy.core.numeric\n_frombuffer\n'


def u32(value: int) -> bytes:
    return struct.pack('<I', value)


def u64(value: int) -> bytes:
    return struct.pack('<Q', value)


def text(value: str) -> bytes:
    raw = value.encode()
    return b'X' + u32(len(raw)) + raw


def number(value: int) -> bytes:
    """Any integer as decimal text."""
    return b'L%dL\n' % value


def dtype(code: str, order: str = '<') -> bytes:
    state = text(order) + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t'
    return b'cnumpy\ndtype\n' + text(code) + b'\x89\x88\x87R(K\x03' + state + b'b'


def array(data: bytes, shape: bytes, code: str = 'u1', order: str = '|', fortran=False) -> bytes:
    """An array whose data and shape are whatever these opcodes push."""
    flag = b'\x88' if fortran else b'\x89'
    return RECONSTRUCT + b'(K\x01' + shape + dtype(code, order) + flag + data + b'tb'


def long_bytes(size: int = FULL) -> bytes:
    return b'B' + u32(size) + bytes(size)


def long_array(size: int = FULL, code: str = 'u1', order: str = '|') -> bytes:
    count = size // np.dtype(code).itemsize
    data = long_bytes(count * np.dtype(code).itemsize)
    return array(data, b'J' + u32(count) + b'\x85', code, order)


def request(qpos: bytes, images: bytes = b'}') -> bytes:
    """A pickled request, from the opcodes of its two parts."""
    return b'}' + text('qpos') + qpos + b's' + text('images') + images + b's.'


def filled(part: bytes, size: int = FULL) -> bytes:
    """The part, as often as it fits."""
    return part * (size // len(part))


# --- what hashes alike, and many keys


def _keys(pairs: Iterator[bytes]) -> bytes:
    return b'}(' + b''.join(key + b'N' for key in pairs) + b'u.'


def _nested_dicts() -> bytes:
    inner = b'}(' + b''.join(text(f'{i}') + b'N' for i in range(256)) + b'u'
    return b'(' + inner * 200 + b'l.'


KEYS = {
    'integers that hash alike': lambda: _keys(number(i * MODULUS) for i in range(43_600)),
    'memo numbers that hash alike': lambda: (
        b''.join(b'Np%d\n0' % (i * MODULUS) for i in range(30_000)) + b'N.'
    ),
    'memo numbers that share their low bits': lambda: (
        b''.join(b'Nr' + u32(i << 16) + b'0' for i in range(30_000)) + b'N.'
    ),
    'short integers': lambda: _keys(b'J' + u32(i) for i in range(45_000)),
    'floats': lambda: _keys(b'G' + struct.pack('>d', i * 2.0**70) for i in range(45_000)),
    'tuples that hash alike': lambda: _keys(
        number(i * MODULUS) + b'K\x01\x86' for i in range(20_000)
    ),
    'bytes': lambda: _keys(b'C\x08' + u64(i) for i in range(45_000)),
    'many texts': lambda: _keys(text(f'{i:x}') for i in range(45_000)),
    'texts one by one': lambda: (
        b'}' + b''.join(text(f'{i:x}') + b'Ns' for i in range(30_000)) + b'.'
    ),
    'the same long text again': lambda: (
        b'}' + (text('a' * 60_000) + b'q\x000') + (text('a' * 60_000) + b'q\x010')
        + b'h\x00Nsh\x01Ns' * 20_000 + b'.'
    ),
    'long texts': lambda: _keys(text('a' * 1000 + f'{i}') for i in range(45_000)),
    'one very long text': lambda: b'}X' + u32(FULL) + b'a' * FULL + b'Ns.',
    'many dicts': _nested_dicts,
    'dicts in dicts': lambda: (b'}' + text('a')) * 20_000 + b'N' + b's' * 20_000 + b'.',
    'sets': lambda: b'\x8f(' + b''.join(number(i * MODULUS) for i in range(20_000)) + b'\x90.',
    'frozen sets': lambda: b'(' + b''.join(number(i * MODULUS) for i in range(20_000)) + b'\x91.',
    'a key of the request': lambda: (
        b'}' + number(MODULUS) + b'Ns' + text('qpos') + b'Ns' + text('images') + b'}s.'
    ),
}  # fmt: skip

# --- long texts and numbers, wherever a pickle has some

LONG_TEXTS = {
    'V': lambda: b'V' + b'a' * FULL + b'\n.',
    'V of two bytes a character': lambda: b'V' + b'a' * (FULL - 9) + b'\\u20ac\n.',
    'V of escapes': lambda: b'V' + filled(b'\\u0041') + b'\n.',
    'V of long escapes': lambda: b'V' + filled(b'\\U0001f600') + b'\n.',
    'V of backslashes': lambda: b'V' + b'\\' * FULL + b'\n.',
    'V without an end': lambda: b'V' + b'a' * FULL,
    'many V without an end': lambda: b'V' + b'V' * FULL,
    'S': lambda: b"S'" + b'a' * FULL + b"'\n.",
    'S of escapes': lambda: b"S'" + filled(b'\\x41') + b"'\n.",
    'S of backslashes': lambda: b"S'" + b'\\' * FULL + b"'\n.",
    'S without an end': lambda: b"S'" + b'a' * FULL,
    'X': lambda: b'X' + u32(FULL) + b'a' * FULL + b'.',
    'X of four bytes a character': lambda: b'X' + u32(FULL) + '\U0001f600'.encode() * (FULL // 4)
    + b'.',
    'X of one wide character': lambda: b'X' + u32(FULL) + '\U0001f600'.encode() + b'a' * (FULL - 4)
    + b'.',
    'X8': lambda: b'\x8d' + u64(FULL) + b'a' * FULL + b'.',
    'T': lambda: b'T' + u32(FULL) + b'a' * FULL + b'.',
    'B': lambda: long_bytes() + b'.',
    'B8': lambda: b'\x8e' + u64(FULL) + bytes(FULL) + b'.',
    'bytearray': lambda: b'\x96' + u64(FULL) + bytes(FULL) + b'.',
    'a call of bytearray': lambda: BYTEARRAY + long_bytes() + b'\x85R.',
    'many texts of 64 KB': lambda: (
        b'(' + (b'X' + u32(65_000) + '\U0001f600'.encode() + b'a' * 64_996) * 1000 + b'l.'
    ),
    'many V of 64 KB': lambda: b'(' + (b'V' + b'\\u20ac' * 10_800 + b'\n') * 140 + b'l.',
    'many S of 64 KB': lambda: b'(' + (b"S'" + b'\\x41' * 16_000 + b"'\n") * 140 + b'l.',
    'many B of 64 KB': lambda: b'(' + (b'B' + u32(65_000) + bytes(65_000)) * 140 + b'l.',
    'I': lambda: b'I' + b'9' * SOME + b'\n.',
    'L': lambda: b'L' + b'9' * SOME + b'L\n.',
    'L of underscores': lambda: b'L' + filled(b'1_', SOME) + b'1L\n.',
    'F': lambda: b'F' + b'9' * SOME + b'\n.',
    'LONG4': lambda: b'\x8b' + u32(SOME) + b'\x7f' * SOME + b'.',
    'p': lambda: b'Np' + b'9' * SOME + b'\n.',
    'g': lambda: b'g' + b'9' * SOME + b'\n.',
    'c': lambda: b'c' + b'a' * SOME + b'\nb\n.',
    'the name of c': lambda: b'cnumpy\n' + b'a' * SOME + b'\n.',
    'i': lambda: b'(i' + b'a' * SOME + b'\nb\n.',
    'P': lambda: b'P' + b'a' * SOME + b'\n.',
    'a global by two texts': lambda: b'X' + u32(FULL) + b'a' * FULL + text('b') + b'\x93.',
    'a dtype': lambda: b'cnumpy\ndtype\nX' + u32(FULL) + b'f' * FULL + b'\x89\x88\x87R.',
    'a dtype of many digits': lambda: b'cnumpy\ndtype\nX' + u32(60_000) + b'f' + b'4' * 59_999
    + b'\x89\x88\x87R.',
    'a byte order': lambda: b'cnumpy\ndtype\n' + text('f4') + b'\x89\x88\x87R(K\x03X' + u32(FULL)
    + b'<' * FULL + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.',
    'an encoding': lambda: ENCODE + text('a') + b'X' + u32(FULL) + b'l' * FULL + b'\x86R.',
    'an order of memory': lambda: FROMBUFFER + b'(C\x00' + dtype('f4') + b'K\x00\x85X' + u32(FULL)
    + b'C' * FULL + b'tR.',
    'many integers of 1024 digits': lambda: b'(' + (b'L' + b'9' * 1020 + b'L\n') * 10_000 + b'l.',
    'many floats of 1024 digits': lambda: b'(' + (b'F0.' + b'9' * 1020 + b'\n') * 10_000 + b'l.',
    'many LONG4 of 1 KB': lambda: b'(' + (b'\x8b' + u32(1024) + b'\x7f' * 1024) * 10_000 + b'l.',
    'a text as the request': lambda: pickle.dumps('RESET' + 'a' * FULL, 4),
}  # fmt: skip

# --- array data, copied or walked through

SHAPE = b'M\xd0\x07M\xb8\x0bK\n\x87'  # (2000, 3000, 10)

ARRAYS = {
    'as it is': lambda: request(long_array()),
    'of float16': lambda: request(long_array(SOME, 'f2', '<')),
    'of big-endian floats': lambda: request(long_array(SOME, 'f8', '>')),
    'of complex numbers': lambda: request(long_array(SOME, 'c16', '<')),
    'of true values': lambda: request(long_array(code='b1')),
    'of true values, again and again': lambda: (
        b'(' + long_bytes(30_000_000) + b'q\x000'
        + array(b'h\x00', b'J' + u32(30_000_000) + b'\x85', 'b1') * 80 + b'l.'
    ),
    'in the order of Fortran': lambda: request(
        array(long_bytes(60_000_000), SHAPE, fortran=True)
    ),
    'transposed': lambda: request(
        FROMBUFFER + b'(' + long_bytes(60_000_000) + dtype('u1', '|') + SHAPE
        + text('K') + b'K\x02K\x00K\x01\x87tR'
    ),
    'as images': lambda: request(b'N', b'}' + text('rgb_main') + long_array(SOME) + b's'),
    'by _frombuffer': lambda: request(
        FROMBUFFER + b'(\x96' + u64(FULL) + bytes(FULL) + dtype('u1', '|')
        + b'J' + u32(FULL) + b'\x85' + text('C') + b'tR'
    ),
    'as text': lambda: request(
        array(ENCODE + b'V' + b'a' * FULL + b'\n' + text('latin1') + b'\x86R',
              b'J' + u32(FULL) + b'\x85')
    ),
    'as text of escapes': lambda: request(
        array(ENCODE + b'V' + b'\\u0041' * 11_000_000 + b'\n' + text('latin1') + b'\x86R',
              b'J' + u32(11_000_000) + b'\x85')
    ),
    'as utf-8': lambda: request(
        array(ENCODE + b'X' + u32(66_000_000) + '\xe9'.encode() * 33_000_000 + text('latin1')
              + b'\x86R', b'J' + u32(33_000_000) + b'\x85')
    ),
    'as text of Python 2': lambda: request(
        array(b"S'" + b'\\x41' * 16_000_000 + b"'\n", b'J' + u32(16_000_000) + b'\x85')
    ),
    'as short text of Python 2': lambda: request(
        array(b'T' + u32(FULL) + b'a' * FULL, b'J' + u32(FULL) + b'\x85')
    ),
    'as text, again and again': lambda: (
        b'V' + b'\\u0041' * 5_000_000 + b'\nq\x000('
        + (ENCODE + b'h\x00' + text('latin1') + b'\x86R') * 500 + b'l.'
    ),
    'as short text, again and again': lambda: (
        b'V' + b'a' * 60_000 + b'\nq\x000('
        + (ENCODE + b'h\x00' + text('latin1') + b'\x86R') * 1500 + b'l.'
    ),
    'as a bytearray, again and again': lambda: (
        b'B' + u32(60_000) + bytes(60_000) + b'q\x000(' + (BYTEARRAY + b'h\x00\x85R') * 1500
        + b'l.'
    ),
    'as scalars': lambda: (
        b'(' + (SCALAR + dtype('f8') + b'C\x08' + bytes(8) + b'\x86R') * 20_000 + b'l.'
    ),
    'of no size in many dimensions': lambda: (
        b'(' + array(b'C\x00', b'(' + b'K\x00' * 32 + b't') * 900 + b'l.'
    ),
    'of a vast shape': lambda: array(
        b'C\x00', b'(' + (b'\x8b' + u32(1024) + b'\x7f' * 1024) * 32 + b't'
    ) + b'.',
    'with a shape of many': lambda: (
        b'(' + b'K\x01' * 9000 + b'tq\x000(' + array(b'C\x01a', b'h\x00') * 20 + b'l.'
    ),
    'with axes of many': lambda: (
        b'(' + b'K\x00' * 9000 + b'tq\x000' + FROMBUFFER + b'(C\x01a' + dtype('u1', '|')
        + b'K\x01\x85' + text('K') + b'h\x00tR.'
    ),
}  # fmt: skip

# --- values within values

LOOPS = {
    'a list': b']q\x00h\x00a',
    'a list, by a duplicate': b']2a',
    'a dict': b'}q\x00' + text('a') + b'h\x00s',
    'a tuple': b']q\x00\x85q\x010h\x00h\x01a',
    'a list in a list in a list': b']q\x000]q\x01h\x00a0]q\x02h\x01a0h\x00h\x02a',
    'a list in a dict': b']q\x000}q\x01' + text('a') + b'h\x00s0h\x00h\x01a',
}

NESTED = {
    **{
        f'{name} that contains itself': lambda loop=loop: (
            b'(' + loop + long_bytes(SOME) + b'l.'
        )
        for name, loop in LOOPS.items()
    },
    'a list of itself and an array': lambda: b']q\x00(h\x00' + long_array(SOME) + b'e.',
    'an array of itself': lambda: (
        RECONSTRUCT + b'q\x00(K\x01K\x01\x85' + dtype('u1', '|') + b'\x89h\x00tb.'
    ),
    'an array of objects': lambda: pickle.dumps(np.array([[]] * 1000 + [None], dtype=object)),
    'deep lists': lambda: b']' * MANY + b'a' * (MANY - 1) + b'.',
    'deep lists of marks': lambda: b'(' * MANY + b'l' * MANY + b'.',
    'deep tuples': lambda: b')' + b'\x85' * MANY + b'.',
    'deep tuples as qpos': lambda: request(b')' + b'\x85' * 9000),
    'deep arguments': lambda: b'cnumpy\nndarray\n' + b'\x85' * MANY + b'.',
    'some deep arguments': lambda: b'cnumpy\nndarray\n' + b'\x85' * 9000 + b'R.',
    'doubling tuples': lambda: request(b'N' + b'2\x86' * 4000),
    'doubling tuples as images': lambda: request(b'N', b'N' + b'2\x86' * 4000),
    'doubling tuples as a key': lambda: b'}N' + b'2\x86' * 4000 + b'Ns.',
    'doubling tuples as a shape': lambda: array(b'C\x00', b'N' + b'2\x86' * 4000) + b'.',
    'doubling lists': lambda: b']' + b'q\x00](h\x00h\x00e' * 2000 + b'.',
    'doubling tuples as the state of a dtype': lambda: (
        b'cnumpy\ndtype\n' + text('f4') + b'\x89\x88\x87RN' + b'2\x86' * 3000 + b'b.'
    ),
}

# --- many small things, and lies about sizes

STORMS = {
    name: lambda part=part: filled(part, MANY) + b'.'
    for name, part in {
        'None': b'N', 'None, taken off': b'N0', 'marks': b'(', 'marks, taken off': b'(1',
        'duplicates': b'N22220', 'protocols': b'\x80\x04', 'frames': b'\x95' + bytes(8),
        'lists': b']', 'dicts': b'}', 'memo': b'N\x94', 'numbered memo': b'Nq\x00',
        'tuples': b')\x85', 'zeros': b'\0', 'ends': b'.', 'true values': b'I01\n',
        'floats': b'F1\n', 'names': b'cnumpy\nndarray\n', 'calls': BYTEARRAY + b')R0',
        'stack names': b'\x8c\x05numpy\x8c\x07ndarray\x93', 'short text': b'\x8c\x00',
        'bytes': b'C\x00', 'appends': b']Na0', 'pops below a mark': b'(0', 'random': b'\x8f',
    }.items()
}  # fmt: skip

LIES = {
    **{
        f'{name} of {size:#x}': lambda opcode=opcode, raw=raw: opcode + raw + b'abc.'
        for name, opcode, pack, sizes in (
            ('X', b'X', u32, (2**31 - 1, 2**32 - 1)),
            ('B', b'B', u32, (2**31 - 1, 2**32 - 1)),
            ('T', b'T', u32, (2**31 - 1, 2**32 - 1)),
            ('LONG4', b'\x8b', u32, (2**31 - 1, 2**32 - 1)),
            ('X8', b'\x8d', u64, (2**40, 2**63, 2**64 - 1)),
            ('B8', b'\x8e', u64, (2**40, 2**63, 2**64 - 1)),
            ('bytearray', b'\x96', u64, (2**40, 2**63, 2**64 - 1)),
            ('a frame', b'\x80\x04\x95', u64, (2**40, 2**63, 2**64 - 1)),
        )
        for size, raw in ((size, pack(size)) for size in sizes)
    },
    'a memo number of 4 billion': lambda: b'Nr\xff\xff\xff\xff0N.',
    'a negative memo number': lambda: b'Np-1\n0N.',
    'a buffer out of band': lambda: b'\x97.',
    'a buffer out of band, read-only': lambda: b'\x97\x98.',
    'an extension': lambda: b'\x84\xff\xff\xff\x7f.',
    'bytes of 2 GB': lambda: b'cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.',
    'a bytearray of 2 GB': lambda: BYTEARRAY + b'J\xff\xff\xff\x7f\x85R.',
    'an array of 2 GB': lambda: array(b'C\x01a', b'J\xff\xff\xff\x7f\x85') + b'.',
    'noise': lambda: os.urandom(SOME),
    'a request and then noise': lambda: request(b'N') + os.urandom(SOME),
}


# --- MessagePack


def packed(value: bytes, field: str = 'qpos') -> bytes:
    """A request for a chunk, of which one field is packed already."""
    fields = {'request': 'act', 'reply': 'chunk', 'qpos': np.zeros(17, np.float32), 'images': {}}
    fields.pop(field, None)
    head = bytes((0x81 + len(fields),))
    return head + plain_msgpack.dumps(fields)[1:] + plain_msgpack.dumps(field) + value


def seen(value: bytes) -> bytes:
    """One whose camera sees that."""
    return packed(b'\x81' + plain_msgpack.dumps('rgb_main') + value, 'images')


def many(part: bytes, count: int = MANY) -> bytes:
    return b'\xdd' + struct.pack('>I', count) + part * count


def binary(data: bytes) -> bytes:
    return b'\xc6' + struct.pack('>I', len(data)) + data


def numbers(data: bytes, shape: list[int], code: str = '|u1') -> bytes:
    return plain_msgpack.dumps({'dtype': code, 'shape': shape, 'data': data})


PACKED = {
    **{name: lambda part=part: packed(many(part)) for name, part in {
        'nil': b'\xc0', 'empty lists': b'\x90', 'empty maps': b'\x80', 'maps': b'\x81\xa0\xc0',
        'empty bytes': b'\xc4\x00', 'floats': b'\xcb' + bytes(8), 'short text': b'\xa1a',
        'wide text': b'\xa4' + '\U0001f600'.encode(), 'arrays': numbers(b'ab', [2]),
        'lists of lists': b'\x91\x91\x91\x91\xc0', 'bytes': binary(b'a' * 50),
    }.items()},
    'text': lambda: packed(many(b'\xda\xff\xff' + b'a' * 0xFFFF, 1000)),
    'lists in each other': lambda: packed(b'\x91' * FULL),
    'maps in each other': lambda: packed(b'\x81\xa1a' * (FULL // 3)),
    'a long text': lambda: packed(b'\xdb' + struct.pack('>I', FULL) + b'a' * FULL),
    'a long key': lambda: packed(b'\x81\xdb' + struct.pack('>I', FULL) + b'a' * FULL + b'\xc0'),
    'long bytes': lambda: packed(binary(bytes(FULL))),
    'long bytes as a session': lambda: packed(binary(bytes(FULL)), 'session'),
    'long bytes as a picture': lambda: seen(binary(bytes(FULL))),
    'a long array': lambda: packed(numbers(bytes(FULL), [FULL])),
    'a long array of floats': lambda: packed(numbers(bytes(FULL), [FULL // 8], '<f8')),
    'a long array as a picture': lambda: seen(numbers(bytes(FULL), [FULL // 3, 3])),
    'a shape of many': lambda: packed(numbers(b'a', [1] * 9000)),
    'a shape that overflows': lambda: packed(numbers(b'', [2**32, 2**31, 2])),
    'objects': lambda: packed(numbers(bytes(8), [1], '|O')),
    'a key twice': lambda: packed(b'\x82' + (b'\xa1a' + binary(bytes(SOME))) * 2),
    'many keys': lambda: b'\xdf' + struct.pack('>I', MANY) + b'\xa1a\xc0' * MANY,
    'keys that are numbers': lambda: packed(b'\xde\x00\xff' + b'\xcd\x01\x01\xc0' * 255),
    'extensions': lambda: packed(many(b'\xd4\x01a')),
    'a long extension': lambda: packed(b'\xc9' + struct.pack('>I', FULL) + b'\x01' + bytes(FULL)),
    **{f'a lying {code:#x}': lambda code=code: packed(bytes((code,)) + b'\xff' * 4 + bytes(9))
       for code in (0xC6, 0xC9, 0xDB, 0xDD, 0xDF)},
    'lying lists in each other': lambda: packed(b'\xdd\xff\xff\xff\xff' * 32),
    'noise': lambda: packed(os.urandom(SOME)),
    'a PNG of a gigabyte': lambda: seen(binary(png(zlib.compress(bytes(1 << 30))))),
    'a PNG of many chunks': lambda: seen(binary(png(*[b''] * 90_000))),
    'a JPEG of many segments': lambda: seen(
        binary(b'\xff\xd8' + b'\xff\xe1\0\2' * 200_000)),
}  # fmt: skip


def png(*parts: bytes) -> bytes:
    """A PNG of the documented size, its data in parts."""
    header = struct.pack('>IIBBBBB', 640, 480, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), *((b'IDAT', part) for part in parts), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        for kind, data in chunks
    )


ATTACKS: dict[str, Callable[[], list[bytes]]] = {
    f'{group}: {name}': lambda make=make: [make()]
    for group, attacks in (
        ('keys', KEYS),
        ('long text', LONG_TEXTS),
        ('array', ARRAYS),
        ('nested', NESTED),
        ('storm', STORMS),
        ('lie', LIES),
        ('msgpack', PACKED),
    )
    for name, make in attacks.items()
}
ATTACKS |= {
    'frames: many that are empty': lambda: [b''] * 100_000,
    'frames: many after a request': lambda: [pickle.dumps('RESET'), *[b'a'] * 100_000],
    'frames: some that are long': lambda: [bytes(FULL)] * 3,
}
