"""Log records on their way to the terminal and to ROS, without anybody waiting for either.

Whoever logs, the control tick above all, only puts the record into queues. Threads write them to
the terminal and to the log file: they are what waits where somebody has pressed Ctrl-S, where
nobody reads the pipe, or where a disk stalls. Another hands them to rclpy's logger for `/rosout`.
rclpy would write to terminal and file too, and keep the whole interpreter waiting for them: a
process that logs from here starts ROS with `ROS_ARGUMENTS`.
"""

import atexit
import contextlib
import logging
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
import rclpy.logging

log = logging.getLogger(__name__)

ROS_ARGUMENTS = ('--ros-args', '--disable-stdout-logs', '--disable-external-lib-logs')
# Lines that wait at most: what comes then is dropped, and counted.
WAITING = 1000
# At the end of the process the last lines are waited for no longer than this [s].
FLUSH = 0.3

SEVERITIES = {10: 'DEBUG', 20: 'INFO', 30: 'WARN', 40: 'ERROR', 50: 'FATAL'}
COLOURS = {10: '\033[32m', 30: '\033[33m', 40: '\033[31m', 50: '\033[31m'}


class _Outlet:
    """A thread that writes records; none is waited for.

    :param write: takes a record, for as long as it likes.
    :param missing: writes how many there was no place for, once there is some again.
    """

    def __init__(
        self, name: str, write: Callable[[logging.LogRecord], None], missing: Callable[[int], None]
    ) -> None:
        self._write = write
        self._missing = missing
        self._queue: queue.SimpleQueue[logging.LogRecord | threading.Event] = queue.SimpleQueue()
        self.dropped = 0
        self._told = 0
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, record: logging.LogRecord) -> None:
        """Take in a record, or drop it where too many wait."""
        if self._queue.qsize() < WAITING:
            self._queue.put(record)
        else:
            self.dropped += 1

    def flush(self) -> threading.Event:
        """What is set when all that waits now has been written."""
        done = threading.Event()
        self._queue.put(done)
        return done

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            try:
                if isinstance(item, logging.LogRecord):
                    self._write(item)
                if self.dropped > self._told and self._queue.empty():
                    missing, self._told = self.dropped - self._told, self.dropped
                    self._missing(missing)
            except Exception:
                # A terminal that is gone, or ROS at its end: there is nobody to tell.
                self.dropped += 1
            if isinstance(item, threading.Event):
                item.set()


class _Lines:
    """ROS's own form of a line, in a file.

    :param name: of the logger.
    :param descriptor: of the file.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor
        self._form = os.environ.get(
            'RCUTILS_CONSOLE_OUTPUT_FORMAT', '[{severity}] [{time}] [{name}]: {message}'
        )
        self._colours = COLOURS if os.isatty(descriptor) else {}

    def write(self, record: logging.LogRecord) -> None:
        if rclpy.logging.get_logger_effective_level(self.name) <= record.levelno:
            self._line(record.levelno, record.created, _text(record))

    def say_missing(self, count: int) -> None:
        text = f'{count} log lines were dropped: nobody took them'
        self._line(logging.WARNING, time.time(), text)

    def _line(self, level: int, created: float, text: str) -> None:
        line = self._form
        for token, value in (
            ('severity', SEVERITIES.get(level, 'ERROR')), ('time', f'{created:.9f}'),
            ('time_as_nanoseconds', str(round(created * 1e9))), ('name', self.name),
            ('message', text),
        ):  # fmt: skip
            line = line.replace(f'{{{token}}}', value)
        if colour := self._colours.get(level):
            line = f'{colour}{line}\033[0m'
        data = f'{line}\n'.encode(errors='replace')
        while data:  # the interpreter is free meanwhile
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # some other program has made the shared terminal so
                select.select([], [self._descriptor], [], 1.0)


def _open_file(name: str) -> int:
    """Where ROS has its log files, a new one."""
    home = os.environ.get('ROS_HOME') or '~/.ros'
    folder = Path(os.environ.get('ROS_LOG_DIR') or f'{home}/log').expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{name}_{os.getpid()}_{round(time.time() * 1e3)}.log'
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


class _Ros:
    """rclpy's logger."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name
        logger = rclpy.logging.get_logger(name)
        # rclpy tells call sites apart by file and line and refuses a second severity from one
        # of them, so each severity has a line of its own.
        self._emit: dict[int, Callable[[str], object]] = {
            logging.DEBUG: lambda text: logger.debug(text),
            logging.INFO: lambda text: logger.info(text),
            logging.WARNING: lambda text: logger.warning(text),
            logging.ERROR: lambda text: logger.error(text),
            logging.CRITICAL: lambda text: logger.fatal(text),
        }

    def write(self, record: logging.LogRecord) -> None:
        if rclpy.ok():  # before and after, rclpy would write to the terminal
            self._emit.get(record.levelno, self._emit[logging.ERROR])(_text(record))

    def say_missing(self, count: int) -> None:
        if rclpy.ok():
            self._emit[logging.WARNING](f'{count} log lines were dropped')


class RosHandler(logging.Handler):
    """Hands records to the threads that write them.

    :param name: of ROS's logger.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._writers: list[_Lines | _Ros] = [_Ros(name), _Lines(name, 2)]
        try:
            self._writers.append(_Lines(name, _open_file(name)))
        except OSError as error:  # a full disk is no reason not to move
            log.warning('no log file: %s', error)
        self._outlets = [
            _Outlet(f'log_{i}', writer.write, writer.say_missing)
            for i, writer in enumerate(self._writers)
        ]

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a record; what it is about may change before it is written."""
        try:
            record.msg = record.getMessage()
        except Exception as error:  # its arguments do not fit: no reason for whoever logs to fail
            record.msg = f'{record.msg} ({type(error).__name__})'
        record.args = None
        for outlet in self._outlets:
            outlet.put(record)

    def use(self, name: str) -> None:
        """Log under the name of a node, whose `/rosout` takes no other."""
        for writer in self._writers:
            writer.name = name

    @property
    def dropped(self) -> int:
        """Lines that there was no place for on one of the ways out."""
        return max(outlet.dropped for outlet in self._outlets)

    def flush(self) -> None:
        """Wait until what has been logged is written, but no longer than FLUSH."""
        end = time.monotonic() + FLUSH
        for done in [outlet.flush() for outlet in self._outlets]:
            done.wait(max(0.0, end - time.monotonic()))


_FORMATTER = logging.Formatter('%(message)s')  # and the traceback, where there is one
_handler: RosHandler | None = None


def _text(record: logging.LogRecord) -> str:
    return _FORMATTER.format(record)


def log_to_ros(name: str = 'act') -> None:
    """Send all log records of this process, and what Python would print, to where ROS has them.

    :param name: of ROS's logger, until `log_as` knows better.
    """
    global _handler
    _handler = RosHandler(name)
    atexit.register(_handler.flush)
    logging.getLogger().addHandler(_handler)
    logging.getLogger('act_ros').setLevel(logging.INFO)
    logging.captureWarnings(True)
    threading.excepthook = _say_thread_ended


def _say_thread_ended(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread is not None else 'unknown'
        log.critical('the thread %s has ended', name, exc_info=args.exc_value)


def log_as(name: str) -> None:
    """Log under the name of a node."""
    if _handler is not None:
        _handler.use(name)


def dropped() -> int:
    """How many lines there was no place for."""
    return 0 if _handler is None else _handler.dropped


def flush() -> None:
    """Wait a moment until what has been logged or printed is written."""
    if _handler is not None:
        _handler.flush()
    printed = threading.Thread(target=_flush_streams, name='flush', daemon=True)
    printed.start()
    printed.join(FLUSH)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
