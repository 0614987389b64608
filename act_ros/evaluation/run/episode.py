"""One episode of a bag through the robot's control loop, and what came of it."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.control import Arrival, ControlLoop, InferenceDelay, Request, State
from act_ros.errors import ActError
from act_ros.evaluation.run.episodes import NS
from act_ros.evaluation.run.horizon import HorizonSums
from act_ros.evaluation.run.limits import LimitsObserver, unlimited
from act_ros.evaluation.run.plan import Job, Options
from act_ros.evaluation.run.recorded import (
    PLANNED_AHEAD,
    RECORDING_DELAY,
    RecordedCommands,
)
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.evaluation.run.ticks import Tick, before, ticks
from act_ros.observation import ObservationStore, Snapshot
from act_ros.parameters import Settings
from act_ros.policy.interface import BatchPredictor
from act_ros.safety import Limits
from act_ros.task import Task

NOT_ASKED = object()


def run_episode(
    job: Job, policy: BatchPredictor, progress: Callable[[int], bool] = lambda count: True
) -> EpisodeResult:
    """One episode of a bag by one checkpoint.

    :param policy: the job's, loaded.
    :param progress: told how many ticks are done; returns whether to go on.
    :raises ActError: the bag does not fit.
    """
    task = policy.task
    with Bag(job.bag) as bag:
        topics = Topics(job.settings, task, bag, job.namespace)
        about = {
            'bag': str(job.bag),
            'episode': job.window.name,
            'checkpoint': job.label,
            'start': job.window.start,
            'stop': job.window.stop,
            'bag_start': bag.start,
            'not_recorded': topics.missing,
        }
        commands = RecordedCommands.from_settings(job.settings, topics.outputs, task)
        store = ObservationStore.from_settings(job.settings, task)
        found = _ticks(job, task, bag, topics, store, commands)
        run = EpisodeRun(policy, job.settings, job.options)
        result = run.run(found, commands, about, progress)
        if not result.about['looked'] and not result.about['interrupted']:
            result.about['empty'] = why_empty(job, task, bag, topics)
        # These grow while the bag is read.
        result.about['commands'] = commands.about()
        result.about['damage'] = [*bag.damage, *store.remarks()]
    return result


def _ticks(
    job: Job,
    task: Task,
    bag: Bag,
    topics: Topics,
    store: ObservationStore,
    commands: RecordedCommands,
) -> Iterator[Tick]:
    window = job.window
    begin = window.start - before(job.settings) if window.exact else window.start
    # A trajectory may have begun long before.
    earlier = [t for t, spec in topics.outputs.items() if spec.output_type.trajectory]
    for topic, receipt, message in bag.messages(earlier, begin - PLANNED_AHEAD, begin):
        commands.put(topic, message, receipt)
    messages = bag.messages([*topics.inputs, *topics.outputs], begin, window.stop)
    return ticks(
        messages, topics.inputs, store, commands, window,
        round(NS / task.rate), job.options.stride,
    )  # fmt: skip


def why_empty(job: Job, task: Task, bag: Bag, topics: Topics) -> str:
    """Why an episode had no complete observation."""
    store = ObservationStore.from_settings(job.settings, task)
    faults: dict[str, str] = {name: f'{name} has not arrived' for name in store.received}
    for topic, receipt, message in bag.messages(topics.inputs, job.window.start, job.window.stop):
        for name in topics.inputs[topic]:
            store.put(name, message, receipt)
        faults = store.snapshot(receipt)[1] or faults
    return '; '.join(faults.values())


class EpisodeRun:
    """Runs the ticks of one episode.

    :param policy: predicts the chunks.
    :param settings: the node's parameters.
    :param options: how.
    :raises LimitError: the parameters' limits do not fit the task.
    """

    def __init__(
        self, policy: BatchPredictor, settings: Settings, options: Options
    ) -> None:
        self._policy, self._task, self._options = policy, policy.task, options
        task, settings = self._task, settings.once_a_step()
        self._loop = ControlLoop(
            settings, task, policy.chunk_size, unlimited(task), follows=False,
            unseen=(options.stride - 1) / task.rate,
        )  # fmt: skip
        limits = Limits.from_settings(settings, task)
        self._limits = LimitsObserver(task, limits, options.stride)
        self._sums = HorizonSums(options.offsets, policy.chunk_size, task.action_dim)
        # Every complete tick is asked for, at once: then several can be in one pass.
        self._ahead = settings.temporal_aggregation and not options.latency
        self._delay = InferenceDelay(round(options.latency * 1e9)) if options.latency else None
        self._decoder = Decoder()
        self._slack = int(RECORDING_DELAY / 1e9 * task.rate)
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
        if loop.state is State.LATCHED and tick.snapshot is not None:
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
        unmeasured = tick.unmeasured if action is None else {}
        self._count_faults({**unmeasured, **tick.faults})
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
        complete = {tick.time: tick.snapshot for tick in group if tick.snapshot is not None}
        if not (self._ahead and complete):
            return {}
        return dict(zip(complete, self._predict(list(complete.values())), strict=True))

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
            'stops': loop.status.count,
            'chunks_late': loop.plan.late,
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
