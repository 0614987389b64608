"""A policy that leads the arm as the node would run it."""

import time
from typing import Any

import numpy as np

from act_ros.bags.bag import Recorded
from act_ros.bags.typestore import BagMessages
from act_ros.control import Course, LockStep, State
from act_ros.errors import ActError
from act_ros.interfaces import absolute, camera_inputs, state_inputs
from act_ros.observation import ObservationStore, Snapshot
from act_ros.parameters import Settings
from act_ros.policy.interface import Predictor
from act_ros.safety import Limits
from act_ros.sim.command import command_output


class PolicyPilot:
    """Messages into the node's store, its control loop and limits, and its messages out again.

    :param settings: the node's parameters.
    :param latency: of a chunk, as `LockStep` has it [s].
    :param course: likewise.
    :ivar durations: of the forward passes [s].
    :raises ActError: policy, parameters and robot do not fit each other.
    """

    def __init__(
        self,
        policy: Predictor,
        settings: Settings,
        latency: float,
        course: Course | None = None,
    ) -> None:
        self._policy = policy
        limits = Limits.from_settings(settings, policy.task)
        self._lockstep = LockStep(
            settings, policy.task, policy.chunk_size, limits, latency, course
        )
        self.loop = self._lockstep.loop
        self._store = ObservationStore.from_settings(settings, policy.task)
        inputs = {**camera_inputs(settings, policy.task), **state_inputs(settings, policy.task)}
        self._readers: dict[str, list[str]] = {}
        for name, (topic, _) in inputs.items():
            self._readers.setdefault(absolute(topic), []).append(name)
        self._library = BagMessages()
        spec = command_output(settings, policy.task)
        self._encoder = spec.output_type.encoder(spec, settings.tick_rate, self._library)
        self._faults: dict[str, str] = {}  # what was wrong first, by input
        self._seen = False
        self.durations: list[float] = []

    def hear(self, recorded: Recorded) -> None:
        """See `Pilot.hear`."""
        for name in self._readers[recorded.topic]:
            self._store.put(name, recorded.message, recorded.receipt)

    def command(self, now: int) -> Any | None:
        """See `Pilot.command`."""
        measured, _ = self._store.measured(now)
        snapshot, faults = self._store.snapshot(now)
        self._note(faults)
        command = self._lockstep.tick(now, snapshot, measured, self._infer)
        if command is None:
            return None
        return self._encoder.encode(command.values, self._library.stamp(now))

    @property
    def trouble(self) -> str:
        """Why commands have ended, or never began; '' where they did not end."""
        status = self.loop.status
        ended = status.count or self.loop.state is not State.RUNNING
        if not ended:
            return ''
        said = [status.reason or status.last, *self._faults.values()]
        return '; '.join(filter(None, said)) or 'no plan has come'

    def _note(self, faults: dict[str, str]) -> None:
        """Keep what was wrong with an input first, once all had been there, or never were."""
        if not faults:
            if not self._seen:
                self._faults.clear()
            self._seen = True
        for name, text in faults.items():
            self._faults.setdefault(name, text)

    def _infer(self, snapshot: Snapshot) -> np.ndarray | None:
        started = time.perf_counter()
        try:
            chunk = self._policy.predict(snapshot.qpos, snapshot.images())
        except ActError as error:
            self._faults.setdefault('inference', str(error))
            return None
        self.durations.append(time.perf_counter() - started)
        return chunk
