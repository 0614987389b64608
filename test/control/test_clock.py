"""A clock that somebody sets."""

import pytest

from act_ros.control import ClockWatch

MS = 1_000_000
SECOND = 1000 * MS


@pytest.mark.parametrize('by', [-SECOND, SECOND, -60 * MS])
def test_a_clock_that_is_set_is_noticed_once(by):
    watch, offset, found = ClockWatch(), 5 * SECOND, []
    for tick in range(20):
        steady = tick * 20 * MS
        offset += by if tick == 10 else 0
        found.append(watch.moved(steady, steady + offset, steady))
    assert found == [0] * 10 + [by] + [0] * 9


def test_a_clock_that_is_corrected_bit_by_bit_is_not_set():
    watch = ClockWatch()
    for tick in range(1000):
        steady = tick * 20 * MS
        assert watch.moved(steady, steady - tick * MS, steady) == 0


def test_a_thread_that_was_interrupted_has_seen_nothing():
    watch = ClockWatch()
    assert watch.moved(0, 0, 0) == 0
    # The clock was read at 20 ms, and then the thread did not run for 200 ms.
    assert watch.moved(20 * MS, 20 * MS, 220 * MS) == 0
    assert watch.moved(240 * MS, 240 * MS, 240 * MS) == 0
