"""A robot's messages through the node's own eyes: what it would have had at each tick."""

import zlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from act_ros.commissioning.check.robot import Robot
from act_ros.observation import ObservationStore, stamp_ns
from act_ros.recording.commands import RecordedCommands
from act_ros.recording.playback import RecordedActions

NS = 1_000_000_000
# Ticks begin when every input has come, and at last so long after the first message [ns].
PATIENCE = NS
DECODED = 25  # of so many complete observations the frames of one are decoded


@dataclass
class Heard:
    """What came on a topic.

    :ivar receipts: of each message [ns].
    :ivar stamps: of their headers; 0 where there is none [ns].
    :ivar content: of the first, for people.
    :ivar pictures: how many different ones there were, of a camera; two are many.
    """

    receipts: list[int] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    content: str = ''
    pictures: set[int] = field(default_factory=set)

    def hear(self, message: Any, receipt: int) -> None:
        self.receipts.append(receipt)
        self.stamps.append(stamp_ns(message))
        if not self.content:
            self.content = described(message)
        if len(self.pictures) < 2 and hasattr(message, 'data') and hasattr(message, 'header'):
            self.pictures.add(zlib.crc32(memoryview(message.data)))

    @property
    def rate(self) -> float:
        """Messages a second; 0 of less than two."""
        span = self.receipts[-1] - self.receipts[0] if self.receipts else 0
        return (len(self.receipts) - 1) * NS / span if span > 0 else 0.0

    @property
    def delay(self) -> float | None:
        """From the stamp to the receipt, the median [s]; None without stamps."""
        stamps = np.array(self.stamps)
        receipts = np.array(self.receipts)[stamps > 0]
        return float(np.median(receipts - stamps[stamps > 0])) / NS if len(receipts) else None


@dataclass
class Blame:
    """What was wrong with an input, and at how many ticks."""

    first: str
    ticks: int = 0


class Inspection:
    """Takes in what a robot sends, and asks at each tick as the node does.

    :param robot: as its file describes it.
    :param commands: recorded; None where they are not seen.
    :ivar store: that the messages are put into, by whoever receives them.
    :ivar heard: by topic.
    :ivar looked: ticks so far.
    :ivar blames: by input.
    :ivar damaged: frames that could not be decoded: by camera, the first one's error.
    :ivar states: (state_dim,) of each complete tick, policy units.
    :ivar measured: (positions,) of each tick where the joints were known, robot units.
    """

    def __init__(self, robot: Robot, commands: RecordedCommands | None = None) -> None:
        self.store = _WatchedStore.from_settings(robot.settings, robot.task)
        self.store.inspection = self
        self._names = set(robot.inputs)
        # Inputs that share a topic are put one after the other: the first tells of it.
        tells = {topic: name for name, (topic, _) in reversed([*robot.inputs.items()])}
        self._topics = {name: topic for topic, name in tells.items()}
        self._period = round(NS / robot.task.rate)
        self._due: int | None = None
        self._first: int | None = None
        self._actions = None
        if commands is not None:
            self._actions = RecordedActions(commands, robot.task.rate)
        self.heard: dict[str, Heard] = {}
        self.looked = 0
        self.blames: dict[str, Blame] = {}
        self.damaged: dict[str, str] = {}
        self.states: list[np.ndarray] = []
        self.measured: list[np.ndarray] = []

    def hear(self, name: str, message: Any, receipt: int) -> None:
        """Count a message of an input, which the store has."""
        if name in self._topics:
            self.heard.setdefault(self._topics[name], Heard()).hear(message, receipt)
        self._first = receipt if self._first is None else self._first
        late = receipt - self._first > PATIENCE
        if self._due is None and (late or self.store.heard >= self._names):
            self._due = receipt

    def until(self, now: int) -> None:
        """Make the ticks that are due before an instant [ns]."""
        while self._due is not None and self._due < now:
            self._tick(self._due)
            self._due += self._period

    def recorded(self) -> np.ndarray | None:
        """The actions that were recorded, (ticks, action_dim), robot units; NaN: nothing was."""
        if self._actions is None or not self.looked:
            return None
        return np.array([*self._actions.rows, *self._actions.known(last=True)])

    def _tick(self, now: int) -> None:
        self.looked += 1
        snapshot, faults = self.store.snapshot(now)
        measured, unmeasured = self.store.measured(now)
        for name, text in {**unmeasured, **faults}.items():
            self.blames.setdefault(name, Blame(text)).ticks += 1
        if measured is not None:
            self.measured.append(measured)
        if snapshot is not None:
            if len(self.states) % DECODED == 0:
                for name, text in snapshot.damaged().items():
                    self.damaged.setdefault(name, text)
            self.states.append(snapshot.qpos)
        if self._actions is not None:
            self._actions.look(now)
            for _ in self._actions.known():
                pass


class _WatchedStore(ObservationStore):
    """A store whose ticks and messages somebody counts."""

    inspection: Inspection

    def put(self, name: str, message: Any, receipt: int, publisher: Hashable = None) -> None:
        """Take in a message; see `ObservationStore`."""
        self.inspection.until(receipt)
        super().put(name, message, receipt, publisher)
        self.inspection.hear(name, message, receipt)


def described(message: Any) -> str:
    """What is in a message that matters here, in a few words."""
    if hasattr(message, 'encoding'):
        return f'{message.height}x{message.width} {message.encoding}'
    if hasattr(message, 'format'):
        return str(message.format)
    names = getattr(message, 'name', None) or getattr(message, 'joint_names', None)
    if names:
        return f'{len(names)} joints'
    return ''
