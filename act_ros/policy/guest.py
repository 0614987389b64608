"""The guest's end of the inference process: the same model, in turns with the robot.

What a guest sends is whose observations lie in memory that both share, and what it gets is whether
their chunks lie there: it never has the model while it does anything else.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from act_ros.errors import PolicyError
from act_ros.helper_process import raise_again
from act_ros.policy.buffers import PolicyInfo, SharedBuffers
from act_ros.policy.interface import (
    Observation,
    blank_observation,
    check_chunk,
    check_observation,
)

SOURCE = np.dtype(np.uint32)  # a request is one for each observation: whose cameras it is of
LONGEST = 4096  # bytes of an answer: empty, or an error's type and text
ENDED = 'the inference process has ended, or takes no guests'


@dataclass(frozen=True)
class GuestPlace:
    """What `GuestPolicy` is made of, in whichever process has the files.

    :ivar count: observations that go through in one pass at most.
    :ivar socket: descriptor of the way to the inference process.
    :ivar memory: descriptor of what both share.
    """

    info: PolicyInfo
    count: int
    socket: int
    memory: int

    @property
    def files(self) -> tuple[int, int]:
        """Descriptors, for the process that is to have them."""
        return self.socket, self.memory

    def close(self) -> None:
        """Close the files in this process."""
        for file in self.files:
            os.close(file)


class GuestPolicy:
    """A policy whose passes are taken in turns with the robot's. Calls may come from any thread.

    :param place: stays as it is; its files serve for as long as this is used.
    :ivar max_batch: observations that go through in one pass at most.
    """

    def __init__(self, place: GuestPlace) -> None:
        info = place.info
        self.task, self.statistics = info.task, info.statistics
        self.chunk_size, self.about = info.chunk_size, info.about
        self.max_batch = place.count
        self._buffers = SharedBuffers(place.memory, info, place.count)
        self._socket = socket.socket(fileno=os.dup(place.socket))
        self._shade = 0  # of the next warm-up's frames
        self._turn = threading.Lock()

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """As `Policy.predict`, when it is the guest's turn.

        :raises PolicyError: the inference process has ended, too.
        """
        return self.predict_batch([(qpos, images)])[0]

    def predict_batch(self, observations: Sequence[Observation]) -> np.ndarray:
        """As `Policy.predict_batch`; more than fit into one pass have several turns.

        :raises PolicyError: the inference process has ended, too.
        """
        for qpos, images in observations:
            check_observation(self.task, qpos, images)
        chunks = self.forward(observations, [0] * len(observations))
        for (qpos, _), chunk in zip(observations, chunks, strict=True):
            check_chunk(self.task, chunk, qpos, self.statistics)
        return chunks

    def forward(self, observations: Sequence[Observation], sources: Sequence[int]) -> np.ndarray:
        """As `Policy.forward`.

        :raises PolicyError: the inference process has ended, too.
        """
        buffers, at_once = self._buffers, self.max_batch
        chunks = np.empty((len(observations), *buffers.chunks.shape[1:]), np.float32)
        with self._turn:
            for start in range(0, len(observations), at_once):
                part = observations[start : start + at_once]
                for i, (qpos, images) in enumerate(part):
                    buffers.put(i, qpos, images)
                self._ask(sources[start : start + at_once])
                chunks[start : start + len(part)] = buffers.chunks[: len(part)]
        return chunks

    def warm_up(self, count: int) -> None:
        """One pass of that many observations, on frames that were not there before."""
        shades = range(self._shade, self._shade + count)
        self._shade = shades.stop
        self.predict_batch([blank_observation(self.task, self.statistics, s) for s in shades])

    def close(self) -> None:
        """Leave; whoever waits for a pass is told at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _ask(self, sources: Sequence[int]) -> None:
        try:
            self._socket.send(np.array(sources, SOURCE).tobytes())
            answer = self._socket.recv(LONGEST)
        except OSError:
            raise PolicyError(ENDED) from None
        if not answer:
            raise PolicyError(ENDED)
        name, _, text = answer[1:].decode(errors='replace').partition('\n')
        if name:
            raise_again(name, text)
