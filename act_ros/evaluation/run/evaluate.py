"""From a plan to a folder of results; what is finished is kept for a resumption."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from act_ros.errors import BagError, ParameterError
from act_ros.evaluation.run import cluster
from act_ros.evaluation.run.episode import EpisodeRun, do_job
from act_ros.evaluation.run.outcome import Evaluation
from act_ros.evaluation.run.plan import Plan
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.files import whole
from act_ros.observation import ObservationStore
from act_ros.parameters import Settings
from act_ros.policy.kept import forget, loaded
from act_ros.workers import run_here, run_in_processes

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
    # Whatever does not fit is said before anything is written.
    known = _known(out) if resume else None
    evaluation = _begin(plan, known or {})
    if ray is not None:
        cluster.reach(ray)
    made = _claim(out, evaluation.plan, known)
    jobs = evaluation.plan.jobs()
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
        forget()
        cluster.run_on_ray(left, ray, done, progress)
    elif workers > 1 and len(left) > 1:
        forget()
        run_in_processes(do_job, left, min(workers, len(left)), done, progress)
    else:
        run_here(do_job, left, done, progress)
    if not evaluation.labels() and not evaluation.partial:
        whys = '; '.join(dict.fromkeys(r.about['empty'] for r in evaluation.in_order()))
        _give_up(out, jobs, made)
        raise BagError(f'no tick has a complete observation: {whys}')
    return evaluation


def _begin(plan: Plan, known: Mapping[str, Any]) -> Evaluation:
    """An evaluation without results, of a plan whose checkpoints all fit.

    :param known: what is gone on with.
    """
    statistics, tasks, checkpoints = {}, [], {}
    for label, settings in plan.checkpoints.items():
        settings = _settled(settings, label, known)
        policy = loaded(settings, plan.load)
        EpisodeRun(policy, settings, plan.options)
        ObservationStore.from_settings(settings, policy.task)
        statistics[label] = policy.statistics
        tasks.append(policy.task)
        # Every process, and a resumption, shall run the engine that was found best here.
        if not settings.policy_endpoint:
            settings = replace(settings, engine=policy.engine_name)
        checkpoints[label] = settings
    return Evaluation(replace(plan, checkpoints=checkpoints), tasks[-1], statistics)


def _known(out: Path) -> dict[str, Any]:
    """What an evaluation in a folder is of; empty where there is none."""
    try:
        known = json.loads((out / RUN).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _settled(
    settings: Settings, label: str, known: Mapping[str, Any]
) -> Settings:
    """The engine that was chosen before stays chosen: another's actions differ a little."""
    try:
        engine = known['settings'][label]['engine']
    except (KeyError, TypeError):
        return settings
    return replace(settings, engine=engine) if settings.engine == 'auto' else settings


def _claim(out: Path, plan: Plan, known: Mapping[str, Any] | None) -> list[Path]:
    """Make the folder, or see that what it holds is of the same plan.

    :param known: what it is of, to be gone on with; None begins anew.
    :returns: the folders that were made, the innermost first.
    """
    identity = plan.identity()
    if (out / RUN).exists():
        if known is None:
            raise ParameterError(
                f'{out} holds an evaluation already; give another --out, or --resume to go on '
                f'with it'
            )
        for key, value in identity.items():
            if known.get(key) != value:
                raise ParameterError(
                    f'{out} holds an evaluation with other {key}; give another --out, or the '
                    f'same bags, checkpoints and options to resume it'
                )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError(f'{out} exists and is no evaluation; give another --out')
    folder = out / EPISODES
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (out / RUN).exists():
            with whole(out / RUN) as part:
                part.write_text(json.dumps(identity, indent=1), encoding='utf-8')
    except OSError as error:
        raise ParameterError(f'cannot write to --out {out}: {error.strerror}') from None
    return made


def _give_up(out: Path, jobs: Iterable[int], made: Iterable[Path]) -> None:
    """Remove what is of no use, and nothing that this did not make.

    :param made: folders, the innermost first.
    """
    for file in (*(_file(out, number) for number in jobs), out / RUN):
        file.unlink(missing_ok=True)
    for folder in dict.fromkeys((out / EPISODES, *made)):
        with suppress(OSError):  # something else is in it
            folder.rmdir()


def _file(out: Path, number: int) -> Path:
    return out / EPISODES / f'{number:04d}.npz'
