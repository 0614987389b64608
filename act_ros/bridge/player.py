"""Plays a server's chunks: the action of each step at once, whatever the network does."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from act_ros.bridge.remote import load_remote
from act_ros.control.plan import Plan
from act_ros.errors import ActError, LinkError, UncoveredStepError, one_line
from act_ros.parameters import Settings
from act_ros.policy import as_played
from act_ros.policy.interface import Observation, Predictor, check_observation

_DEFAULTS = Settings()
_PAUSE = 0.02  # before a question is asked again [s]


@contextmanager
def playing(
    endpoint: str, settings: Settings = _DEFAULTS, **options: Any
) -> Iterator['ChunkPlayer']:
    """A player of a server's policy, for as long as it is used.

    :param endpoint: of the server.
    :param settings: as `ChunkPlayer` has it.
    :param options: of `load_remote`.
    :raises ActError: as `load_remote`.
    """
    with (
        closing(load_remote(endpoint, live=True, **options)) as policy,
        ChunkPlayer(policy, settings) as player,
    ):
        yield player


class ChunkPlayer:
    """An episode on the client's side: chunks are asked for beside it, and blended here.

    It plans as the node does, from step to step. One question is under way at a time, of the
    newest observation there is. A chunk that comes late is of its own step and is faded in; one
    that never comes costs depth. An outage is ridden over as long as the chunks last that are
    there. Calls come from one thread.

    :param policy: is asked for chunks, in a thread of this.
    :param settings: `temporal_aggregation`, `query_every`, `decay`, `fade`, `follow_newest` and
        `continuous` count.
    :param synchronous: wait for the chunk of each step, as the public loop does.
    :param patience: the longest wait for a chunk, where one is waited for [s].
    :ivar step: the next one.
    :ivar failure: why the last question that was answered has no chunk; None where it has.
    :raises ActError: as `Plan`.
    """

    def __init__(
        self,
        policy: Predictor,
        settings: Settings = _DEFAULTS,
        *,
        synchronous: bool = False,
        patience: float = 5.0,
    ) -> None:
        self._policy, self._synchronous, self._patience = policy, synchronous, patience
        # Whoever calls has steps, and no ticks between them.
        played = as_played(settings, policy).once_a_step()
        self._plan = Plan(played, policy.task, policy.chunk_size)
        self._changed = threading.Condition()
        self._asking = self._closed = False
        self._episode, self.step = 0, 0
        self._newest = -1  # step of the newest chunk that is there
        self.failure: Exception | None = None
        self._mail: tuple[int, Observation] | None = None
        self._arrived: list[tuple[int, np.ndarray | Exception]] = []
        self._thread = threading.Thread(target=self._run, name='chunks', daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Begin a new episode at step 0; what is under way belongs to the old one."""
        with self._changed:
            self._plan.begin()
            self._episode += 1
            self.step, self._newest = 0, -1
            self._mail, self.failure = None, None
            self._arrived.clear()

    def act(
        self, qpos: np.ndarray, images: Mapping[str, np.ndarray], step: int | None = None
    ) -> np.ndarray:
        """The action of a step; only the first one of an episode waits for its chunk.

        :param qpos: (state_dim,) in the policy's units.
        :param images: camera name to (H, W, 3) uint8 RGB, not to be changed afterwards.
        :param step: of the observation; None = one after the last.
        :returns: (action_dim,) float64, no limits applied.
        :raises ObservationError: the observation is not for this policy.
        :raises LinkError: no chunk covers the step, for the answers have not come.
        """
        check_observation(self._policy.task, qpos, images)
        with self._changed:
            step = self.step if step is None else step
            if step < self.step:
                raise ActError(f'step {step} is over: step {self.step} is the next one')
            self.step = step + 1
            self._take_arrived(step)
            observation = np.array(qpos), dict(images)
            asked = self._plan.wants(step)
            if asked:
                self._ask(step, observation)
            if self._synchronous and asked:
                self._wait_for(lambda: self._newest == step, step, observation)
            elif self._newest < 0:
                self._wait_for(lambda: self._newest >= 0, step, observation)
            try:
                return self._plan.action(step)
            except UncoveredStepError:
                raise self._why_none(step) from None

    def close(self) -> None:
        """End the questions; one that is under way has its time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> 'ChunkPlayer':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, step: int, observation: Observation) -> None:
        self._mail, self._plan.asked = (step, observation), True
        self._changed.notify_all()

    def _wait_for(self, there: Callable[[], bool], step: int, observation: Observation) -> None:
        """Wait for a chunk, and ask again where the line has lost it."""
        deadline = time.monotonic() + self._patience
        while not there() and (left := deadline - time.monotonic()) > 0:
            if self.failure is not None and not isinstance(self.failure, LinkError):
                return
            if self._mail is None and not self._asking:
                if self.failure is not None:  # a server that loads, say, tells so at once
                    self._changed.wait(min(left, _PAUSE))
                self._ask(step, observation)
            self._changed.wait(left)
            self._take_arrived(step)

    def _take_arrived(self, step: int) -> None:
        """What has arrived has its part from this step on."""
        for observed, answer in self._arrived:
            self._plan.asked = False
            if isinstance(answer, Exception):
                self._plan.fail(step)
                self.failure = answer
            else:
                self._plan.add(answer, observed, step)
                self._newest, self.failure = max(self._newest, observed), None
        self._arrived.clear()

    def _why_none(self, step: int) -> Exception:
        if self.failure is not None and not isinstance(self.failure, LinkError):
            return self.failure
        why = 'no answer has come' if self.failure is None else one_line(self.failure)
        newest = f'the newest is of step {self._newest}' if self._newest >= 0 else 'there is none'
        return LinkError(f'no chunk covers step {step}: {newest}, and since then {why}')

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._mail is not None)
                if self._closed or self._mail is None:
                    return
                (step, observation), self._mail = self._mail, None
                self._asking, episode = True, self._episode
            answer = self._answer(*observation)
            with self._changed:
                self._asking = False
                if episode == self._episode:
                    self._arrived.append((step, answer))
                self._changed.notify_all()

    def _answer(
        self, qpos: np.ndarray, images: Mapping[str, np.ndarray]
    ) -> np.ndarray | Exception:
        try:
            return self._policy.predict(qpos, images)
        except Exception as error:  # whatever it is: the next question is another chance
            return error
