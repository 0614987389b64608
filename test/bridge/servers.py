"""Servers to talk to, as processes and as threads, and the plainest client there is."""

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import numpy as np
import zmq

from act_ros.bridge.server import PolicyServer
from act_ros.parameters import Settings
from act_ros.task import Entry, Task
from test.rule import Vector
from test.waiting import wait_until

ROOT = Path(__file__).parents[2]
ANY_PORT = 'tcp://127.0.0.1:*'
PATIENCE = 60  # [s] until a test gives up; a busy machine loads torch slowly


class Process:
    """A Python process whose stderr is kept; always ended by `close`.

    :param path: where its modules are.
    """

    def __init__(self, *arguments: object, path: Path = ROOT) -> None:
        # One thread each: several of them share the machine with the tests.
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(path)}
        self._process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stderr(self) -> str:
        return ''.join(self.lines)

    def find(self, pattern: str) -> re.Match:
        """Wait for a line on stderr."""

        def found() -> re.Match | None:
            match = re.search(pattern, self.stderr)
            assert match or self._process.poll() is None, f'it ended:\n{self.stderr}'
            return match

        return wait_until(found, PATIENCE, f'{pattern!r} on stderr')

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end and return the exit code."""
        code = self._process.wait(timeout)
        self._reader.join()
        return code

    def stop(self, number: int, timeout: float) -> int:
        """Send a signal, and return the exit code that must come within `timeout` seconds."""
        self.signal(number)
        return self.wait(timeout)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._reader.join()
        self._process.stderr.close()

    def _read(self) -> None:
        for line in self._process.stderr:
            self.lines.append(line)


class ServerProcess(Process):
    """`python -m act_ros.inference_server` on a port of its own, ready to answer."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(
            '-m', 'act_ros.inference_server', '--endpoint', ANY_PORT, '--device', 'cpu', *arguments
        )
        try:
            self.endpoint = self.find(r'serving \S+ on (tcp://\S+)\n')[1]
        except BaseException:
            self.close()
            raise


@contextmanager
def answering(peer: zmq.Socket, reply: bytes) -> Iterator[None]:
    """A REP socket that answers one request, whatever it is."""

    def answer() -> None:
        peer.recv()
        peer.send(reply)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)


@contextmanager
def serving(
    policy: object, endpoint: str = ANY_PORT, **settings: object
) -> Iterator[PolicyServer]:
    """A server in a thread of this process."""
    server = PolicyServer(endpoint, Settings(**settings))
    server.begin(policy)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


class Requester:
    """A REQ socket that pickles as a stock client does."""

    def __init__(self, endpoint: str, kind: int = zmq.REQ) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE * 1000)
        self.socket.connect(endpoint)

    def __enter__(self) -> 'Requester':
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def raw(self, *frames: bytes) -> dict:
        """Send the frames of one message and return the reply."""
        self.socket.send_multipart(frames)
        reply = self.socket.recv()
        pickled = reply.startswith(b'\x80')
        return pickle.loads(reply) if pickled else msgpack.unpackb(reply)

    def ask(self, request: object, protocol: int | None = None) -> dict:
        return self.raw(pickle.dumps(request, protocol))

    def reset(self) -> None:
        assert self.ask('RESET') == {'status': 'OK'}

    def act(self, observation: tuple):
        qpos, images = observation
        reply = self.ask({'qpos': qpos, 'images': images})
        assert reply['status'] == 'OK', reply
        return reply['action']

    def refused(self, *frames: bytes) -> str:
        """Send what must be refused and return the message."""
        reply = self.raw(*frames)
        assert {*reply} - {'epoch', 'error'} == {'status', 'message'}, reply
        assert reply['status'] == 'ERROR', reply
        assert len(reply['message'].splitlines()) == 1, reply
        return reply['message']


def good_request(qpos, images) -> bytes:
    return pickle.dumps({'qpos': qpos, 'images': images})


def assert_step(requester: Requester, reference: Vector, i: int) -> None:
    """The server is at step i of the reference's episode, and answers it."""
    action = requester.act(reference.observation(i))
    np.testing.assert_allclose(action, reference.aggregated[i], atol=1e-4, rtol=0)


# What `Steps` takes.
SIGHT = np.zeros(17), {'eye': np.zeros((4, 6, 3), np.uint8)}


class Steps:
    """A policy whose passes count; they may wait, or fail.

    :ivar step: passes so far.
    """

    chunk_size = 1

    def __init__(self, blocked: bool = False, fault: Exception | None = None):
        self.task = tiny_task()
        self.step = 0
        self.fault = fault
        self.waiting = False
        self.go = threading.Event()
        if not blocked:
            self.go.set()

    def predict(self, qpos, images):
        self.waiting = True
        assert self.go.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        self.step += 1
        return np.array([[float(self.step)]])


def tiny_task() -> Task:
    """One small camera, 17 entries of the state and one of the action."""
    state = tuple(Entry.parse(f'arm/{i}/position') for i in range(17))
    return Task('tiny', ('eye',), state, state[:1], 50.0, (4, 6))
