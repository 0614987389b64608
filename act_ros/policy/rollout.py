"""An episode in which every step has its own observation: the public evaluation loop."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from act_ros.errors import ParameterError
from act_ros.parameters import Blending, Settings
from act_ros.policy.aggregation import TemporalAggregator
from act_ros.policy.interface import About, Predictor, check_observation
from act_ros.safety import action_entries, action_turns, joints_of
from act_ros.task import Task

_DEFAULTS = Settings()

log = logging.getLogger(__name__)


def as_played(settings: Settings, policy: Predictor) -> Settings:
    """The parameters as they count for a policy.

    What the user has not set is as the checkpoint was trained for, if that is known. An action
    that is held gives way to the next one at once.
    """
    if getattr(policy, 'held', False):
        return replace(settings, temporal_aggregation=False, query_every=1, fade=0.0)
    own = _own_settings(policy).items()
    return replace(settings, **{n: value for n, value in own if getattr(settings, n) is None})


def tell_played(settings: Settings, policy: Predictor) -> None:
    """Say in a line each where the checkpoint has settings of its own, and which count."""
    for name, own in _own_settings(policy).items():
        given = getattr(settings, name)
        if given is None:
            log.info('%s is %s, as the checkpoint was trained for', name, _spelled(own))
        elif given != own:
            log.warning(
                '%s is %s as you say; the checkpoint was trained for %s',
                name, _spelled(given), _spelled(own),
            )  # fmt: skip
    about = _about(policy)
    if settings.image_resize != 'off' and about is not None and not about.knows_sizes:
        log.warning(
            'image_resize is %s, but the checkpoint does not say at which size it was trained: '
            'task.image_size, %s, is taken for it',
            settings.image_resize, list(policy.task.image_size),
        )  # fmt: skip


def _about(policy: Predictor) -> About | None:
    return getattr(policy, 'about', None)


def _own_settings(policy: Predictor) -> Mapping[str, Any]:
    about = _about(policy)
    return {} if about is None else about.own_settings


def _spelled(value: object) -> str:
    return str(value).lower()  # as YAML has true and false


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


def query_interval(chunk_size: int, blending: Blending) -> int:
    """Steps between chunks: every step with aggregation, else `query_every`.

    :raises ParameterError: `query_every` is longer than a chunk, which would leave gaps.
    """
    if blending.temporal_aggregation:
        return 1
    if blending.query_every > chunk_size:
        raise ParameterError(
            f'query_every is {blending.query_every}, but a chunk has {chunk_size} actions; '
            f'expected at most that (0 = the chunk size)'
        )
    return blending.query_every or chunk_size


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
        blending = as_played(settings, policy).blending
        aggregator = make_aggregator(
            policy.chunk_size,
            policy.task,
            temporal_aggregation=blending.temporal_aggregation,
            decay=blending.decay,
            follow_newest=settings.follow_newest,
            continuous=settings.continuous,
        )
        return cls(aggregator, query_interval(policy.chunk_size, blending))

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
