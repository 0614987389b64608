"""The child of `act_ros.bridge.process`: serves ZMQ clients until its parent says so or is gone.

It imports neither torch nor ROS. The policy is a guest's, in the inference process.
"""

import contextlib
import logging
import os
import resource
import sys
import threading
from dataclasses import replace

from act_ros.bridge.server import PolicyServer, serve_metrics
from act_ros.errors import ActError, one_line
from act_ros.helper_process import Parent, ParentGoneError, begin
from act_ros.policy.guest import GuestPlace, GuestPolicy

log = logging.getLogger(__name__)

# What it may have of its own: the server's bounds are below this. Whatever got past them would
# end this process, and neither the machine nor the controller.
MEMORY = 1024 * 2**20
NICE = 10  # where cores are short they are the robot's: its tick's, and its network's
PERIOD = 1.0  # of the counts [s]


def serve(parent: Parent) -> int:
    """Serve what the parent says; the exit code."""
    _, setup = parent.receive()
    try:
        server = PolicyServer(setup.endpoint, setup.settings)
        serve_metrics(server, setup.settings)
    except ActError as error:
        parent.send_error(error)
        return 1
    parent.send('done', server.endpoint)
    serving = threading.Thread(target=server.run, name='zmq', daemon=True)
    serving.start()
    begun = False
    while serving.is_alive():
        if parent.wait(PERIOD):
            what, detail = parent.receive()
            if what == 'stop':
                server.close()
                return 0
            if what == 'begin':
                begun = begin_serving(server, parent, detail)
            else:
                server.set_decay(detail)
        if begun:
            parent.send('counts', {'requests': server.requests, 'errors': server.errors})
    log.error('the server has ended: %s', one_line(server.failure or ActError('without a reason')))
    return 1


def begin_serving(server: PolicyServer, parent: Parent, place: GuestPlace) -> bool:
    """Take the place at the model; whether it is one."""
    place = replace(place, socket=parent.receive_file(), memory=parent.receive_file())
    try:
        with contextlib.closing(place):
            server.begin(GuestPolicy(place))
    except ActError as error:
        parent.send_error(error)
        return False
    parent.send('done')
    return True


def main() -> None:
    """Run the endpoint; what it is to serve comes from `EndpointProcess`."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    parent, _ = begin()
    with contextlib.suppress(ParentGoneError):
        sys.exit(serve(parent))
