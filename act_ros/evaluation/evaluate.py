"""From bags and checkpoints to a folder of results; what is finished is kept for a resumption."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.errors import BagError, ObservationError, ParameterError
from act_ros.evaluation import runner
from act_ros.evaluation.bag import Bag
from act_ros.evaluation.episode import EpisodeResult, Options, robot_std
from act_ros.evaluation.episodes import Window, split
from act_ros.evaluation.job import LOAD, Job, Topics
from act_ros.evaluation.predictions import write_predictions
from act_ros.evaluation.report import write_report
from act_ros.evaluation.scores import best_offset, scores, timings
from act_ros.evaluation.tables import write_metrics, write_ticks
from act_ros.observation import check_image
from act_ros.policy.interface import Statistics
from act_ros.task import Task

RUN, EPISODES = 'run.json', 'episodes'
FRAMES = 10  # of a camera; where none of the first can be taken, none can


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    :ivar bags: bag to its episodes.
    :ivar checkpoints: label to the node's parameters with that checkpoint's `ckpt_dir`.
    :ivar offset: between chunk and recording; None = the one that fits best.
    """

    bags: Mapping[Path, Sequence[Window]]
    checkpoints: Mapping[str, Mapping[str, Any]]
    options: Options
    offset: int | None = None
    namespace: str = ''
    load: str = LOAD

    def jobs(self) -> dict[int, Job]:
        """By number, checkpoint by checkpoint: a worker then keeps the network it has."""
        jobs = [
            Job(bag, window, label, settings, self.load, self.options, self.namespace)
            for label, settings in self.checkpoints.items()
            for bag, windows in self.bags.items()
            for window in windows
        ]  # fmt: skip
        return dict(enumerate(jobs))

    def identity(self) -> dict[str, Any]:
        """What must be the same for a resumption to make sense, as JSON has it."""
        return json.loads(
            json.dumps(
                {
                    'episodes': [
                        [str(job.bag), job.window.name, job.window.start,
                         job.window.stop, job.window.exact, job.label]
                        for job in self.jobs().values()
                    ],
                    'settings': {k: dict(v) for k, v in self.checkpoints.items()},
                    'files': {
                        str(path): [path.stat().st_size, path.stat().st_mtime_ns]
                        for path in self._files()
                    },
                    'latency': self.options.latency,
                    'offsets': list(self.options.offsets),
                    'stride': self.options.stride,
                    'namespace': self.namespace,
                }
            )
        )  # fmt: skip


    def _files(self) -> list[Path]:
        """Everything that is read: with another content it is another evaluation."""
        files = []
        for bag in self.bags:
            files += sorted(bag.iterdir()) if bag.is_dir() else [bag]
        for settings in self.checkpoints.values():
            folder = Path(settings['ckpt_dir'])
            files += sorted(folder.iterdir()) if folder.is_dir() else []
        return files


@dataclass
class Evaluation:
    """What came of a plan: the results there are, in the order of the jobs."""

    plan: Plan
    task: Task
    statistics: Mapping[str, Statistics]
    results: dict[int, EpisodeResult] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether it was interrupted before all was done."""
        interrupted = any(result.about['interrupted'] for result in self.results.values())
        return interrupted or len(self.results) < len(self.plan.jobs())

    def in_order(self) -> list[EpisodeResult]:
        """The results there are, in the order of the jobs."""
        return [self.results[number] for number in sorted(self.results)]

    def of(self, label: str) -> list[EpisodeResult]:
        """The results of a checkpoint that have ticks."""
        return [r for r in self.in_order() if r.about['checkpoint'] == label and r.about['looked']]

    def labels(self) -> list[str]:
        """Checkpoints with results."""
        return [label for label in self.plan.checkpoints if self.of(label)]

    def std(self, label: str) -> np.ndarray:
        """The action's deviation in training, (action_dim,), robot units."""
        return robot_std(self.task, self.statistics[label])

    def offset(self, label: str) -> int:
        """Between chunk and recording, as given or as it fits best."""
        given = self.plan.offset
        return best_offset(self.of(label), self.std(label)) if given is None else given

    def damage(self) -> dict[str, list[str]]:
        """Bag to what is broken in it."""
        found: dict[str, list[str]] = {}
        for result in self.in_order():
            for text in result.about['damage']:
                texts = found.setdefault(result.about['bag'], [])
                if text not in texts:
                    texts.append(text)
        return found

    def metrics(self) -> dict[str, Any]:
        """Everything that `metrics.json` holds."""
        checkpoints = {}
        for label in self.labels():
            results, std, offset = self.of(label), self.std(label), self.offset(label)
            checkpoints[label] = {
                'ckpt_dir': self.plan.checkpoints[label]['ckpt_dir'],
                'offset': offset,
                'total': scores(results, self.task, std, offset),
                'episodes': [
                    {
                        **{k: r.about[k] for k in ('bag', 'episode', 'interrupted')},
                        'seconds': (r.about['stop'] - r.about['start']) / 1e9,
                        **scores([r], self.task, std, offset),
                        'timings': timings([r]),
                    }
                    for r in results
                ],
                'timings': timings(results),
            }
        empty = [
            {**{k: r.about[k] for k in ('bag', 'episode', 'checkpoint')}, 'why': why}
            for r in self.in_order()
            if (why := r.about.get('empty'))
        ]
        not_recorded = sorted({t for r in self.in_order() for t in r.about['not_recorded']})
        return {
            'task': self.task.name,
            'rate_hz': self.task.rate,
            'partial': self.partial,
            'episodes_done': len(self.results),
            'episodes_planned': len(self.plan.jobs()),
            'latency_ms': self.plan.options.latency * 1e3,
            'stride': self.plan.options.stride,
            'damage': self.damage(),
            'empty_episodes': empty,
            'topics_not_recorded': not_recorded,
            'checkpoints': checkpoints,
        }


def make_plan(
    bags: Sequence[Path],
    checkpoints: Mapping[str, Mapping[str, Any]],
    *,
    episodes: str = 'whole',
    start: float | None = None,
    duration: float | None = None,
    **rest: Any,
) -> Plan:
    """Look at the bags and plan the episodes.

    :param episodes: how a bag is split, see `split`.
    :param rest: as `Plan` has it.
    :raises ActError: a bag does not fit the parameters; nothing has been written.
    """
    # As every process finds them, wherever it runs.
    checkpoints = {
        label: {**settings, 'ckpt_dir': str(Path(settings['ckpt_dir']).resolve())}
        for label, settings in checkpoints.items()
    }
    settings = next(iter(checkpoints.values()))
    task = Task.from_parameters(settings)
    windows = {}
    for path in (Path(path).resolve() for path in bags):
        bag = Bag(path)
        topics = Topics(settings, task, bag, rest.get('namespace', ''))
        _check_frames(bag, topics, task)
        windows[path] = split(bag, episodes, topics.inputs, start=start, duration=duration)
    return Plan(windows, checkpoints, **rest)


def _check_frames(bag: Bag, topics: Topics, task: Task) -> None:
    """Refuse a bag whose frames the policy cannot take: no tick would be complete."""
    waiting = {t for t, names in topics.inputs.items() if set(names) & set(task.cameras)}
    bad = dict.fromkeys(waiting, 0)
    for topic, _, message in bag.messages(list(waiting)):
        if topic in waiting:
            try:
                check_image(message, task.image_size)
                waiting.discard(topic)
            except ObservationError as error:
                bad[topic] += 1
                if bad[topic] == FRAMES:
                    raise BagError(f'{bag.path}: {topic}: {error}') from None
        if not waiting:
            return


def carry_out(
    plan: Plan,
    out: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[int, int], bool] = lambda job, ticks: True,
) -> Evaluation:
    """Do what is planned; finished episodes are kept in the folder.

    :param out: folder of the results; made here.
    :param resume: go on with what is there.
    :param workers: processes.
    :param ray: address of a Ray cluster that does the work instead.
    :param progress: told a job and its ticks that are done; returns whether to go on.
    :raises ActError: one line for what does not fit.
    """
    jobs = plan.jobs()
    first = {job.label: job for job in reversed(jobs.values())}
    # Whatever does not fit is said before anything is written.
    statistics, task = {}, None
    for label, job in first.items():
        policy = runner.loaded(job)
        statistics[label], task = policy.statistics, policy.task
    if ray is not None:
        runner.reach(ray)
    evaluation = Evaluation(plan, task, statistics)
    _claim(out, plan, resume)
    for number in jobs:
        result = EpisodeResult.load(_file(out, number))
        if result is not None:
            evaluation.results[number] = result
            progress(number, result.about['grid'])
    left = {number: job for number, job in jobs.items() if number not in evaluation.results}

    def done(number: int, result: EpisodeResult) -> None:
        evaluation.results[number] = result
        if not result.about['interrupted']:
            result.save(_file(out, number))

    if ray is not None:
        runner.run_on_ray(left, ray, done, progress)
    elif workers > 1 and len(left) > 1:
        runner.run_in_processes(left, min(workers, len(left)), done, progress)
    else:
        runner.run_here(left, done, progress)
    if not evaluation.labels() and not evaluation.partial:
        whys = '; '.join(dict.fromkeys(r.about['empty'] for r in evaluation.in_order()))
        shutil.rmtree(out)  # nothing is in it that is of use
        raise BagError(f'no tick has a complete observation: {whys}')
    return evaluation


def write_results(evaluation: Evaluation, out: Path) -> dict[str, Any]:
    """Write metrics, table, bag and report; each is whole or is not there.

    :returns: the metrics.
    """
    metrics = evaluation.metrics()
    if not evaluation.labels():  # it was interrupted before the first tick
        return metrics
    write_metrics(metrics, out / 'metrics.json')
    write_ticks(evaluation, out / 'ticks.csv')
    write_predictions(evaluation, out / 'predictions.mcap')
    write_report(evaluation, metrics, out / 'report.html')
    return metrics


def _claim(out: Path, plan: Plan, resume: bool) -> None:
    """Make the folder, or see that what it holds is of the same plan."""
    identity = plan.identity()
    if (out / RUN).exists():
        if not resume:
            raise ParameterError(
                f'{out} holds an evaluation already; give another --out, or --resume to go on '
                f'with it'
            )
        try:
            known = json.loads((out / RUN).read_text(encoding='utf-8'))
        except ValueError:
            known = {}
        for key, value in identity.items():
            if known.get(key) != value:
                raise ParameterError(
                    f'{out} holds an evaluation with other {key}; give another --out, or the '
                    f'same bags, checkpoints and options to resume it'
                )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError(f'{out} exists and is no evaluation; give another --out')
    try:
        (out / EPISODES).mkdir(parents=True)
        (out / RUN).write_text(json.dumps(identity, indent=1), encoding='utf-8')
    except OSError as error:
        raise ParameterError(f'cannot write to --out {out}: {error.strerror}') from None


def _file(out: Path, number: int) -> Path:
    return out / EPISODES / f'{number:04d}.npz'
