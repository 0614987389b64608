"""Watches the control tick's thread from another one."""

import logging
import threading
import time
from collections.abc import Callable

from act_ros.nodes.faults import FaultLog
from act_ros.nodes.ticker import Ticker

log = logging.getLogger(__name__)

# A tick's thread that has had something to do for as long and a tick, and has not done it, is
# stuck: on a busy machine it is late by less, and the last velocity shall not last for more [s].
STUCK = 0.25


class TickGuard:
    """Where the tick's thread is stuck or has ended, keeps to the stop policy in its place.

    :param ticker: that is watched.
    :param period: of the ticks [s].
    :param interrupt: called once when it is found, with what is wrong.
    :param hold: called then, and again each period while nothing changes.
    :ivar trouble: what is wrong now, or ''.
    """

    def __init__(
        self,
        ticker: Ticker,
        period: float,
        interrupt: Callable[[str], None],
        hold: Callable[[], None],
    ) -> None:
        self._ticker = ticker
        self._period = period
        self._limit = round((STUCK + period) * 1e9)
        self._interrupt = interrupt
        self._hold = hold
        self.trouble = ''
        self._faults = FaultLog()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name='tick_guard', daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End watching, without waiting for it."""
        self._ended.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._ended.wait(STUCK / 2):
            if self._is_late() and self._is_still_so():
                self._replace()

    def _is_late(self) -> bool:
        due = self._ticker.due
        late = due is not None and time.monotonic_ns() - due > self._limit
        return late or not self._ticker.alive

    def _is_still_so(self) -> bool:
        """Whether it is after a moment: where everything stood still, it may be awake first."""
        due = self._ticker.due
        return not self._ended.wait(self._period) and self._ticker.due == due and self._is_late()

    def _replace(self) -> None:
        due = self._ticker.due
        self.trouble = self._say()
        log.error('%s', self.trouble)
        self._interrupt(self.trouble)
        while self._ticker.due == due or not self._ticker.alive:
            try:
                self._hold()
            except Exception as error:
                self._faults.failed('the stop message', error)
            self.trouble = self._say()
            if self._ended.wait(self._period):
                return
        log.info('the control tick is back')
        self.trouble = ''

    def _say(self) -> str:
        if not self._ticker.alive:
            return "the control tick's thread has ended: deactivate and activate again"
        age = self._ticker.age
        since = '' if age is None else f' for {age:.2f} s'
        return f'the control tick has stood still{since}'
