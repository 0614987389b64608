"""The front against real ZeroMQ clients, and against peers that speak it badly on purpose."""

import contextlib
import os
import resource
import socket
import struct
import threading
import time

import pytest
import zmq
import zmq.auth
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.bridge import zmtp
from act_ros.bridge.front import Bounds, Closed, Front, Message
from act_ros.bridge.keys import ServerKeys, make_client, make_server
from act_ros.errors import ActError
from test.waiting import wait_until

MIB = 1024 * 1024
READY = b'\x05READY' + zmtp.metadata(Socket_Type=b'REQ', Identity=b'')
HELLO = zmtp.greeting(b'NULL') + bytes([zmtp.COMMAND, len(READY)]) + READY


class Echo:
    """A front that answers each message with its own frames, on a thread."""

    def __init__(self, endpoint='tcp://127.0.0.1:0', **options):
        self.front = Front(endpoint, **options)
        self.closed = []
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ending:
            for event in self.front.poll(1.0):
                if isinstance(event, Message):
                    self.front.send(event.peer, event.frames)
                    self.front.done(event.peer)
                elif isinstance(event, Closed):
                    self.closed.append(event.reason)
        self.front.close(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ending = True
        self.front.wake()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def reasons(self):
        return dict(self.front.counts.closed)

    def raw(self):
        """A TCP connection that speaks for itself."""
        host, port = self.front.endpoint.removeprefix('tcp://').rsplit(':', 1)
        return socket.create_connection((host, int(port)), timeout=10)


@contextlib.contextmanager
def client(endpoint, kind=zmq.REQ, prepare=lambda socket: None):
    context = zmq.Context()
    socket = context.socket(kind)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    prepare(socket)
    socket.connect(endpoint)
    try:
        yield socket
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize('place', ['tcp://127.0.0.1:0', 'tcp://[::1]:0', 'ipc'])
def test_clients_of_zeromq_get_their_replies(place, tmp_path):
    endpoint = f'ipc://{tmp_path}/front.sock' if place == 'ipc' else place
    with Echo(endpoint) as echo:

        def prepare(socket):
            socket.setsockopt(zmq.IPV6, '[' in endpoint)
            socket.setsockopt(zmq.HEARTBEAT_IVL, 20)  # PING and PONG beside the messages
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10_000)  # however busy the machine

        with client(echo.front.endpoint, prepare=prepare) as one:
            for size in (0, 1, 255, 256, 70_000, 5 * MIB):
                data = os.urandom(size)
                one.send(data)
                assert one.recv() == data
        with client(echo.front.endpoint, zmq.DEALER, prepare) as dealer:
            for i in range(20):  # more than may wait: the rest stays in the kernel
                dealer.send_multipart([b'', bytes([i]) * 100_000])
            for i in range(20):
                assert dealer.recv_multipart() == [b'', bytes([i]) * 100_000]
        wait_until(lambda: len(echo.closed) == 2, 10.0, lambda: f'{echo.closed}')
        assert set(echo.closed) <= {'left', 'lost'}  # lost: with a PONG on its way
        assert echo.front.counts.held == 0
    if place == 'ipc':
        assert not list(tmp_path.iterdir())


def test_a_taken_address_and_one_that_is_none_are_one_line(tmp_path):
    with Echo() as echo, pytest.raises(ActError, match=r'address in use: .* stop it'):
        Front(echo.front.endpoint)
    for wrong in ('tcp://127.0.0.1', 'udp://127.0.0.1:5', 'tcp://127.0.0.1:99999', 'ipc://'):
        with pytest.raises(ActError, match='expected tcp://ADDRESS:PORT'):
            Front(wrong)
    path = tmp_path / 'mine'
    path.write_text('no socket')
    with pytest.raises(ActError, match='address in use'):
        Front(f'ipc://{path}')
    assert path.read_text() == 'no socket'


def test_the_file_of_a_server_that_is_gone_is_taken_over(tmp_path):
    path = tmp_path / 'left.sock'
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with Echo(f'ipc://{path}') as echo, client(echo.front.endpoint) as one:
        one.send(b'a')
        assert one.recv() == b'a'


FRAME = struct.pack('>BQ', zmtp.LONG | zmtp.MORE, MIB) + bytes(MIB)
HOSTILE = {
    'a web browser': (b'GET / HTTP/1.1\r\n\r\n', 'not zmtp 3'),
    'an old version': (b'\xff' + bytes(8) + b'\x7f\x01\x00', 'not zmtp 3'),
    'another mechanism': (zmtp.greeting(b'PLAIN'), 'mechanism'),
    'a message in place of the handshake': (zmtp.greeting(b'NULL') + b'\x00\x01a', 'handshake'),
    'a publisher': (
        zmtp.greeting(b'NULL') + b'\x04\x19\x05READY' + zmtp.metadata(Socket_Type=b'PUB'),
        'socket type',
    ),
    'metadata cut short': (zmtp.greeting(b'NULL') + b'\x04\x0b\x05READY\x09Sock', 'metadata'),
    'a frame of 2**63 bytes': (HELLO + struct.pack('>BQ', zmtp.LONG, 2**63), 'too large'),
    'a command of a megabyte': (HELLO + struct.pack('>BQ', 6, MIB), 'too large'),
    'unknown flags': (HELLO + b'\x08\x01a', 'frame'),
}  # fmt: skip


@pytest.mark.parametrize('name', HOSTILE)
def test_who_breaks_the_protocol_is_closed_and_counted(name):
    sent, reason = HOSTILE[name]
    if name == 'a publisher':
        body = sent[66:]
        sent = sent[:64] + bytes([zmtp.COMMAND, len(body)]) + body
    with Echo() as echo, echo.raw() as peer:
        peer.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while peer.recv(4096):
                pass
        wait_until(lambda: reason in echo.reasons(), 5.0, lambda: f'{echo.reasons()}')


def test_an_endless_message_costs_what_one_may_and_others_are_served():
    bounds = Bounds(message=4 * MIB, memory=16 * MIB, message_time=1.5)
    with Echo(bounds=bounds) as echo, echo.raw() as peer, client(echo.front.endpoint) as honest:
        before, most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
        peer.sendall(HELLO)
        with contextlib.suppress(ConnectionError):
            for _ in range(2000):
                peer.sendall(FRAME)
                most = max(most, echo.front.counts.held)
        # It was not read to its end, which there is none of: its time was over.
        wait_until(lambda: echo.reasons().get('message time'), 5.0, lambda: f'{echo.reasons()}')
        assert 3 * MIB < most <= 5 * MIB
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024  # [KiB]
        honest.send(b'and I?')
        assert honest.recv() == b'and I?'


def test_all_connections_together_hold_what_all_may():
    bounds = Bounds(message=4 * MIB, memory=10 * MIB)
    with Echo(bounds=bounds) as echo, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(echo.raw()) for _ in range(8)]
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                peer.sendall(HELLO + 3 * FRAME)
        wait_until(lambda: echo.reasons().get('memory', 0) >= 4, 10.0, lambda: f'{echo.reasons()}')
        # What is one too many is counted before it goes.
        wait_until(lambda: echo.front.counts.held <= bounds.memory, 10.0, 'all within the bound')
        with client(echo.front.endpoint) as honest:
            honest.send(b'x' * MIB)
            assert len(honest.recv()) == MIB


def test_half_a_greeting_is_waited_for_so_long_and_takes_no_place():
    bounds = Bounds(connections=4, handshake_time=0.5)
    with Echo(bounds=bounds) as echo, contextlib.ExitStack() as stack:
        with client(echo.front.endpoint) as first:
            first.send(b'a')
            assert first.recv() == b'a'
            for _ in range(12):
                stack.enter_context(echo.raw()).sendall(b'\xff')
            wait_until(lambda: echo.reasons().get('crowded', 0) >= 8, 5.0, 'crowded ones')
            first.send(b'b')
            assert first.recv() == b'b'
        wait_until(lambda: echo.reasons().get('handshake time'), 5.0, lambda: f'{echo.reasons()}')


def test_who_never_reads_is_not_read_from():
    bounds = Bounds(reply_time=0.5)
    with Echo(bounds=bounds) as echo, echo.raw() as peer:
        peer.settimeout(0.5)
        peer.sendall(HELLO)
        body = b'\x01\x00' + struct.pack('>BQ', zmtp.LONG, MIB) + bytes(MIB)
        with contextlib.suppress(OSError):
            for _ in range(200):
                peer.sendall(body)
                assert echo.front.counts.held < 12 * MIB
        wait_until(
            lambda: {'reply time', 'unread'} & set(echo.reasons()), 10.0,
            lambda: f'{echo.reasons()}',
        )  # fmt: skip


def test_where_no_descriptor_is_left_it_looks_away_and_accepts_later():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Echo() as echo, socket.socket() as peer:
        host, port = echo.front.endpoint.removeprefix('tcp://').rsplit(':', 1)
        next_one = os.dup(peer.fileno())
        os.close(next_one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, limits[1]))
        try:
            peer.connect((host, int(port)))  # the kernel takes it, the front cannot
            began = time.monotonic()
            wait_until(lambda: echo.front.counts.no_room > 2, 10.0, 'a front without room')
            assert time.monotonic() - began > 0.2  # between two of them it sleeps
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        peer.settimeout(10)
        peer.sendall(HELLO)
        assert peer.recv(1) == HELLO[:1]
        assert not echo.closed


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(
        st.lists(st.integers(0, 400) | st.just(70_000), min_size=1, max_size=4),
        min_size=1, max_size=4,
    ),
    cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=30),
)  # fmt: skip
def test_any_split_of_the_bytes_gives_the_same_messages(messages, cuts):
    data = bytearray(HELLO)
    messages = [[os.urandom(size) for size in sizes] for sizes in messages]
    for frames in messages:
        for i, frame in enumerate(frames):
            more = zmtp.MORE if i + 1 < len(frames) else 0
            data += struct.pack('>BQ', more | zmtp.LONG, len(frame)) + frame
    connection = zmtp.Connection(zmtp.Null(), max_frames=4, max_message=MIB, max_waiting=1)
    found, view, i = [], memoryview(bytes(data)), 0
    while view or connection.paused:
        if connection.paused:
            connection.done()
            found += connection.proceed()
            continue
        buffer = connection.buffer()
        count = min(cuts[i % len(cuts)], len(buffer), len(view))
        buffer[:count], view, i = view[:count], view[count:], i + 1
        del buffer  # it is not to be kept
        found += connection.received(count, float(i))
    assert [[bytes(frame) for frame in message.frames] for message in found] == messages, cuts


# --- CURVE


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    make_server(folder)
    make_client(folder, 'arm')
    return folder


def with_keys(own, server):
    def prepare(socket):
        socket.curve_publickey, socket.curve_secretkey = own
        socket.curve_serverkey = server

    return prepare


def test_curve_lets_in_who_is_known_and_nobody_else(folder):
    server, _ = zmq.auth.load_certificate(folder / 'server.key')
    arm = zmq.auth.load_certificate(folder / 'clients/arm.key_secret')
    assert (folder / 'server.key_secret').stat().st_mode & 0o077 == 0
    stranger, other_server = zmq.curve_keypair(), zmq.curve_keypair()[0]
    with Echo(keys=ServerKeys.load(folder)) as echo:
        endpoint = echo.front.endpoint
        with client(endpoint, prepare=with_keys(arm, server)) as one:
            for size in (0, 300, 3 * MIB):
                data = os.urandom(size)
                one.send(data)
                assert one.recv() == data
        for prepare in (
            with_keys(stranger, server), with_keys(arm, other_server), lambda socket: None,
        ):  # fmt: skip
            before = sum(echo.reasons().values())
            with client(endpoint, prepare=prepare) as one:
                one.send(b'let me in')
                wait_until(lambda: sum(echo.reasons().values()) > before, 10.0, 'a closed one')  # noqa: B023
                assert not one.poll(50)
        # Who has no key at all hangs up by itself.
        assert echo.reasons()['authentication'] == 2
        assert not echo.front.counts.held


def test_keys_that_others_can_read_or_that_are_none_are_refused(folder, tmp_path):
    with pytest.raises(ActError, match=r'cannot read .*make_keys makes such files'):
        ServerKeys.load(tmp_path)
    make_server(tmp_path)
    with pytest.raises(ActError, match='no client may connect'):
        ServerKeys.load(tmp_path)
    with pytest.raises(ActError, match='exists; to have new keys there, remove it first'):
        make_server(tmp_path)
    make_client(tmp_path, 'arm')
    (tmp_path / 'server.key_secret').chmod(0o644)
    with pytest.raises(ActError, match='open to others than its owner'):
        ServerKeys.load(tmp_path)
    (tmp_path / 'clients/arm.key').write_text('public-key = "short"\n')
    (tmp_path / 'server.key_secret').chmod(0o600)
    with pytest.raises(ActError, match='holds no public-key of 40 characters'):
        ServerKeys.load(tmp_path)


def test_a_front_that_has_nothing_to_do_uses_no_time():
    with Echo() as echo, client(echo.front.endpoint) as one:
        one.send(b'a')
        one.recv()
        before = time.process_time()
        assert not one.poll(1000)
        assert time.process_time() - before < 0.2
