"""The child of `act_ros.policy.process`: loads a policy and answers until its parent is gone."""

import fcntl
import importlib
import logging
import os
import select
import signal
import sys
import traceback
from multiprocessing.connection import Connection

from act_ros.errors import ActError, one_line
from act_ros.policy.policy import Policy, set_torch_threads
from act_ros.policy.process import PolicyInfo, SharedBuffers


class LogHandler(logging.Handler):
    """Sends log lines to the parent, which has the node's log."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._connection.send(('log', (record.name, record.levelno, self.format(record))))


class Worker:
    """Answers the parent's requests.

    :param connection: to the parent.
    :param memory: descriptor of the shared memory.
    :param load: 'module:function' that loads the policy.
    """

    def __init__(self, connection: Connection, memory: int, load: str) -> None:
        self._connection = connection
        self._memory = memory
        self._load = load
        self._policy: Policy | None = None

    def run(self) -> None:
        """Answer until the parent is gone."""
        while True:
            try:
                what, detail = self._connection.recv()
            except (EOFError, OSError):
                return
            try:
                answer = 'done', getattr(self, what)(detail)
            except ActError as error:
                answer = 'error', (type(error).__name__, str(error))
            except Exception as error:
                traceback.print_exc()
                text = one_line(error)
                answer = 'error', ('PolicyError', text)
            try:
                self._connection.send(answer)
            except OSError:
                return

    def load(self, detail: tuple[tuple, dict]) -> PolicyInfo:
        """Load the policy and lay out the shared memory."""
        arguments, options = detail
        module, function = self._load.split(':')
        self._policy = policy = getattr(importlib.import_module(module), function)(
            *arguments, **options
        )
        info = PolicyInfo(
            policy.task, policy.chunk_size, policy.state_dim, policy.action_dim,
            policy.statistics, policy.engine.name,
        )  # fmt: skip
        self._buffers = SharedBuffers(self._memory, info)
        return info

    def predict(self, _: None) -> None:
        """Predict from the observation in the shared memory."""
        policy, buffers = self._policy, self._buffers
        assert policy is not None, 'loaded first'
        images = dict(zip(policy.task.cameras, buffers.frames, strict=True))
        buffers.chunk[:] = policy.predict(buffers.qpos, images)


def end_with_parent(lifeline: int) -> None:
    """Be killed by the kernel when the parent is gone, whatever this process is in.

    A thread that watches would need the interpreter, which a pass that hangs may hold; and
    PR_SET_PDEATHSIG goes by the thread that started this process, not by the parent.

    :param lifeline: end of a pipe whose other end only the parent has.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    closed = select.poll()
    closed.register(lifeline, 0)  # reports a hang-up in any case
    if closed.poll(0):
        sys.exit()


def main() -> None:
    """Run the worker; the arguments come from `PolicyProcess`."""
    # A signal to all of a group is the parent's affair: it still has a last message to send.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    descriptor, memory, lifeline, load, threads = sys.argv[1:]
    end_with_parent(int(lifeline))
    connection = Connection(int(descriptor))
    logger = logging.getLogger('act_ros')
    logger.addHandler(LogHandler(connection))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    set_torch_threads(int(threads))
    Worker(connection, int(memory), load).run()

