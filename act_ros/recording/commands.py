"""The commands that were recorded, as actions at the times of ticks."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

import numpy as np

from act_ros.commands import OutputSpec, Setpoints
from act_ros.errors import CommandError
from act_ros.observation import stamp_ns
from act_ros.parameters import Settings
from act_ros.task import Task

# What was commanded last says for so long what the robot was told; then nobody did [ns].
LIFETIME = 1_000_000_000
# It may have been recorded so much after its time, or before; more is another clock [ns].
RECORDING_DELAY = 1_000_000_000
# A trajectory may be planned so much ahead, and last as long [ns].
PLANNED_AHEAD = 60_000_000_000


class RecordedCommands:
    """What was commanded on each output at any time.

    A command counts from its start until the next one that has the same joint, and no longer
    than LIFETIME after its end. Its start is its header stamp, where it has one; else, and where
    it is 0, its receipt. The newest stamp counts, in whatever order they were recorded.

    A trajectory is sampled as a joint_trajectory_controller follows it: each of its points is
    reached `time_from_start` after its start. Between two points the way is straight or, where
    both have velocities, the cubic with these. A first point that is at most one tick ahead
    counts at once, as the node sends it; to one that is further ahead the way is straight from
    where the command before had led, and unknown where there was none. Its last point is held.
    A stamp in the future begins then. A later trajectory replaces what is left of an earlier
    one from its own start on, for the joints that it names.

    :param outputs: topic to what is sent there, as the node's parameter `outputs` has it.
    :param task: the action's entries.
    :param by_header: False counts from the receipts alone.
    :ivar topics: of the outputs.
    """

    def __init__(
        self, outputs: Mapping[str, OutputSpec], task: Task, *, by_header: bool = True
    ) -> None:
        self._outputs = {topic: _Output(spec, task, by_header) for topic, spec in outputs.items()}
        self.topics = frozenset(outputs)
        self._size = task.action_dim

    @classmethod
    def from_settings(
        cls, settings: Settings, outputs: Mapping[str, OutputSpec], task: Task
    ) -> 'RecordedCommands':
        """With the node's parameters.

        :param outputs: see above.
        """
        return cls(outputs, task, by_header=settings.stamp_source == 'header')

    def put(self, topic: str, message: Any, receipt: int) -> None:
        """Take in a command; what is wrong with it is kept for `about`.

        :param receipt: when it was recorded [ns].
        """
        self._outputs[topic].put(message, receipt)

    def at(self, time: int) -> np.ndarray:
        """The action that was commanded at a time; times asked for must not go back.

        :param time: [ns].
        :returns: (action_dim,) in the robot's units; NaN where nothing was commanded.
        """
        action = np.full(self._size, np.nan)
        for output in self._outputs.values():
            values = output.at(time)
            np.copyto(action, values, where=np.isnan(action))
        return action

    def about(self) -> dict[str, dict[str, Any]]:
        """By topic: how many commands there were, and what was wrong with them; for JSON.

        `messages`; `unread`, how many of them count for nothing; `faults`: cause to `messages`,
        the `first` text, whether all are `alike`, and the `consequence`; `unsaid`: entries
        that none of those read has.
        """
        return {topic: output.about() for topic, output in self._outputs.items()}


@dataclass
class _Command:
    """One message's setpoints, in absolute time."""

    spec: OutputSpec
    start: int  # [ns]
    rank: int  # of two commands the one with the higher counts
    points: Setpoints
    times: list[int] = field(init=False)  # [ns]
    said: np.ndarray = field(init=False)  # (action_dim,) of the action

    def __post_init__(self) -> None:
        self.times = (self.points.after + self.start).tolist()
        self.said = np.isfinite(self.points.values).any(axis=0)

    def begin_at(self, origin: np.ndarray) -> None:
        """Lead from where the robot had been told to be to the first point."""
        points = self.points
        slopes = np.full((1, points.slopes.shape[1]), np.nan)
        self.points = Setpoints(
            points.after,
            np.vstack((origin, points.values)),
            np.vstack((slopes, points.slopes)),
        )
        self.times.insert(0, self.start)

    def at(self, time: int) -> np.ndarray:
        """The action at a time from the start on, (action_dim,)."""
        i = bisect_right(self.times, time)
        values = self.points.values
        if i == 0 or i == len(values):
            return values[min(i, len(values) - 1)]
        duration = (self.times[i] - self.times[i - 1]) / 1e9
        part = (time - self.times[i - 1]) / 1e9 / duration
        action = (1 - part) * values[i - 1] + part * values[i]
        self._bend(action, i, duration, part)
        return action

    def _bend(self, action: np.ndarray, i: int, duration: float, part: float) -> None:
        """Put the cubic in place of the straight way, for joints with velocities at both ends."""
        places = self.spec.places['position']
        begin, end = self.points.values[i - 1 : i + 1, places]
        slope, last = self.points.slopes[i - 1 : i + 1] * duration
        square = 3 * (end - begin) - 2 * slope - last
        cube = 2 * (begin - end) + slope + last
        bent = np.isfinite(square + cube)
        way = begin + part * (slope + part * (square + part * cube))
        action[places[bent]] = way[bent]
        if 'velocity' in self.spec.places:
            speed = (slope + part * (2 * square + part * 3 * cube)) / duration
            action[self.spec.places['velocity'][bent]] = speed[bent]


class _Output:
    """The commands of one output."""

    def __init__(self, spec: OutputSpec, task: Task, by_header: bool) -> None:
        self._spec, self._by_header = spec, by_header
        self._entries = list(map(str, task.action))
        self._size = task.action_dim
        self._tick = round(1e9 / task.rate)
        self._decoder = spec.output_type.decoder(spec, task.action_dim)
        # Those that no tick has come to yet, by their start, and those in force with the entries
        # of each: a message may hold some joints only.
        self._coming: list[tuple[int, int, _Command]] = []
        self._in_force: list[tuple[_Command, np.ndarray]] = []
        self._number = count()
        self._unsaid = np.isin(np.arange(self._size), spec.columns)
        self._messages = self._unread = self._newest = 0
        self._faults: dict[str, dict[str, Any]] = {}

    def put(self, message: Any, receipt: int) -> None:
        self._messages += 1
        try:
            points = self._decoder.decode(message)
            start = self._start(message, receipt, int(points.after[-1]))
        except CommandError as error:
            self._unread += 1
            self._note(error, 'they are left out')
            return
        if points.fault is not None:
            self._note(points.fault, 'these values are left out')
        # The robot follows the trajectory that it was given last.
        rank = receipt if self._spec.output_type.trajectory else start
        if rank < self._newest:
            back = f'are stamped {(self._newest - rank) / 1e9:.3g} s before the one before them'
            self._note(CommandError('order', back), 'they count in the order of their stamps')
        self._newest = max(rank, self._newest)
        command = _Command(self._spec, start, rank, points)
        self._unsaid &= ~command.said
        heappush(self._coming, (start, next(self._number), command))

    def at(self, time: int) -> np.ndarray:
        while self._coming and self._coming[0][0] <= time:
            self._enforce(heappop(self._coming)[2])
        return self._sample(time, LIFETIME)

    def about(self) -> dict[str, Any]:
        read = self._messages > self._unread
        return {
            'messages': self._messages,
            'unread': self._unread,
            'faults': self._faults,
            'unsaid': [self._entries[i] for i in np.flatnonzero(self._unsaid)] if read else [],
        }

    def _start(self, message: Any, receipt: int, length: int) -> int:
        """When a command begins.

        :param length: from then to its last point [ns].
        :raises CommandError: its stamp is of another clock.
        """
        stamp = stamp_ns(message) if self._by_header and hasattr(message, 'header') else 0
        if stamp == 0:
            return receipt
        late, early = receipt - stamp - length, stamp - receipt
        ahead = PLANNED_AHEAD if self._spec.output_type.trajectory else RECORDING_DELAY
        for much, allowed, side in ((late, RECORDING_DELAY, 'before'), (early, ahead, 'after')):
            if much > allowed:
                raise CommandError(
                    'stamps', f'are stamped {_span(much)} {side} they were recorded: the clocks '
                    f'differ (set stamp_source: receipt)',
                )  # fmt: skip
        return stamp

    def _enforce(self, command: _Command) -> None:
        """Let a command count from its start on."""
        if self._spec.output_type.trajectory and command.times[0] - command.start > self._tick:
            command.begin_at(self._sample(command.start))
        said = command.said.copy()
        in_force = []
        for other, entries in self._in_force:
            if other.rank > command.rank:
                said &= ~entries
            else:
                entries &= ~said
            if entries.any():
                in_force.append((other, entries))
        self._in_force = [*in_force, (command, said)]

    def _sample(self, time: int, lifetime: int | None = None) -> np.ndarray:
        """What is commanded at a time, (action_dim,).

        :param lifetime: what ended longer ago does not count [ns].
        """
        action = np.full(self._size, np.nan)
        for command, entries in self._in_force:
            if lifetime is None or time < command.times[-1] + lifetime:
                action[entries] = command.at(time)[entries]
        return action

    def _note(self, error: CommandError, consequence: str) -> None:
        fault = self._faults.setdefault(
            error.cause,
            {'messages': 0, 'first': str(error), 'alike': True, 'consequence': consequence},
        )
        fault['messages'] += 1
        fault['alike'] &= str(error) == fault['first']


def _span(duration: int) -> str:
    seconds = duration / 1e9
    for unit, size in (('years', 365.25 * 86400), ('days', 86400)):
        if seconds > 2 * size:
            return f'{seconds / size:.3g} {unit}'
    return f'{seconds:.3g} s'
