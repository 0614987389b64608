"""From checkpoints and latencies to the figures of their attempts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from act_ros.control import patient
from act_ros.parameters import Settings
from act_ros.policy.kept import forget, loaded
from act_ros.sim.rollout.attempt import Attempt, Job, do_attempt
from act_ros.sim.rollout.line import Line
from act_ros.sim.rollout.pilot import PolicyPilot
from act_ros.sim.rollout.totals import record, totals
from act_ros.sim.world import TIME_LIMIT
from act_ros.workers import Progress, run_here, run_in_processes

EXPERT = 'expert'


@dataclass(frozen=True)
class Contender:
    """Who tries: a checkpoint at a latency, or the script.

    :ivar label: of the checkpoint.
    :ivar settings: the node's parameters, with its `ckpt_dir`.
    :ivar latency: of a forward pass [s]; None = the script.
    :ivar line: between the robot and the policy, if there is one.
    """

    label: str
    settings: Settings
    latency: float | None
    line: Line | None = None

    @property
    def name(self) -> str:
        """For people."""
        if self.latency is None:
            return self.label
        line = [] if self.line is None else [self.line.name]
        return ', '.join([self.label, f'{1e3 * self.latency:g} ms', *line])

    def job(self, seed: int) -> Job:
        """Its attempt at a scenario."""
        return Job(self.label, self.settings, seed, self.latency, self.line)

    def about(self) -> dict[str, Any]:
        """What it is, as JSON holds it."""
        longest = (self.latency or 0.0) + (self.line.longest if self.line else 0.0)
        timeout = patient(self.settings, longest).command_timeout
        return {
            'name': self.name,
            'checkpoint': self.label,
            'latency_ms': None if self.latency is None else 1e3 * self.latency,
            'line': None if self.line is None else self.line.name,
            'command_timeout_s': timeout,
            'lengthened': timeout > self.settings.command_timeout,
            'rate_hz': self.settings.tick_rate,
        }


def contenders(
    settings: Settings,
    checkpoints: Mapping[str, str],
    latencies: Sequence[float],
    expert: bool,
    lines: Sequence[Line | None] = (None,),
) -> list[Contender]:
    """Who tries, in the order of the results; each checkpoint is loaded once to see that it fits.

    :param checkpoints: label to folder.
    :param latencies: of a forward pass [s].
    :param expert: let the script try too.
    :param lines: between the robot and the policy; None = none.
    :raises ActError: a checkpoint, the parameters and the robot do not fit each other.
    """
    found = []
    for label, folder in checkpoints.items():
        own = replace(settings, ckpt_dir=str(Path(folder).resolve()), policy_endpoint='')
        policy = loaded(own)
        PolicyPilot(policy, own, latencies[0])
        # Every process shall run the engine that was found best here.
        own = replace(own, engine=policy.engine_name)
        found += [Contender(label, own, *way) for way in product(latencies, lines)]
    if expert:
        found.append(Contender(EXPERT, settings, None))
    return found


def carry_out(
    trying: Sequence[Contender],
    seeds: Sequence[int],
    workers: int,
    done: Callable[[Attempt], None],
    progress: Progress,
) -> list[list[Attempt]]:
    """Let each try every scenario.

    :param seeds: of the scenarios.
    :param workers: processes.
    :param done: is given each attempt.
    :param progress: told a job and whether it is done; returns whether to go on.
    :returns: of each contender its attempts, as far as it came, in the order of the seeds.
    """
    jobs = {
        i * len(seeds) + j: contender.job(seed)
        for i, contender in enumerate(trying)
        for j, seed in enumerate(seeds)
    }
    results: dict[int, Attempt] = {}

    def take(number: int, attempt: Attempt | None) -> None:
        if attempt is not None:
            results[number] = attempt
            done(attempt)

    if workers > 1 and len(jobs) > 1:
        forget()
        run_in_processes(do_attempt, jobs, min(workers, len(jobs)), take, progress)
    else:
        run_here(do_attempt, jobs, take, progress)
    return [
        [results[n] for j in range(len(seeds)) if (n := i * len(seeds) + j) in results]
        for i in range(len(trying))
    ]


def figures(
    trying: Sequence[Contender], attempts: Sequence[Sequence[Attempt]], seeds: Sequence[int]
) -> dict[str, Any]:
    """All figures, as JSON holds them; who has not tried at all is left out."""
    rows = [
        {**each.about(), **totals(made), 'attempts': [record(attempt) for attempt in made]}
        for each, made in zip(trying, attempts, strict=True)
        if made
    ]
    return {
        'success': rows[0]['success'] if rows else None,
        'episodes': len(seeds),
        'seed': seeds[0],
        'task': trying[0].settings.task_name,
        'time_limit_s': TIME_LIMIT,
        'partial': any(len(made) < len(seeds) for made in attempts),
        'results': rows,
    }
