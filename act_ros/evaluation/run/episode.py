"""One episode of a bag through the robot's control loop, and what came of it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from act_ros.bags.bag import Bag
from act_ros.bags.topics import Topics
from act_ros.control import MotionMeter
from act_ros.errors import ActError
from act_ros.evaluation.run.horizon import HorizonSums
from act_ros.evaluation.run.passes import Passes
from act_ros.evaluation.run.plan import Job, Options
from act_ros.evaluation.run.rehearsal import Rehearsal, measured
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.evaluation.run.sweep import Sweep
from act_ros.observation import ObservationStore, Snapshot
from act_ros.parameters import Settings
from act_ros.policy.interface import BatchPredictor
from act_ros.policy.kept import loaded
from act_ros.recording.commands import (
    PLANNED_AHEAD,
    RECORDING_DELAY,
    RecordedCommands,
)
from act_ros.recording.episodes import NS
from act_ros.recording.ticks import Tick, before, ticks
from act_ros.task import Task


def do_job(job: Job, progress: Callable[[int], bool] = lambda count: True) -> EpisodeResult:
    """One episode of a bag by one checkpoint.

    :param progress: told how many ticks are done; returns whether to go on.
    :raises ActError: the bag does not fit.
    """
    policy = loaded(job.settings, job.load)
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
        self._task, self._options = policy.task, options
        task, chunk_size = policy.task, policy.chunk_size
        settings, latencies = settings.once_a_step(), options.latencies
        self._main = Rehearsal(settings, task, chunk_size, latencies[0], options.stride)
        self._sweep = Sweep(
            settings, task, chunk_size, latencies if len(latencies) > 1 else (), self._main,
            options.offsets,
        )  # fmt: skip
        self._passes = Passes(policy)
        # Every complete tick is asked for, at once: then several can be in one pass.
        self._ahead = settings.temporal_aggregation and 0 in latencies
        # A pass may begin when the one before it ends, and is asked for when it ends itself.
        self._asked = round(2 * max(latencies) * 1e9 + 1e9 / task.rate)
        self._sums = HorizonSums(options.offsets, chunk_size, task.action_dim)
        self._motion = MotionMeter(task, task.rate, settings.continuous)  # of the recording
        self._positions = [i for i, e in enumerate(task.action) if e.quantity == 'position']
        self._slack = int(RECORDING_DELAY / 1e9 * task.rate)
        self._times: list[int] = []
        self._recorded: list[np.ndarray] = []
        self._pending: deque[tuple[int, np.ndarray]] = deque()
        self._rows: dict[str, list] = {
            name: [] for name in ('index', 'time', 'complete', 'qpos', 'stamps', 'predicted',
                                  'measured')
        }  # fmt: skip
        self._faults: dict[str, dict[str, Any]] = {}
        self._paused = 0

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
            if self._ahead and (complete := [t.snapshot for t in group if t.snapshot is not None]):
                self._passes.run(complete)
            for tick in group:
                self._look(tick)
                self._compare(commands, self._slack)
            if not progress(len(self._times)):
                interrupted = True
                break
        self._compare(commands, 0, last=True)
        return self._result({**about, 'interrupted': interrupted})

    # --- one tick --------------------------------------------------------------------------

    def _look(self, tick: Tick) -> None:
        self._times.append(tick.time)
        self._paused += tick.pause
        if not tick.looked:
            return
        action = self._main.look(tick, self._noted_chunk)
        self._sweep.look(tick, len(self._times) - 1, self._chunk, action)
        self._passes.forget(tick.time - self._asked)
        # Without a joint's position no command begins: that is why there is none.
        unmeasured = tick.unmeasured if action is None else {}
        self._count_faults({**unmeasured, **tick.faults})
        self._note(tick, np.full(self._task.action_dim, np.nan) if action is None else action)

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
        unknown = np.full(len(self._positions), np.nan)
        rows['measured'].append(unknown if tick.measured is None else tick.measured)
        inputs = (*self._task.cameras, *self._task.sources)
        if snapshot is None:
            rows['qpos'].append(np.full(self._task.state_dim, np.nan, np.float32))
            rows['stamps'].append(np.zeros(len(inputs), np.int64))
        else:
            rows['qpos'].append(snapshot.qpos)
            rows['stamps'].append(np.array([snapshot.stamps[name] for name in inputs]))

    # --- chunks ----------------------------------------------------------------------------

    def _chunk(self, snapshot: Snapshot) -> np.ndarray | None:
        try:
            return self._passes.chunk(snapshot)
        except ActError:
            return None

    def _noted_chunk(self, snapshot: Snapshot) -> np.ndarray | None:
        """The chunk, to be compared with the recording; None, and a fault, where there is none."""
        try:
            chunk = self._passes.chunk(snapshot)
        except ActError as error:
            self._count_faults({'inference': str(error)})
            return None
        index = len(self._times) - 1
        while self._times[index] > snapshot.taken:
            index -= 1
        self._pending.append((index, self._task.to_robot(chunk)))
        return chunk

    # --- the recording ---------------------------------------------------------------------

    def _compare(self, commands: RecordedCommands, slack: int, last: bool = False) -> None:
        """Look up what was recorded, and compare the chunks whose whole future is known.

        :param last: no more will be: compare all chunks.
        """
        while len(self._recorded) + slack < len(self._times):
            recorded = commands.at(self._times[len(self._recorded)])
            self._recorded.append(recorded)
            # Any change in a tick compares with a seam.
            self._motion.look(recorded[self._positions], np.array([len(self._recorded)]))
        self._sweep.compare(self._recorded, last)
        known = len(self._recorded)
        while self._pending and (last or self._pending[0][0] + self._sums.after <= known):
            self._sums.compare(*self._with_recording(*self._pending.popleft()))

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
            'measured': (0, len(self._positions)),
            'stamps': (0, len(self._task.cameras) + len(self._task.sources)),
        }
        ticks = {
            name: np.array(values) if values else np.zeros(empty.get(name, (0,)))
            for name, values in self._rows.items()
        }
        ticks['complete'] = ticks['complete'].astype(bool)
        main = self._main
        every_tick = self._options.stride == 1
        about |= {
            'grid': len(self._times),
            'looked': len(self._rows['index']),
            'faults': self._faults,
            'resets': main.resets,
            'paused_s': self._paused / 1e9,
            'stops': main.loop.status.count,
            'chunks_late': main.loop.plan.late,
            'limits': main.limits.about(),
            'motion': {
                'sent': measured(main.limits.motion) if every_tick else None,
                'recorded': measured(self._motion),
            },
            'sweep': self._sweep.about(),
        }
        recorded = np.array(self._recorded).reshape(-1, self._task.action_dim)
        durations = np.array(self._passes.durations)
        return EpisodeResult(about, ticks, recorded, self._sums, durations, self._sweep.sums)
