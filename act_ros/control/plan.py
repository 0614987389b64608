"""What is planned: the chunks that have arrived, and when the next one is asked for."""

import numpy as np

from act_ros.control.interpolation import KNOWN, Interpolation
from act_ros.errors import UncoveredStepError
from act_ros.parameters import Settings
from act_ros.policy import make_aggregator, query_interval
from act_ros.safety import action_turns
from act_ros.task import Task


class Plan:
    """The plan of an episode, as it grows.

    :param settings: as `as_played` has them.
    :param chunk_size: actions in a chunk.
    :ivar asked: a chunk was asked for, and there is no answer yet.
    :ivar late: chunks that arrived when every step they cover was past.
    :raises ActError: as `make_aggregator` and `query_interval`.
    """

    def __init__(self, settings: Settings, task: Task, chunk_size: int) -> None:
        blending = settings.blending
        self._aggregator = make_aggregator(
            chunk_size,
            task,
            temporal_aggregation=blending.temporal_aggregation,
            decay=blending.decay,
            fade=settings.fade,
            follow_newest=settings.follow_newest,
            continuous=settings.continuous,
        )
        self.aggregated = blending.temporal_aggregation
        self._every = query_interval(chunk_size, blending)
        self._chunk_size, self._rate = chunk_size, task.rate
        self._interpolation = (
            Interpolation(settings.ticks_per_step, action_turns(task, settings.continuous))
            if settings.ticks_per_step > 1
            else None
        )
        self.late = 0
        self.begin()

    def begin(self) -> None:
        """Forget everything: an episode begins."""
        self._aggregator.reset()
        if self._interpolation is not None:
            self._interpolation.forget()
        self.asked = False
        self._next_query = 0

    def change(self, settings: Settings) -> None:
        """Take over at once what of the settings is live. May be called from any thread."""
        self._aggregator.decay = settings.blending.decay
        self._aggregator.fade = settings.fade * self._rate

    def wants(self, step: int) -> bool:
        """Whether a chunk is to be asked for at a step.

        With aggregation always: while one is inferred, a newer observation replaces an older.
        """
        return self.aggregated or not (self.asked or step < self._next_query)

    def fail(self, step: int) -> None:
        """What was asked for will not come: ask again."""
        self.asked, self._next_query = False, step

    def add(self, chunk: np.ndarray, observed: int, step: int) -> bool:
        """Take in a chunk.

        :param chunk: (chunk_size, action_dim), policy units.
        :param observed: the step of its observation.
        :param step: the present one.
        :returns: whether it covers anything that is not past.
        """
        latency = step - observed
        # With aggregation off: so early that the next chunk, taking as long as this one did, is
        # there and faded in before this one runs out, and the path between steps knows where
        # it goes.
        early = latency + self._aggregator.fade if latency else 0
        early += KNOWN - 1 if self._interpolation is not None else 0
        self._next_query = observed + max(1, min(self._every, self._chunk_size - early))
        if latency >= self._chunk_size:
            self.late += 1
            return False
        self._aggregator.add(chunk, observed, step)
        return True

    def action(self, step: int, tick: int = 0) -> np.ndarray:
        """The action of a step, or of a tick within it, (action_dim,) float64, policy units.

        :param tick: from 0 on, of `ticks_per_step`.
        :raises UncoveredStepError: no chunk covers the step.
        """
        between = self._interpolation
        if between is None:
            return self._aggregator.action(step)
        if between.step != step:
            ahead = self._aggregator.actions(step, KNOWN)
            if not len(ahead):
                between.forget()
                raise UncoveredStepError(f'no chunk covers step {step}')
            between.begin(step, ahead)
        return between.at(tick)

    def chunk_steps(self, step: int) -> np.ndarray:
        """The steps of the chunks that the action of a step is made from, (n,) int64."""
        return self._aggregator.steps(step)

    def coming(self, step: int, count: int) -> np.ndarray:
        """The actions of the steps after one, as far as chunks cover them, (n, action_dim)."""
        return self._aggregator.actions(step + 1, count)
