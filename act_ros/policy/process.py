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
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

import numpy as np

from act_ros import errors
from act_ros.errors import ActError, PolicyError
from act_ros.policy.interface import Statistics, check_observation
from act_ros.task import Task

log = logging.getLogger(__name__)

LOAD = 'act_ros.policy:load_policy'

# The last argument is the parent's sys.path. Not `-m`, which would look into the working
# directory first: there may be another act_ros.
START = (
    'import sys; sys.path[:] = sys.argv.pop().split(":"); '
    'from act_ros.policy.worker import main; main()'
)

ENDED = 'the inference process was ended'
END_TIMEOUT = 1.0  # for the kernel to end a child that was killed [s]
ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ActError)
}


@dataclass(frozen=True)
class PolicyInfo:
    """What the child says of the policy that it has loaded."""

    task: Task
    chunk_size: int
    state_dim: int
    action_dim: int
    statistics: Statistics
    engine: str


class SharedBuffers:
    """Observation and chunk in shared memory: the same bytes at both ends.

    :param descriptor: of the memory.
    :ivar frames: (cameras, H, W, 3) uint8 RGB, in the task's order.
    :ivar qpos: (state_dim,) float32.
    :ivar chunk: (chunk_size, action_dim) float32.
    """

    frames: np.ndarray
    qpos: np.ndarray
    chunk: np.ndarray

    def __init__(self, descriptor: int, info: PolicyInfo) -> None:
        task = info.task
        parts = {
            'frames': ((len(task.cameras), *task.image_size, 3), np.uint8),
            'qpos': ((info.state_dim,), np.float32),
            'chunk': ((info.chunk_size, info.action_dim), np.float32),
        }
        sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in parts.values()]
        starts = [0]
        for size in sizes:
            starts.append(-(-(starts[-1] + size) // 64) * 64)
        os.ftruncate(descriptor, starts[-1])
        memory = mmap.mmap(descriptor, starts[-1])
        for (name, (shape, dtype)), start in zip(parts.items(), starts, strict=False):
            setattr(self, name, np.ndarray(shape, dtype, memory, start))


class PolicyProcess:
    """The interface of `Policy`, at the end of a socket.

    Calls may come from any thread, `close` also while another one is being answered.

    :param load: 'module:function' that loads the policy in the child.
    :param torch_threads: CPU threads of the network; 0 = torch's own choice.
    """

    def __init__(self, load: str = LOAD, *, torch_threads: int = 0) -> None:
        self._exchange = threading.Lock()  # whose observation is in the buffers, and its answer
        self._ended = False
        self._buffers: SharedBuffers | None = None
        self._shade = 0  # of the frames of the last warm-up
        self._connection, theirs = Pipe()
        self._memory = os.memfd_create('act_ros')
        # Only this process has the end that is kept: however it ends, the kernel closes it.
        lifeline, self._lifeline = os.pipe()
        try:
            self._child = subprocess.Popen(
                [sys.executable, '-c', START, str(theirs.fileno()), str(self._memory),
                 str(lifeline), load, str(torch_threads), ':'.join(sys.path)],
                pass_fds=(theirs.fileno(), self._memory, lifeline),
                start_new_session=True,  # Ctrl-C is for the parent, which ends the child
            )  # fmt: skip
        except OSError as error:
            self._release()
            raise PolicyError(f'the inference process cannot be started: {error}') from None
        finally:
            theirs.close()
            os.close(lifeline)
        # Where the whole node was started with a real-time priority: it is not for the network.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(self._child.pid, os.SCHED_OTHER, os.sched_param(0))

    def load(self, *arguments: object, **options: object) -> None:
        """Load the policy.

        :raises ActError: as `load_policy`.
        """
        with self._exchange:
            info: PolicyInfo = self._ask('load', (arguments, options))
            self._buffers = SharedBuffers(self._memory, info)
        self.task = info.task
        self.chunk_size = info.chunk_size
        self.state_dim, self.action_dim = info.state_dim, info.action_dim
        self.statistics = info.statistics
        self.engine = info.engine

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """As `Policy.predict`.

        :raises PolicyError: the child has ended, too.
        """
        check_observation(self.task, qpos, images)
        with self._exchange:
            buffers = self._buffers
            if buffers is None:
                raise PolicyError(ENDED)
            buffers.qpos[:] = qpos
            for place, name in zip(buffers.frames, self.task.cameras, strict=True):
                np.copyto(place, images[name])
            self._ask('predict')
            return buffers.chunk.copy()

    def warm_up(self) -> None:
        """One pass on frames that were not there before: what a pass takes at most."""
        self._shade = (self._shade + 1) % 256
        blank = np.full((*self.task.image_size, 3), self._shade, dtype=np.uint8)
        self.predict(self.statistics.qpos_mean, dict.fromkeys(self.task.cameras, blank))

    def close(self) -> None:
        """End the child, whatever it is doing; a call that waits for it fails at once.

        Returns within a few seconds, also where the kernel cannot end the child.
        """
        self._ended = True
        if self._end() is None:
            log.warning(
                'the inference process %d was killed and does not end: it waits for a device or '
                'a file system that does not answer', self._child.pid,
            )  # fmt: skip
        _hang_up(self._connection)
        # Free at once, for there is nobody left to wait for; but the log may block its caller.
        if self._exchange.acquire(timeout=END_TIMEOUT):
            if not self._connection.closed:
                self._buffers = None
                self._release()
            self._exchange.release()

    def _end(self) -> int | None:
        """Kill the child; its exit code, or None where it does not end in time."""
        self._child.kill()
        try:
            return self._child.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None

    def _release(self) -> None:
        self._connection.close()
        os.close(self._memory)
        os.close(self._lifeline)

    def _ask(self, what: str, detail: object = None) -> Any:
        """Send a request and wait for what comes of it."""
        try:
            self._connection.send((what, detail))
            kind, content = self._connection.recv()
            while kind == 'log':
                name, level, text = content
                logging.getLogger(name).log(level, '%s', text)
                kind, content = self._connection.recv()
        except (EOFError, OSError):
            raise PolicyError(self._epitaph()) from None
        except BaseException:
            # Interrupted: the answer to come would be taken for the one to the next request.
            self._child.kill()
            raise
        if kind == 'error':
            name, text = content
            raise ERRORS.get(name, PolicyError)(text)
        return content

    def _epitaph(self) -> str:
        """Why there is no answer."""
        if self._ended:
            return ENDED
        code: int | None
        try:
            code = self._child.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:  # it has closed its end, and hangs in its exit
            code = self._end()
        if code is None:
            how = 'and still holds its device'
        else:
            how = f'with exit code {code}' if code >= 0 else f'by {signal.Signals(-code).name}'
        return f'{ENDED} {how}; clean up and configure again'


def _hang_up(connection: Connection) -> None:
    """End what waits at either end of a connection, also where the other end never answers."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
