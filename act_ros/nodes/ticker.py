"""The control tick's thread, which does nothing else."""

import threading
import time
from collections.abc import Callable

from rclpy.clock import Clock


class SteadyTicker:
    """Ticks on a fixed grid of steady time; when late it skips, and keeps the grid.

    :param rate: ticks a second [Hz].
    :param tick: called with the tick's place on the grid [ns, steady].
    """

    def __init__(self, rate: float, tick: Callable[[int], None]) -> None:
        self._period = round(1e9 / rate)
        self._tick = tick
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
        due = time.monotonic_ns()
        while not self._stopped.wait(max(0.0, (due - time.monotonic_ns()) / 1e9)):
            self._tick(due)
            missed = (time.monotonic_ns() - due) // self._period
            due += (missed + 1) * self._period


class SimTicker:
    """Ticks on a grid of ROS time, once each time simulated time passes a grid point.

    :param clock: the node's clock.
    :param rate: ticks a second of simulated time [Hz].
    :param tick: called with the time [ns, ROS].
    """

    def __init__(self, clock: Clock, rate: float, tick: Callable[[int], None]) -> None:
        self._clock = clock
        self._period = round(1e9 / rate)
        self._tick = tick
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
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._now() >= self._next)
                if self._stopped:
                    return
                now = self._now()
                self._next = self._after(now)
            self._tick(now)
