"""One checkpoint and one server process for all tests of the bridge."""

import pytest

from test.bridge.servers import Requester, ServerProcess
from test.rule import vector, write_checkpoint


@pytest.fixture(scope='session')
def reference():
    """Inputs of 12 steps, images of 120x160, and the actions that the public code gave."""
    return vector('small')


@pytest.fixture(scope='session')
def ckpt(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('ckpt'))


@pytest.fixture(scope='package')
def server(ckpt):
    """A server process, shared: whoever uses it begins with a RESET."""
    process = ServerProcess('--ckpt-dir', ckpt)
    yield process
    process.close()


@pytest.fixture
def requester(server):
    """A plain client of `server`, at the start of an episode."""
    with Requester(server.endpoint) as requester:
        requester.reset()
        yield requester
