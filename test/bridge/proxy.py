"""A line between client and server that delays messages, loses some, and fails for a while."""

import contextlib
import heapq
import itertools
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
    :ivar loss: share of the messages that never arrive.
    :ivar out: none arrives.
    :ivar passed, lost: messages, both ways together.
    """

    def __init__(
        self, target: str, *, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0
    ) -> None:
        self.delay, self.jitter, self.loss, self.out = delay, jitter, loss, False
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

    def _run(self) -> None:
        numbers = itertools.count()
        waiting: list[tuple] = []  # when, and what goes where
        poller = zmq.Poller()
        other = {self._front: self._back, self._back: self._front}
        for socket in other:
            poller.register(socket, zmq.POLLIN)
        while not self._ended.is_set():
            due = waiting[0][0] - time.monotonic() if waiting else 0.05
            for socket, _ in poller.poll(max(0, min(due, 0.05)) * 1000):
                frames = socket.recv_multipart(copy=False)
                if self.out or self._random.random() < self.loss:
                    self.lost += 1
                    continue
                trip = self.delay + self._random.uniform(0, self.jitter)
                heapq.heappush(
                    waiting, (time.monotonic() + trip, next(numbers), other[socket], frames)
                )
            while waiting and waiting[0][0] <= time.monotonic():
                *_, socket, frames = heapq.heappop(waiting)
                if self.out:
                    self.lost += 1
                    continue
                self.passed += 1
                with contextlib.suppress(zmq.Again):
                    socket.send_multipart(frames, zmq.DONTWAIT, copy=False)
