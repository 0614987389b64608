"""Passes as the inference thread would make them."""

from types import SimpleNamespace

from act_ros.control import InferenceDelay, takes

TICK = 20


def play(latency, ticks):
    """A request each tick after the arrivals, as at the robot: (tick of arrival, its request)."""
    delay = InferenceDelay(takes(latency / 1e9))
    for tick in range(ticks):
        for request, _ in delay.arrivals(tick * TICK):
            yield tick, request.step
        delay.submit(SimpleNamespace(step=tick), tick * TICK)


def test_passes_are_back_to_back_each_of_the_newest_observation():
    assert list(play(3 * TICK, 10)) == [(3, 0), (6, 2), (9, 5)]
    assert list(play(2 * TICK + 5, 10)) == [(3, 0), (5, 2), (7, 4), (9, 6)]


def test_a_pass_shorter_than_a_tick_gives_a_chunk_a_tick():
    assert list(play(5, 5)) == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_ticks_that_did_not_come_do_not_shorten_a_pass():
    delay = InferenceDelay(takes(30 / 1e9))
    for step in range(3):
        delay.submit(SimpleNamespace(step=step), 0)
    assert [request.step for request, _ in delay.arrivals(29)] == []
    assert [request.step for request, _ in delay.arrivals(1000)] == [0, 2]


def test_a_pass_that_gives_nothing_is_over_when_it_is_given_up():
    courses = iter([(25, False), (60, True)])
    delay = InferenceDelay(lambda begun: next(courses))
    for step in range(2):
        delay.submit(SimpleNamespace(step=step), 0)
    assert [(r.step, gives) for r, gives in delay.arrivals(59)] == [(0, False)]
    assert [(r.step, gives) for r, gives in delay.arrivals(60)] == [(1, True)]
