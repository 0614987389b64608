"""A policy in a process of its own, used as if it were here.

Beside a control loop the network costs twice when it shares the process: its threads hold the
interpreter while the tick waits for it, and what crashes it takes the controller along. So it
is loaded in a child. The frames go through anonymous shared memory, which leaves nothing
behind; the rest are small messages over a private socket pair. They are pickles: both ends are
this program.
"""

import contextlib
import logging
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Pipe

import numpy as np

from act_ros import errors
from act_ros.errors import PolicyError
from act_ros.policy.checkpoint import Statistics
from act_ros.policy.policy import check_observation
from act_ros.task import Task

LOAD = 'act_ros.policy:load_policy'


@dataclass(frozen=True)
class Facts:
    """What the child says of the policy that it has loaded."""

    task: Task
    chunk_size: int
    state_dim: int
    action_dim: int
    statistics: Statistics


class Block:
    """Observation and chunk in shared memory: the same bytes at both ends.

    :param descriptor: of the memory.
    :ivar frames: (cameras, H, W, 3) uint8 RGB, in the task's order.
    :ivar qpos: (state_dim,) float32.
    :ivar chunk: (chunk_size, action_dim) float32.
    """

    frames: np.ndarray
    qpos: np.ndarray
    chunk: np.ndarray

    def __init__(self, descriptor: int, facts: Facts) -> None:
        task = facts.task
        parts = {
            'frames': ((len(task.cameras), *task.image_size, 3), np.uint8),
            'qpos': ((facts.state_dim,), np.float32),
            'chunk': ((facts.chunk_size, facts.action_dim), np.float32),
        }
        sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in parts.values()]
        starts = [0]
        for size in sizes:
            starts.append(-(-(starts[-1] + size) // 64) * 64)
        os.ftruncate(descriptor, starts[-1])
        memory = mmap.mmap(descriptor, starts[-1])
        for (name, (shape, kind)), start in zip(parts.items(), starts, strict=False):
            setattr(self, name, np.ndarray(shape, kind, memory, start))


class PolicyProcess:
    """The interface of `Policy`, at the end of a socket.

    `predict` is called by one thread at a time, `close` by any.

    :param load: 'module:function' that loads the policy in the child.
    :param torch_threads: CPU threads of the network; 0 = torch's own choice.
    """

    def __init__(self, load: str = LOAD, *, torch_threads: int = 0) -> None:
        self._exchange = threading.Lock()
        self._ended = False
        self._block: Block | None = None
        self._connection, theirs = Pipe()
        self._memory = os.memfd_create('act_ros')
        try:
            self._child = subprocess.Popen(
                [sys.executable, '-m', 'act_ros.policy.worker', str(theirs.fileno()),
                 str(self._memory), load, str(torch_threads)],
                pass_fds=(theirs.fileno(), self._memory),
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C is for the parent, which ends the child
            )  # fmt: skip
        finally:
            theirs.close()

    def load(self, *arguments: object, **options: object) -> None:
        """Load the policy.

        :raises ActError: as `load_policy`.
        """
        facts: Facts = self._ask('load', (arguments, options))
        self.task = facts.task
        self.chunk_size = facts.chunk_size
        self.state_dim, self.action_dim = facts.state_dim, facts.action_dim
        self.statistics = facts.statistics
        self._block = Block(self._memory, facts)

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """As `Policy.predict`.

        :raises PolicyError: the child has ended, too.
        """
        check_observation(self.task, qpos, images)
        block = self._block
        if block is None:
            raise PolicyError('the inference process was ended')
        block.qpos[:] = qpos
        for place, name in zip(block.frames, self.task.cameras, strict=True):
            np.copyto(place, images[name])
        self._ask('predict')
        return block.chunk.copy()

    def warm_up(self) -> None:
        """As `Policy.warm_up`."""
        height, width = self.task.image_size
        blank = np.zeros((height, width, 3), dtype=np.uint8)
        self.predict(self.statistics.qpos_mean, dict.fromkeys(self.task.cameras, blank))

    def close(self) -> None:
        """End the child, whatever it is doing; a call that waits for it fails at once."""
        self._ended = True
        self._child.kill()
        self._child.wait()
        with self._exchange:  # free at once: there is nobody left to wait for
            if not self._connection.closed:
                self._connection.close()
                os.close(self._memory)
                self._block = None

    def _ask(self, what: str, detail: object = None) -> object:
        with self._exchange, self._living():
            self._connection.send((what, detail))
            while True:
                kind, content = self._connection.recv()
                if kind == 'log':
                    name, level, text = content
                    logging.getLogger(name).log(level, '%s', text)
                elif kind == 'error':
                    name, text = content
                    raise getattr(errors, name, PolicyError)(text)
                else:
                    return content

    @contextlib.contextmanager
    def _living(self) -> Iterator[None]:
        """Say why where the child is gone."""
        try:
            yield
        except (EOFError, OSError):
            if self._ended:
                raise PolicyError('the inference process was ended') from None
            code = self._child.wait()
            how = f'with exit code {code}' if code >= 0 else f'by {signal.Signals(-code).name}'
            raise PolicyError(
                f'the inference process was ended {how}; clean up and configure again'
            ) from None
