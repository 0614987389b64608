"""The control loop: (now, snapshot, arrived chunks) to a command, the stop message, or nothing.

One tick is `begin_tick`, then in any order `accept` for each chunk that has arrived, `request`
for what to infer from the snapshot, and `command`; where any of it, or the sending, raises,
`fail`. Asynchronously the command is read before the request is handed on; synchronously the
request is answered and accepted first. Who calls (the node, the evaluator, a test) decides
where time and inference come from.

What ends the commands, and what begins them again, is in `act_ros.control.state`.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Collection
from functools import partial

import numpy as np

from act_ros.commands import Ahead
from act_ros.control.clock import StepClock
from act_ros.control.exchange import Arrival, Command, Request, Veto
from act_ros.control.motion import MotionMeter
from act_ros.control.plan import Plan
from act_ros.control.state import State, StateMachine
from act_ros.control.tracking import Tracking
from act_ros.control.watchdog import Watchdog
from act_ros.errors import LimitError, UncoveredStepError
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.safety import CommandLimiter, Limits
from act_ros.task import Task

log = logging.getLogger(__name__)

BRAKING = 5.0  # a horizon comes to rest in as long, at most [s]


class ControlLoop:
    """Decides at each tick what is commanded and what is inferred.

    Every method but `new_episode`, `clock_jumped`, `interrupt`, `change` and
    `stop_message` is called by the tick alone.

    :param settings: the robot's parameters.
    :param task: the action's entries and the rate of steps.
    :param chunk_size: actions in a chunk.
    :param limits: on every command: those of the parameters, or others.
    :param horizon: places of the action whose coming ticks are sent too. Where there are any,
        commands carry those of all. Who knows them goes on in ticks that are missed.
    :param follows: the robot follows the commands; False in a dry run.
    :param unseen: between two ticks in which inputs may have been there and were not looked
        at: time-outs are longer by it [s].
    :ivar looks: whether this tick is the first of its step: the policy sees the inputs once a
        step, however many ticks that has.
    """

    def __init__(
        self,
        settings: Settings,
        task: Task,
        chunk_size: int,
        limits: Limits,
        *,
        horizon: Collection[int] = (),
        follows: bool = True,
        unseen: float = 0.0,
    ) -> None:
        self.plan = Plan(settings, task, chunk_size)
        self._ticks = settings.ticks_per_step  # of each of the policy's steps
        self._rate = task.rate * self._ticks
        self.limiter = CommandLimiter(task, limits, self._rate)
        self.motion = MotionMeter(task, self._rate, settings.continuous)  # of what is sent
        self._timeout = settings.command_timeout + unseen
        window = settings.recovery_window + unseen
        self.status = StateMachine(
            round(window * 1e9), round(self._timeout * 1e9), calm=round(self._rate)
        )
        self._task = task
        self._tracking = Tracking(self.limiter)
        self._follows = follows
        self._stood: np.ndarray | None = None  # where the joints were at the last command
        self._clock = StepClock(self._rate)
        self._watchdog = Watchdog(self._timeout)
        self._hold = settings.stop_policy == 'hold'
        self._horizon = frozenset(horizon)
        self._positions = [
            i for i, entry in enumerate(task.action) if entry.quantity == 'position'
        ]

        self.episode = self.step = 0
        self.ticks_without_plan = 0  # in an episode that had begun to move
        self.chunks_dropped = 0  # of an episode that is over
        self._veto: Veto | None = None
        self._now = self._watch = 0
        self._sent = 0  # when the last message was [ns, the clock of steps]
        self._told = self._told_before = 0  # up to when the limiter knows the robot's way [ns]
        # What other threads want: done by the tick, at its beginning.
        self._inbox: deque[Callable[[], None]] = deque()
        self._begin_episode()

    # --- from any thread -------------------------------------------------------------------

    def new_episode(self) -> None:
        """Begin a new episode at the next tick, whatever had stopped the last."""
        self._inbox.append(self._reset)

    def clock_jumped(self, text: str) -> None:
        """Time means something else now: what is planned ends, a new episode follows."""
        self._inbox.append(partial(self._jump, text))

    def interrupt(self, reason: str) -> None:
        """Ticks have not come as they should: the commands ended with the last one."""
        self._inbox.append(partial(self.status.fault, reason, self._now))

    def change(self, settings: Settings, limits: Limits) -> None:
        """Take over at once what of the settings is live.

        :raises LimitError: the last command lies outside the limits; everything stays.
        """
        self.limiter.set_limits(limits)
        self.plan.change(settings)

    # --- one tick --------------------------------------------------------------------------

    def begin_tick(self, now: int, watch: int | None = None, veto: Veto | None = None) -> int:
        """Begin a tick.

        :param now: on the clock of steps [ns].
        :param watch: on the watchdog's clock [ns]; by default the same.
        :param veto: why no commands are allowed now, or None.
        :returns: the step of this tick.
        """
        self._now, self._watch, self._veto = now, now if watch is None else watch, veto
        while self._inbox:
            self._inbox.popleft()()
        self.status.tick(now)
        if veto is not None:
            self.status.fault(veto.reason, now)
            if veto.attended:
                # Whoever forbids and allows commands is there: a long veto needs no reset.
                self.status.wait_anew(now)
        self.status.end_long_wait(now)
        self._count()
        return self.step

    def accept(self, arrival: Arrival) -> bool:
        """Take in a chunk that has arrived.

        :returns: whether it is of use: of this episode, and not of the past alone.
        """
        request = arrival.request
        if request.episode != self.episode:
            self.chunks_dropped += arrival.chunk is not None
            return False
        if arrival.chunk is None:
            self.plan.fail(self.step)
            return False
        self.plan.asked = False
        if not self.status.in_time(request.made):
            return False
        if not self.plan.add(arrival.chunk, request.step, self.step):
            return False
        self._watchdog.feed(request.observed)
        return True

    def request(self, snapshot: Snapshot | None) -> Request | None:
        """What to infer at this tick, if anything.

        :param snapshot: this tick's instant; None while inputs are missing or wrong.
        """
        if snapshot is None or self.state is State.LATCHED or self._veto is not None:
            return None
        if self.state is State.STOPPED:
            self.status.inputs()
            self._begin_episode()
            self._count()
        observed = self._watch - snapshot.age
        # Without aggregation one chunk may play for longer than the time-out: what counts is
        # that the robot is still seen.
        if not self.plan.aggregated and self._watchdog.armed:
            self._watchdog.feed(observed)
        if not self.plan.wants(self.step):
            return None
        self.plan.asked = True
        return Request(self.episode, self.step, self._now - snapshot.age, observed, snapshot)

    def command(self, measured: np.ndarray | None) -> Command | None:
        """The command of this tick, the stop policy's message, or None.

        :param measured: positions of the action's joints, in the order of
            `limiter.position_entries`, robot units; None if they are not known.
        """
        self._catch_up(self._now)
        self._check_tracking(measured)
        self._had_commanded = self.status.commanded
        command = self._planned_command(measured)
        if command is None:
            self._count_missing_plan()
            message = self.stop_message()
            if message is None and self.status.commanded:
                self.limiter.wait()
            return self._noted(message)
        if self.status.command():
            log.info('commands again: episode %d', self.episode)
        self._last_plan = self._watch
        if measured is not None:
            self._stood = measured
        return self._noted(command)

    def take_back(self) -> None:
        """The command of this tick has not gone out: what follows goes on from the one before."""
        self.limiter.take_back()
        self._told = self._told_before
        self.status.commanded = self._had_commanded

    def fail(self, reason: str, now: int | None = None) -> Command | None:
        """Something in this tick has raised: commands end.

        :param now: as to `begin_tick`, which may not have been reached; None where the clock
            stands still.
        :returns: the stop policy's message, or None.
        """
        if now is not None:
            self._now = now
        self.status.fail(reason, self._now)
        return self._noted(self.stop_message())

    def idle(self, watch: int) -> Command | None:
        """While the clock of steps stands still: the stop policy's message once it is due.

        :param watch: on the watchdog's clock [ns].
        """
        self._watch = watch
        if self.state is State.RUNNING and self._watchdog.expired(watch):
            self.status.fault(f'the clock stands still: {self._too_old()}', self._now)
        ended = self.state in (State.STOPPED, State.LATCHED)
        return self._noted(self.stop_message()) if ended else None

    def stop_message(self, left: int | None = None, now: int | None = None) -> Command | None:
        """The stop policy's message; None before the first command, or where it is silent.

        :param left: how many may be sent until everything is at rest, this one included.
        :param now: on the clock of steps [ns]; None = the time of the tick.
        """
        if not self._holds:
            return None
        now = self._now if now is None else now
        self._catch_up(now)
        self._told = now
        before, values = self.limiter.known_last, self.limiter.hold(left)
        nothing = np.empty((0, len(values)))
        ahead = self._ahead(before, values, nothing, left) if self._horizon else None
        return Command(self.step, None, np.empty(0, dtype=np.int64), values, ahead)

    def messages_to_rest(self, now: int) -> int:
        """How many stop messages end with the robot at rest; 0 where there are none to send.

        :param now: on the clock of steps [ns].
        """
        self._catch_up(now)
        return max(1, self.limiter.commands_to_rest) if self._holds else 0

    @property
    def _holds(self) -> bool:
        return self.status.commanded and self._hold

    @property
    def state(self) -> State:
        """What the loop is doing."""
        return self.status.state

    # --- parts -----------------------------------------------------------------------------

    def _count(self) -> None:
        """Which tick this is, and of which step."""
        before = self.step
        self._tick = self._clock.step(self._now)
        self.step, self._phase = divmod(self._tick, self._ticks)
        self.looks = self._phase == 0 or self.step != before

    def _planned_command(self, measured: np.ndarray | None) -> Command | None:
        if self.state not in (State.WAITING, State.RUNNING) or self._inbox:
            return None
        if self._watchdog.expired(self._watch):
            self.status.fault(self._too_old(), self._now)
            return None
        try:
            action = self.plan.action(self.step, self._phase)
        except UncoveredStepError:
            return None
        try:
            wanted = self._task.to_robot(action)
            if self.state is State.WAITING and not self._begin_to_move(measured, wanted):
                return None
            before = self.limiter.known_last
            values = self.limiter.limit(wanted, self._elapsed)
            ahead = None
            if self._horizon:
                ahead = self._ahead(before, values, self._coming())
            self._told_before, self._told = self._told, self._now
        except LimitError as error:
            self.status.latch(str(error), self._now)
            return None
        return Command(self.step, action, self.plan.chunk_steps(self.step), values, ahead)

    def _begin_to_move(self, measured: np.ndarray | None, wanted: np.ndarray) -> bool:
        """Start the ramp: from the command that is held, else from where the robot is."""
        if self._holds:
            self.limiter.restart()
        elif measured is None:
            return False
        else:
            self.limiter.start(measured, wanted, self._stood)
            self._tracking.begin_anew()
        self._first_tick = self._tick
        return True

    def _catch_up(self, now: int) -> None:
        """Who has a horizon has gone on along it in ticks that were missed."""
        missed = round((now - self._told) * self._rate / 1e9) - 1
        if self._horizon and missed > 0:
            self.limiter.go_on(missed, self._horizon)
            self._told = now - round(1e9 / self._rate)

    def _noted(self, command: Command | None) -> Command | None:
        """The same: what is sent at one tick after the other is one motion."""
        if command is None or not 0 <= self._now - self._sent < 1.5e9 / self._rate:
            self.motion.pause()
        if command is not None:
            self.motion.look(self.limiter.known_last, command.chunk_steps)
            self._sent = self._now
        return command

    def _count_missing_plan(self) -> None:
        """A tick without a plan is a hiccup; many of them are a stop as any other."""
        if self.state is not State.RUNNING:
            return
        self.ticks_without_plan += 1
        missing = (self._watch - self._last_plan) / 1e9
        if missing > self._timeout:
            self.status.fault(
                f'there has been no plan for {missing:.2f} s, command_timeout {self._timeout:g} s',
                self._now,
            )

    @property
    def _elapsed(self) -> float:
        """Since the episode's first command [s]."""
        return (self._tick - self._first_tick) / self._rate

    def _coming(self) -> np.ndarray:
        """What is planned for the coming ticks, as far as the watchdog would let it.

        The command itself lasts one tick.
        """
        count = int(self._watchdog.left(self._watch) * self._rate / 1e9) - 1
        return self._task.to_robot(self.plan.coming(self.step, count))

    def _ahead(
        self,
        before: np.ndarray,
        values: np.ndarray,
        coming: np.ndarray,
        left: int | None = None,
    ) -> Ahead:
        """What follows a command.

        :param before: (positions,) those of the command before it.
        :param coming: (n, action_dim) what is to follow, before it comes to rest.
        :param left: as to `stop_message`.
        """
        elapsed = self._elapsed + 1 / self._rate
        rest = math.ceil(BRAKING * self._rate) if left is None else left - 1
        try:
            horizon = self.limiter.preview(coming, elapsed, rest)
        except LimitError:
            self.limiter.take_back()  # what cannot go on does not go out
            raise
        rows = np.concatenate((values[np.newaxis], horizon))
        path = np.concatenate((before[np.newaxis], rows[:, self._positions]))
        slopes = np.zeros_like(rows)  # at rest in the end
        slopes[:-1, self._positions] = (path[2:] - path[:-2]) * (self._rate / 2)
        return Ahead(horizon, slopes)

    def _check_tracking(self, measured: np.ndarray | None) -> None:
        told = self.status.commanded and (self.state is State.RUNNING or self._hold)
        # Not known is not near: then everything stays as it was.
        if not (self._follows and told) or measured is None:
            return
        if fault := self._tracking.check(measured, self._watch):
            self.status.latch(fault, self._now)

    def _too_old(self) -> str:
        age = self._timeout - self._watchdog.left(self._watch) / 1e9
        return (
            f'the newest observation behind the commands is {age:.2f} s old, '
            f'command_timeout {self._timeout:g} s'
        )

    def _reset(self) -> None:
        self.status.reset()
        self._tracking.forget()
        self._begin_episode()

    def _jump(self, text: str) -> None:
        self.status.fault(text, self._now)
        self.status.wait_anew(self._now)
        self._told = min(self._told, self._now)
        self._tracking.begin_anew()
        self._begin_episode()

    def _begin_episode(self) -> None:
        """Empty everything; what is still being inferred belongs to another episode now."""
        self.episode += 1
        self.step, self._tick, self._phase, self.looks = 0, 0, 0, True
        self.plan.begin()
        self._clock.reset()
        self._watchdog.reset()
        self._last_plan = 0  # when there was one [ns, the watchdog's clock]
        self._first_tick = 0  # of this episode with a command, where the ramp begins
