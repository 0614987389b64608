"""Passes as the inference thread would make them."""

from types import SimpleNamespace

from act_ros.control import InferenceDelay

TICK = 20


def play(latency, ticks):
    """A request each tick after the arrivals, as at the robot: (tick of arrival, its request)."""
    delay = InferenceDelay(latency)
    for tick in range(ticks):
        for request in delay.arrivals(tick * TICK):
            yield tick, request.step
        delay.submit(SimpleNamespace(step=tick), tick * TICK)


def test_passes_are_back_to_back_each_of_the_newest_observation():
    assert list(play(3 * TICK, 10)) == [(3, 0), (6, 2), (9, 5)]
    assert list(play(2 * TICK + 5, 10)) == [(3, 0), (5, 2), (7, 4), (9, 6)]


def test_a_pass_shorter_than_a_tick_gives_a_chunk_a_tick():
    assert list(play(5, 5)) == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_ticks_that_did_not_come_do_not_shorten_a_pass():
    delay = InferenceDelay(30)
    for step in range(3):
        delay.submit(SimpleNamespace(step=step), 0)
    assert [request.step for request in delay.arrivals(29)] == []
    assert [request.step for request in delay.arrivals(1000)] == [0, 2]
