"""A server that is attacked, in a process of its own, beside a thread that ticks.

The process is as the node's: its switch interval, its objects frozen, the server in a thread. The
other thread ticks each millisecond, as the control loop would, and notes what kept it waiting.
"""

import gc
import multiprocessing
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import numpy as np

PERIOD = 0.001  # [s]
SWITCH_INTERVAL = 0.0005  # [s], as the node's


@dataclass(frozen=True)
class Notes:
    """What a request did to the process.

    :ivar hold: the longest time without a tick, for want of the interpreter [s].
    :ivar cpu: time of all its threads [s].
    :ivar peak: memory above that before [bytes].
    :ivar left: memory above that before, after the answer [bytes].
    """

    hold: float
    cpu: float
    peak: int
    left: int


class Predictor:
    """Gives chunks of zeros for the documented task."""

    def __init__(self) -> None:
        from act_ros.config import load_task

        self.task, self.chunk_size = load_task(), 4

    def predict(self, qpos: np.ndarray, images: dict) -> np.ndarray:
        return np.zeros((self.chunk_size, self.task.action_dim), np.float32)


def resident() -> int:
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()


def serve(pipe: Connection) -> None:
    """Serve until the pipe ends; each word through the pipe is answered with notes."""
    from act_ros.bridge.server import PolicyServer
    sys.setswitchinterval(SWITCH_INTERVAL)
    server = PolicyServer('tcp://127.0.0.1:*')
    server.begin(Predictor())
    threading.Thread(target=server.run, name='zmq', daemon=True).start()
    gc.collect()
    gc.freeze()
    pipe.send(server.endpoint)
    state = SimpleNamespace(hold=0.0, peak=0)
    before, cpu = resident(), time.process_time()
    last, last_cpu = time.perf_counter(), time.process_time()
    while True:
        time.sleep(PERIOD)
        now, now_cpu = time.perf_counter(), time.process_time()
        # Whoever holds the interpreter computes; where nothing does, another process had the core.
        state.hold = max(state.hold, min(now - last, now_cpu - last_cpu) - PERIOD)
        last, last_cpu = now, now_cpu
        state.peak = max(state.peak, resident())
        if pipe.poll():
            try:
                pipe.recv()
            except EOFError:
                return
            after = resident()
            pipe.send(Notes(state.hold, now_cpu - cpu, state.peak - before, after - before))
            state.hold, state.peak = 0.0, 0
            before, cpu = after, now_cpu
            last, last_cpu = time.perf_counter(), time.process_time()


class Attacked:
    """The process, from outside."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.endpoint: str = pipe.recv()

    def notes(self) -> Notes:
        """What has happened since the last call."""
        self._pipe.send('')
        return self._pipe.recv()


@contextmanager
def attacked() -> Iterator[Attacked]:
    """Run such a process."""
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Attacked(ours)
    finally:
        ours.close()
        process.join(5)
        process.kill()
