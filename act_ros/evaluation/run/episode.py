"""One episode of a bag through the robot's control loop, and what came of it."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from act_ros.bags.bag import Bag
from act_ros.control import MotionMeter
from act_ros.errors import ActError
from act_ros.evaluation.run.horizon import HorizonSums
from act_ros.evaluation.run.passes import Passes
from act_ros.evaluation.run.plan import Job, Options
from act_ros.evaluation.run.rehearsal import Rehearsal, measured
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.evaluation.run.sweep import Sweep
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.policy import as_played
from act_ros.policy.interface import BatchPredictor
from act_ros.policy.kept import loaded
from act_ros.recording.commands import RecordedCommands
from act_ros.recording.playback import Playback, RecordedActions
from act_ros.recording.ticks import Tick


def do_job(job: Job, progress: Callable[[int], bool] = lambda count: True) -> EpisodeResult:
    """One episode of a bag by one checkpoint.

    :param progress: told how many ticks are done; returns whether to go on.
    :raises ActError: the bag does not fit.
    """
    policy = loaded(job.settings, job.load)
    with Bag(job.bag) as bag:
        played = Playback(bag, job.window, job.settings, policy.task, job.namespace)
        about = {
            'bag': str(job.bag),
            'episode': job.window.name,
            'checkpoint': job.label,
            'start': job.window.start,
            'stop': job.window.stop,
            'bag_start': bag.start,
            'not_recorded': played.topics.missing,
        }
        run = EpisodeRun(policy, job.settings, job.options)
        result = run.run(played.ticks(job.options.stride), played.commands, about, progress)
        if not result.about['looked'] and not result.about['interrupted']:
            result.about['empty'] = played.why_empty()
        # These grow while the bag is read.
        result.about['commands'] = played.commands.about()
        result.about['damage'] = played.remarks()
    return result


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
        settings = as_played(settings, policy).once_a_step()
        latencies = options.latencies
        self._main = Rehearsal(settings, task, chunk_size, latencies[0], options.stride)
        self._sweep = Sweep(
            settings, task, chunk_size, latencies if len(latencies) > 1 else (), self._main,
            options.offsets,
        )  # fmt: skip
        self._passes = Passes(policy)
        # Every complete tick is asked for, at once: then several can be in one pass.
        self._ahead = settings.blending.temporal_aggregation and 0 in latencies
        # A pass may begin when the one before it ends, and is asked for when it ends itself.
        self._asked = round(2 * max(latencies) * 1e9 + 1e9 / task.rate)
        self._sums = HorizonSums(options.offsets, chunk_size, task.action_dim)
        self._motion = MotionMeter(task, task.rate, settings.continuous)  # of the recording
        self._positions = [i for i, e in enumerate(task.action) if e.quantity == 'position']
        self._times: list[int] = []
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
        ticks, recorded = iter(ticks), RecordedActions(commands, self._task.rate)
        interrupted = False
        while group := list(islice(ticks, self._options.batch if self._ahead else 1)):
            if self._ahead and (complete := [t.snapshot for t in group if t.snapshot is not None]):
                self._passes.run(complete)
            for tick in group:
                recorded.look(tick.time)
                self._look(tick)
                self._compare(recorded)
            if not progress(len(self._times)):
                interrupted = True
                break
        self._compare(recorded, last=True)
        return self._result({**about, 'interrupted': interrupted}, recorded.rows)

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

    def _compare(self, recorded: RecordedActions, last: bool = False) -> None:
        """Look up what was recorded, and compare the chunks whose whole future is known.

        :param last: no more will be: compare all chunks.
        """
        for action in recorded.known(last):
            # Any change in a tick compares with a seam.
            self._motion.look(action[self._positions], np.array([len(recorded.rows)]))
        self._sweep.compare(recorded.rows, last)
        while self._pending and (
            last or self._pending[0][0] + self._sums.after <= len(recorded.rows)
        ):
            index, chunk = self._pending.popleft()
            self._sums.compare(chunk, self._around(index, recorded.rows))

    def _around(self, index: int, recorded: Sequence[np.ndarray]) -> np.ndarray:
        """What a tick's chunk is compared with; NaN where nothing was recorded."""
        first, last = index - self._sums.before, index + self._sums.after
        rows = np.full((last - first, self._task.action_dim), np.nan)
        known = recorded[max(first, 0) : last]
        if known:
            start = max(first, 0) - first
            rows[start : start + len(known)] = known
        return rows

    def _result(self, about: dict[str, Any], recorded: Sequence[np.ndarray]) -> EpisodeResult:
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
        return EpisodeResult(
            about, ticks, np.array(recorded).reshape(-1, self._task.action_dim), self._sums,
            np.array(self._passes.durations), self._sweep.sums,
        )  # fmt: skip
