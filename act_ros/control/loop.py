"""The control loop: (now, snapshot, arrived chunks) to a command or nothing.

One tick is `begin_tick`, then in any order `accept` for each chunk that has arrived, `request`
for what to infer from the snapshot, and `command`. Asynchronously the command is read before
the request is handed on; synchronously the request is answered and accepted first. Who calls
(the node, the evaluator, a test) decides where time and inference come from.

Until a stop policy with limits exists, a loop whose observations are older than the time-out
is silent, and begins a new episode by itself when a valid observation is back, however long
that took.
"""

import logging
from dataclasses import dataclass

import numpy as np

from act_ros.control.clock import StepClock
from act_ros.control.watchdog import Watchdog
from act_ros.errors import UncoveredStepError
from act_ros.observation import Snapshot
from act_ros.policy import ActionSource, make_action_source, query_interval

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """An observation to predict a chunk from."""

    episode: int
    step: int
    observed: int  # when the observation was made, on the watchdog's clock [ns]
    snapshot: Snapshot


@dataclass(frozen=True)
class Arrival:
    """The answer to a request: a chunk, or None where inference failed."""

    request: Request
    chunk: np.ndarray | None  # (chunk_size, action_dim), policy units


@dataclass(frozen=True)
class Command:
    """The action of one step, before any limit."""

    step: int
    action: np.ndarray  # (action_dim,) float64, policy units
    chunk_steps: np.ndarray  # (n,) steps of the chunks it was blended from


class ControlLoop:
    """Decides at each tick what is commanded and what is inferred.

    Every method but `new_episode` and `set_decay` is called by the tick alone.

    :param chunk_size: actions in a chunk.
    :param action_dim: numbers in an action.
    :param rate: steps a second [Hz].
    :param command_timeout: commands end when the newest observation behind them is older [s].
    :param temporal_aggregation: blend all chunks; False plays them in order.
    :param query_every: steps between chunks with aggregation off; 0 = the chunk size.
    :param decay: of the aggregation's weights.
    """

    def __init__(
        self,
        chunk_size: int,
        action_dim: int,
        *,
        rate: float,
        command_timeout: float,
        temporal_aggregation: bool = True,
        query_every: int = 0,
        decay: float = 0.01,
    ) -> None:
        self.source: ActionSource = make_action_source(
            chunk_size, action_dim, temporal_aggregation=temporal_aggregation, decay=decay
        )
        self._aggregated = temporal_aggregation
        self._every = query_interval(chunk_size, temporal_aggregation, query_every)
        self._chunk_size = chunk_size
        self._clock = StepClock(rate)
        self._watchdog = Watchdog(command_timeout)
        self.episode = 0
        self.ticks_without_plan = 0  # after the first command
        self._commanded = False
        self._begin_episode()

    def new_episode(self) -> None:
        """Begin a new episode at the next tick. May be called from any thread."""
        self._episode_wanted = True

    def set_decay(self, decay: float) -> None:
        """Take another decay at once; without aggregation it means nothing."""
        self.source.decay = decay

    def begin_tick(self, now: int, watch: int | None = None) -> int:
        """Begin a tick.

        :param now: on the clock of steps [ns].
        :param watch: on the watchdog's clock [ns]; by default the same.
        :returns: the step of this tick.
        """
        if self._episode_wanted:
            self._begin_episode()
        self._now, self._watch = now, now if watch is None else watch
        self.step = self._clock.step(now)
        return self.step

    def accept(self, arrival: Arrival) -> bool:
        """Take in a chunk that has arrived; one of another episode is dropped."""
        request = arrival.request
        if request.episode != self.episode:
            return False
        self._asked = None
        if arrival.chunk is None:
            self._next_query = self.step
            return False
        # With aggregation off: so early that the next chunk, taking as long as this one did, is
        # there before this one runs out.
        latency = self.step - request.step
        self._next_query = request.step + max(1, min(self._every, self._chunk_size - latency))
        self.source.add(arrival.chunk, request.step)
        self._watchdog.feed(request.observed)
        self._planned = True
        return True

    def request(self, snapshot: Snapshot | None) -> Request | None:
        """What to infer at this tick, if anything.

        :param snapshot: this tick's instant; None while inputs are missing or wrong.
        """
        if snapshot is None:
            return None
        if self._stopped:
            self._begin_episode()
            self.step = self._clock.step(self._now)
        observed = self._watch - snapshot.age
        if not self._aggregated:
            # One chunk may play for longer than the time-out: what counts is that the robot
            # is still seen.
            if self._planned:
                self._watchdog.feed(observed)
            if self._asked is not None or self.step < self._next_query:
                return None
        self._asked = Request(self.episode, self.step, observed, snapshot)
        return self._asked

    def command(self) -> Command | None:
        """The command of this tick, or None: no plan yet, none that covers it, or stopped.

        None as well if a new episode has been asked for meanwhile, in another thread.
        """
        command = self._planned_command()
        self._commanded |= command is not None
        if command is None and self._commanded:
            self.ticks_without_plan += 1
        return command

    def _planned_command(self) -> Command | None:
        if not self._planned or self._stopped or self._episode_wanted:
            return None
        if self._watchdog.expired(self._watch):
            log.warning('no commands: the newest observation behind them is too old')
            self._stopped = True
            return None
        try:
            action = self.source.action(self.step)
        except UncoveredStepError:
            return None
        return Command(self.step, action, self.source.steps(self.step))

    def _begin_episode(self) -> None:
        """Empty everything; what is still being inferred belongs to another episode now."""
        self._episode_wanted = False
        self.episode += 1
        self.step = 0
        self.source.reset()
        self._clock.reset()
        self._watchdog.reset()
        self._asked: Request | None = None
        self._next_query = 0
        self._planned = False
        self._stopped = False
