"""From a plan to a folder of results; what is finished is kept for a resumption."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from act_ros.errors import BagError, ParameterError
from act_ros.evaluation import runner
from act_ros.evaluation.episode import EpisodeResult
from act_ros.evaluation.outcome import Evaluation
from act_ros.evaluation.plan import Plan
from act_ros.evaluation.predictions import write_predictions
from act_ros.evaluation.report import write_report
from act_ros.evaluation.tables import write_metrics, write_ticks

RUN, EPISODES = 'run.json', 'episodes'


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
