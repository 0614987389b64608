"""What the ZMQ bridge costs beside plain pyzmq and pickle.

Two servers, each in a process of its own, are sent the documented request in turn: qpos and one
frame a camera. The bare one is a REP socket that unpickles it with `pickle` and answers with an
action. The other is the project's server over a policy that answers at once, with all that it
does beside the network: the safe reader, the checks of the observation, temporal aggregation.

  bare_*      the bare server, asked by a REQ socket with `pickle`
  bridge_*    the project's server, asked in the same way
  client_*    the project's server, asked by the project's client
  *_p50_ms    median of a round trip: the request pickled and sent, the reply received and read
  *_p99_ms    99th percentile of it
  *_per_s     requests a second of one client that asks without a pause
  ratio       bridge_p50_ms / bare_p50_ms
  request_mb  size of a pickled request

A third server has the demonstration's policy, on whatever device there is, and is asked by
several clients at once, each frame a new one.

  single_per_s       passes a second of that policy in a loop in its process, without a network
  clients_N_per_s    requests a second of N clients together
  clients_N_ratio    clients_N_per_s / single_per_s

All of it goes over TCP on this machine only, in short blocks that take turns, so that a busy
machine is as hard on one as on the other.

The bare server copies each request twice, into memory that glibc takes from the kernel anew each
time; the project's server reads it where it lies. In a virtual machine that can cost more than
all the rest, and the ratio falls below 1. To compare without it, set MALLOC_MMAP_THRESHOLD_ and
MALLOC_TRIM_THRESHOLD_ to 1000000000 and MALLOC_ARENA_MAX to 1: freed memory is then kept.
"""

import contextlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.table import run as run_benchmark

if TYPE_CHECKING:
    from act_ros.policy import Policy
    from act_ros.policy.interface import Observation
    from act_ros.task import Task

ROOT = Path(__file__).parents[1]
ANY_PORT = 'tcp://127.0.0.1:*'
QUICK = {'rounds': 1, 'block': 2, 'warm_up': 1, 'seconds': 0.2}
CROWDS = (1, 4, 16)  # clients
PATIENCE = 20.0  # longest wait for an answer [s]
END_TIMEOUT = 5.0  # from the request to end to SIGKILL [s]


def measure(
    rounds: int = 40, block: int = 25, warm_up: int = 50, seconds: float = 5.0
) -> dict[str, float]:
    """Start both servers, ask them in turn, and end them.

    :param rounds: blocks of each kind.
    :param block: requests in a block.
    :param warm_up: requests of each kind before the first block.
    :param seconds: that each number of clients asks for.
    :raises ActError: a server did not start or did not answer.
    """
    request = documented_request()
    with contextlib.ExitStack() as stack:
        asks = _askers(stack, request)
        for ask in asks.values():
            _times(ask, warm_up)
        times: dict[str, list[float]] = {name: [] for name in asks}
        names = list(asks)
        for i in range(rounds):
            first = i % len(names)
            for name in names[first:] + names[:first]:
                times[name] += _times(asks[name], block)
    figures = {}
    for name in ('bare', 'bridge'):
        figures[f'{name}_p50_ms'] = _milliseconds(times[name], 50)
        figures[f'{name}_p99_ms'] = _milliseconds(times[name], 99)
        figures[f'{name}_per_s'] = round(len(times[name]) / sum(times[name]), 1)
    return {
        **figures,
        'client_p50_ms': _milliseconds(times['client'], 50),
        'ratio': round(float(np.median(times['bridge']) / np.median(times['bare'])), 3),
        'request_mb': round(len(pickle.dumps(request)) / 1e6, 3),
        **_crowds(seconds),
    }


def documented_request() -> dict[str, Any]:
    """One observation of the default task, as the protocol's document sends it."""
    from act_ros.config import load_task

    task, rng = load_task(), np.random.default_rng(0)
    frames = rng.integers(0, 256, (len(task.cameras), *task.image_size, 3), dtype=np.uint8)
    return {
        'qpos': rng.normal(size=task.state_dim).astype(np.float32),
        'images': dict(zip(task.cameras, frames, strict=True)),
    }


@contextlib.contextmanager
def serving(kind: str, module: str = 'benchmarks.bridge') -> Iterator[str]:
    """A server in a process of its own, and its endpoint.

    The process ends when its standard input does, and so even if this one is killed.

    :param kind: `bare`, `bridge` or `policy`; what the module's `serve` takes.
    :param module: whose `serve` prints the endpoint, and ends as `end_with_input` says.
    :raises BenchmarkError: it did not start.
    """
    from benchmarks.processes import BenchmarkError

    # A group of its own: Ctrl-C comes to this process alone, which ends the servers in order.
    process = subprocess.Popen(
        [sys.executable, '-c', f'from {module} import serve; serve({kind!r})'],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin and process.stdout
    try:
        endpoint = process.stdout.readline().strip()
        if not endpoint:
            raise BenchmarkError(f'the {kind} server did not start; its error stands above')
        yield endpoint
    finally:
        process.stdin.close()
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def end_with_input() -> None:
    """End this process when its standard input does."""

    def end() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()


def serve(kind: str) -> None:
    """Serve on a free port until the standard input ends; the endpoint is printed first."""
    end_with_input()
    {'bare': _serve_bare, 'bridge': _serve_bridge, 'policy': _serve_policy}[kind]()


def _serve_bare() -> None:
    import zmq

    from act_ros.config import load_task

    action = np.zeros(load_task().action_dim)
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(ANY_PORT)
        print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
        while True:
            pickle.loads(socket.recv())
            socket.send(pickle.dumps(action))


def _serve_bridge() -> None:
    from act_ros.bridge.server import PolicyServer
    from act_ros.config import load_task
    from benchmarks.evaluation import NullPolicy

    server = PolicyServer(ANY_PORT)
    server.begin(NullPolicy(load_task()))
    print(server.endpoint, flush=True)
    server.run()


def _serve_policy() -> None:
    from act_ros.bridge.server import PolicyServer

    policy = _demonstration()
    server = PolicyServer(ANY_PORT)
    server.begin(policy)
    print(server.endpoint, flush=True)
    server.run()


def _demonstration() -> 'Policy':
    from act_ros.policy import load_policy
    from act_ros.sim import DEMONSTRATION

    policy = load_policy(DEMONSTRATION)
    policy.warm_up()
    return policy


def _new_frames(task: 'Task', seed: int) -> Iterator['Observation']:
    """Observations whose frames differ from those before, from one noise."""
    rng, (height, width) = np.random.default_rng(seed), task.image_size
    noise = rng.integers(0, 256, (len(task.cameras), height + 64, width, 3), dtype=np.uint8)
    qpos = np.zeros(task.state_dim, np.float32)
    for top in itertools.cycle(range(64)):
        frames = np.ascontiguousarray(noise[:, top : top + height])
        yield qpos, dict(zip(task.cameras, frames, strict=True))


def _crowds(seconds: float) -> dict[str, float]:
    """Requests a second of several clients, and passes a second without them."""
    from concurrent.futures import ThreadPoolExecutor

    from act_ros.bridge.client import PolicyClient

    policy = _demonstration()
    frames = [_new_frames(policy.task, i) for i in range(max(CROWDS))]
    started, passes = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < seconds:
        policy.predict(*next(frames[0]))
        passes += 1
    figures = {'single_per_s': round(passes / took, 1)}

    def ask(endpoint: str, i: int, deadline: float) -> int:
        count = 0
        with PolicyClient(endpoint, timeout=PATIENCE) as client:
            while time.perf_counter() < deadline:
                client.act(*next(frames[i]))
                count += 1
        return count

    with serving('policy') as endpoint:
        ask(endpoint, 0, time.perf_counter() + seconds / 5)
        for count in CROWDS:
            with ThreadPoolExecutor(count) as pool:
                started = time.perf_counter()
                deadline = started + seconds
                jobs = [pool.submit(ask, endpoint, i, deadline) for i in range(count)]
                answered = sum(job.result() for job in jobs)
                rate = answered / (time.perf_counter() - started)
            figures[f'clients_{count}_per_s'] = round(rate, 1)
            figures[f'clients_{count}_ratio'] = round(rate / figures['single_per_s'], 2)
    return figures


def _askers(stack: contextlib.ExitStack, request: dict[str, Any]) -> dict[str, Callable]:
    """The ways to ask for an action, each of which returns the reply."""
    import zmq

    from act_ros.bridge.client import PolicyClient

    endpoints = {kind: stack.enter_context(serving(kind)) for kind in ('bare', 'bridge')}
    context = stack.enter_context(zmq.Context())

    def asker(endpoint: str) -> Callable[[], object]:
        socket = stack.enter_context(context.socket(zmq.REQ))
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, round(PATIENCE * 1e3))
        socket.connect(endpoint)

        def ask() -> object:
            socket.send(pickle.dumps(request))
            return pickle.loads(socket.recv())

        return ask

    client = stack.enter_context(PolicyClient(endpoints['bridge'], timeout=PATIENCE))
    client.reset()
    return {
        **{kind: asker(endpoint) for kind, endpoint in endpoints.items()},
        'client': lambda: client.act(**request),
    }


def _times(ask: Callable[[], object], count: int) -> list[float]:
    """Duration of each of some round trips in a row [s]."""
    import zmq

    from benchmarks.processes import BenchmarkError

    times = []
    for _ in range(count):
        started = time.perf_counter()
        try:
            reply = ask()
        except zmq.Again:
            raise BenchmarkError(f'no answer within {PATIENCE:g} s') from None
        times.append(time.perf_counter() - started)
        action = reply.get('action') if isinstance(reply, dict) else reply
        if not isinstance(action, np.ndarray):
            raise BenchmarkError(f'a reply without an action: {reply}')
    return times


def _milliseconds(times: list[float], percentile: float) -> float:
    return round(float(np.percentile(times, percentile)) * 1e3, 3)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    return run_benchmark('bridge', __doc__, measure, QUICK, argv)


if __name__ == '__main__':
    sys.exit(main())
