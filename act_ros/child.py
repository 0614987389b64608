"""Programs as processes that are ended whatever happens, with their parent at the latest.

    python -m act_ros.child PARENT COMMAND ...

runs a command that the kernel ends when the process PARENT, which starts it, is gone: also where
that was killed and could say nothing.
"""

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

END_TIMEOUT = 5.0  # from SIGINT to SIGKILL [s]
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # these end a program
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent is gone.

    It survives `exec`. What counts as the parent is the thread that started this process.

    :param parent: its process.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), 'the kernel does not end processes with their parent')
    if os.getppid() != parent:  # it was gone before the kernel was told
        signal.raise_signal(signal.SIGTERM)


def tied(command: list[str]) -> list[str]:
    """A command that ends with this process, which is to start it."""
    return [sys.executable, '-m', 'act_ros.child', str(os.getpid()), *command]


def prefix() -> str:
    """What a launch file writes before a command so that it ends with the launch."""
    return f'{shlex.join(tied([]))} '


@contextlib.contextmanager
def child(command: list[str], log: Path | None = None) -> Iterator[subprocess.Popen]:
    """Run a command, ended by SIGINT and, if that does not help, killed.

    :param log: file of its output; by default it goes where this process's goes.
    """
    with contextlib.ExitStack() as stack:
        file = None if log is None else stack.enter_context(log.open('w'))
        # A group of its own: Ctrl-C comes to the parent alone, which ends its children in order.
        process = subprocess.Popen(
            tied(command), stdout=file, stderr=file and subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a Python module."""
    return [sys.executable, '-m', name, *arguments]


def main() -> None:
    """Run the command in place of this process."""
    parent, *command = sys.argv[1:]
    # A parent that ignores or blocks them passes that on.
    for number in ENDS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    end_with_parent(int(parent))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f'{command[0]}: {error.strerror}')


if __name__ == '__main__':
    main()
