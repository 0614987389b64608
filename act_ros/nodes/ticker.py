"""The control tick's thread, which does nothing else."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator

from rclpy.clock import Clock

from act_ros.nodes.realtime import realtime

log = logging.getLogger(__name__)

# A tick starts as much before its place on the grid as waking up, getting the interpreter and
# working out a command may take, so that none of it delays the command [ns].
EARLY = 2_000_000
# How long a thread that waits for the interpreter leaves it to the tick: more than that [s].
UNDISTURBED = 0.005


class Ticker:
    """The thread, and how it is doing.

    :ivar missed: ticks that were skipped.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._due: int | None = None  # when it will have something to do, or had [ns, steady]
        self._ticked: int | None = None  # when the newest tick began [ns, steady]
        self._thread = threading.Thread(target=self._live, name='control_tick', daemon=True)

    def start(self) -> None:
        """Begin ticking."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End ticking; whether the thread has ended within the time-out [s]."""
        self._end()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs, or has still to be started."""
        return self._thread.ident is None or self._thread.is_alive()

    @property
    def due(self) -> int | None:
        """When the thread has or had something to do [ns, steady]; None where nobody can say.

        As long as it stays the same and lies in the past, the thread is stuck.
        """
        return self._due

    @property
    def age(self) -> float | None:
        """Since the newest tick began [s]; None before the first."""
        return None if self._ticked is None else (time.monotonic_ns() - self._ticked) / 1e9

    def _live(self) -> None:
        try:
            self._run()
        except BaseException as error:
            log.critical("the control tick's thread has ended", exc_info=error)

    def _run(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class SteadyTicker(Ticker):
    """Ticks on a fixed grid of steady time; when late it skips, and keeps the grid.

    :param rate: ticks a second [Hz].
    :param tick: called a little before the tick's place on the grid, with it [ns, steady].
    :param priority: SCHED_FIFO priority to ask for; 0 = none.
    """

    def __init__(self, rate: float, tick: Callable[[int], None], priority: int = 0) -> None:
        self._period = round(1e9 / rate)
        self._early = min(EARLY, self._period // 4)
        self._tick = tick
        self._priority = priority
        self._stopped = threading.Event()
        super().__init__()

    def jumped(self, backward: bool) -> None:
        """Steady time knows no jumps."""

    def keep_until(self, due: int) -> None:
        """Wait within the tick for its place on the grid, and keep the interpreter meanwhile.

        A sleep would give it away and could have it back only when another thread is done.

        :param due: [ns, steady].
        """
        while time.monotonic_ns() < due:
            pass

    def _end(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        with realtime(self._priority):
            self._tick_on_grid()

    def _tick_on_grid(self) -> None:
        self._due = due = time.monotonic_ns()
        while not self._stopped.wait(max(0.0, (due - self._early - time.monotonic_ns()) / 1e9)):
            self._ticked = time.monotonic_ns()
            with undisturbed():
                self._tick(due)
            late = max(0, time.monotonic_ns() - due) // self._period
            self.missed += late
            self._due = due = due + (late + 1) * self._period


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Have other threads wait longer than usual before they ask for the interpreter."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(UNDISTURBED)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class SimTicker(Ticker):
    """Ticks on a grid of ROS time, once each time simulated time passes a grid point.

    Simulated time waits for nobody: a grid point that it jumps over is no missed tick.

    :param clock: the node's clock.
    :param rate: ticks a second of simulated time [Hz].
    :param tick: called with the time [ns, ROS].
    :param idle: called after each period of steady time without a tick; None leaves it out.
    """

    def __init__(
        self,
        clock: Clock,
        rate: float,
        tick: Callable[[int], None],
        idle: Callable[[], None] | None = None,
    ) -> None:
        self._clock = clock
        self._period = round(1e9 / rate)
        self._tick = tick
        self._idle = idle
        self._stopped = False
        self._changed = threading.Condition()
        self._next = self._after(self._now())
        super().__init__()

    def jumped(self, backward: bool) -> None:
        """The clock has moved; after a jump back the grid starts anew."""
        with self._changed:
            if backward:
                self._next = self._after(self._now())
            self._changed.notify()

    def keep_until(self, due: int) -> None:
        """A tick of simulated time is never early."""

    def _end(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _now(self) -> int:
        return self._clock.now().nanoseconds

    def _after(self, now: int) -> int:
        """The first grid point after a time."""
        return (now // self._period + 1) * self._period

    def _run(self) -> None:
        idle = self._idle
        patience = None if idle is None else self._period / 1e9
        while True:
            if idle is not None:
                self._due = time.monotonic_ns() + self._period
            with self._changed:
                due = self._changed.wait_for(
                    lambda: self._stopped or self._now() >= self._next, timeout=patience
                )
                if self._stopped:
                    return
                now = self._now()
                if due:
                    self._next = self._after(now)
            if due:
                self._ticked = time.monotonic_ns()
                self._tick(now)
            elif idle is not None:
                idle()
