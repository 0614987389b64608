"""A part of this program in a process of its own: started, asked, and ended whatever happens.

What holds the interpreter there, or crashes it, leaves this process alone. Messages go over a
private socket pair. They are pickles: both ends are this program. A message is a name and what
belongs to it. Log lines have a socket pair of their own, and a thread that puts them into the log
of this process at any time, not only while it waits for an answer.
"""

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, NoReturn

from act_ros import errors
from act_ros.errors import ActError, PolicyError

# The last argument is the parent's sys.path. Not `-m`, which would look into the working
# directory first: there may be another act_ros.
START = (
    'import sys, importlib; sys.path[:] = sys.argv.pop().split(":"); '
    'importlib.import_module(sys.argv.pop(1)).main()'
)

END_TIMEOUT = 1.0  # for the kernel to end a child that was killed [s]
ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ActError)
}


class EndedError(ActError):
    """The process has ended, or cannot be started."""


def raise_again(name: str, text: str) -> NoReturn:
    """Raise an error of another process.

    :param name: of its type, one of `act_ros.errors`; any other is a PolicyError.
    """
    raise ERRORS.get(name, PolicyError)(text)


class HelperProcess:
    """The parent's end.

    One thread at a time may wait for a message; `end` may come from any other meanwhile.

    :param name: for people, as in 'the inference process was ended'.
    :param module: its `main` runs there, and begins with `begin`.
    :param arguments: for that.
    :param environment: variables that differ from this process's.
    :raises EndedError: it cannot be started.
    """

    def __init__(
        self,
        name: str,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] = {},  # only read
    ) -> None:
        self.name = name
        self._ended = False
        self._connection, theirs = Pipe()
        self._lines, their_lines = Pipe()
        # Only this process has the end that is kept: however it ends, the kernel closes it.
        lifeline, self._lifeline = os.pipe()
        inherited = (theirs.fileno(), their_lines.fileno(), lifeline)
        try:
            self.child = subprocess.Popen(
                [sys.executable, '-c', START, module, *map(str, inherited), *arguments,
                 ':'.join(sys.path)],
                pass_fds=inherited,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for the parent, which ends the child
            )  # fmt: skip
        except OSError as error:
            for end in (self._connection, self._lines):
                end.close()
            os.close(self._lifeline)
            raise EndedError(f'{name} cannot be started: {error}') from None
        finally:
            for end in (theirs, their_lines):
                end.close()
            os.close(lifeline)
        # Where the whole node was started with a real-time priority: it is for the tick alone.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.sched_setscheduler(self.child.pid, os.SCHED_OTHER, os.sched_param(0))
        self._logging = threading.Thread(
            target=_log_lines, args=(self._lines,), name=f'log of {name}', daemon=True
        )
        self._logging.start()

    def send(self, what: str, detail: object = None, files: Sequence[int] = ()) -> None:
        """Send a message.

        :param files: descriptors that the child gets, too.
        :raises EndedError: the process has ended.
        """
        try:
            self._connection.send((what, detail))
            for file in files:
                send_handle(self._connection, file, self.child.pid)
        except OSError:
            raise EndedError(self.epitaph()) from None

    def receive(self) -> tuple[str, Any]:
        """Wait for a message.

        :raises EndedError: the process has ended.
        """
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise EndedError(self.epitaph()) from None

    def ask(self, what: str, detail: object = None, files: Sequence[int] = ()) -> Any:
        """Send a message and wait for what comes of it.

        :raises ActError: as the child has raised it.
        :raises EndedError: the process has ended.
        """
        self.send(what, detail, files)
        return self.answer()

    def answer(self) -> Any:
        """Wait for what comes of a message.

        :raises ActError: as the child has raised it.
        :raises EndedError: the process has ended.
        """
        try:
            kind, content = self.receive()
        except EndedError:
            raise
        except BaseException:
            # Interrupted: the answer to come would be taken for the one to the next request.
            self.child.kill()
            raise
        if kind == 'error':
            raise_again(*content)
        return content

    def end(self) -> None:
        """End the child, whatever it is doing; who waits for it is told at once.

        Returns within a few seconds, also where the kernel cannot end the child.
        """
        self._ended = True
        if self._kill() is None:
            logging.getLogger(__name__).warning(
                '%s %d was killed and does not end: it waits for a device or a file system that '
                'does not answer', self.name, self.child.pid,
            )  # fmt: skip
        # Also where another process has the other ends, and never answers.
        for end in (self._connection, self._lines):
            _hang_up(end)

    def release(self) -> None:
        """Close the parent's ends, once nobody uses them any more."""
        if not self._connection.closed:
            self._connection.close()
            os.close(self._lifeline)
            self._logging.join(END_TIMEOUT)  # it closes its own end

    def epitaph(self) -> str:
        """How the process was ended."""
        text = f'{self.name} was ended'
        if self._ended:
            return text
        code: int | None
        try:
            code = self.child.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:  # it has closed its end, and hangs in its exit
            code = self._kill()
        if code is None:
            return f'{text} and still holds its device'
        how = f'with exit code {code}' if code >= 0 else f'by {signal.Signals(-code).name}'
        return f'{text} {how}'

    def _kill(self) -> int | None:
        """Kill the child; its exit code, or None where it does not end in time."""
        self.child.kill()
        try:
            return self.child.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None


def _log_lines(lines: Connection) -> None:
    """Put what comes into the log, until the child is gone."""
    with lines, contextlib.suppress(EOFError, OSError):
        while True:
            name, level, text = lines.recv()
            logging.getLogger(name).log(level, '%s', text)


def _hang_up(connection: Connection) -> None:
    """End what waits at either end of a connection."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


# --- in the child --------------------------------------------------------------------------


class ParentGoneError(Exception):
    """The parent has ended; the kernel is about to end this process."""


class Parent:
    """The child's end, for one thread at a time.

    :param descriptor: of the socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)

    def fileno(self) -> int:
        """Of the socket: it can be waited for."""
        return self._connection.fileno()

    def wait(self, timeout: float) -> bool:
        """Whether a message comes in that time [s]."""
        return self._connection.poll(timeout)

    def receive(self) -> tuple[str, Any]:
        """Wait for a message.

        :raises ParentGoneError: none will come.
        """
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise ParentGoneError from None

    def receive_file(self) -> int:
        """The next descriptor that came with the last message."""
        return recv_handle(self._connection)

    def send(self, what: str, detail: object = None) -> None:
        """Send a message.

        :raises ParentGoneError: nobody takes it.
        """
        try:
            self._connection.send((what, detail))
        except OSError:
            raise ParentGoneError from None

    def send_error(self, error: ActError) -> None:
        """Send what `HelperProcess.ask` raises."""
        self.send('error', (type(error).__name__, str(error)))


class _LogHandler(logging.Handler):
    """Sends log lines to the parent, whose log has them."""

    def __init__(self, lines: Connection) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        with contextlib.suppress(OSError):
            self._lines.send((record.name, record.levelno, self.format(record)))


def begin() -> tuple[Parent, list[str]]:
    """Tie this process to its parent, which has its log from now on.

    :returns: the parent, and the arguments of `HelperProcess`.
    """
    # A signal to all of a group is the parent's affair: it still has a last message to send.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    descriptor, lines, lifeline, *arguments = sys.argv[1:]
    _end_with_parent(int(lifeline))
    logger = logging.getLogger('act_ros')
    logger.addHandler(_LogHandler(Connection(int(lines))))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return Parent(int(descriptor)), arguments


def _end_with_parent(lifeline: int) -> None:
    """Be killed by the kernel when the parent is gone, whatever this process is in.

    A thread that watches would need the interpreter, which a pass that hangs may hold; and
    PR_SET_PDEATHSIG goes by the thread that started this process, not by the parent.

    :param lifeline: end of a pipe whose other end only the parent has.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    closed = select.poll()
    closed.register(lifeline, 0)  # reports a hang-up in any case
    if closed.poll(0):
        sys.exit()
