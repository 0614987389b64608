"""What tests of several folders share."""

import os
import signal

import pytest

# What is started here gets signals as any program does, also where a shell in the background keeps
# them from this.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='session')
def own_domain():
    """A ROS domain of the tests' own, for this process and those that it starts."""
    pytest.importorskip('rclpy', reason='rclpy is not importable')
    from act_ros.nodes.isolation import own_graph

    with own_graph('test') as graph:
        yield graph.domain


def pytest_terminal_summary(terminalreporter):
    """What to do about tests that have failed."""
    if not terminalreporter.stats.get('failed') and not terminalreporter.stats.get('error'):
        return
    terminalreporter.section('what to do')
    write = terminalreporter.write_line
    write('the failed ones again, with what they print:')
    write('    .venv/bin/python -m pytest --last-failed -x -s')
    load, cores = os.getloadavg()[1], os.cpu_count() or 1
    if load > cores:
        write(
            f'this machine was busy, with a load of {load:.1f} on {cores} cores: tests over DDS '
            f'and in real time want it for themselves; end what else runs, and try again'
        )
    write('CONTRIBUTING.md says how the tests are made, and what each folder needs')
