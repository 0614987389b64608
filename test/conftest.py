"""What tests of several folders share."""

import signal

import pytest

# What is started here gets a hangup as any program does, also where `nohup` keeps it from this.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope='session')
def own_domain():
    """A ROS domain of the tests' own, for this process and those that it starts."""
    pytest.importorskip('rclpy', reason='rclpy is not importable')
    from act_ros.nodes.isolation import own_graph

    with own_graph('test') as graph:
        yield graph.domain
