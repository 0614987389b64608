"""Processes that a benchmark starts: begun, watched through /proc, and ended in every case."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from act_ros.child import child
from act_ros.errors import ActError


class BenchmarkError(ActError):
    """The run cannot be measured."""


@dataclass(frozen=True)
class Running:
    """A process and the file of its output."""

    name: str
    process: subprocess.Popen
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise a BenchmarkError with the log's last line if the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise BenchmarkError(
                f'{self.name} ended with code {code}; it said: {self.last_line()}'
            )

    def last_line(self) -> str:
        """What the process said last."""
        lines = self.log.read_text(errors='replace').split('\n')
        return next((line for line in reversed(lines) if line.strip()), 'nothing')


@contextlib.contextmanager
def running(name: str, command: list[str], folder: Path) -> Iterator[Running]:
    """A process, ended by SIGINT and, if that does not help, killed.

    The node's own child needs no care: it ends when its socket to the node closes.

    :param folder: where its log goes.
    """
    log = folder / f'{name}.log'
    with child(command, log) as process:
        yield Running(name, process, log)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and its children have used [s]."""
    ticks = 0
    for each in _tree(pid):
        # The name in brackets may contain anything; after it come state, parent, ...
        fields = Path(f'/proc/{each}/stat').read_text().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf('SC_CLK_TCK')


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its children [MB]; what they share counts for each."""
    pages = sum(int(Path(f'/proc/{each}/statm').read_text().split()[1]) for each in _tree(pid))
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def has_realtime_thread(pid: int) -> bool:
    """Whether any thread of a process is really scheduled as SCHED_FIFO."""
    for path in Path(f'/proc/{pid}/task').iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            policy = os.sched_getscheduler(int(path.name))
            if policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO:
                return True
    return False


def _tree(pid: int) -> list[int]:
    """A process, its children, and theirs; any of its threads may have started them."""
    children = []
    for path in Path(f'/proc/{pid}/task').glob('*/children'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread has ended
            children += [int(child) for child in path.read_text().split()]
    return [pid, *(each for child in children for each in _tree(child))]
