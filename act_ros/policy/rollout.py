"""An episode in which every step has its own observation: the public evaluation loop."""

from collections.abc import Mapping, Sequence

import numpy as np

from act_ros.errors import ParameterError
from act_ros.parameters import Settings
from act_ros.policy.aggregation import TemporalAggregator
from act_ros.policy.interface import Predictor, check_observation
from act_ros.safety import action_entries, action_turns, joints_of
from act_ros.task import Task


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


class Rollout:
    """Observation in, action out, one step a call.

    :param policy: predicts the chunks.
    :param temporal_aggregation: blend all chunks that cover a step; False plays them in order.
    :param query_every: steps between chunks with aggregation off; 0 = the chunk size.
    :param decay: of the aggregation's weights.
    :param follow_newest: entries of the action that follow the newest chunk alone.
    :param continuous: positions of the action that are the same a turn further.
    """

    def __init__(
        self,
        policy: Predictor,
        *,
        temporal_aggregation: bool = True,
        query_every: int = 0,
        decay: float = 0.01,
        follow_newest: Sequence[str] = (),
        continuous: Sequence[str] = (),
    ) -> None:
        self._policy = policy
        self._aggregator = make_aggregator(
            policy.chunk_size,
            policy.task,
            temporal_aggregation=temporal_aggregation,
            decay=decay,
            follow_newest=follow_newest,
            continuous=continuous,
        )
        self._every = query_interval(policy.chunk_size, temporal_aggregation, query_every)
        self.step = 0

    @classmethod
    def from_settings(cls, policy: Predictor, settings: Settings) -> 'Rollout':
        """The episode of a policy that parameters ask for.

        :raises ActError: as `query_interval` and `make_aggregator`.
        """
        return cls(
            policy,
            temporal_aggregation=settings.temporal_aggregation,
            query_every=settings.query_every,
            decay=settings.decay,
            follow_newest=settings.follow_newest,
            continuous=settings.continuous,
        )

    def set_decay(self, decay: float) -> None:
        """Take another decay at once; without aggregation it means nothing."""
        self._aggregator.decay = decay

    def reset(self) -> None:
        """Begin a new episode at step 0."""
        self._aggregator.reset()
        self.step = 0

    def act(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The action of the current step; the step counts only if there is one.

        :param qpos: (state_dim,) in the policy's units.
        :param images: camera name to (H, W, 3) uint8 RGB.
        :returns: (action_dim,) float64, in the policy's units.
        :raises ActError: as `Policy.predict`.
        """
        check_observation(self._policy.task, qpos, images)
        if self.step % self._every == 0:
            self._aggregator.add(self._policy.predict(qpos, images), self.step)
        action = self._aggregator.action(self.step)
        self.step += 1
        return action
