"""A program of this package as a process that is ended whatever happens."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

END_TIMEOUT = 5.0  # from SIGINT to SIGKILL [s]


@contextlib.contextmanager
def child(command: list[str], log: Path) -> Iterator[subprocess.Popen]:
    """Run a Python module, ended by SIGINT and, if that does not help, killed.

    :param command: module and arguments.
    :param log: file of its output.
    """
    with log.open('w') as file:
        # A group of its own: Ctrl-C comes to the parent alone, which ends its children in order.
        process = subprocess.Popen(
            [sys.executable, '-m', *command],
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
