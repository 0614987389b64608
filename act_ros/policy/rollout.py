"""An episode in which every step has its own observation: the public evaluation loop."""

from collections.abc import Mapping, Sequence

import numpy as np

from act_ros.errors import ParameterError
from act_ros.parameters import Settings
from act_ros.policy.aggregation import TemporalAggregator
from act_ros.policy.interface import Predictor, check_observation
from act_ros.safety import action_entries, action_turns, joints_of
from act_ros.task import Task

_DEFAULTS = Settings()


def make_aggregator(
    chunk_size: int,
    task: Task,
    *,
    temporal_aggregation: bool = True,
    decay: float = 0.01,
    fade: float = 0.0,
    follow_newest: Sequence[str] = (),
    continuous: Sequence[str] = (),
) -> TemporalAggregator:
    """The way from chunks to actions that the settings ask for.

    :param fade: of late chunks [s].
    :raises LimitError: `follow_newest` or `continuous` lists what the action does not have.
    """
    newest = action_entries(task, 'follow_newest', follow_newest)
    return TemporalAggregator(
        chunk_size,
        task.action_dim,
        decay,
        fade * task.rate,
        turns=action_turns(task, continuous),
        newest=newest if temporal_aggregation else np.ones_like(newest),
        speeds=_speeds(task),
    )


def _speeds(task: Task) -> list[tuple[int, int, float]]:
    """Velocities beside the position of their joint, as `TemporalAggregator` has them."""
    place = {entry: i for i, entry in enumerate(task.action)}
    return [
        (place[position], place[velocity], task.rate * velocity.scale / position.scale)
        for position, velocity in (entries for entries in joints_of(task) if len(entries) == 2)
    ]


def query_interval(chunk_size: int, temporal_aggregation: bool, query_every: int) -> int:
    """Steps between chunks: every step with aggregation, else `query_every`.

    :raises ParameterError: `query_every` is longer than a chunk, which would leave gaps.
    """
    if temporal_aggregation:
        return 1
    if query_every > chunk_size:
        raise ParameterError(
            f'query_every is {query_every}, but a chunk has {chunk_size} actions; '
            f'expected at most that (0 = the chunk size)'
        )
    return query_every or chunk_size


class Episode:
    """From chunks to the actions of an episode's steps, in their order.

    :param aggregator: of its own.
    :param every: steps between chunks.
    :ivar step: the next one; those before it are over.
    """

    def __init__(self, aggregator: TemporalAggregator, every: int) -> None:
        self._aggregator, self._every = aggregator, every
        self.reset()

    @classmethod
    def from_settings(cls, policy: Predictor, settings: Settings) -> 'Episode':
        """The episode of a policy that parameters ask for.

        :raises ActError: as `query_interval` and `make_aggregator`.
        """
        aggregator = make_aggregator(
            policy.chunk_size,
            policy.task,
            temporal_aggregation=settings.temporal_aggregation,
            decay=settings.decay,
            follow_newest=settings.follow_newest,
            continuous=settings.continuous,
        )
        every = query_interval(
            policy.chunk_size, settings.temporal_aggregation, settings.query_every
        )
        return cls(aggregator, every)

    def set_decay(self, decay: float) -> None:
        """Take another decay at once, from any thread; without aggregation it means nothing."""
        self._aggregator.decay = decay

    def reset(self) -> None:
        """Begin again at step 0."""
        self._aggregator.reset()
        self.step = 0
        self._chunk_due = 0  # from this step on

    def wants_chunk(self, step: int) -> bool:
        """Whether a step needs a chunk of its own."""
        return step >= self._chunk_due

    def act(self, step: int, chunk: np.ndarray | None) -> np.ndarray:
        """The action of a step, after which the next one is the step that follows it.

        :param step: `self.step` or later.
        :param chunk: predicted from the observation of this step, where it wants one.
        :returns: (action_dim,) float64, in the policy's units.
        """
        if chunk is not None:
            self._aggregator.add(chunk, step)
            self._chunk_due = step + self._every
        action = self._aggregator.action(step)
        self.step = step + 1
        return action


class Rollout:
    """Observation in, action out, one step a call.

    :param policy: predicts the chunks.
    :param settings: those of the episode count.
    :raises ActError: as `Episode.from_settings`.
    """

    def __init__(self, policy: Predictor, settings: Settings = _DEFAULTS) -> None:
        self._policy = policy
        self._episode = Episode.from_settings(policy, settings)

    def reset(self) -> None:
        """Begin a new episode at step 0."""
        self._episode.reset()

    def act(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The action of the current step; the step counts only if there is one.

        :param qpos: (state_dim,) in the policy's units.
        :param images: camera name to (H, W, 3) uint8 RGB.
        :returns: (action_dim,) float64, in the policy's units.
        :raises ActError: as `Policy.predict`.
        """
        check_observation(self._policy.task, qpos, images)
        step, chunk = self._episode.step, None
        if self._episode.wants_chunk(step):
            chunk = self._policy.predict(qpos, images)
        return self._episode.act(step, chunk)
