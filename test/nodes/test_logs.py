"""Log lines and terminals that nobody reads."""

import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

from act_ros.nodes import logs
from test.waiting import wait_until

# Logs as fast as it can while another thread ticks; what it finds out goes to standard output.
PROGRAM = """
import logging, sys, threading, time, warnings
from act_ros.nodes import logs
logs.log_to_ros('test')
log = logging.getLogger('act_ros.test')

done, late = threading.Event(), [0.0]

def tick():
    last = time.monotonic()
    while not done.wait(0.01):
        now = time.monotonic()
        late[0], last = max(late[0], now - last), now

ticking = threading.Thread(target=tick)
ticking.start()
slowest = 0.0
for i in range(3000):
    started = time.perf_counter()
    log.warning('line %d %s', i, 'x' * 100)
    slowest = max(slowest, time.perf_counter() - started)
    if i % 100 == 0:
        time.sleep(0.01)
warnings.warn('of numpy')
try:
    1 / 0
except ZeroDivisionError as error:
    log.error('a fault', exc_info=error)
log.warning('%d', 'no number')
done.set()
ticking.join()
print(late[0], slowest, logs.dropped(), flush=True)
if sys.argv[1] == 'raise':
    raise SystemExit(3)
if sys.argv[1] == 'wait':
    time.sleep(20)
"""


@pytest.fixture
def run(tmp_path):
    """Runs the program; the log file goes to a folder of the test."""

    def start(what, stderr, folder=tmp_path / 'logs'):
        return subprocess.Popen(
            [sys.executable, '-c', PROGRAM, what], stdout=subprocess.PIPE, stderr=stderr,
            text=True, env={**os.environ, 'ROS_LOG_DIR': str(folder)},
        )  # fmt: skip

    return start


@pytest.fixture
def unread():
    """A pipe that holds a page and that nobody reads: its ends."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    yield read, write
    os.close(read)
    os.close(write)


def test_a_terminal_that_takes_nothing_holds_nobody_up_not_even_at_the_end(run, unread):
    started = time.monotonic()
    with run('raise', unread[1]) as process:
        late, slowest, dropped = map(float, process.communicate(timeout=20)[0].split())
        assert process.returncode == 3
    assert late < 0.5  # it is a busy machine, not a terminal
    assert slowest < 0.5
    assert 1900 < dropped < 3000  # a thousand wait, some thirty fit into the pipe
    assert time.monotonic() - started < 15


def test_what_was_dropped_is_told_when_the_terminal_takes_lines_again(run, unread):
    with run('wait', unread[1]) as process:
        try:
            _, _, dropped = map(float, process.stdout.readline().split())
            os.set_blocking(unread[0], False)
            text = ''

            def told():
                nonlocal text
                try:
                    text += os.read(unread[0], 65536).decode()
                except BlockingIOError:
                    return False
                return 'log lines were dropped' in text

            wait_until(told, 10, lambda: f'a word of it: {text[-300:]}')
            assert f'{dropped:.0f} log lines were dropped' in text
            assert 'line 900 ' in text
        finally:
            process.send_signal(signal.SIGKILL)


def test_whatever_is_logged_is_written_before_an_abnormal_end_in_the_form_of_ros(run, tmp_path):
    with (tmp_path / 'log').open('w') as file, run('raise', file) as process:
        _, _, dropped = map(float, process.communicate(timeout=20)[0].split())
    text = (tmp_path / 'log').read_text()
    (copy,) = (tmp_path / 'logs').iterdir()
    assert copy.read_text() == text
    lines = text.splitlines()
    assert dropped == 0
    said = [line for line in lines if ']: line ' in line]
    assert [int(line.split(' line ')[1].split()[0]) for line in said] == list(range(3000))
    assert said[0].startswith('[WARN] [') and '] [test]: line 0 x' in said[0]
    assert any('UserWarning: of numpy' in line for line in lines)
    assert 'ZeroDivisionError: division by zero' in lines
    assert lines[-1].endswith('%d (TypeError)')


def test_without_a_place_for_a_log_file_the_program_runs(run, tmp_path):
    with run('end', subprocess.PIPE, folder='/proc/nowhere') as process:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
    assert 'no log file: ' in errors
    assert 'line 2999 ' in errors


def test_a_terminal_that_another_program_made_non_blocking_loses_no_line():
    read, write = os.pipe()
    os.set_blocking(write, False)
    lines = logs._Lines('test', write)
    count = 2 * fcntl.fcntl(write, fcntl.F_GETPIPE_SZ) // 100

    def fill():
        try:
            for i in range(count):
                lines._line(logging.INFO, 0.0, f'{i} {"x" * 100}')
        finally:
            os.close(write)

    writing = threading.Thread(target=fill)
    writing.start()
    # Nothing is read before the pipe is full.
    wait_until(lambda: not select.select([], [write], [], 0)[1], 10, 'a full pipe')
    with os.fdopen(read) as pipe:
        found = [line.split()[3] for line in pipe]
    writing.join(10)
    assert found == [str(i) for i in range(count)]
