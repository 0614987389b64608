"""The control tick's thread, which does nothing else."""

import threading
import time
from collections.abc import Callable

from rclpy.clock import Clock

from act_ros.nodes.realtime import realtime


class SteadyTicker:
    """Ticks on a fixed grid of steady time; when late it skips, and keeps the grid.

    :param rate: ticks a second [Hz].
    :param tick: called with the tick's place on the grid [ns, steady].
    :param priority: SCHED_FIFO priority to ask for; 0 = none.
    :ivar missed: ticks that were skipped.
    """

    def __init__(self, rate: float, tick: Callable[[int], None], priority: int = 0) -> None:
        self._period = round(1e9 / rate)
        self._tick = tick
        self._priority = priority
        self.missed = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='control_tick', daemon=True)

    def start(self) -> None:
        """Begin ticking."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End ticking; whether the thread has ended within the time-out [s]."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def jumped(self, backward: bool) -> None:
        """Steady time knows no jumps."""

    def _run(self) -> None:
        with realtime(self._priority):
            self._tick_on_grid()

    def _tick_on_grid(self) -> None:
        due = time.monotonic_ns()
        while not self._stopped.wait(max(0.0, (due - time.monotonic_ns()) / 1e9)):
            self._tick(due)
            late = (time.monotonic_ns() - due) // self._period
            self.missed += late
            due += (late + 1) * self._period


class SimTicker:
    """Ticks on a grid of ROS time, once each time simulated time passes a grid point.

    :param clock: the node's clock.
    :param rate: ticks a second of simulated time [Hz].
    :param tick: called with the time [ns, ROS].
    :param idle: called after each period of steady time without a tick; None leaves it out.
    """

    missed = 0  # simulated time waits for nobody: a grid point it jumps over is no fault

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
        self._thread = threading.Thread(target=self._run, name='control_tick', daemon=True)

    def start(self) -> None:
        """Begin ticking with the next grid point."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End ticking; whether the thread has ended within the time-out [s]."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def jumped(self, backward: bool) -> None:
        """The clock has moved; after a jump back the grid starts anew."""
        with self._changed:
            if backward:
                self._next = self._after(self._now())
            self._changed.notify()

    def _now(self) -> int:
        return self._clock.now().nanoseconds

    def _after(self, now: int) -> int:
        """The first grid point after a time."""
        return (now // self._period + 1) * self._period

    def _run(self) -> None:
        patience = None if self._idle is None else self._period / 1e9
        while True:
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
                self._tick(now)
            else:
                self._idle()
