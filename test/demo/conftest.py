"""Real processes on real DDS, in a domain of the tests' own."""

import pytest

pytest.importorskip('rclpy', reason='rclpy is not importable')


@pytest.fixture(scope='session', autouse=True)
def _in_own_domain(own_domain):
    pass
