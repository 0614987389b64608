"""What the policy's thread does with the requests of a pass."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from act_ros.bridge.pictures import decode_images
from act_ros.bridge.scheduler import Turn
from act_ros.bridge.sessions import Outcome
from act_ros.errors import ActError, ObservationError
from act_ros.policy.interface import Observation, Predictor, check_chunk, check_observation


def most_at_once(policy: Predictor) -> int:
    """How many requests may go through a policy together."""
    return getattr(policy, 'max_batch', sys.maxsize) if hasattr(policy, 'forward') else 1


class Passes:
    """Lets requests go through the policy together, and none suffer for another.

    :param policy: asked for several at once where it has `forward`, as `Policy` has.
    """

    def __init__(self, policy: Predictor) -> None:
        self._policy = policy
        self._forward = getattr(policy, 'forward', None)

    def run(self, turns: Sequence[Turn]) -> list[Outcome]:
        """What comes of each request; it never raises."""
        found = [self._look(turn) for turn in turns]
        asked = [i for i, turn in enumerate(turns)
                 if not isinstance(found[i], Outcome) and turn.wants_chunk]  # fmt: skip
        started = time.perf_counter()
        answers = self._ask([found[i] for i in asked], [turns[i].place for i in asked])
        took = time.perf_counter() - started
        chunks = dict(zip(asked, answers, strict=True))
        return [
            each if isinstance(each, Outcome) else self._conclude(turn, each, chunks.get(i), took)
            for i, (turn, each) in enumerate(zip(turns, found, strict=True))
        ]

    def _look(self, turn: Turn) -> Observation | Outcome:
        """The observation of a request; what is wrong with it where it is none."""
        request = turn.call.observation
        try:
            images = decode_images(request.images, self._policy.task)
            check_observation(self._policy.task, request.qpos, images)
        except Exception as error:
            return failed(error)
        return request.qpos, images

    def _ask(
        self, observations: list[Any], places: list[int]
    ) -> Sequence[np.ndarray | Exception]:
        """A chunk for each observation, or why there is none."""
        if not observations:
            return []
        try:
            if self._forward is None:
                return [self._policy.predict(*observations[0])]
            return list(self._forward(observations, places))
        except Exception as error:
            if len(observations) == 1:
                return [error]
            # One by one, those that can have one do.
            return [chunk for each, place in zip(observations, places, strict=True)
                    for chunk in self._ask([each], [place])]  # fmt: skip

    def _conclude(
        self, turn: Turn, observation: Observation, chunk: np.ndarray | Exception | None,
        took: float,
    ) -> Outcome:  # fmt: skip
        try:
            if isinstance(chunk, Exception):
                raise chunk
            if chunk is not None and self._forward is not None:
                policy: Any = self._policy
                check_chunk(policy.task, chunk, observation[0], policy.statistics)
            if turn.call.kind == 'chunk':
                return Outcome(step=turn.step, chunk=chunk, inference=took)
            action = turn.episode.act(turn.step, chunk)
        except Exception as error:
            return failed(error)
        return Outcome(step=turn.step, action=action, inference=0.0 if chunk is None else took)


def failed(error: Exception) -> Outcome:
    """What a client is told of an error."""
    if isinstance(error, ObservationError):
        return Outcome('bad_observation', str(error))
    if isinstance(error, ActError):
        return Outcome('policy_failed', str(error))
    text = f'the policy failed: {type(error).__name__}: {error}'
    return Outcome('policy_failed', text, fault=error)
