"""A recording of the live node against the same policy offline, tick by tick."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.errors import BagError
from act_ros.evaluation.run.passes import Decoder
from act_ros.observation import ObservationStore, Snapshot
from act_ros.parameters import Settings
from act_ros.policy import as_played
from act_ros.policy.interface import Predictor
from act_ros.recording.ticks import before
from act_ros.task import Task


@dataclass(frozen=True)
class LiveTick:
    """What the node's `~/tick` says of one tick.

    :ivar time: of the tick [ns].
    :ivar stamps: input to stamp [ns]; empty where the observation was not complete.
    :ivar chunk_steps: of the chunks that the action was blended from.
    :ivar action: (action_dim,) before any limit, policy units; None where there was none.
    """

    time: int
    episode: int
    step: int
    stamps: Mapping[str, int]
    chunk_steps: tuple[int, ...]
    action: np.ndarray | None


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    :ivar ticks: recorded.
    :ivar other_inputs: ticks whose inputs had other stamps offline, and the first such input.
    :ivar compared: actions before the first of them that were compared.
    :ivar largest_difference: of any entry of these, policy units; None where there is none.
    """

    ticks: int
    other_inputs: Sequence[str]
    compared: int
    largest_difference: float | None

    def about(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def read_ticks(recording: Path, topic: str) -> list[LiveTick]:
    """The ticks of a recording, in order.

    :param topic: where the node's `~/tick` was recorded.
    :raises BagError: it was not.
    """
    bag = Bag(recording)
    if topic not in bag.topics:
        raise BagError(f'{recording} has no {topic}; it has {", ".join(sorted(bag.topics))}')
    ticks = []
    for _, _, message in bag.messages([topic]):
        values = {pair.key: pair.value for pair in message.status[0].values}
        stamp = message.header.stamp
        action = np.array([float(text) for text in values['action'].split()])
        ticks.append(
            LiveTick(
                stamp.sec * 1_000_000_000 + stamp.nanosec,
                int(values['episode']),
                int(values['step']),
                {key.removeprefix('stamp/'): int(value)
                 for key, value in values.items() if key.startswith('stamp/')},
                tuple(map(int, values['chunk_steps'].split())),
                action if len(action) else None,
            )
        )  # fmt: skip
    return ticks


def compare(
    path: Path,
    ticks: Sequence[LiveTick],
    policy: Predictor,
    settings: Settings,
    namespace: str = '',
) -> Comparison:
    """Ask the policy again at each recorded tick, and blend the same chunks.

    :param path: of the bag that the node was fed.
    :param settings: the node's parameters.
    """
    decay = as_played(settings, policy).blending.decay
    chunks: dict[tuple[int, int], np.ndarray] = {}
    wanted = {(tick.episode, step) for tick in ticks for step in tick.chunk_steps}
    decoder, other, differences = Decoder(), [], []
    for tick, snapshot in _with_snapshots(path, ticks, policy.task, settings, namespace):
        stamps = {} if snapshot is None else snapshot.stamps
        if dict(tick.stamps) != dict(stamps):
            names = sorted({n for n in (*tick.stamps, *stamps)
                            if tick.stamps.get(n) != stamps.get(n)})  # fmt: skip
            other.append(f'tick {tick.step} of episode {tick.episode}: {", ".join(names)}')
        if other:  # from here on its chunks may be others, too
            continue
        key = tick.episode, tick.step
        if snapshot is not None and key in wanted:
            chunks[key] = policy.predict(snapshot.qpos, decoder.images(snapshot))
        oldest = tick.step - policy.chunk_size
        for old in [k for k in chunks if k[0] < tick.episode or k[1] < oldest]:
            del chunks[old]
        if tick.action is None:
            continue
        steps = tick.chunk_steps
        if any((tick.episode, step) not in chunks for step in steps):
            other.append(f'tick {tick.step} of episode {tick.episode}: a chunk of another tick')
            continue
        ages = steps[-1] - np.array(steps) if decay < 0 else -np.arange(len(steps))
        weights = np.exp(decay * ages)
        rows = [chunks[tick.episode, step][tick.step - step] for step in steps]
        expected = weights @ np.array(rows, dtype=np.float64) / weights.sum()
        differences.append(float(np.abs(expected - tick.action).max()))
    return Comparison(
        len(ticks), other, len(differences), max(differences) if differences else None
    )


def _with_snapshots(
    path: Path,
    ticks: Sequence[LiveTick],
    task: Task,
    settings: Settings,
    namespace: str,
) -> Iterator[tuple[LiveTick, Snapshot | None]]:
    bag = Bag(path)
    topics = Topics(settings, task, bag, namespace)
    store = ObservationStore.from_settings(settings, task)
    begin = ticks[0].time - before(settings) if ticks else 0
    messages = bag.messages(topics.inputs, begin)
    ahead = next(messages, None)
    for tick in ticks:
        while ahead is not None and ahead.receipt <= tick.time:
            for name in topics.inputs[ahead.topic]:
                store.put(name, ahead.message, ahead.receipt)
            ahead = next(messages, None)
        yield tick, store.snapshot(tick.time)[0]
