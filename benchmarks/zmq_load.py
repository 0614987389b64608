"""What keeps a ZMQ endpoint busy: long requests from two clients, each sent again when answered.

Each is 60 MB: an array as old pickles have it, as text, which is no observation. So the endpoint
reads it from end to end and refuses it. A part of `benchmarks.control_loop`.
"""

import pickle
import signal
import sys

import numpy as np
import zmq

CLIENTS = 2
CHARACTERS = 30_000_000  # of two bytes each


def main() -> int:
    """Send requests to an endpoint until SIGINT or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    array = np.full(CHARACTERS, 200, np.uint8)
    request = pickle.dumps({'qpos': array, 'images': {}}, protocol=2)
    context, poller = zmq.Context(), zmq.Poller()
    try:
        for _ in range(CLIENTS):
            client = context.socket(zmq.REQ)
            client.connect(sys.argv[1])
            client.send(request, copy=False)
            poller.register(client, zmq.POLLIN)
        while True:
            for client, _ in poller.poll():
                client.recv()
                client.send(request, copy=False)
    finally:
        context.destroy(linger=0)


if __name__ == '__main__':
    sys.exit(main())
