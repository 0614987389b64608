"""Lines between client and server that delay, lose and forget."""

import contextlib
import heapq
import itertools
import socket
import threading
import time

import numpy as np
import zmq


class Proxy:
    """Passes messages on in a thread of its own; what it does to them may be changed meanwhile.

    :param target: the server's address.
    :ivar endpoint: for the clients.
    :ivar delay: of each message [s].
    :ivar jitter: as much more at most, evenly [s].
    :ivar loss: share of the messages that never arrive, by chance.
    :ivar every: one of so many never arrives, by count; 0 = none.
    :ivar out: none arrives.
    :ivar passed, lost: messages, both ways together.
    """

    def __init__(
        self,
        target: str,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        every: int = 0,
    ) -> None:
        self.delay, self.jitter, self.loss, self.every = delay, jitter, loss, every
        self.out = False
        self.passed = self.lost = 0
        self._random = np.random.default_rng(0)
        self._ended = threading.Event()
        self._context = zmq.Context()
        self._front, self._back = map(self._context.socket, (zmq.ROUTER, zmq.DEALER))
        port = self._front.bind_to_random_port('tcp://127.0.0.1')
        self.endpoint = f'tcp://127.0.0.1:{port}'
        self._back.connect(target)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> 'Proxy':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._context.destroy(linger=0)

    def _loses(self) -> bool:
        counted = self.every and not (self.passed + self.lost + 1) % self.every
        return bool(counted) or self._random.random() < self.loss

    def _run(self) -> None:
        numbers = itertools.count()
        waiting: list[tuple] = []  # when, and what goes where
        poller = zmq.Poller()
        other = {self._front: self._back, self._back: self._front}
        for end in other:
            poller.register(end, zmq.POLLIN)
        while not self._ended.is_set():
            due = waiting[0][0] - time.monotonic() if waiting else 0.05
            for end, _ in poller.poll(max(0, min(due, 0.05)) * 1000):
                frames = end.recv_multipart(copy=False)
                if self.out or self._loses():
                    self.lost += 1
                    continue
                trip = self.delay + self._random.uniform(0, self.jitter)
                heapq.heappush(
                    waiting, (time.monotonic() + trip, next(numbers), other[end], frames)
                )
            while waiting and waiting[0][0] <= time.monotonic():
                *_, end, frames = heapq.heappop(waiting)
                if self.out:
                    self.lost += 1
                    continue
                self.passed += 1
                with contextlib.suppress(zmq.Again):
                    end.send_multipart(frames, zmq.DONTWAIT, copy=False)


class Router:
    """Passes bytes on, and may forget its connections: their ends are not told.

    :ivar connections: that there have been.
    """

    def __init__(self, target: str) -> None:
        self.connections = 0
        host, port = target.removeprefix('tcp://').rsplit(':', 1)
        self._target = host, int(port)
        self._known: list[socket.socket] = []
        self._all: list[socket.socket] = []
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.endpoint = f'tcp://127.0.0.1:{self._listener.getsockname()[1]}'
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> 'Router':
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._all):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in (self._listener, *self._all):
            each.close()

    def forget(self) -> None:
        self._known.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(self._target)
                self.connections += 1
                self._known += near, far
                self._all += near, far
                for ends in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pass, args=ends, daemon=True)
                    thread.start()
                    self._threads.append(thread)

    def _pass(self, there: socket.socket, back: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := there.recv(65536):
                if back in self._known:
                    back.sendall(data)
