"""Ticks between the steps of a plan."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.control import ControlLoop
from act_ros.control.exchange import Arrival
from act_ros.control.interpolation import Interpolation
from act_ros.control.plan import Plan
from act_ros.errors import ParameterError, UncoveredStepError
from act_ros.parameters import JointLimits, Settings
from act_ros.task import Entry, Task
from test.control.test_loop import HERE, MS, TASK, limits, snapshot

K, TICKS = 12, 10
ANGLE = (Entry('arm', 'j', 'position'),)
FREE = np.full(2, np.inf)


def make_plan(task=TASK, **changes):
    return Plan(Settings(command_rate=TICKS * 50.0, fade=0.0, **changes), task, K)


def play(plan, steps):
    """Every tick of some steps, (ticks, action_dim); what no chunk covers is nan."""
    said = []
    for step in steps:
        for tick in range(TICKS):
            try:
                said.append(plan.action(step, tick))
            except UncoveredStepError:
                said.append(np.full(len(said[0]) if said else 2, np.nan))
    return np.array(said)


def line(step, slope=(0.3, -1.0)):
    return (step + np.arange(K)[:, None]) * np.array(slope)


def test_a_line_is_a_line_at_every_tick():
    plan = make_plan()
    for step in range(0, 40, 5):
        plan.add(line(step), step, step)
        said = play(plan, range(step, step + 5))
        expected = (step + np.arange(5 * TICKS)[:, None] / TICKS) * np.array([0.3, -1.0])
        np.testing.assert_allclose(said, expected, atol=1e-12)


def test_at_each_step_the_path_is_what_the_plan_says():
    rng = np.random.default_rng(0)
    plan, chunk = make_plan(), rng.normal(size=(K, 2))
    plan.add(chunk, 0, 0)
    said = play(plan, range(K))
    np.testing.assert_allclose(said[::TICKS], chunk, atol=1e-12)
    with pytest.raises(UncoveredStepError, match=str(K)):
        plan.action(K, 0)


def test_past_the_end_of_the_plan_it_comes_to_rest():
    plan = make_plan()
    plan.add(line(0), 0, 0)
    last = play(plan, range(K))[-TICKS:]
    speed = np.diff(last[:, 0]) * TICKS
    assert (speed > 0).all() and (np.diff(speed) < 0).all()
    assert speed[-1] < 0.2 * 0.3 and last[-1, 0] < (K - 0.5) * 0.3


@settings(max_examples=150, deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 4), st.floats(-2, 2)), min_size=4, max_size=14),
    fade=st.floats(0, 0.1),
    aggregation=st.booleans(),
)
def test_the_velocity_is_continuous_whatever_comes_when(arrivals, fade, aggregation):
    """A cubic leaves each tick for the next by what its ends allow: no jump shows between."""
    plan = Plan(
        Settings(command_rate=500.0, fade=fade, temporal_aggregation=aggregation), TASK, K
    )
    said = []
    for step, (late, offset) in enumerate(arrivals):
        # At some tick within the step, after it was begun.
        for tick in range(TICKS):
            if tick == late and step >= late:
                plan.add(line(step - late) + offset, step - late, step)
            try:
                said.append(plan.action(step, tick)[0])
            except UncoveredStepError:
                assert not said  # the first chunk has not come, and there is no gap after it
    steps = np.diff(said)
    # The largest acceleration of a cubic, its ends at most 4.6 apart and as fast as that.
    assert np.abs(np.diff(steps)).max(initial=0) < 6 * (4.6 + 4.6) / TICKS**2


@settings(max_examples=60, deadline=None)
@given(knots=st.lists(st.floats(-1, 1), min_size=4, max_size=8), seed=st.integers(0, 99))
def test_segments_meet_at_one_place_and_one_velocity(knots, seed):
    rng, fine = np.random.default_rng(seed), 1000
    between, ends = Interpolation(fine, FREE[:1]), None
    for step in range(len(knots)):
        ahead = np.array(knots[step : step + 3])[:, None] + 0.1 * rng.normal()
        between.begin(step, ahead)
        at = [between.at(tick)[0] for tick in (0, 1, 2, fine - 2, fine - 1)]
        begin = at[0], (4 * at[1] - at[2] - 3 * at[0]) / 2
        if ends is not None:
            # By what is left of the last segment: it is extrapolated to its end.
            assert begin[0] == pytest.approx(ends[0], abs=1e-4)
            assert begin[1] == pytest.approx(ends[1], abs=1e-4)
        last = at[4] - at[3]
        ends = at[4] + last, last


def test_a_step_that_was_missed_begins_anew_where_the_plan_is():
    plan = make_plan()
    plan.add(line(0), 0, 0)
    plan.action(0, 0)
    plan.add(line(1) + 5.0, 1, 1)
    assert plan.action(2, 3)[0] == pytest.approx(2.3 * 0.3 + 2.5, abs=0.05)
    plan.begin()
    with pytest.raises(UncoveredStepError):
        plan.action(3, 0)


@pytest.mark.parametrize(('k', 'late'), [(1, 0), (2, 1), (3, 2)])
def test_a_plan_that_never_knows_the_next_step_is_followed_one_later(k, late):
    plan, said = Plan(Settings(command_rate=500.0, fade=0.0), TASK, k), []
    for step in range(late, 20):
        plan.add(line(step - late)[:k], step - late, step)
        said.append(play(plan, [step]))
    said = np.concatenate(said)[:, 0]
    expected = 0.3 * np.arange(late, 19)
    np.testing.assert_allclose(said[TICKS::TICKS], expected, atol=1e-12)
    assert (np.diff(said) >= -1e-12).all() and np.diff(said).max() < 1.6 * 0.3 / TICKS


def test_with_aggregation_off_the_next_chunk_is_there_before_the_path_needs_it():
    plan, asked, said = make_plan(temporal_aggregation=False), [], []
    for step in range(40):
        if plan.wants(step):
            asked.append(step)
            plan.add(line(step), step, step)
        said.append(play(plan, [step])[:, 0])
    assert asked == [0, K - 2, 2 * (K - 2), 3 * (K - 2)]
    np.testing.assert_allclose(np.diff(np.concatenate(said)), 0.3 / TICKS, atol=1e-12)


def test_an_angle_goes_by_the_shorter_way():
    task = Task('t', ('camera',), ANGLE, ANGLE, 50.0, (4, 6))
    plan = make_plan(task, continuous=['arm/j/position'])
    path = 3.0 + 0.1 * np.arange(K)[:, None]
    plan.add((path + np.pi) % (2 * np.pi) - np.pi, 0, 0)
    said = np.unwrap(play(plan, range(K - 1))[:, 0])
    np.testing.assert_allclose(said, 3.0 + 0.1 * np.arange((K - 1) * TICKS) / TICKS, atol=1e-9)
    assert np.abs(np.diff(play(plan, range(K - 1))[:, 0])).max() < 0.02  # no turn, even between


# --- in the loop ----------------------------------------------------------------------------


def make_loop(*, limit=None, rate=500.0, **changes):
    settings = Settings(command_rate=rate, fade=0.0, **changes)
    return ControlLoop(settings, TASK, K, limits(**(limit or {})))


def run(loop, ticks, chunk=line, period=2 * MS):
    """Each chunk comes in its own step; yields tick, whether it looked, and the command."""
    for tick in ticks:
        loop.begin_tick(tick * period)
        if loop.looks:
            request = loop.request(snapshot(tick * period))
            if request is not None:
                loop.accept(Arrival(request, chunk(request.step)))
        yield tick, loop.looks, loop.command(HERE)


def test_there_is_a_command_at_each_tick_and_one_request_at_each_step():
    commands = list(run(make_loop(), range(200)))
    assert [tick for tick, looks, _ in commands if looks] == list(range(0, 200, TICKS))
    assert [command.step for _, _, command in commands] == [t // TICKS for t in range(200)]
    sent = np.array([command.values[0] for _, _, command in commands])
    np.testing.assert_allclose(sent, 0.3 * np.arange(200) / TICKS, atol=1e-9)


def test_a_missed_tick_skips_and_the_first_of_a_step_that_comes_looks():
    ticks = [*range(7), 13, 14, 26, 27, 30]
    commands = list(run(make_loop(), ticks))
    assert [tick for tick, looks, _ in commands if looks] == [0, 13, 26, 30]
    sent = [command.values[0] for _, _, command in commands]
    np.testing.assert_allclose(sent, 0.3 * np.array(ticks) / TICKS, atol=1e-9)


def test_limits_act_at_the_rate_of_commands():
    loop = make_loop(limit={'max_step': 0.01, 'max_velocity': 2.0})
    sent = [c.values[0] for _, _, c in run(loop, range(300), lambda step: np.ones((K, 2)))]
    # 2 rad/s are 4 mrad in 2 ms.
    assert np.diff(sent[:100]) == pytest.approx(0.004)
    assert sent[-1] == pytest.approx(1.0)
    loop = make_loop(limit={'max_step': 0.001})
    sent = [c.values[0] for _, _, c in run(loop, range(50), lambda step: np.ones((K, 2)))]
    assert np.diff(sent) == pytest.approx(0.001)  # in one command


def test_the_ramp_goes_by_time_not_by_ticks():
    loop = make_loop()
    loop.limiter.set_limits(replace(limits(), ramp_time=0.2))
    sent = [c.values[0] for _, _, c in run(loop, range(150), lambda step: np.ones((K, 2)))]
    assert sent[50] == pytest.approx(0.5)
    assert sent[100] == pytest.approx(1.0)


def test_at_the_rate_of_the_policy_nothing_is_interpolated():
    both = []
    for rate in (0.0, 50.0):
        loop = make_loop(rate=rate)
        rng = np.random.default_rng(1)
        commands = run(loop, range(50), lambda step, r=rng: r.normal(size=(K, 2)), 20 * MS)
        both.append(np.array([command.values for _, _, command in commands]))
        assert loop.looks
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(
    ('control', 'command', 'found'),
    [(50.0, 120.0, '100 or 150'), (30.0, 20.0, '30 or 60'), (60.0, 990.0, '960 '),
     (50.0, 75.0, '50 or 100')],
)  # fmt: skip
def test_a_rate_that_is_no_multiple_is_refused_with_the_nearest(control, command, found):
    with pytest.raises(ParameterError, match=f'command_rate.*{command:g} Hz.*{found}'):
        Settings(control_rate=control, command_rate=command)


def test_commands_in_a_step_and_the_same_robot_without():
    settings = Settings(control_rate=30.0, command_rate=240.0)
    settings = replace(settings, joint_limits={'j': JointLimits(max_step=0.01, max_velocity=9)})
    assert (settings.ticks_per_step, settings.tick_rate) == (8, 240.0)
    once = settings.once_a_step()
    assert (once.ticks_per_step, once.tick_rate) == (1, 30.0)
    assert once.limits_of('arm', 'j') == JointLimits(max_step=0.08, max_velocity=9)
    assert settings.step_of('arm', 'j') == once.step_of('arm', 'j') == 0.08
    assert once.once_a_step() == once
