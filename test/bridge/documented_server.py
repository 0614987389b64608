"""A server that knows the documented protocol and nothing else, as the public one."""

import pickle
import threading

import numpy as np
import zmq


class DocumentedServer:
    """Each action has its step in all places. Clients take turns at one episode.

    :ivar endpoint: where it listens.
    :ivar resets: how many there were.
    """

    def __init__(self, action_dim: int = 1) -> None:
        self.resets = self.step = 0
        self._action_dim = action_dim
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self.endpoint = f'tcp://127.0.0.1:{self._socket.bind_to_random_port("tcp://127.0.0.1")}'
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> 'DocumentedServer':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._context.destroy(linger=0)

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._socket.poll(20):
                try:
                    reply = self._answer(pickle.loads(self._socket.recv()))
                except Exception as error:
                    reply = {'status': 'ERROR', 'message': f'{type(error).__name__}: {error}'}
                self._socket.send(pickle.dumps(reply))

    def _answer(self, request: object) -> dict:
        if request == 'RESET':
            self.resets += 1
            self.step = 0
            return {'status': 'OK'}
        assert request['qpos'].ndim == 1 and request['images']
        self.step += 1
        return {'status': 'OK', 'action': np.full(self._action_dim, float(self.step))}
