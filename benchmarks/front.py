"""The bridge's own front beside libzmq's: requests a second through each.

Two servers without a policy, each in a process of its own, answer every request with as many bytes
as an action has, and look at nothing in it. One is `act_ros.bridge.front`, which speaks ZMTP in
Python; the other a loop around libzmq's ROUTER, which speaks it in C++ on a thread of its own and
bounds neither connections nor memory. REQ sockets in one process ask them in turns, in short
blocks, so that a busy machine is as hard on one as on the other.

  small_*, large_*   requests of 100 bytes, and of 2.8 MB as three images are
  *_1_*, *_16_*      so many clients at once
  *_front_per_s      requests a second through the front, median of the blocks
  *_router_per_s     through the ROUTER
  *_ratio            front / router, median of the pairs of blocks

All of it goes over TCP on this machine only. What the asking process takes counts for both: with
two cores it is what bounds the ROUTER.
"""

import contextlib
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.bridge import ANY_PORT, PATIENCE, end_with_input, serving
from benchmarks.processes import BenchmarkError
from benchmarks.table import run as run_benchmark

if TYPE_CHECKING:
    import zmq

QUICK = {'rounds': 1, 'seconds': 0.05}
SIZES = {'small': 100, 'large': 2_800_000}  # bytes
CLIENTS = (1, 16)
KINDS = ('front', 'router')
REPLY = bytes(300)


def measure(rounds: int = 15, seconds: float = 1.0) -> dict[str, float]:
    """Ask both servers in turns.

    :param rounds: blocks of each kind.
    :param seconds: that a block takes.
    :raises BenchmarkError: a server did not start or did not answer.
    """
    import zmq

    figures: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        endpoints = {
            kind: stack.enter_context(serving(kind, 'benchmarks.front')) for kind in KINDS
        }
        context = stack.enter_context(zmq.Context())
        for name, size in SIZES.items():
            for clients in CLIENTS:
                with contextlib.ExitStack() as sockets:
                    crowds = {
                        kind: [_client(context, sockets, endpoint) for _ in range(clients)]
                        for kind, endpoint in endpoints.items()
                    }
                    figures |= _compared(f'{name}_{clients}', crowds, size, rounds, seconds)
    return figures


def _client(
    context: 'zmq.Context', stack: contextlib.ExitStack, endpoint: str
) -> 'zmq.Socket':
    import zmq

    socket = stack.enter_context(context.socket(zmq.REQ))
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    return socket


def _compared(
    name: str, crowds: dict[str, list['zmq.Socket']], size: int, rounds: int, seconds: float
) -> dict[str, float]:
    """Figures of both servers for one number of clients and one size of requests."""
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for crowd in crowds.values():
        _rate(crowd, size, seconds / 5)  # the connections are there, and the memory
    for i in range(rounds):
        for kind in KINDS[:: 1 if i % 2 else -1]:
            rates[kind].append(_rate(crowds[kind], size, seconds))
    ratios = np.divide(rates['front'], rates['router'])
    return {
        **{f'{name}_{kind}_per_s': round(float(np.median(rates[kind])), 1) for kind in KINDS},
        f'{name}_ratio': round(float(np.median(ratios)), 3),
    }


def _rate(crowd: list['zmq.Socket'], size: int, seconds: float) -> float:
    """Requests a second of clients, each of which asks again when it is answered."""
    import zmq

    request, poller, copy = bytes(size), zmq.Poller(), size < 65_536
    started, answered, waiting = time.perf_counter(), 0, len(crowd)
    for socket in crowd:
        poller.register(socket, zmq.POLLIN)
        socket.send(request, 0, copy)
    while waiting:
        ready = poller.poll(round(PATIENCE * 1e3))
        if not ready:
            raise BenchmarkError(f'no answer within {PATIENCE:g} s')
        for socket, _ in ready:
            socket.recv()
            answered += 1
            if time.perf_counter() - started < seconds:
                socket.send(request, 0, copy)
            else:
                waiting -= 1
    return answered / (time.perf_counter() - started)


def serve(kind: str) -> None:
    """Answer on a free port until the standard input ends; the endpoint is printed first."""
    end_with_input()
    {'front': _serve_front, 'router': _serve_router}[kind]()


def _serve_front() -> None:
    from act_ros.bridge.front import Front, Message

    front = Front(ANY_PORT)
    print(front.endpoint, flush=True)
    while True:
        for event in front.poll():
            if isinstance(event, Message):
                front.send(event.peer, [*event.frames[:-1], REPLY])
                front.done(event.peer)


def _serve_router() -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(ANY_PORT)
        print(socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
        while True:
            frames = socket.recv_multipart(copy=False)
            socket.send_multipart([*frames[:-1], REPLY])


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    return run_benchmark('front', __doc__, measure, QUICK, argv)


if __name__ == '__main__':
    sys.exit(main())
