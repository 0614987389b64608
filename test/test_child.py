"""A child ends whatever happens to its parent."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from act_ros.child import child, module, tied
from test.processes import alive
from test.waiting import wait_until

# Starts a child that would sleep for long, and says its number.
PARENT = """
import signal, sys, time
from pathlib import Path
from act_ros.child import child
{before}
with child([sys.executable, '-c', {program!r}], Path(sys.argv[1])) as process:
    print(process.pid, flush=True)
    time.sleep(600)
"""
READY = 'print("ready", flush=True)'
SLEEPS = f'import time; {READY}; time.sleep(600)'


def start(log, program=SLEEPS, before=''):
    """The parent, and the number of its child."""
    text = PARENT.format(program=program, before=before)
    parent = subprocess.Popen([sys.executable, '-c', text, log], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    wait_until(lambda: Path(log).read_text() == 'ready\n', 20, 'the child to run')
    return parent, pid


@pytest.mark.parametrize(
    'before',
    [
        '',
        'for n in (2, 15): signal.signal(n, signal.SIG_IGN)',
        'signal.pthread_sigmask(signal.SIG_BLOCK, (1, 2, 15))',
    ],
    ids=['', 'ignores_signals', 'blocks_signals'],
)  # fmt: skip
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGABRT])
def test_a_killed_parent_takes_its_child_along(tmp_path, number, before):
    parent, pid = start(tmp_path / 'log', before=before)
    assert alive(pid)
    parent.send_signal(number)
    parent.wait()
    wait_until(lambda: not alive(pid), 5, 'the end of the child')


def test_a_child_may_end_in_order(tmp_path):
    # What it still does when the kernel tells it: a last message, here a file.
    program = (
        'import signal, pathlib, time, sys\n'
        f'signal.signal(signal.SIGTERM, lambda *_: '
        f'(pathlib.Path({str(tmp_path / "last")!r}).touch(), sys.exit()))\n'
        f'{READY}\ntime.sleep(600)'
    )
    parent, pid = start(tmp_path / 'log', program)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(pid), 5, 'the end of the child')
    assert (tmp_path / 'last').exists()


def test_a_child_whose_parent_is_gone_already_does_not_begin(tmp_path):
    gone = subprocess.Popen([sys.executable, '-c', ''])
    gone.wait()
    made = tmp_path / 'made'
    command = [*tied([])[:-1], str(gone.pid), 'touch', str(made)]
    assert subprocess.run(command).returncode == -signal.SIGTERM
    assert not made.exists()


def test_the_end_of_the_block_ends_it(tmp_path):
    with child(module('http.server', '0', '--bind', '127.0.0.1'), tmp_path / 'log') as process:
        wait_until(lambda: (tmp_path / 'log').read_text(), 20, 'the server')
        command = Path(f'/proc/{process.pid}/cmdline').read_bytes().split(b'\0')
        assert command[1:3] == [b'-m', b'http.server']  # in the place of what started it
    assert not alive(process.pid)


def test_what_ignores_sigint_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr('act_ros.child.END_TIMEOUT', 0.2)
    program = f'import signal, time; signal.signal(2, signal.SIG_IGN); {READY}; time.sleep(600)'
    with child([sys.executable, '-c', program], tmp_path / 'log') as process:
        wait_until(lambda: (tmp_path / 'log').read_text(), 20, 'the child to run')
    assert process.returncode == -signal.SIGKILL


def test_no_such_command_is_one_line():
    run = subprocess.run(tied(['/no/such']), capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == '/no/such: No such file or directory\n'
