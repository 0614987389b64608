"""Forward passes over the observations of an episode."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from act_ros.errors import ActError, LinkError
from act_ros.observation import Snapshot
from act_ros.policy.interface import BatchPredictor


class Passes:
    """Forward passes, one an observation, however many ask for its chunk.

    :ivar durations: an observation each [s].
    """

    def __init__(self, policy: BatchPredictor) -> None:
        self.durations: list[float] = []
        self._policy = policy
        self._decoder = Decoder()
        self._done: dict[int, np.ndarray | ActError] = {}  # by the time of its tick

    def chunk(self, snapshot: Snapshot) -> np.ndarray:
        """The chunk of an observation, (chunk_size, action_dim), policy units.

        :raises ActError: the observation is damaged, or what came of it.
        """
        if snapshot.taken not in self._done:
            self.run([snapshot])
        done = self._done[snapshot.taken]
        if isinstance(done, ActError):
            raise done
        return done

    def run(self, snapshots: Sequence[Snapshot]) -> None:
        """Let several go through in one pass, before anyone asks.

        :raises LinkError: the policy is on a server that cannot be reached.
        """
        try:
            observations = [(s.qpos, self._decoder.images(s)) for s in snapshots]
            started = time.perf_counter()
            chunks = list(self._policy.predict_batch(observations))
            took = (time.perf_counter() - started) / len(snapshots)
        except LinkError:
            raise  # says nothing of these observations
        except ActError as error:
            if len(snapshots) > 1:
                for snapshot in snapshots:
                    self.run([snapshot])
            else:
                self._done[snapshots[0].taken] = error
            return
        self.durations += [took] * len(snapshots)
        self._done |= {s.taken: chunk for s, chunk in zip(snapshots, chunks, strict=True)}

    def forget(self, before: int) -> None:
        """Drop the chunks that nobody will ask for again, of ticks before an instant [ns]."""
        for taken in [taken for taken in self._done if taken < before]:
            del self._done[taken]


class Decoder:
    """Decodes each frame once, however many ticks look at it."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Any, np.ndarray]] = {}

    def images(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Camera name to (H, W, 3) uint8 RGB.

        :raises ObservationError: a frame is damaged.
        """
        for name, message in snapshot.frames.items():
            if name not in self._last or self._last[name][0] is not message:
                self._last[name] = message, snapshot.image(name)
        return {name: self._last[name][1] for name in snapshot.frames}
