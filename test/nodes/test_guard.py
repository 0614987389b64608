"""A tick's thread that is stuck or dead, and what another thread does about it."""

import ctypes
import threading
import time
from contextlib import contextmanager

import pytest
from rclpy.clock import Clock, ClockType

from act_ros.nodes.guard import STUCK, TickGuard
from act_ros.nodes.ticker import SimTicker, SteadyTicker
from test.waiting import wait_until

RATE = 50.0


class Seen:
    """What the guard asked for, and when [s]."""

    def __init__(self):
        self.reasons = []
        self.holds = []

    def hold(self):
        self.holds.append(time.monotonic())
        if len(self.holds) == 2:
            raise RuntimeError('the wire is broken')  # no reason to give up


@contextmanager
def watched(ticker):
    seen = Seen()
    guard = TickGuard(ticker, 1 / RATE, seen.reasons.append, seen.hold)
    guard.start()
    ticker.start()
    try:
        yield guard, seen
    finally:
        guard.stop()
        assert ticker.stop(timeout=5)


def steady(tick):
    return SteadyTicker(RATE, tick)


def simulated(tick):
    # No simulator here: a clock that runs by itself does as well.
    return SimTicker(Clock(clock_type=ClockType.SYSTEM_TIME), RATE, tick, idle=lambda: None)


@pytest.mark.parametrize('make', [steady, simulated])
def test_a_stuck_tick_is_held_for_until_it_is_back(make):
    stuck, free, ticks = threading.Event(), threading.Event(), []

    def tick(now):
        ticks.append(time.monotonic())
        if stuck.is_set():
            assert free.wait(10)

    with watched(make(tick)) as (guard, seen):
        wait_until(lambda: len(ticks) > 30, 10, 'ticks')
        assert (seen.reasons, seen.holds, guard.trouble) == ([], [], '')
        stuck.set()
        wait_until(lambda: len(seen.holds) >= 10, 10, 'holds')
        assert STUCK < seen.holds[0] - ticks[-1] < 3 * STUCK
        assert 'has stood still for 0.' in guard.trouble
        stuck.clear()
        free.set()
        wait_until(lambda: guard.trouble == '', 10, 'a tick that is back')
        held = len(seen.holds)
        before = len(ticks)
        wait_until(lambda: len(ticks) > before + 20, 10, 'ticks')
        assert len(seen.holds) == held
        assert len(seen.reasons) == 1


def test_a_thread_that_has_ended_is_held_for_to_the_end():
    threads = []

    def tick(now):
        threads.append(threading.get_ident())

    ticker = steady(tick)
    with watched(ticker) as (guard, seen):
        wait_until(lambda: threads, 10, 'a tick')
        assert ticker.alive and ticker.age < 5
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(threads[0]), ctypes.py_object(SystemExit)
        )
        wait_until(lambda: len(seen.holds) >= 5, 10, 'holds')
        assert not ticker.alive
        assert guard.trouble == seen.reasons[0] == (
            "the control tick's thread has ended: deactivate and activate again"
        )


def test_a_clock_that_stands_still_is_no_stuck_tick():
    clock = Clock(clock_type=ClockType.ROS_TIME)
    idle = []
    ticker = SimTicker(clock, RATE, lambda now: None, idle=lambda: idle.append(1))
    clock._set_ros_time_is_active(True)
    with watched(ticker) as (guard, seen):
        wait_until(lambda: len(idle) * 1 / RATE > 3 * STUCK, 10, 'some time')
        assert (seen.reasons, guard.trouble, ticker.age) == ([], '', None)
