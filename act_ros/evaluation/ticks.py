"""A bag's messages as the ticks of a control loop."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from act_ros.evaluation.bag import Recorded
from act_ros.evaluation.episodes import Window
from act_ros.evaluation.recorded import RecordedCommands
from act_ros.observation import ObservationStore, Snapshot


@dataclass(frozen=True)
class Tick:
    """What was known at one tick.

    :ivar time: of the tick [ns, receipt].
    :ivar snapshot: the observation; None where it was not complete.
    :ivar faults: by input, why it was not.
    :ivar measured: (positions,) where the commanded joints were, robot units; None if unknown.
    :ivar looked: whether it was looked at; False for those that a stride leaves out.
    """

    time: int
    snapshot: Snapshot | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    measured: np.ndarray | None = None
    looked: bool = True


def ticks(
    messages: Iterable[Recorded],
    inputs: Mapping[str, list[str]],
    store: ObservationStore,
    commands: RecordedCommands,
    window: Window,
    period: int,
    stride: int = 1,
) -> Iterator[Tick]:
    """Play messages into a store and ask it for an instant at every tick.

    The first tick is at the first instant with a complete observation, or exactly at the
    window's start; the others follow on the grid that it begins.

    :param messages: in the order of their receipt; they may begin before the window.
    :param inputs: topic to the inputs that it feeds.
    :param period: of the ticks [ns].
    :param stride: every so many ticks are looked at; the others only pass.
    """
    count = 0

    def tick(now: int) -> Tick:
        nonlocal count
        count += 1
        if (count - 1) % stride:
            return Tick(now, looked=False)
        snapshot, faults = store.snapshot(now)
        return Tick(now, snapshot, faults, store.measured(now)[0])

    due = window.start if window.exact else None
    waiting = set(store.received)
    for topic, receipt, message in messages:
        while due is not None and due < receipt and due < window.stop:
            yield tick(due)
            due += period
        if receipt >= window.stop and (due is None or due >= window.stop):
            return
        # What is scored against may be an input too.
        if topic in commands.topics:
            commands.put(topic, message, receipt)
        for name in inputs.get(topic, ()):
            store.put(name, message, receipt)
            waiting.discard(name)
        begun = due is not None or waiting or receipt < window.start
        if not begun and store.snapshot(receipt)[0] is not None:
            due = receipt
    while due is not None and due < window.stop:
        yield tick(due)
        due += period

