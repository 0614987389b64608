"""What the command lines share: logging, one-line errors, and a stop by signal."""

import contextlib
import importlib.util
import logging
import os
import signal
import sys
import threading
from argparse import _ArgumentGroup
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from act_ros.errors import ActError, ParameterError

END_TIMEOUT = 20  # from a signal to the end, whatever hangs [s]
USER_ERROR = 2  # exit code of a mistake that the message says how to mend
SEVERAL = 8  # of a flag that compares, at most
LONGEST = 10_000  # of --latency [ms]


def exit_at_once() -> None:
    """Until there is something to stop, SIGINT and SIGTERM just end the process.

    To be called before what takes long to import.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a program to end; a hangup only where nobody, as nohup, ignores it."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


def interrupt_on_signals() -> None:
    """From here on there is something to end in order: a signal becomes a KeyboardInterrupt.

    Further ones shall not disturb what the first has begun.
    """

    def interrupt(*_: object) -> None:
        end_undisturbed()
        raise KeyboardInterrupt

    for number in stop_signals():
        signal.signal(number, interrupt)


def end_undisturbed() -> None:
    """From here on signals do not count: the end has begun.

    If that hangs, as in writing to a terminal that nobody reads, the kernel ends it.
    """
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(END_TIMEOUT)


def require_ros(program: str) -> None:
    """End with one line where the ROS 2 client library is not installed or not sourced."""
    if importlib.util.find_spec('rclpy') is None:
        print(
            f'{program}: error: no rclpy; source your ROS 2 distribution '
            f'(/opt/ros/.../setup.bash), or run `make setup` and use .venv/bin/{program}',
            file=sys.stderr,
        )
        sys.exit(USER_ERROR)


def add_selection(group: _ArgumentGroup) -> None:
    """Add the options that say which parts of bags are looked at, see `split`."""
    group.add_argument('--episodes', default='whole', metavar='HOW',
                       help='whole (default), gaps:SECONDS, topic:NAME or table:FILE')
    group.add_argument('--start', type=float, metavar='S',
                       help='seconds of each bag to leave out')
    group.add_argument('--duration', type=float, metavar='S',
                       help='seconds of each bag to look at')
    group.add_argument('--namespace', default='', metavar='NS',
                       help='that relative topics were recorded under')  # fmt: skip


def check_flags(flags: Iterable[tuple[str, float | None, float]]) -> None:
    """Refuse values that are too small.

    :param flags: name, value or None, and least value of each.
    :raises ParameterError: naming the first.
    """
    for flag, value, least in flags:
        if value is not None and not least <= value < 1e9:
            raise ParameterError(f'{flag} is {value:g}, expected {least:g} or more')


def run(program: str, main: Callable[[], None]) -> int:
    """Run a command line and return its exit code; a user's mistake is one line on stderr."""
    logging.basicConfig(
        level=logging.INFO, format='%(asctime)s %(levelname)s %(message)s', stream=sys.stderr
    )
    try:
        main()
    except (ActError, OSError) as error:  # of the system: a full disk, a missing permission
        print(f'{program}: error: {error}', file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return 130
    return 0


def run_until_signal(program: str, work: Callable[[], None], stop: Callable[[], None]) -> int:
    """Run `work` until it returns or SIGINT or SIGTERM comes, and return the exit code.

    The work has a thread of its own, so that a signal counts at once even during a load or a
    forward pass: `stop` is called, and what does not end within a second is abandoned.

    :param work: what to do; an ActError is a user's mistake.
    :param stop: makes the work end soon.
    """
    # The interpreter itself writes each signal's number to the pipe. A handler in Python that
    # sets an Event or fills a queue can hang on the lock that it interrupts.
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    code = 1  # of an error that nobody expected

    def worker() -> None:
        nonlocal code
        try:
            code = run(program, work)
        finally:
            os.write(wake_write, b'\0')

    thread = threading.Thread(target=worker, name=program, daemon=True)
    thread.start()
    if os.read(wake_read, 1) == b'\0':
        thread.join()
        return code
    stop()
    thread.join(timeout=1.0)
    if thread.is_alive():
        logging.getLogger(__name__).warning('abandoned what was still running')
        leave(0)
    return 0


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's own end, in which threads may be in the way."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def check_latencies(given: Sequence[float]) -> None:
    """Refuse what --latency cannot be [ms].

    :raises ParameterError: naming it.
    """
    for ms in given:
        if not 0 <= ms <= LONGEST:
            raise ParameterError(f'--latency is {ms:g}, expected 0 to {LONGEST} ms')
    check_several('--latency', given, [f'{ms:g}' for ms in given])


def check_several(flag: str, given: Sequence[object], texts: Sequence[str]) -> None:
    """Refuse what a flag that compares cannot be given.

    :param texts: how each was written.
    :raises ParameterError: one is given twice, or there are too many.
    """
    for number, each in enumerate(given):
        if each in given[:number]:
            raise ParameterError(f'{flag} {texts[number]} is given twice')
    if len(given) > SEVERAL:
        raise ParameterError(f'{flag} is given {len(given)} times, expected {SEVERAL} at most')


def labelled(folders: Sequence[str]) -> dict[str, str]:
    """What each --ckpt-dir is called, and the folder: its name, or all of it where names recur.

    :raises ParameterError: a folder is given twice.
    """
    names = [Path(folder).resolve().name for folder in folders]
    labels = folders if len(set(names)) < len(names) else names
    if len(set(labels)) < len(labels):
        raise ParameterError(f'--ckpt-dir is given twice: {", ".join(folders)}')
    return dict(zip(labels, folders, strict=True))
