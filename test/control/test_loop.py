"""The loop's decisions, with time and arrivals from a list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.control import Arrival, ControlLoop, StepClock
from act_ros.observation import Snapshot
from test.policy.test_aggregation import naive

MS = 1_000_000
TICK = 20 * MS
K, DIM = 10, 2


def make_loop(**changes):
    return ControlLoop(K, DIM, **{'rate': 50.0, 'command_timeout': 0.5, **changes})


def snapshot(now, age=0):
    return Snapshot(np.zeros(3, np.float32), {}, {'camera': now - age}, now)


def chunk_of(step):
    """Every chunk is another, and says which step it speaks of."""
    return step + 0.01 * np.arange(K)[:, None] * np.ones(DIM)


def run(loop, ticks, *, latency, seen=lambda tick: True, start=0):
    """Asynchronous ticks against a model that takes some ticks; yields (tick, command)."""
    inferring, mail = None, None
    for tick in ticks:
        now = start + tick * TICK
        loop.begin_tick(now)
        if inferring is not None and tick >= inferring[0] + latency:
            loop.accept(Arrival(inferring[1], chunk_of(inferring[1].step)))
            inferring = None
        command = loop.command()
        request = loop.request(snapshot(now) if seen(tick) else None)
        mail = request or mail
        if inferring is None and mail is not None:
            inferring, mail = (tick, mail), None
        yield tick, command


def test_steps_count_time_not_ticks():
    clock = StepClock(50.0)
    assert [clock.step(7 * MS + t * MS) for t in (0, 20, 31, 49, 200, 190)] == [0, 1, 2, 2, 10, 10]
    clock.reset()
    assert clock.step(0) == 0


def test_no_command_before_the_first_chunk_and_one_every_tick_after_it():
    commands = list(run(make_loop(), range(50), latency=4))
    assert all(command is None for _, command in commands[:4])
    assert [command.step for _, command in commands[4:]] == list(range(4, 50))


@settings(max_examples=60, deadline=None)
@given(latency=st.integers(1, 8), decay=st.floats(0, 1))
def test_each_command_is_the_formula_over_the_chunks_that_had_arrived(latency, decay):
    loop = make_loop(decay=decay)
    arrived = {}
    for tick, command in run(loop, range(60), latency=latency):
        arrived |= {s: chunk_of(s) for s in loop.source.steps(tick)}
        expected = naive(arrived, K, tick, decay)
        assert (command is None) == (expected is None)
        if command is not None:
            np.testing.assert_allclose(command.action, expected, atol=1e-12)
            assert command.chunk_steps.tolist() == [s for s in sorted(arrived) if s > tick - K]


def test_a_chunk_that_covers_less_than_the_latency_leaves_ticks_without_a_plan():
    loop = make_loop(command_timeout=5.0)
    commands = [command for _, command in run(loop, range(100), latency=7)]
    assert loop.ticks_without_plan > 0
    assert any(command is not None for command in commands[40:])
    assert loop.episode == 1


def test_a_missed_tick_skips_a_step():
    loop = make_loop()
    ticks = [*range(10), 13, 14]
    steps = [command.step for _, command in run(loop, ticks, latency=2) if command]
    assert steps[-2:] == [13, 14]


def test_commands_end_when_their_observations_are_too_old_and_begin_anew_by_themselves():
    loop = make_loop(command_timeout=0.1)
    commands = dict(run(loop, range(60), latency=1, seen=lambda tick: not 20 <= tick < 40))
    # The last observation is of tick 19: 0.1 s are five ticks.
    assert [tick for tick in range(1, 40) if commands[tick]] == list(range(1, 25))
    assert loop.episode == 2
    assert commands[40] is None
    assert commands[41].step == 1


def test_the_age_of_an_observation_counts_from_its_oldest_input():
    loop = make_loop(command_timeout=0.1)
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0, age=90 * MS)), chunk_of(0)))
    assert loop.command() is not None
    loop.begin_tick(20 * MS)
    assert loop.command() is None


def test_the_watchdog_has_a_clock_of_its_own():
    loop = make_loop(command_timeout=0.1)
    loop.begin_tick(0, watch=10**12)
    loop.accept(Arrival(loop.request(snapshot(0)), chunk_of(0)))
    loop.begin_tick(0, watch=10**12 + 101 * MS)  # simulated time stands still
    assert loop.command() is None


def test_a_chunk_in_flight_from_another_episode_is_dropped():
    loop = make_loop()
    loop.begin_tick(0)
    request = loop.request(snapshot(0))
    loop.accept(Arrival(request, chunk_of(0)))
    assert loop.command() is not None
    loop.new_episode()
    assert loop.command() is None
    assert loop.begin_tick(5 * TICK) == 0
    assert not loop.accept(Arrival(request, chunk_of(0)))
    assert loop.command() is None


def test_a_failed_inference_leaves_the_plan_as_it_is():
    loop = make_loop()
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0)), chunk_of(0)))
    loop.begin_tick(TICK)
    assert not loop.accept(Arrival(loop.request(snapshot(TICK)), None))
    assert loop.command().chunk_steps.tolist() == [0]


def test_a_changed_decay_counts_at_the_next_command():
    loop = make_loop()
    for tick in range(3):
        loop.begin_tick(tick * TICK)
        loop.accept(Arrival(loop.request(snapshot(tick * TICK)), chunk_of(tick)))
    loop.set_decay(2.0)
    expected = naive({s: chunk_of(s) for s in range(3)}, K, 2, 2.0)
    np.testing.assert_allclose(loop.command().action, expected)


@pytest.mark.parametrize('every', [1, 4, 10])
def test_aggregation_off_synchronously_is_the_public_loop(every):
    loop = make_loop(temporal_aggregation=False, query_every=every)
    for t in range(35):
        loop.begin_tick(t * TICK)
        request = loop.request(snapshot(t * TICK))
        assert (request is not None) == (t % every == 0)
        if request is not None:
            loop.accept(Arrival(request, chunk_of(t)))
        np.testing.assert_array_equal(loop.command().action, chunk_of(t - t % every)[t % every])


@pytest.mark.parametrize('latency', [1, 3, 5])
def test_aggregation_off_asynchronously_asks_before_the_plan_runs_out(latency):
    loop = make_loop(temporal_aggregation=False)
    commands = dict(run(loop, range(80), latency=latency))
    assert all(commands[tick] is not None for tick in range(latency, 80))
    sources = [int(commands[tick].chunk_steps[0]) for tick in range(latency, 80)]
    assert sorted(set(sources)) == list(range(0, max(sources) + 1, K - latency))
    assert loop.ticks_without_plan == 0


def test_aggregation_off_a_failed_inference_is_asked_for_again():
    loop = make_loop(temporal_aggregation=False)
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0)), None))
    loop.begin_tick(TICK)
    assert loop.request(snapshot(TICK)).step == 1


def test_aggregation_off_a_long_chunk_plays_while_the_robot_is_seen():
    loop = make_loop(temporal_aggregation=False, command_timeout=0.1)
    commands = dict(run(loop, range(30), latency=1, seen=lambda tick: tick < 14))
    assert [tick for tick in range(1, 30) if commands[tick]] == list(range(1, 19))
