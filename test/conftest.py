"""What tests of several folders share."""

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
