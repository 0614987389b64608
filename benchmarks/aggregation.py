"""What temporal aggregation costs as an episode gets longer.

The aggregator and the public implementation's formula take in a chunk of 100 actions at each
step of an episode and give the action of that step; both must give the same. Each row is about
the last step of an episode of so many steps:

  step                 steps of the episode, T
  microseconds         median time of the aggregator for that step: a chunk in, an action out
  p99_microseconds     99th percentile of it
  bytes                what the aggregator holds then
  public_microseconds  median time of the public formula for that step
  public_bytes         of its buffer, T x (T + 100) actions in float32

The public buffer is allocated and filled for real while it takes less than 1 GB. At 100,000 steps
it would take 640 GB: its size is what the formula says, and its time is null.

The step is repeated, each time after the ten before it, so that caches are as warm as in an
episode; the rows take turns, so that a busy machine is as hard on one as on the other. The public
formula runs here in NumPy, as the aggregator does.
"""

import copy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from act_ros import cli
from benchmarks.table import command_line, write

STEPS = (10, 1_000, 100_000)
QUICK = {'steps': (10, 100), 'rounds': 1, 'block': 1}
CHUNK = 100
DECAY = 0.01
TOLERANCE = 1e-6  # between both actions
LEAD = 10  # steps repeated before each one that is timed
MAX_PUBLIC_BYTES = 1_000_000_000

Row = dict[str, int | float | None]


class Source(Protocol):
    """Chunks in, the action of a step out."""

    def add(self, chunk: np.ndarray, step: int) -> None: ...

    def action(self, step: int) -> np.ndarray: ...


class PublicFormula:
    """The public implementation's way: every chunk of an episode is kept, each in its own row.

    :param steps: of the episode, T.
    :param action_dim: numbers in an action.
    """

    def __init__(self, steps: int, action_dim: int) -> None:
        self.buffer = np.zeros((steps, steps + CHUNK, action_dim), np.float32)

    def add(self, chunk: np.ndarray, step: int) -> None:
        """Take in the chunk of a step."""
        self.buffer[step, step : step + CHUNK] = chunk

    def action(self, step: int) -> np.ndarray:
        """The action of a step, from each chunk so far that says something of it."""
        column = self.buffer[: step + 1, step]
        said = column[(column != 0).all(axis=1)]
        weights = np.exp(-DECAY * np.arange(len(said)))
        return (weights / weights.sum()) @ said

    @staticmethod
    def size(steps: int, action_dim: int) -> int:
        """Bytes of the buffer of an episode."""
        return steps * (steps + CHUNK) * action_dim * np.dtype(np.float32).itemsize


def measure(steps: Sequence[int] = STEPS, rounds: int = 40, block: int = 50) -> list[Row]:
    """Play one long episode, and time the last of each number of steps.

    :param steps: increasing numbers of steps, 1 or more.
    :param rounds: blocks of each step.
    :param block: how often a step is timed in a block.
    :raises BenchmarkError: the two actions of a step differ.
    """
    from act_ros.config import load_task
    from act_ros.policy import TemporalAggregator

    action_dim = load_task().action_dim
    rng = np.random.default_rng(0)
    chunks = list(rng.normal(size=(128, CHUNK, action_dim)).astype(np.float32))
    aggregator, played = TemporalAggregator(CHUNK, action_dim, DECAY), 0
    rows: list[dict[str, Any]] = []
    sources: dict[tuple[str, int], Source] = {}
    for count in steps:
        play(aggregator, chunks, played, count)
        played = count
        sources['', count] = copy.deepcopy(aggregator)
        size = PublicFormula.size(count, action_dim)
        if size <= MAX_PUBLIC_BYTES:
            sources['public_', count] = public = PublicFormula(count, action_dim)
            play(public, chunks, 0, count)
            check_same(aggregator, public, count - 1)
        rows.append({'step': count, 'bytes': held_bytes(aggregator), 'public_bytes': size})
    times: dict[tuple[str, int], list[float]] = {key: [] for key in sources}
    for _ in range(rounds):
        for (name, count), source in sources.items():
            times[name, count] += durations(source, chunks, count - 1, block)
    return [
        {
            'step': row['step'],
            'microseconds': _percentile(times['', row['step']], 50),
            'p99_microseconds': _percentile(times['', row['step']], 99),
            'bytes': row['bytes'],
            'public_microseconds': _percentile(times.get(('public_', row['step'])), 50),
            'public_bytes': row['public_bytes'],
        }
        for row in rows
    ]


def play(source: Source, chunks: Sequence[np.ndarray], start: int, stop: int) -> None:
    """Play an episode's steps `start` ... `stop - 1`."""
    for step in range(start, stop):
        source.add(chunks[step % len(chunks)], step)
        source.action(step)


def durations(source: Source, chunks: Sequence[np.ndarray], step: int, count: int) -> list[float]:
    """Play a step again and again [us]; a chunk that is added again replaces itself."""
    chunk, times = chunks[step % len(chunks)], []
    for _ in range(count):
        play(source, chunks, max(0, step - LEAD), step)
        started = time.perf_counter_ns()
        source.add(chunk, step)
        source.action(step)
        times.append((time.perf_counter_ns() - started) / 1e3)
    return times


def _percentile(times: list[float] | None, percentile: float) -> float | None:
    return None if times is None else round(float(np.percentile(times, percentile)), 2)


def check_same(aggregator: Source, public: Source, step: int) -> None:
    """Both must give the same action of a step.

    :raises BenchmarkError: they do not.
    """
    from benchmarks.processes import BenchmarkError

    difference = np.abs(aggregator.action(step) - public.action(step)).max()
    if not difference <= TOLERANCE:
        raise BenchmarkError(
            f'at step {step} the actions of the aggregator and of the public formula differ by '
            f'{difference:.3g}, expected {TOLERANCE:g} at most'
        )


def held_bytes(thing: object) -> int:
    """Bytes of all arrays and values in an object's attributes."""
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, Mapping):
        return sum(held_bytes(value) for value in thing.values())
    if isinstance(thing, (list, tuple, set)):
        return sum(held_bytes(value) for value in thing)
    return held_bytes(vars(thing)) if hasattr(thing, '__dict__') else sys.getsizeof(thing)


def show(rows: list[Row], path: Path | None) -> None:
    """Print the rows, and write them to a JSON file where there is one."""
    from rich.console import Console
    from rich.table import Table

    shown: dict[type, Callable[[object], str]] = {
        int: '{:,}'.format, float: '{:,.2f}'.format, type(None): lambda _: '-',
    }  # fmt: skip
    table = Table(title='aggregation', title_justify='left', show_header=False)
    for key in rows[0]:
        table.add_row(key, *(shown[type(row[key])](row[key]) for row in rows))
    Console().print(table)
    write(rows, path)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    arguments = command_line('aggregation', __doc__).parse_args(argv)
    size: dict[str, Any] = QUICK if arguments.quick else {}
    return cli.run('aggregation', lambda: show(measure(**size), arguments.json))


if __name__ == '__main__':
    sys.exit(main())
