"""What must hold for any bytes. `TARGETS` maps a name to what fails where it does not hold."""

import contextlib
import io
import pickle
import resource
import struct
import time
import warnings
from unittest import mock

import msgpack
import numpy as np

from act_ros import plain_msgpack, plain_pickle
from act_ros.bridge import protocol, requests, zmtp
from act_ros.bridge.pictures import decode_images
from act_ros.errors import ObservationError
from act_ros.policy.interface import check_observation
from act_ros.task import Entry, Task

MAX_TIME = 1.0  # [s] for an input; atheris alone makes everything some times slower
MAX_MEMORY = 64 << 20  # bytes that the process grows by, at one input of some kilobytes
PLAIN = (type(None), bool, int, float, str, bytes, bytearray, memoryview)
_STATE = tuple(Entry.parse(f'arm/{i}/position') for i in range(3))
TASK = Task('tiny', ('eye',), _STATE, _STATE[:1], 50.0, (4, 6))


@contextlib.contextmanager
def bounded():
    """What is done here takes neither long nor much memory, also where it is refused."""
    memory, started = _memory(), time.thread_time()
    try:
        yield
    finally:
        took, grown = time.thread_time() - started, _memory() - memory
        assert took < MAX_TIME, f'it took {took:.2f} s'
        assert grown < MAX_MEMORY, f'it took {grown >> 20} MiB'


def _memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def same(ours, theirs):
    """Are both equal, and of equal types all the way down?

    What lies in several places is compared once: a short pickle can double it again and again.
    """
    todo, seen = [(ours, theirs)], set()
    while todo:
        one, other = todo.pop()
        if (id(one), id(other)) in seen:
            continue
        seen.add((id(one), id(other)))
        if isinstance(one, memoryview):
            one = bytes(one)
        kind = type(one)
        if type(other) is not kind:
            return False
        if kind in (list, tuple):
            if len(one) != len(other):
                return False
            todo += zip(one, other, strict=True)
        elif kind is dict:
            if [*one] != [*other]:
                return False
            todo += zip(one.values(), other.values(), strict=True)
        elif isinstance(one, np.ndarray | np.generic):
            if numbers(one) != numbers(other):
                return False
        elif kind is float:
            if struct.pack('d', one) != struct.pack('d', other):
                return False
        elif one != other:
            return False
    return True


def numbers(array):
    """All that counts of an array, or of a number of NumPy's; NumPy itself may swap bytes."""
    native = array.dtype.newbyteorder('=')
    return native, array.shape, array.astype(native).tobytes()


def check_plain(value):
    """Nothing but plain data and read-only arrays of numbers; text that can be sent on."""
    todo, seen = [value], set()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if type(item) in (list, tuple):
            todo += item
        elif type(item) is dict:
            assert all(type(key) is str for key in item)
            todo += [*item, *item.values()]
        elif isinstance(item, np.ndarray | np.generic):
            assert item.dtype.kind in 'biufc' and item.dtype.itemsize <= 16
            assert not item.flags.writeable
        else:
            assert type(item) in PLAIN, type(item)
            if type(item) is str:
                item.encode()


def check_line(error, limit):
    text = str(error)
    assert 0 < len(text) <= limit and text.isprintable(), text


# --- pickle


NAMES = {
    'ndarray': np.ndarray,
    # Always a copy: a new state for NumPy's own float32 would change that of all.
    'dtype': lambda code, align, copy: np.dtype(code, copy=True),
    '_reconstruct': np.zeros(1).__reduce__()[0],
    '_frombuffer': np.zeros(1).__reduce_ex__(5)[0],
    'scalar': np.float32(1).__reduce__()[0],
    'encode': lambda text, encoding: text.encode('latin-1'),
    'bytes': bytes,
    'bytearray': bytearray,
}  # fmt: skip


class Restricted(pickle.Unpickler):
    """The standard library's reader, which may call what NumPy's pickles of numbers do."""

    def __init__(self, data):
        # All of it can be peeked at, as `pickle.loads` has it: from a plain file it loses bytes
        # where a frame ends within an opcode.
        file = io.BufferedReader(io.BytesIO(data), len(data) + 1)
        super().__init__(file, encoding='latin1')

    def find_class(self, module, name):
        return NAMES[name]


def read_pickle(data):
    """Plain data or one error; what the standard library reads too, it reads alike."""
    results = []
    for long_bytes in (False, True):
        try:
            with bounded():
                value = plain_pickle.loads(data, max_opcodes=10_000, long_bytes=long_bytes)
        except plain_pickle.UnsafePickleError as error:
            assert type(error) is plain_pickle.UnsafePickleError
            check_line(error, 200)
        else:
            check_plain(value)
            results.append(value)
    if not results:
        return
    # Whatever is read without them is read the same with them.
    assert same(results[-1], results[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            theirs = Restricted(data).load()
    except Exception:
        return
    assert same(results[0], theirs), (results[0], theirs)


# --- MessagePack


def as_read(value):
    """What the msgpack library read, with arrays as ours has them."""
    if type(value) is list:
        return [as_read(item) for item in value]
    if type(value) is dict:
        if value.keys() == {'dtype', 'shape', 'data'}:
            return np.frombuffer(value['data'], value['dtype']).reshape(value['shape'])
        return {key: as_read(item) for key, item in value.items()}
    return value


def read_msgpack(data):
    """Plain data or one error; the msgpack library reads it alike, and so is it written."""
    try:
        with bounded():
            value = plain_msgpack.loads(data)
    except plain_msgpack.MsgpackError as error:
        check_line(error, 200)
        return
    check_plain(value)
    assert same(value, as_read(msgpack.unpackb(data)))
    assert same(plain_msgpack.loads(plain_msgpack.dumps(value)), as_read(msgpack.unpackb(data)))


# --- requests


def answer(data):
    """A request whose fields are sound, or an error; either can be answered."""
    try:
        with bounded():
            request = requests.parse(data)
    except requests.RequestError as error:
        check_line(error, 300)
        echo, reply = error.echo, requests.error(error.echo, 'e', 'bad_request', str(error))
    else:
        echo, reply = request.echo, requests.ok(request.echo, 'e', action=np.zeros(2))
        assert request.kind in requests.FIELDS
        assert request.step is None or 0 <= request.step <= 2**53
        assert request.deadline == request.deadline
        if request.kind == 'act':
            observe(request.qpos, request.images)
    if echo.encoding == 'msgpack':
        plain_msgpack.loads(reply)
    else:
        protocol.parse_reply(reply)


def observe(qpos, images):
    try:
        with bounded():
            images = decode_images(images, TASK)
            check_observation(TASK, qpos, images)
    except ObservationError as error:
        check_line(error, 500)


def picture(data):
    """A picture of the camera's size, or an error."""
    observe(np.zeros(3), {'eye': data})


# --- ZMTP

HELLO = b'\x05READY' + zmtp.metadata(Socket_Type=b'REQ', Identity=b'me')
BOUNDS = {'max_frames': 3, 'max_message': 700, 'max_waiting': 2}
# So small that short inputs come to where large frames do.
SMALL = {'_STAGING': 4200, '_FIRST': 64, '_STEP': 256}


class Open(zmtp.Null):
    """A mechanism whose frames are wrapped as CURVE's are, without its locks."""

    name = b'OPEN'
    overhead = 1

    def seal(self, flags, data):
        return bytes((flags,)) + bytes(data)

    def unseal(self, body):
        if not len(body) or body[0] > 5:
            raise zmtp.ViolationError('frame')
        return body[0], body[1:]


def converse(mechanism, data, cuts):
    """All that a connection makes of bytes that come in pieces.

    :param cuts: lengths of the pieces, over and over.
    :returns: its messages, what it sends, and why it ended, None where it did not.
    """
    connection = zmtp.Connection(mechanism, **BOUNDS)
    view, messages, turn, reason = memoryview(data), [], 0, None
    try:
        while len(view) or connection.paused:
            if connection.paused:
                connection.done()
                found = connection.proceed()
            else:
                buffer = connection.buffer()
                assert len(buffer), 'no room, as if the peer had left'
                count = min(cuts[turn % len(cuts)], len(buffer), len(view))
                buffer[:count] = view[:count]
                del buffer
                view, turn = view[count:], turn + 1
                found = connection.received(count, float(turn))
            for message in found:
                assert message.started <= message.received <= turn
                assert len(message.frames) <= BOUNDS['max_frames']
                messages.append(([*map(bytes, message.frames)], message.dropped))
            assert 0 <= connection.held <= 3 * BOUNDS['max_message']
    except zmtp.ViolationError as violation:
        reason = violation.reason
    sent = b''.join(connection.outgoing)
    assert len(sent) <= 200 + len(data)
    return messages, sent, reason


def connect(data):
    """Messages or a violation, the same however the bytes are cut, within the bounds.

    The first byte: bit 0 = frames are wrapped, bit 1 = the handshake is done. The next three say
    where the bytes are cut.
    """
    if len(data) < 4:
        return
    mode, cuts, data = data[0], [1 + size for size in data[1:4]], data[4:]
    mechanism = Open() if mode & 1 else zmtp.Null()
    if mode & 2:
        hello = bytes((zmtp.COMMAND, len(HELLO))) + HELLO
        data = zmtp.greeting(mechanism.name) + hello + data
    with mock.patch.multiple(zmtp, **SMALL):
        with bounded():
            whole, sent, reason = converse(mechanism, data, [len(data) + 1])
        for pieces in ([1], cuts):
            other, also_sent, same_reason = converse(mechanism, data, pieces)
            assert (also_sent, same_reason) == (sent, reason)
            # A message that comes in one piece with a violation goes with it.
            assert other[: len(whole)] == whole and (reason or other == whole)

TARGETS = {
    'pickle': read_pickle,
    'msgpack': read_msgpack,
    'request': answer,
    'picture': picture,
    'zmtp': connect,
}
