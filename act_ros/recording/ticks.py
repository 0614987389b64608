"""A bag's messages as the ticks of a control loop."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from act_ros.bags.bag import Recorded
from act_ros.observation import ObservationStore, Snapshot
from act_ros.parameters import Settings
from act_ros.recording.commands import RecordedCommands
from act_ros.recording.episodes import NS, Window

# Where nothing is recorded for longer, no further ticks are made until something is [ns]: a
# clock that was set during the recording can make it years.
PAUSE = 60_000_000_000


@dataclass(frozen=True)
class Tick:
    """What was known at one tick.

    :ivar time: of the tick [ns, receipt].
    :ivar snapshot: the observation; None where it was not complete.
    :ivar faults: by input, why it was not.
    :ivar measured: (positions,) where the commanded joints were, robot units; None if unknown.
    :ivar unmeasured: by source, why not.
    :ivar pause: before it, in which nothing was recorded and no ticks were made [ns].
    :ivar looked: whether it was looked at; False for those that a stride leaves out.
    """

    time: int
    snapshot: Snapshot | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    measured: np.ndarray | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    pause: int = 0
    looked: bool = True


def before(settings: Settings) -> int:
    """How much earlier than an instant its inputs may have come [ns]."""
    return round(max(1.0, settings.max_age) * NS)


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
    due = window.start if window.exact else None
    newest = window.start
    count = pause = 0

    def until(instant: int) -> Iterator[Tick]:
        nonlocal due, newest, pause
        instant = min(instant, window.stop)
        while due is not None and due < instant:
            if due - newest > PAUSE:
                pause = (instant - 1 - due) // period * period
                due = newest = due + pause
            yield look(due)
            due += period

    def look(now: int) -> Tick:
        nonlocal count, pause
        count, before, pause = count + 1, pause, 0
        if (count - 1) % stride:
            return Tick(now, pause=before, looked=False)
        snapshot, faults = store.snapshot(now)
        return Tick(now, snapshot, faults, *store.measured(now), pause=before)

    waiting = set(store.received)
    for topic, receipt, message in messages:
        yield from until(receipt)
        newest = receipt
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
    yield from until(window.stop)
