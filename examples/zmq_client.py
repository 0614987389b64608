#!/usr/bin/env python3
"""Ask a policy server for actions: three steps, a chunk, and an error.

    pip install pyzmq msgpack numpy
    python3 zmq_client.py tcp://127.0.0.1:5555 rgb_main=main.jpg rgb_left=left.png ...

An image is a JPEG or PNG file of the policy's size, or an (H, W, 3) uint8 .npy file.
"""

import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq


class ServerError(Exception):
    """The server answered ERROR; `code` says which one."""

    def __init__(self, reply: dict) -> None:
        super().__init__(f'{reply["error"]}: {reply["message"]}')
        self.code = reply['error']


def to_map(array: np.ndarray) -> dict:
    """An array as MessagePack carries it."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder('<'))
    return {'dtype': little.dtype.str, 'shape': list(array.shape), 'data': little.tobytes()}


def from_map(value: dict) -> np.ndarray:
    """An array of a reply."""
    return np.frombuffer(value['data'], value['dtype']).reshape(value['shape'])


class Client:
    """One session at a server."""

    def __init__(
        self, endpoint: str, session: str, *, timeout: float = 5.0, tries: int = 3
    ) -> None:
        self.session, self._tries = session, tries
        self._id = time.time_ns()  # not again that of an earlier run
        self._socket = zmq.Context.instance().socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, round(timeout * 1000))
        # After a time-out the same request may be sent again, and a late reply is dropped.
        self._socket.setsockopt(zmq.REQ_CORRELATE, 1)
        self._socket.setsockopt(zmq.REQ_RELAXED, 1)
        self._socket.connect(endpoint)

    def call(self, request: str, **fields: Any) -> dict:
        """Send a request, several times if need be: the same id is never run twice."""
        self._id += 1
        message = msgpack.packb({'request': request, 'id': self._id, **fields})
        for _ in range(self._tries):
            self._socket.send(message)
            try:
                reply = msgpack.unpackb(self._socket.recv())
            except zmq.Again:
                continue
            if reply['status'] != 'OK':
                raise ServerError(reply)
            return reply
        raise TimeoutError('no answer; is the server running there?')

    def reset(self) -> None:
        """Begin an episode."""
        self.call('reset', session=self.session)

    def act(self, qpos: np.ndarray, images: dict, step: int) -> np.ndarray:
        """The action of a step; no limits are applied to it."""
        reply = self.call(
            'act', session=self.session, step=step, qpos=to_map(qpos), images=images, deadline=5.0
        )
        return from_map(reply['action'])

    def chunk(self, qpos: np.ndarray, images: dict) -> np.ndarray:
        """What the policy predicts from this observation, a row for each step."""
        reply = self.call('act', reply='chunk', qpos=to_map(qpos), images=images)
        return from_map(reply['chunk'])


def load(path: str) -> object:
    """An image: the bytes of a file, or an array."""
    return to_map(np.load(path)) if path.endswith('.npy') else Path(path).read_bytes()


def main() -> None:
    """Three steps, a chunk, and an error."""
    endpoint, *cameras = sys.argv[1:]
    images = {name: load(path) for name, path in (camera.split('=') for camera in cameras)}
    qpos = np.zeros(17, np.float32)  # of the robot
    client = Client(endpoint, 'python')
    client.reset()
    for step in range(3):
        action = client.act(qpos, images, step)
        print('action', step, *(f'{value:.9g}' for value in action))
    chunk = client.chunk(qpos, images)
    print('chunk', *chunk.shape, *(f'{value:.9g}' for value in chunk[0]))
    client.session = 'python, never begun'
    try:
        client.act(qpos, images, 3)
    except ServerError as error:
        print('error', error.code)


if __name__ == '__main__':
    try:
        main()
    except (ServerError, TimeoutError) as error:
        sys.exit(f'error: {error}')
