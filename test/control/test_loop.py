"""The loop's decisions, with time and arrivals from a list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.control import Arrival, ControlLoop, State, StepClock, Veto
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.safety import Limits
from act_ros.task import Entry, Task
from test.policy.test_aggregation import naive

MS = 1_000_000
TICK = 20 * MS
K, DIM = 10, 2
ENTRIES = (Entry('arm', 'j', 'position'), Entry('arm', 'j', 'velocity'))
TASK = Task('t', ('camera',), ENTRIES, ENTRIES, 50.0, (4, 6))
HERE = np.zeros(1)  # where the joint is measured


def limits(**changes):
    """So wide that nothing changes an action, but for what a test is about."""
    values = {'min_position': -1e6, 'max_position': 1e6, 'max_step': 1e6, 'max_velocity': 1e6,
              'max_acceleration': 1e9, 'max_tracking_error': 1e6, **changes}  # fmt: skip
    arrays = {name: np.array([value]) for name, value in values.items()}
    arrays.setdefault('continuous', np.array([False]))
    return Limits(**arrays, range_tolerance=0.01, ramp_time=0.0)


def make_loop(*, limit=None, horizon=False, follows=True, **changes):
    """A loop under the public rule: `fade` is what a test is about, or 0."""
    settings = Settings(**{'fade': 0.0, **changes})
    bounds, places = limits(**(limit or {})), range(DIM) if horizon else ()
    return ControlLoop(settings, TASK, K, bounds, horizon=places, follows=follows)


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
        command = loop.command(HERE)
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
    loop = make_loop(decay=decay, stop_policy='silent')
    arrived = {}
    for tick, command in run(loop, range(60), latency=latency):
        arrived |= {s: chunk_of(s) for s in loop.plan.chunk_steps(tick)}
        expected = naive(arrived, K, tick, decay)
        assert (command is None) == (expected is None)
        if command is not None:
            np.testing.assert_allclose(command.action, expected, atol=1e-12)
            assert command.chunk_steps.tolist() == [s for s in sorted(arrived) if s > tick - K]


def test_a_chunk_that_covers_less_than_the_latency_leaves_ticks_without_a_plan():
    loop = make_loop(command_timeout=5.0, stop_policy='silent')
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
    loop = make_loop(command_timeout=0.1, stop_policy='silent')
    commands = dict(run(loop, range(60), latency=1, seen=lambda tick: not 20 <= tick < 40))
    # The last observation is of tick 19: 0.1 s are five ticks.
    assert [tick for tick in range(1, 40) if commands[tick]] == list(range(1, 25))
    assert loop.episode == 2
    assert commands[40] is None
    assert commands[41].step == 1


def test_the_age_of_an_observation_counts_from_its_oldest_input():
    loop = make_loop(command_timeout=0.1, stop_policy='silent')
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0, age=90 * MS)), chunk_of(0)))
    assert loop.command(HERE) is not None
    loop.begin_tick(20 * MS)
    assert loop.command(HERE) is None


def test_the_watchdog_has_a_clock_of_its_own():
    loop = make_loop(command_timeout=0.1, stop_policy='silent')
    loop.begin_tick(0, watch=10**12)
    loop.accept(Arrival(loop.request(snapshot(0)), chunk_of(0)))
    loop.begin_tick(0, watch=10**12 + 101 * MS)  # simulated time stands still
    assert loop.command(HERE) is None


def test_a_chunk_in_flight_from_another_episode_is_dropped():
    loop = make_loop(stop_policy='silent')
    loop.begin_tick(0)
    request = loop.request(snapshot(0))
    loop.accept(Arrival(request, chunk_of(0)))
    assert loop.command(HERE) is not None
    loop.new_episode()
    assert loop.command(HERE) is None
    assert loop.begin_tick(5 * TICK) == 0
    assert not loop.accept(Arrival(request, chunk_of(0)))
    assert loop.command(HERE) is None


def test_a_failed_inference_leaves_the_plan_as_it_is():
    loop = make_loop()
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0)), chunk_of(0)))
    loop.begin_tick(TICK)
    assert not loop.accept(Arrival(loop.request(snapshot(TICK)), None))
    assert loop.command(HERE).chunk_steps.tolist() == [0]


def test_chunks_on_both_sides_of_the_seam_of_a_continuous_joint_do_not_turn_it_around():
    loop = make_loop(
        limit={'continuous': True, 'max_step': 0.1, 'min_position': -np.inf,
               'max_position': np.inf}, continuous=['arm/j/position'], decay=0.0,
    )  # fmt: skip
    measured, sent = np.array([3.0]), []
    for tick in range(20):
        loop.begin_tick(tick * TICK)
        angle = 3.0 + 0.04 * tick
        wrapped = (angle + np.pi) % (2 * np.pi) - np.pi  # as the policy has learnt them
        request = loop.request(snapshot(tick * TICK))
        loop.accept(Arrival(request, np.full((K, DIM), wrapped)))
        sent.append(loop.command(measured).values[0])
    assert (np.diff(sent) >= 0).all()
    assert 3.4 < sent[-1] < 3.76


def test_a_changed_decay_counts_at_the_next_command():
    loop = make_loop()
    for tick in range(3):
        loop.begin_tick(tick * TICK)
        loop.accept(Arrival(loop.request(snapshot(tick * TICK)), chunk_of(tick)))
    loop.change(Settings(decay=2.0), limits())
    expected = naive({s: chunk_of(s) for s in range(3)}, K, 2, 2.0)
    np.testing.assert_allclose(loop.command(HERE).action, expected)


def test_late_chunks_are_faded_as_the_settings_say_and_live():
    loop = make_loop(fade=0.06, decay=0.0)

    def said(tick, late):
        loop.begin_tick(tick * TICK)
        if late is not None:
            loop.accept(Arrival(asked, np.full((K, DIM), late)))
        return loop.command(HERE).values[0]

    loop.begin_tick(0)
    asked = loop.request(snapshot(0))
    assert [said(1, 0.0), said(2, None)] == [0.0, 0.0]
    asked = loop.request(snapshot(2 * TICK))
    assert 0 < said(3, 1.0) < said(4, None) < said(5, None) < 0.5
    assert said(6, None) == pytest.approx(0.5)
    asked = loop.request(snapshot(6 * TICK))
    loop.change(Settings(fade=0.0, decay=0.0), limits())
    assert said(7, 2.0) == pytest.approx(1.0)  # at once: the mean of 0, 1 and 2


@pytest.mark.parametrize('every', [1, 4, 10])
def test_aggregation_off_synchronously_is_the_public_loop(every):
    loop = make_loop(temporal_aggregation=False, query_every=every)
    for t in range(35):
        loop.begin_tick(t * TICK)
        request = loop.request(snapshot(t * TICK))
        assert (request is not None) == (t % every == 0)
        if request is not None:
            loop.accept(Arrival(request, chunk_of(t)))
        action = loop.command(HERE).action
        np.testing.assert_array_equal(action, chunk_of(t - t % every)[t % every])


@pytest.mark.parametrize(('latency', 'fade'), [(1, 0), (3, 0), (5, 0), (3, 2), (5, 3)])
def test_aggregation_off_asynchronously_asks_before_the_plan_runs_out(latency, fade):
    loop = make_loop(temporal_aggregation=False, fade=fade / TASK.rate)
    commands = dict(run(loop, range(80), latency=latency))
    assert all(commands[tick] is not None for tick in range(latency, 80))
    played = [commands[tick].chunk_steps.tolist() for tick in range(latency, 80)]
    newest = [steps[-1] for steps in played]
    between = max(K - latency - fade, latency)
    assert sorted(set(newest)) == list(range(0, newest[-1] + 1, between))
    # The one before goes on beside each for as long as that is faded in.
    both = [steps for steps in played if len(steps) == 2]
    assert len(both) in range(fade * (newest[-1] // between), len(played))
    assert fade or not both
    assert loop.ticks_without_plan == 0


def test_aggregation_off_a_failed_inference_is_asked_for_again():
    loop = make_loop(temporal_aggregation=False)
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0)), None))
    loop.begin_tick(TICK)
    assert loop.request(snapshot(TICK)).step == 1


def test_aggregation_off_a_long_chunk_plays_while_the_robot_is_seen():
    loop = make_loop(temporal_aggregation=False, command_timeout=0.1, stop_policy='silent')
    commands = dict(run(loop, range(30), latency=1, seen=lambda tick: tick < 14))
    assert [tick for tick in range(1, 30) if commands[tick]] == list(range(1, 19))


# --- stop, hold, recovery -------------------------------------------------------------------


def steps_of(commands, *, stops):
    return [t for t, c in commands.items() if c is not None and (c.action is None) == stops]


def test_a_stop_holds_the_last_command_at_rest():
    loop = make_loop(command_timeout=0.1)
    commands = dict(run(loop, range(60), latency=1, seen=lambda tick: tick < 20))
    assert steps_of(commands, stops=False) == list(range(1, 25))
    assert steps_of(commands, stops=True) == list(range(25, 60))
    last = commands[24].values
    for tick in range(25, 60):
        assert commands[tick].values.tolist() == [last[0], 0.0]
    assert '0.12 s old, command_timeout 0.1 s' in loop.status.reason


def test_nothing_is_sent_before_the_first_command_of_an_activation():
    loop = make_loop()
    loop.begin_tick(0)
    assert loop.command(HERE) is None
    assert loop.stop_message() is None


@pytest.mark.parametrize(('back', 'recovers'), [(40, True), (74, True), (76, False)])
def test_a_stop_ends_by_itself_only_within_the_recovery_window(back, recovers):
    loop = make_loop(command_timeout=0.1, recovery_window=1.0)  # the stop comes at tick 25
    seen = lambda tick: not 20 <= tick < back  # noqa: E731
    commands = dict(run(loop, range(200), latency=1, seen=seen))
    resumed = [tick for tick in steps_of(commands, stops=False) if tick > 30]
    assert bool(resumed) == recovers
    if recovers:
        assert resumed == list(range(back + 1, 200))
        assert commands[back + 1].step == 1
    else:
        assert loop.state is State.LATCHED
        assert 'recovery_window' in loop.status.reason
        loop.new_episode()
        again = dict(run(loop, range(200, 210), latency=1))
        assert steps_of(again, stops=False) == list(range(201, 210))


def test_recovery_goes_through_the_ramp_from_the_command_that_was_held():
    loop = make_loop(command_timeout=0.1)
    wide = limits()
    loop.limiter.set_limits(Limits(**{**vars(wide), 'ramp_time': 0.2}))
    commands = dict(run(loop, range(80), latency=1, seen=lambda tick: not 20 <= tick < 40))
    held = commands[39].values[0]
    assert commands[41].values[0] == held
    assert abs(commands[42].values[0] - held) < 0.1 * abs(commands[42].action[0] - held)
    assert commands[51].values[0] == pytest.approx(commands[51].action[0])


def test_a_veto_stops_at_once_and_allowing_begins_a_new_episode_however_long_it_took():
    loop = make_loop(recovery_window=0.1)
    dict(run(loop, range(10), latency=1))
    for tick in range(10, 100):
        loop.begin_tick(tick * TICK, veto=Veto('enable_topic says false', attended=True))
        assert loop.command(HERE).action is None
        assert loop.request(snapshot(tick * TICK)) is None
    episode = loop.episode
    commands = dict(run(loop, range(100, 110), latency=1))
    assert loop.episode == episode + 1
    assert steps_of(commands, stops=False) == list(range(101, 110))


def test_a_deadman_that_nobody_holds_ends_by_itself_only_within_the_recovery_window():
    loop = make_loop(recovery_window=1.0)
    dict(run(loop, range(10), latency=1))
    for tick in range(10, 100):
        loop.begin_tick(tick * TICK, veto=Veto('enable_topic has said nothing', attended=False))
        assert loop.command(HERE).action is None
    assert loop.state is State.LATCHED
    assert steps_of(dict(run(loop, range(100, 110), latency=1)), stops=False) == []
    assert 'enable_topic has said nothing' in loop.status.reason
    loop.begin_tick(110 * TICK, veto=Veto('enable_topic says false', attended=True))
    assert 'says false' not in loop.status.reason  # what ended them for good stays the reason


@pytest.mark.parametrize(('silent', 'recovers'), [(0.9, True), (1.2, False)])
def test_a_deadman_that_falls_silent_after_it_was_let_go_is_waited_for_no_longer(
    silent, recovers
):
    loop = make_loop(recovery_window=1.0)
    dict(run(loop, range(10), latency=1))
    for tick in range(10, 20):
        loop.begin_tick(tick * TICK, veto=Veto('enable_topic says false', attended=True))
        loop.command(HERE)
    end = 20 + round(silent * 50)
    for tick in range(20, end):
        loop.begin_tick(tick * TICK, veto=Veto('enable_topic has said nothing', attended=False))
        loop.command(HERE)
    commands = dict(run(loop, range(end, end + 200), latency=1))
    assert bool(steps_of(commands, stops=False)) == recovers


@pytest.mark.parametrize(('missing', 'starts'), [(0.9, True), (1.2, False)])
def test_a_reset_waits_for_inputs_as_long_as_the_recovery_window(missing, starts):
    loop = make_loop(recovery_window=1.0)
    dict(run(loop, range(10), latency=1))
    loop.new_episode()
    back = 10 + round(missing * 50)
    commands = dict(run(loop, range(10, 300), latency=1, seen=lambda tick: tick >= back))
    assert bool(steps_of(commands, stops=False)) == starts
    assert (loop.state is State.LATCHED) != starts


def test_a_veto_may_be_lifted_and_a_person_may_reset_without_any_recovery_window():
    loop = make_loop(recovery_window=0.0)
    dict(run(loop, range(10), latency=4))
    loop.begin_tick(10 * TICK, veto=Veto('enable_topic says false', attended=True))
    assert steps_of(dict(run(loop, range(11, 30), latency=4)), stops=False) == [*range(15, 30)]
    loop.new_episode()
    assert steps_of(dict(run(loop, range(30, 40), latency=4)), stops=False) == [*range(34, 40)]


@pytest.mark.parametrize('aggregation', [True, False])
def test_without_a_plan_for_as_long_as_the_time_out_it_stops(aggregation):
    loop = make_loop(
        command_timeout=0.5, recovery_window=1.0, temporal_aggregation=aggregation
    )
    # From tick 20 on every answer takes longer than a chunk lasts; the robot is seen.
    dict(run(loop, range(20), latency=1))
    commands = dict(run(loop, range(20, 200), latency=K + 2))
    last = max(steps_of(commands, stops=False))
    assert 20 <= last < 20 + 2 * K
    assert 'no plan for 0.5' in loop.status.reason or 'observation' in loop.status.reason
    assert loop.state is State.LATCHED
    assert loop.status.count == 1
    assert all(commands[tick].action is None for tick in range(last + 1, 200))


def test_a_deadman_that_flickers_hides_no_joint_that_does_not_follow():
    loop = make_loop(limit={'max_tracking_error': 0.05, 'max_step': 0.02})
    for tick in range(60):
        gap = Veto('enable_topic has said nothing', attended=False) if tick % 9 == 8 else None
        loop.begin_tick(tick * TICK, veto=gap)
        request = loop.request(snapshot(tick * TICK))
        if request is not None:
            loop.accept(Arrival(request, np.ones((K, DIM))))
        loop.command(HERE)
    assert loop.state is State.LATCHED
    assert 'max_tracking_error' in loop.status.reason


def test_a_joint_that_leaves_its_place_after_a_stop_for_good_is_held_where_it_is():
    loop = make_loop(
        limit={'max_tracking_error': 5.0}, command_timeout=0.1, recovery_window=0.2
    )
    dict(run(loop, range(60), latency=1, seen=lambda tick: tick < 5))
    assert loop.state is State.LATCHED
    away = np.array([9.0])
    for tick in range(60, 80):
        loop.begin_tick(tick * TICK)
        held = loop.command(away)
    assert held.values.tolist() == [9.0, 0.0]
    assert 'recovery_window' in loop.status.reason and 'max_tracking_error' in loop.status.reason


def test_a_joint_that_does_not_follow_holds_where_it_is_until_reset():
    loop = make_loop(limit={'max_tracking_error': 0.05, 'max_step': 0.01})
    sent = []
    for tick in range(40):
        loop.begin_tick(tick * TICK)
        request = loop.request(snapshot(tick * TICK))
        if request is not None:
            loop.accept(Arrival(request, np.ones((K, DIM))))
        sent.append(loop.command(HERE))
    # 0.01 a tick: sent further than 0.05 at tick 5, seen at tick 6, for 0.2 s at tick 16.
    assert [c.action is None for c in sent].index(True) == 16
    assert loop.state is State.LATCHED
    assert 'arm/j/position' in loop.status.reason
    positions = [c.values[0] for c in sent]
    assert np.abs(np.diff(positions)).max() <= 0.01 + 1e-12
    assert positions[-1] == HERE[0]
    assert all(c.values[1] == 0.0 for c in sent[16:])
    loop.clock_jumped('the clock jumped')  # no person has looked at the arm
    loop.begin_tick(41 * TICK)
    assert loop.request(snapshot(41 * TICK)) is None
    assert loop.state is State.LATCHED
    loop.new_episode()
    loop.begin_tick(42 * TICK)
    assert loop.request(snapshot(42 * TICK)) is not None


def test_a_dry_run_does_not_ask_whether_the_arm_follows():
    loop = make_loop(limit={'max_tracking_error': 0.05}, follows=False)
    for tick in range(40):
        loop.begin_tick(tick * TICK)
        loop.accept(Arrival(loop.request(snapshot(tick * TICK)), np.ones((K, DIM))))
        assert loop.command(HERE).action is not None


def test_after_silence_an_episode_starts_from_where_the_robot_is():
    loop = make_loop(command_timeout=0.1, stop_policy='silent', limit={'max_step': 0.5})
    dict(run(loop, range(30), latency=1, seen=lambda tick: tick < 20))
    away = np.array([7.0])
    for tick in (30, 31):
        loop.begin_tick(tick * TICK)
        loop.accept(Arrival(loop.request(snapshot(tick * TICK)), np.full((K, DIM), 9.0)))
        command = loop.command(away)
    assert command.values[0] == pytest.approx(8.0)


def test_a_measured_pose_outside_its_range_starts_nothing():
    loop = make_loop(limit={'max_position': 0.5})
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0)), chunk_of(0)))
    assert loop.command(np.ones(1)) is None
    assert 'arm/j/position' in loop.status.reason
    assert loop.state is State.LATCHED


@pytest.mark.parametrize('window', [0.0, 5.0])
def test_a_jump_of_the_clock_stops_and_begins_anew(window):
    loop = make_loop(recovery_window=window)
    dict(run(loop, range(10), latency=1))
    loop.clock_jumped('the clock jumped by -1.000 s')
    commands = dict(run(loop, range(5), latency=1))
    assert commands[0].action is None
    assert steps_of(commands, stops=False) == [1, 2, 3, 4]
    assert loop.status.last == 'the clock jumped by -1.000 s'


def test_while_the_clock_stands_still_commands_end_in_steady_time():
    loop = make_loop(command_timeout=0.1)
    dict(run(loop, range(10), latency=1))
    at = 9 * TICK
    assert loop.idle(at + 50 * MS) is None
    stop = loop.idle(at + 150 * MS)
    assert stop.action is None
    assert 'the clock stands still' in loop.status.reason
    commands = dict(run(loop, range(10, 15), latency=1))
    assert steps_of(commands, stops=False) == [11, 12, 13, 14]


def test_the_horizon_ends_where_the_watchdog_would():
    loop = make_loop(command_timeout=0.1, horizon=True)
    loop.begin_tick(0)
    loop.accept(Arrival(loop.request(snapshot(0, age=25 * MS)), chunk_of(0)))
    command = loop.command(HERE)
    # 75 ms are left: the command's own tick and two more.
    np.testing.assert_allclose(command.ahead.values[:2], chunk_of(0)[1:3], atol=1e-12)
    # What follows is at rest.
    assert len(command.ahead.values) == 3
    np.testing.assert_array_equal(command.ahead.values[2:, 0], command.ahead.values[1, 0])
    assert not command.ahead.values[-1, 1]
    assert command.ahead.slopes[1] == pytest.approx([0.5, 0.0])
    assert not command.ahead.slopes[-1].any()


def test_chunks_of_another_episode_and_those_that_come_too_late_are_counted():
    loop = make_loop(command_timeout=5.0)
    loop.begin_tick(0)
    old = loop.request(snapshot(0))
    loop.new_episode()
    loop.begin_tick(TICK)
    loop.accept(Arrival(old, chunk_of(0)))
    late = loop.request(snapshot(TICK))
    loop.begin_tick(TICK + K * TICK)
    loop.accept(Arrival(late, chunk_of(0)))
    assert (loop.chunks_dropped, loop.plan.late) == (1, 1)


# --- a tick that fails ----------------------------------------------------------------------


def failing(loop, ticks, wrong):
    """Ticks with a model that answers at once; those in `wrong` raise before the command."""
    commands = {}
    for tick in ticks:
        now = tick * TICK
        if tick in wrong:
            commands[tick] = loop.fail('the control tick failed: KeyError', now)
            continue
        loop.begin_tick(now)
        request = loop.request(snapshot(now))
        if request is not None:
            loop.accept(Arrival(request, chunk_of(request.step)))
        commands[tick] = loop.command(HERE)
    return commands


def test_a_tick_that_fails_sends_the_stop_message_and_the_next_one_begins_anew():
    loop = make_loop()
    commands = failing(loop, range(20), {10})
    assert commands[10].action is None
    assert commands[10].values.tolist() == [commands[9].values[0], 0.0]
    assert all(commands[tick].action is not None for tick in range(20) if tick != 10)
    assert (loop.episode, loop.status.count) == (2, 1)
    assert 'KeyError' in loop.status.last


def test_a_few_that_fail_in_a_row_need_a_person():
    loop = make_loop()
    commands = failing(loop, range(40), {10, 11, 12})
    assert loop.state is State.LATCHED
    assert 'KeyError; 3 ticks have failed' in loop.status.reason
    assert all(commands[tick].action is None for tick in range(10, 40))
    loop.new_episode()
    again = failing(loop, range(40, 50), {41, 42})
    assert all(again[tick].action is not None for tick in range(43, 50))


def test_so_do_those_that_fail_every_other_tick_but_not_one_a_second():
    loop = make_loop()
    failing(loop, range(40), {10, 12, 14})
    assert loop.state is State.LATCHED
    loop = make_loop()
    failing(loop, range(400), set(range(10, 400, 52)))
    assert loop.state is State.RUNNING


def test_before_its_first_command_an_activation_that_fails_sends_nothing():
    loop = make_loop()
    assert set(failing(loop, range(5), set(range(5))).values()) == {None}
    assert loop.state is State.LATCHED


def test_a_plan_that_cannot_be_previewed_stops_as_one_that_cannot_be_sent():
    loop = make_loop(horizon=True)
    loop.begin_tick(0)
    chunk = chunk_of(0)
    chunk[3:] = 1.7e308  # finite, and infinite in the robot's units
    loop._task = Task('t', ('camera',), ENTRIES, (Entry('arm', 'j', 'position', scale=0.1),
                      ENTRIES[1]), 50.0, (4, 6))  # fmt: skip
    loop.accept(Arrival(loop.request(snapshot(0)), chunk))
    assert loop.command(HERE) is None  # nothing had been sent
    assert loop.state is State.LATCHED
    assert 'not finite at arm/j/position' in loop.status.reason


def test_a_plan_that_cannot_be_previewed_is_no_motion_that_braking_goes_on_from():
    limit = {'max_acceleration': 2500.0}  # 1 more or less a tick
    loop = make_loop(horizon=True, limit=limit)
    loop._task = Task('t', ('camera',), ENTRIES, (Entry('arm', 'j', 'position', scale=0.1),
                      ENTRIES[1]), 50.0, (4, 6))  # fmt: skip
    sent = []
    for tick in range(10):
        loop.begin_tick(tick * TICK)
        chunk = np.full((K, DIM), 100.0)
        if tick == 5:
            chunk[3:] = 1.7e308  # finite, and infinite in the robot's units
        request = loop.request(snapshot(tick * TICK))
        if request is not None:
            loop.accept(Arrival(request, chunk))
        sent.append(loop.command(HERE).values[0])
    assert loop.state is State.LATCHED
    assert np.diff(sent, prepend=0) == pytest.approx([1, 2, 3, 4, 5, 4, 3, 2, 1, 0])


def test_a_command_that_is_taken_back_was_none():
    loop = make_loop(limit={'max_acceleration': 2500.0})
    sent = []
    for tick in range(6):
        loop.begin_tick(tick * TICK)
        request = loop.request(snapshot(tick * TICK))
        loop.accept(Arrival(request, np.full((K, DIM), 100.0)))
        command = loop.command(HERE)
        if tick in (0, 3):
            loop.take_back()
            # The first of all: another controller may still hold the arm.
            assert (loop.stop_message(1) is None) == (tick == 0)
        else:
            sent.append(command.values[0])
    assert sent[:2] == [1.0, 3.0]
    assert sent[2:] == [4.0, 6.0]  # from the rest that the stop message said


@pytest.mark.parametrize(('gap', 'step'), [(1, 10.0), (4, 7.0), (20, 1.0)])
def test_after_silence_an_arm_begins_no_faster_than_if_it_had_braked(gap, step):
    loop = make_loop(stop_policy='silent', command_timeout=5.0,
                     limit={'max_acceleration': 2500.0, 'max_velocity': 500.0})  # fmt: skip
    sent = []
    for tick in range(K + gap + 3):
        loop.begin_tick(tick * TICK)
        request = loop.request(snapshot(tick * TICK))
        if tick in (0, K + gap):
            loop.accept(Arrival(request, np.full((K, DIM), 1000.0)))
        command = loop.command(HERE)
        sent += [] if command is None else [command.values[0]]
    assert len(sent) == K + 3
    # 10 a tick, 1 more or less: it slows down in each tick without a command, and speeds up.
    assert np.diff(sent)[K - 2 : K] == pytest.approx([10.0, step])


def test_how_many_stop_messages_end_at_rest():
    loop = make_loop(limit={'max_acceleration': 2500.0})
    assert loop.messages_to_rest(0) == 0
    for tick in range(4):
        loop.begin_tick(tick * TICK)
        loop.accept(Arrival(loop.request(snapshot(tick * TICK)), np.full((K, DIM), 100.0)))
        loop.command(HERE)
    assert loop.messages_to_rest(3 * TICK) == 4
    values = [loop.stop_message(left).values.tolist() for left in (4, 3, 2, 1)]
    assert values == [[13.0, 150.0], [15.0, 100.0], [16.0, 50.0], [16.0, 0.0]]
    assert loop.messages_to_rest(3 * TICK) == 1  # it rests, which is to be said


def test_ticks_that_did_not_come_end_the_commands_when_the_last_one_was():
    loop = make_loop(recovery_window=1.0)
    failing(loop, range(10), set())
    loop.interrupt('the control tick stood still')
    commands = failing(loop, range(30, 40), set())
    assert 'stood still' in loop.status.last
    assert steps_of(commands, stops=False) == [*range(30, 40)]
    loop.interrupt('the control tick stood still')
    commands = failing(loop, range(200, 210), set())
    assert steps_of(commands, stops=False) == []
    assert loop.state is State.LATCHED


@pytest.mark.parametrize('ticks', [range(60), [*range(20), *range(23, 45), *range(60, 63)]])
@pytest.mark.parametrize('stop_policy', ['hold', 'silent'])
def test_what_is_sent_is_measured_from_each_tick_to_the_next(ticks, stop_policy):
    loop = make_loop(command_timeout=0.1, stop_policy=stop_policy)
    assert loop.motion.worst() == {}
    commands = dict(run(loop, ticks, latency=1, seen=lambda tick: not 10 <= tick < 30))
    assert {c is None or c.action is None for c in commands.values()} == {False, True}
    # What is no message, or no tick, is a hole: no difference reaches across it.
    sent = np.full(max(ticks) + 1, np.nan)
    seams, before = [], None
    for tick, command in commands.items():
        if command is not None:
            sent[tick] = command.values[0]
            if tick and np.isfinite(sent[tick - 1]) and before != command.chunk_steps.tolist():
                seams.append(abs(sent[tick] - sent[tick - 1]))
            before = command.chunk_steps.tolist()
    third = np.diff(sent, 3) * TASK.rate**3
    assert loop.motion.jerk_rms == pytest.approx([np.sqrt(np.nanmean(third**2))])
    assert loop.motion.jerk_max == pytest.approx([np.nanmax(np.abs(third))])
    assert loop.motion.seam == pytest.approx([max(seams)])


def test_what_a_failed_tick_and_a_clock_at_rest_send_is_measured_too():
    loop = make_loop(command_timeout=0.1)
    sent = [command.values[0] for _, command in run(loop, range(20), latency=1) if command]
    sent.append(loop.fail('a fault', 20 * TICK).values[0])
    loop.begin_tick(21 * TICK)
    sent.append(loop.command(HERE).values[0])
    sent += [loop.idle(21 * TICK + i).values[0] for i in range(3)]
    third = np.diff(sent, 3) * TASK.rate**3
    assert loop.motion.jerk_rms == pytest.approx([np.sqrt(np.mean(third**2))])
    assert loop.motion.jerk_max == pytest.approx([np.abs(third).max()])
