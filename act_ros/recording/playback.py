"""An episode of a bag, played through the robot's own observation code."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.observation import ObservationStore
from act_ros.parameters import Settings
from act_ros.recording.commands import PLANNED_AHEAD, RECORDING_DELAY, RecordedCommands
from act_ros.recording.episodes import NS, Window
from act_ros.recording.ticks import Tick, before, ticks
from act_ros.task import Task


class Playback:
    """What the robot saw and was told at each tick of an episode.

    :param bag: open.
    :param settings: the node's parameters.
    :param namespace: that relative topics are under.
    :ivar topics: of the robot in the bag.
    :ivar commands: what was recorded of them; filled while the ticks are played.
    :raises ActError: the bag does not fit.
    """

    def __init__(
        self, bag: Bag, window: Window, settings: Settings, task: Task, namespace: str = ''
    ) -> None:
        self._bag, self._window, self._settings, self._task = bag, window, settings, task
        self.topics = Topics(settings, task, bag, namespace)
        self.commands = RecordedCommands.from_settings(settings, self.topics.outputs, task)
        self._store = ObservationStore.from_settings(settings, task)

    def ticks(self, stride: int = 1) -> Iterator[Tick]:
        """Play the episode, once.

        :param stride: every so many ticks are looked at.
        """
        bag, window, topics = self._bag, self._window, self.topics
        begin = window.start - before(self._settings) if window.exact else window.start
        # A trajectory may have begun long before.
        earlier = [t for t, spec in topics.outputs.items() if spec.output_type.trajectory]
        for topic, receipt, message in bag.messages(earlier, begin - PLANNED_AHEAD, begin):
            self.commands.put(topic, message, receipt)
        messages = bag.messages([*topics.inputs, *topics.outputs], begin, window.stop)
        return ticks(
            messages, topics.inputs, self._store, self.commands, window,
            round(NS / self._task.rate), stride,
        )  # fmt: skip

    def why_empty(self) -> str:
        """Why an episode has no complete observation."""
        store = ObservationStore.from_settings(self._settings, self._task)
        inputs, window = self.topics.inputs, self._window
        faults: dict[str, str] = {name: f'{name} has not arrived' for name in store.received}
        for topic, receipt, message in self._bag.messages(inputs, window.start, window.stop):
            for name in inputs[topic]:
                store.put(name, message, receipt)
            faults = store.snapshot(receipt)[1] or faults
        return '; '.join(faults.values())

    def remarks(self) -> list[str]:
        """What is broken in the bag or odd about its inputs; grows while it is played."""
        return [*self._bag.damage, *self._store.remarks()]


class RecordedActions:
    """The recorded actions of ticks, each looked up when all that counts at it has come.

    :param commands: is filled by whoever plays the ticks.
    :param rate: of the ticks [Hz].
    :ivar rows: (action_dim,) each, robot units; NaN where nothing was commanded.
    """

    def __init__(self, commands: RecordedCommands, rate: float) -> None:
        self._commands = commands
        # A command may be recorded after its time.
        self._slack = int(RECORDING_DELAY / 1e9 * rate)
        self._waiting: deque[int] = deque()
        self.rows: list[np.ndarray] = []

    def look(self, time: int) -> None:
        """Take in the next tick [ns]."""
        self._waiting.append(time)

    def known(self, last: bool = False) -> Iterator[np.ndarray]:
        """Those that have become known since they were asked for before.

        :param last: no further message will come.
        """
        slack = 0 if last else self._slack
        while len(self._waiting) > slack:
            self.rows.append(self._commands.at(self._waiting.popleft()))
            yield self.rows[-1]
