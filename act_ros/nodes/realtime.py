"""Real-time scheduling of the control tick, and of the threads it waits for."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


@contextlib.contextmanager
def realtime(priority: int) -> Iterator[None]:
    """Run the calling thread with a SCHED_FIFO priority, where the system permits it.

    The process's other threads get one less for as long: what takes an image may hold the
    interpreter, and the tick would wait until a busy core is free for it. Nothing that
    computes for long runs in this process. Threads and processes that are started from these
    do not inherit it.

    :param priority: of the tick, as the parameter `realtime_priority`; 0 changes nothing.
    """
    if priority == 0:
        yield
        return
    try:
        _schedule(0, priority)
    except OSError as error:
        log.warning(
            'realtime_priority %d was not granted (%s): the control tick goes on without; '
            'raise the rtprio limit of this user (see docs/performance.md)', priority, error,
        )  # fmt: skip
        yield
        return
    _schedule_others(priority - 1)
    log.info('real-time priority %d for the control tick', priority)
    try:
        yield
    finally:
        _schedule_others(0)


def _schedule_others(priority: int) -> None:
    own = threading.get_native_id()
    for path in Path('/proc/self/task').iterdir():
        if int(path.name) != own:
            with contextlib.suppress(OSError):  # it has ended meanwhile, or it is not ours
                _schedule(int(path.name), priority)


def _schedule(thread: int, priority: int) -> None:
    policy = os.SCHED_FIFO if priority else os.SCHED_OTHER
    # Kept when the priority is given back: without a capability nobody may take it off.
    os.sched_setscheduler(thread, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
