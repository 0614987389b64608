"""One episode of a bag through the robot's control loop, and what came of it."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.control import Arrival, ControlLoop, Request
from act_ros.errors import ActError
from act_ros.evaluation.files import whole
from act_ros.evaluation.horizon import HorizonSums
from act_ros.evaluation.limits import LimitsObserver, unlimited
from act_ros.evaluation.recorded import RecordedCommands
from act_ros.evaluation.ticks import Tick
from act_ros.observation import Snapshot
from act_ros.policy.interface import BatchPredictor, Statistics
from act_ros.safety import Limits
from act_ros.task import Task

# A command counts from its stamp, and may have been recorded as much later [s].
RECORDING_DELAY = 1.0
NOT_ASKED = object()


@dataclass
class EpisodeResult:
    """What came of one episode and checkpoint; all numbers in the robot's units.

    :ivar about: names, counts and texts, as JSON holds them.
    :ivar ticks: by name, one row a tick that was looked at: `index` on the grid, `time` [ns],
        `complete`, `qpos`, `stamps` [ns], `predicted` (NaN where there was no action) and
        `measured`.
    :ivar recorded: (grid, action_dim) the recorded action of every tick of the grid.
    :ivar sums: errors of the raw chunks.
    :ivar durations: of the forward passes, a observation each [s].
    """

    about: dict[str, Any]
    ticks: dict[str, np.ndarray]
    recorded: np.ndarray
    sums: HorizonSums
    durations: np.ndarray

    def save(self, path: Path) -> None:
        """Write to a file, whole or not at all."""
        with whole(path) as part, part.open('wb') as file:
            np.savez_compressed(
                file, about=np.array(json.dumps(self.about)), recorded=self.recorded,
                offsets=np.array(self.sums.offsets), absolute=self.sums.absolute,
                square=self.sums.square, count=self.sums.count, durations=self.durations,
                **{f'tick/{name}': values for name, values in self.ticks.items()},
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> 'EpisodeResult | None':
        """Read a file that `save` has written; None where there is none, or it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
            return cls._from(content)
        except Exception:  # whatever an archive's damage may raise: then it is done again
            return None

    @classmethod
    def _from(cls, content: dict[str, np.ndarray]) -> 'EpisodeResult':
        sums = HorizonSums(content['offsets'].tolist(), *content['count'].shape[1:])
        sums.absolute, sums.square = content['absolute'], content['square']
        sums.count = content['count']
        ticks = {
            name.removeprefix('tick/'): values
            for name, values in content.items()
            if name.startswith('tick/')
        }
        about = json.loads(str(content['about']))
        return cls(about, ticks, content['recorded'], sums, content['durations'])


@dataclass(frozen=True)
class Options:
    """How ticks are run.

    :ivar latency: a chunk arrives that much later than it was asked for [s]; 0 = at once.
    :ivar batch: most observations in one forward pass.
    :ivar stride: every so many ticks are looked at.
    :ivar offsets: between chunk and recording, see `HorizonSums`.
    """

    latency: float = 0.0
    batch: int = 8
    stride: int = 1
    offsets: Sequence[int] = (-2, -1, 0, 1, 2)


@dataclass
class _Delay:
    """The inference thread of the robot, as it would be busy: one pass at a time, newest wins."""

    latency: int  # [ns]
    running: tuple[Request, int] | None = None  # and when it is done
    mail: Request | None = None

    def submit(self, request: Request, now: int) -> None:
        if self.running is None:
            self.running = request, now + self.latency
        else:
            self.mail = request

    def arrivals(self, now: int) -> Iterator[Request]:
        while self.running is not None and self.running[1] <= now:
            request, done = self.running
            self.running = None
            if self.mail is not None:
                self.running, self.mail = (self.mail, done + self.latency), None
            yield request


class EpisodeRun:
    """Runs the ticks of one episode.

    :param policy: predicts the chunks.
    :param settings: the node's parameters.
    :param options: how.
    :raises LimitError: the parameters' limits do not fit the task.
    """

    def __init__(
        self, policy: BatchPredictor, settings: Mapping[str, Any], options: Options
    ) -> None:
        self._policy, self._task, self._options = policy, policy.task, options
        task = self._task
        self._loop = ControlLoop(
            policy.chunk_size,
            task,
            unlimited(task),
            command_timeout=settings['command_timeout'],
            recovery_window=settings['recovery_window'],
            temporal_aggregation=settings['temporal_aggregation'],
            query_every=settings['query_every'],
            decay=settings['decay'],
            follows=False,
        )
        limits = Limits.from_parameters(settings, task)
        self._limits = LimitsObserver(task, limits, options.stride)
        self._sums = HorizonSums(options.offsets, policy.chunk_size, task.action_dim)
        # Every complete tick is asked for, at once: then several can be in one pass.
        self._ahead = settings['temporal_aggregation'] and not options.latency
        self._delay = _Delay(round(options.latency * 1e9)) if options.latency else None
        self._decoder = Decoder()
        self._slack = int(RECORDING_DELAY * task.rate)
        self._times: list[int] = []
        self._recorded: list[np.ndarray] = []
        self._pending: deque[tuple[int, np.ndarray]] = deque()
        self._rows: dict[str, list] = {
            name: [] for name in ('index', 'time', 'complete', 'qpos', 'stamps', 'predicted',
                                  'measured')
        }  # fmt: skip
        self._durations: list[float] = []
        self._faults: dict[str, dict[str, Any]] = {}
        self._resets = 0
        self._paused = 0
        self._positions = len(self._loop.limiter.position_entries)

    def run(
        self,
        ticks: Iterable[Tick],
        commands: RecordedCommands,
        about: Mapping[str, Any],
        progress: Callable[[int], bool] = lambda count: True,
    ) -> EpisodeResult:
        """Run all ticks.

        :param commands: what was recorded; filled by whoever makes the ticks.
        :param about: kept in the result as it is.
        :param progress: told how many ticks of the grid are done; returns whether to go on.
            An episode that ends early says so in its result.
        """
        ticks = iter(ticks)
        interrupted = False
        while group := list(islice(ticks, self._options.batch if self._ahead else 1)):
            chunks = self._predict_ahead(group)
            for tick in group:
                self._look(tick, chunks.get(tick.time, NOT_ASKED))
                self._compare(commands, self._slack)
            if not progress(len(self._times)):
                interrupted = True
                break
        self._compare(commands, 0, last=True)
        return self._result({**about, 'interrupted': interrupted})

    # --- one tick --------------------------------------------------------------------------

    def _look(self, tick: Tick, chunk: object) -> None:
        self._times.append(tick.time)
        self._paused += tick.pause
        if not tick.looked:
            return
        loop = self._loop
        loop.begin_tick(tick.time)
        if loop.state == 'stopped until reset' and tick.snapshot is not None:
            # Where a person would call ~/reset: the recording goes on.
            self._resets += 1
            loop.new_episode()
            loop.begin_tick(tick.time)
        if self._delay is None:
            request = loop.request(tick.snapshot)
            if request is not None:
                self._answer(request, chunk)
            command = loop.command(tick.measured)
        else:
            for request in self._delay.arrivals(tick.time):
                self._answer(request, NOT_ASKED)
            command = loop.command(tick.measured)
            request = loop.request(tick.snapshot)
            if request is not None:
                self._delay.submit(request, tick.time)
        action = command.action if command is not None else None
        # Without a joint's position no command begins: that is why there is none.
        self._count_faults(tick.faults if action is not None else tick.unmeasured | tick.faults)
        predicted = np.full(self._task.action_dim, np.nan)
        if action is not None:
            predicted = self._task.to_robot(action)
            self._limits.look(predicted, tick.measured, loop.episode)
        self._note(tick, predicted)

    def _count_faults(self, faults: Mapping[str, str]) -> None:
        for name, text in faults.items():
            fault = self._faults.setdefault(name, {'ticks': 0, 'first': text})
            fault['ticks'] += 1

    def _note(self, tick: Tick, predicted: np.ndarray) -> None:
        snapshot, rows = tick.snapshot, self._rows
        rows['index'].append(len(self._times) - 1)
        rows['time'].append(tick.time)
        rows['complete'].append(snapshot is not None)
        rows['predicted'].append(predicted)
        unknown = np.full(self._positions, np.nan)
        rows['measured'].append(unknown if tick.measured is None else tick.measured)
        inputs = (*self._task.cameras, *self._task.sources)
        if snapshot is None:
            rows['qpos'].append(np.full(self._task.state_dim, np.nan, np.float32))
            rows['stamps'].append(np.zeros(len(inputs), np.int64))
        else:
            rows['qpos'].append(snapshot.qpos)
            rows['stamps'].append(np.array([snapshot.stamps[name] for name in inputs]))

    # --- chunks ----------------------------------------------------------------------------

    def _answer(self, request: Request, chunk: Any) -> None:
        if chunk is NOT_ASKED:
            chunk = self._predict([request.snapshot])[0]
        if chunk is not None:
            made = request.snapshot.taken
            index = len(self._times) - 1
            while self._times[index] > made:
                index -= 1
            self._pending.append((index, self._task.to_robot(chunk)))
        self._loop.accept(Arrival(request, chunk))

    def _predict_ahead(self, group: Sequence[Tick]) -> dict[int, np.ndarray | None]:
        complete = [tick for tick in group if tick.snapshot is not None]
        if not (self._ahead and complete):
            return {}
        chunks = self._predict([tick.snapshot for tick in complete])
        return {tick.time: chunk for tick, chunk in zip(complete, chunks, strict=True)}

    def _predict(self, snapshots: Sequence[Snapshot]) -> list[np.ndarray | None]:
        """A chunk for each; None, and a fault, where an observation or what came of it is bad."""
        try:
            observations = [(s.qpos, self._decoder.images(s)) for s in snapshots]
            started = time.perf_counter()
            chunks = list(self._policy.predict_batch(observations))
            took = (time.perf_counter() - started) / len(snapshots)
            self._durations += [took] * len(snapshots)
            return chunks
        except ActError as error:
            if len(snapshots) > 1:
                return [chunk for s in snapshots for chunk in self._predict([s])]
            self._count_faults({'inference': str(error)})
            return [None]

    # --- the recording ---------------------------------------------------------------------

    def _compare(self, commands: RecordedCommands, slack: int, last: bool = False) -> None:
        """Look up what was recorded, and compare the chunks whose whole future is known.

        :param last: no more will be: compare all chunks.
        """
        while len(self._recorded) + slack < len(self._times):
            self._recorded.append(commands.at(self._times[len(self._recorded)]))
        known = len(self._recorded)
        while self._pending and (last or self._pending[0][0] + self._sums.after <= known):
            self._sums.add(*self._with_recording(*self._pending.popleft()))

    def _with_recording(self, index: int, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, last = index - self._sums.before, index + self._sums.after
        rows = np.full((last - first, chunk.shape[1]), np.nan)
        known = self._recorded[max(first, 0) : last]
        if known:
            start = max(first, 0) - first
            rows[start : start + len(known)] = known
        return chunk, rows

    def _result(self, about: dict[str, Any]) -> EpisodeResult:
        empty = {
            'qpos': (0, self._task.state_dim),
            'predicted': (0, self._task.action_dim),
            'measured': (0, self._positions),
            'stamps': (0, len(self._task.cameras) + len(self._task.sources)),
        }
        ticks = {
            name: np.array(values) if values else np.zeros(empty.get(name, (0,)))
            for name, values in self._rows.items()
        }
        ticks['complete'] = ticks['complete'].astype(bool)
        loop = self._loop
        about |= {
            'grid': len(self._times),
            'looked': len(self._rows['index']),
            'faults': self._faults,
            'resets': self._resets,
            'paused_s': self._paused / 1e9,
            'stops': loop.stop.count,
            'chunks_late': loop.chunks_late,
            'limits': self._limits.about(),
        }
        recorded = np.array(self._recorded).reshape(-1, self._task.action_dim)
        return EpisodeResult(about, ticks, recorded, self._sums, np.array(self._durations))


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


def robot_std(task: Task, statistics: Statistics) -> np.ndarray:
    """The action's deviation in training, (action_dim,) in the robot's units."""
    return statistics.action_std / np.abs(task.action_units[0])
