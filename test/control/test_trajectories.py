"""Trajectories as a joint_trajectory_controller plays them, from message to message."""

from dataclasses import replace

import numpy as np
import pytest

from act_ros.control import Arrival, ControlLoop
from act_ros.interfaces import parse_output
from act_ros.parameters import LIMITED, Settings
from act_ros.safety import Limits
from act_ros.task import Entry, Task
from test.commands.messages import LIBRARY
from test.control.test_loop import MS, TICK, snapshot
from test.limits import by_joint, keys

K, RATE, UPDATE = 40, 50.0, 2 * MS
ENTRIES = tuple(Entry('arm', name, 'position') for name in ('a', 'b'))
BOTH = (*ENTRIES, *(Entry('arm', name, 'velocity') for name in ('a', 'b')))
FASTEST, HARDEST = 1.5, 8.0  # [rad/s], [rad/s^2]
# Of a cubic between two points, at its ends. Where second differences A of the points are within
# the limit, it is 3 A at most; where one message goes on from another that had planned to speed
# up, and brakes instead, 5 A.
PLANNED, ANOTHER = 3 * HARDEST, 5 * HARDEST


class TrajectoryController:
    """Samples messages as joint_trajectory_controller does, set to interpolate_from_desired_state.

    From the last commanded state to the first point, then from point to point: by the cubic where
    both have velocities, else straight; behind the last point it stays. A message replaces the
    one before at the first update after its arrival, and without a stamp begins then.
    """

    def __init__(self, position: np.ndarray) -> None:
        self._held = 0, position, np.zeros_like(position)  # time, position, velocity
        self._points: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._new = None
        self.states: list[tuple[np.ndarray, np.ndarray]] = []

    def take(self, message) -> None:
        """As it is checked before it is accepted, from Jazzy on."""
        assert not np.any(message.points[-1].velocities), 'refused: the last is not at rest'
        self._new = [
            (p.time_from_start.sec * 10**9 + p.time_from_start.nanosec,
             np.array(p.positions), np.array(p.velocities))
            for p in message.points
        ]  # fmt: skip

    def update(self, now: int) -> None:
        if self._new is not None:
            self._points = [self._held, *((now + t, p, v) for t, p, v in self._new)]
            self._new = None
        self._held = now, *(self._sample(now) if self._points else self._held[1:])
        self.states.append(self._held[1:])

    def _sample(self, now: int) -> tuple[np.ndarray, np.ndarray]:
        for (t0, p0, v0), (t1, p1, v1) in zip(self._points, self._points[1:], strict=False):
            if t0 <= now < t1:
                t, whole = (now - t0) / 1e9, (t1 - t0) / 1e9
                if not (v0.size and v1.size):
                    slope = (p1 - p0) / whole
                    return p0 + slope * t, slope
                c2 = (3 * (p1 - p0) / whole - 2 * v0 - v1) / whole
                c3 = (2 * (p0 - p1) / whole + v0 + v1) / whole**2
                return p0 + v0 * t + c2 * t**2 + c3 * t**3, v0 + 2 * c2 * t + 3 * c3 * t**2
        return self._points[-1][1], np.zeros_like(self._points[-1][1])


def chunk_of(step, dim):
    """Each chunk is 0.1 away from the one before, and quicker than the arm at times."""
    angle = (step + np.arange(K)[:, None]) / 20 + np.arange(dim)
    return 0.7 * np.sin(angle) + 0.05 * (-1) ** (step // 4)


def make_loop(entries=ENTRIES, horizon=None, **changes):
    task = Task('t', ('camera',), entries, entries, RATE, (4, 6))
    values = {
        'min_position': [-0.6, -2.0], 'max_position': [0.65, 2.0], 'max_step': [0.05] * 2,
        'max_velocity': [FASTEST] * 2, 'max_acceleration': [HARDEST] * 2,
        'max_tracking_error': [np.inf] * 2, 'ramp_time': 0.2,
        **changes,
    }  # fmt: skip
    arrays = {name: values.pop(name) for name in LIMITED}
    settings = Settings(**values, joint_limits=by_joint(keys(task), **arrays))
    limits = Limits.from_settings(settings, task)
    places = range(len(entries)) if horizon is None else horizon
    return ControlLoop(settings, task, K, limits, horizon=places), task


def play(ticks, *, entries=ENTRIES, latency=4, seen=lambda tick: True, dies=None, late=lambda: 0,
         missed=(), **changes):  # fmt: skip
    """A robot's controller at 500 Hz behind the loop; states (updates, 2, joints)."""
    loop, task = make_loop(entries, **changes)
    spec = parse_output('x JointTrajectoryHorizon', task)
    encoder = spec.output_type.encoder(spec, RATE, LIBRARY)
    here, asked, due = np.zeros(2), None, []
    robot = TrajectoryController(here)
    for update in range(ticks * 10):
        now = update * UPDATE
        comes = now // TICK not in missed and (dies is None or now < dies * TICK)
        if now % TICK == 0 and comes:
            loop.begin_tick(now)
            if asked is not None and loop.step >= asked.step + latency:
                loop.accept(Arrival(asked, chunk_of(asked.step, len(entries))))
                asked = None
            command = loop.command(here)
            request = loop.request(snapshot(now) if seen(now // TICK) else None)
            asked = asked or request
            if command is not None:
                message = encoder.encode(command.values, LIBRARY.stamp(1), command.ahead)
                due.append((now + late(), message))
        if due and due[0][0] <= now:
            robot.take(due.pop(0)[1])
        robot.update(now)
    return np.array(robot.states), loop


def accelerations(states):
    """Of the positions as they were commanded, and how far velocities are from theirs."""
    positions, velocities = states[:, 0], states[:, 1]
    change = np.diff(positions, 2, axis=0) / (UPDATE / 1e9) ** 2
    between = np.diff(positions, axis=0) / (UPDATE / 1e9)
    apart = between - (velocities[1:] + velocities[:-1]) / 2
    return np.abs(change).max(), np.abs(apart).max()


@pytest.mark.parametrize('entries', [ENTRIES, BOTH], ids=['positions', 'with velocities'])
@pytest.mark.parametrize('latency', [0, 1, 4, 12])
def test_the_motion_goes_on_from_message_to_message_as_chunks_arrive(entries, latency):
    states, loop = play(300, entries=entries, latency=latency)
    largest, apart = accelerations(states)
    assert largest < ANOTHER
    assert np.percentile(np.abs(np.diff(states[:, 0], 2, axis=0)), 98) < PLANNED * 0.002**2
    assert apart < 0.02
    assert np.abs(states[:, 1]).max() <= 1.2 * FASTEST
    assert loop.limiter.hits['acceleration'] and np.ptp(states[:, 0, 1]) > 1.0


def test_without_velocities_there_is_a_corner_at_each_point():
    """What the test above would see."""
    states = play(100)[0]
    straight = np.interp(np.arange(1000) * 2.0, np.arange(100) * 20.0, states[::10, 0, 1])
    corners = np.abs(np.diff(straight, 2)).max() / (UPDATE / 1e9) ** 2
    assert corners > 10 * HARDEST


def test_a_node_that_dies_leaves_a_motion_that_comes_to_rest():
    for dies in range(60, 120, 7):
        states, _ = play(dies + 60, dies=dies)
        largest, _ = accelerations(states)
        assert largest < ANOTHER
        assert not states[-20:, 1].any()
        assert (np.diff(states[-20:, 0], axis=0) == 0).all()
        assert np.abs(states[-1, 0]).max() <= 2.0


def test_a_stop_brakes_and_says_so():
    states, loop = play(150, seen=lambda tick: tick < 60, command_timeout=0.2)
    assert loop.status.reason
    largest, _ = accelerations(states)
    assert largest < ANOTHER
    assert np.abs(states[-200:, 1]).max() < 1e-9


def test_a_message_that_comes_a_little_late_makes_no_corner():
    rng = np.random.default_rng(0)
    states, _ = play(300, late=lambda: int(rng.integers(0, 3)) * MS)
    largest, apart = accelerations(states)
    # What is gained on the way to a point, at most 4 ms of a motion, is lost again in 16 ms.
    assert largest < ANOTHER + 6 * FASTEST * 0.004 / 0.016**2
    assert apart < 0.1


@pytest.mark.parametrize('count', [1, 2, 10, 40])
def test_ticks_that_are_missed_lead_no_joint_back_along_its_way(count):
    for first in range(60, 75, 3):
        states, loop = play(first + count + 50, missed=range(first, first + count),
                            command_timeout=0.5)  # fmt: skip
        assert accelerations(states)[0] < ANOTHER
        assert np.abs(states[:, 1]).max() <= 1.2 * FASTEST
        assert loop.limiter.hits['acceleration']


def moving(**changes):
    """A loop at full speed, and a command that has a long way to go."""
    loop, _ = make_loop(ramp_time=0.0, max_acceleration=[75.0] * 2, **changes)
    for tick in range(4):
        loop.begin_tick(tick * TICK)
        if tick == 0:
            loop.accept(Arrival(loop.request(snapshot(0)), np.full((K, 2), 0.6)))
        command = loop.command(np.zeros(2))
    return loop, command


def test_a_stop_message_brakes_from_where_the_horizon_has_led():
    loop, told = moving()
    assert loop.messages_to_rest(7 * TICK) == 1
    stop = loop.stop_message(1, now=7 * TICK)
    np.testing.assert_array_equal(stop.values, told.ahead.values[2])
    # And the one after it goes on from there, as always.
    assert (loop.stop_message(now=8 * TICK).values == stop.values).all()


def test_a_command_that_did_not_go_out_has_no_horizon_that_led_anywhere():
    loop, told = moving()
    loop.begin_tick(7 * TICK)
    loop.command(np.zeros(2))
    loop.take_back()
    stop = loop.stop_message(1, now=8 * TICK)
    np.testing.assert_array_equal(stop.values, told.ahead.values[3])


def test_where_there_is_no_horizon_a_joint_waits_for_its_command():
    loop, told = moving(horizon=[0])
    loop.begin_tick(7 * TICK)
    sent = loop.command(np.zeros(2)).values
    assert sent[0] == pytest.approx(told.ahead.values[3, 0])
    assert sent[1] == pytest.approx(told.values[1] + FASTEST / RATE)


def test_a_range_that_is_narrowed_meanwhile_counts_first():
    loop, told = moving()
    end = told.ahead.values[0, 0]
    narrow = replace(loop.limiter.limits, max_position=np.array([end, 2.0]))
    loop.limiter.set_limits(narrow)
    stop = loop.stop_message(now=8 * TICK)
    assert stop.values[0] == end and (stop.ahead.values[:, 0] == end).all()
