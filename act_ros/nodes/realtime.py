"""Real-time scheduling of the thread that asks for it."""

import logging
import os

log = logging.getLogger(__name__)


def ask_for_priority(priority: int) -> bool:
    """Give the calling thread a SCHED_FIFO priority, where the system permits it.

    Threads and processes that it starts do not inherit it.

    :param priority: 1 to 99; 0 asks for nothing.
    :returns: whether it was granted; a refusal is a warning.
    """
    if priority == 0:
        return False
    try:
        os.sched_setscheduler(
            0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority)
        )
    except (OSError, AttributeError) as error:
        log.warning(
            'realtime_priority %d was not granted (%s): the control tick goes on without; '
            'raise the rtprio limit of this user (see the README)', priority, error,
        )  # fmt: skip
        return False
    log.info('the control tick has real-time priority %d', priority)
    return True
