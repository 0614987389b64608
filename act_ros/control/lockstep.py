"""The node's ticks in a time that stands still during each: recorded or simulated."""

from collections.abc import Callable
from typing import Any

import numpy as np

from act_ros.control.delay import Course, InferenceDelay, takes
from act_ros.control.exchange import Arrival, Command
from act_ros.control.loop import ControlLoop
from act_ros.control.watchdog import patient
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.safety import Limits
from act_ros.task import Task

Infer = Callable[[Snapshot], np.ndarray | None]  # the chunk; None where inference fails


class LockStep:
    """The control loop, with an inference that takes so long.

    :param settings: the node's parameters; its command_timeout counts as `patient` has it.
    :param latency: of a forward pass [s]; 0 = a chunk is there in the tick that asks for it.
    :param course: of each pass, where it is not just that long.
    :param options: those of `ControlLoop`.
    """

    def __init__(
        self,
        settings: Settings,
        task: Task,
        chunk_size: int,
        limits: Limits,
        latency: float,
        course: Course | None = None,
        **options: Any,
    ) -> None:
        self.loop = ControlLoop(patient(settings, latency), task, chunk_size, limits, **options)
        course = course or (takes(latency) if latency else None)
        self._delay = None if course is None else InferenceDelay(course)

    def tick(
        self, now: int, snapshot: Snapshot | None, measured: np.ndarray | None, infer: Infer
    ) -> Command | None:
        """Go through a tick as the node does.

        :param now: [ns].
        :param snapshot: this tick's instant; None while inputs are missing or wrong.
        :param measured: as to `ControlLoop.command`.
        :param infer: asked when a pass ends: at once, or a latency after its observation.
        """
        loop = self.loop
        loop.begin_tick(now)
        seen = snapshot if loop.looks else None
        if self._delay is None:
            request = loop.request(seen)
            if request is not None:
                loop.accept(Arrival(request, infer(request.snapshot)))
            return loop.command(measured)
        for request, gives in self._delay.arrivals(now):
            loop.accept(Arrival(request, infer(request.snapshot) if gives else None))
        command = loop.command(measured)
        request = loop.request(seen)
        if request is not None:
            self._delay.submit(request, now)
        return command
