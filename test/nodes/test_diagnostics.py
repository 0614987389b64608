"""What the node says of its parts once a second, without a graph."""

import pickle
import threading

import pytest
import zmq
from diagnostic_msgs.msg import DiagnosticStatus

from act_ros.bridge.server import PolicyServer
from act_ros.nodes.diagnostics import Report
from test.waiting import wait_until


class Deadly:
    """A policy whose failure is none that a server outlives."""

    def reset(self):
        raise SystemExit('out of luck')

    def act(self, qpos, images):
        raise AssertionError('not asked')


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_server_that_has_ended_is_an_error():
    server = PolicyServer(Deadly(), 'tcp://127.0.0.1:*')
    report = Report('/act')

    def status():
        message = report.message('inactive', '', None, None, server, 0, {})
        return next(s for s in message.status if s.name == '/act: zmq')

    assert (status().level, status().message) == (
        DiagnosticStatus.OK, f'serving {server.endpoint}',
    )  # fmt: skip
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(server.endpoint)
        client.send(pickle.dumps('RESET'))
        wait_until(lambda: not thread.is_alive(), 5, 'the end of the server')
    assert status().level == DiagnosticStatus.ERROR
    assert 'is served no more (out of luck): deactivate, clean up' in status().message
