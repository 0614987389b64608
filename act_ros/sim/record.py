"""`python -m act_ros.sim.record`: recordings of the scripted expert, made without ROS.

Each attempt is a bag of its own: cameras, states and commands as a robot would record them, the
same each time for the same seed.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from act_ros import cli
from act_ros.bags.bag import Recorded
from act_ros.errors import ParameterError
from act_ros.files import whole
from act_ros.interfaces import absolute
from act_ros.parameters import Settings
from act_ros.progress import ProgressBar
from act_ros.sim.acting import START, ExpertPilot, act
from act_ros.sim.command import command_output
from act_ros.sim.feed import Feed
from act_ros.sim.world import Scenario, World
from act_ros.task import Task
from act_ros.workers import no_result, run_here, run_in_processes

MOST = 100_000  # episodes
EPISODE = 'episode_'
MADE_WITH = 'recording.json'  # in the folder: seed and parameters of what is in it
LOOKS = 500  # how often it is asked whether to go on [messages]


class StoppedError(Exception):
    """An episode is not to be finished."""


@dataclass(frozen=True)
class Job:
    """One episode: what a worker does at a time."""

    path: Path
    settings: Settings
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return self.path.name


def attempt(task: Task, settings: Settings, seed: int, seconds: float) -> Iterator[Recorded]:
    """What is recorded while the expert does its task, in the order of the receipts.

    :param settings: parameters of the task file: topics and rate.
    :param seed: of the scenario.
    :raises ParameterError: the robot is another.
    """
    world = World(task.joints)
    world.begin(Scenario.from_seed(seed))
    feed = Feed(world, task, settings, START)
    topic = absolute(command_output(settings, task).topic)
    return act(world, feed, ExpertPilot(world, feed, task.rate), topic, task.rate, seconds)


def write_attempt(job: Job, tell: Callable[[int], bool]) -> None:
    """Write one attempt as an MCAP bag, whole or not at all.

    :param tell: asked now and then whether to go on.
    """
    from act_ros.bags.writing import write_bag
    from act_ros.sim.expert import DURATION

    def messages() -> Iterator[Recorded]:
        task = Task.from_settings(job.settings)
        for i, recorded in enumerate(attempt(task, job.settings, job.seed, DURATION)):
            if i % LOOKS == 0 and not tell(0):
                raise StoppedError
            yield recorded

    try:
        with whole(job.path) as part:
            write_bag(part, messages(), compressed=True)
    except StoppedError:
        return
    tell(1)


def main(argv: list[str] | None = None) -> int:
    """Write the recordings: exit code 0, 2 for a mistake, 130 where it was interrupted."""
    from act_ros.config import CONFIG_DIR

    parser = argparse.ArgumentParser(prog='record', description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('--episodes', type=int, default=100, metavar='N', help='how many (default: %(default)s)')
    add('--out', type=Path, required=True, metavar='DIR',
        help='folder for the bags: a new one, or that of a recording to go on with')
    add('--seed', type=int, default=0, help='of the first; the others count on')
    add('--params-file', default=str(CONFIG_DIR / 'demo.yaml'), metavar='YAML',
        help="topics and image size (default: the demonstration's)")
    add('--workers', type=int, default=1, metavar='N', help='processes (default: %(default)s)')
    arguments = parser.parse_args(argv)
    complete = True

    def work() -> None:
        nonlocal complete
        complete = _record(arguments)

    return cli.run('record', work) or (0 if complete else 130)


def _record(arguments: argparse.Namespace) -> bool:
    """Write the episodes that are not there yet; whether all are."""
    settings = _read_settings(arguments)
    out = arguments.out
    _open(out, settings, arguments.seed)
    paths = [out / f'{EPISODE}{i:05d}' for i in range(arguments.episodes)]
    jobs = {
        i: Job(path, settings, arguments.seed + i)
        for i, path in enumerate(paths)
        if not path.exists()
    }
    progress = ProgressBar('episodes', dict.fromkeys(jobs, 1))
    if len(jobs) < len(paths):
        progress.note(f'{len(paths) - len(jobs)} of {len(paths)} episodes are there already')
    try:
        with progress.until_stopped():
            if arguments.workers > 1 and len(jobs) > 1:
                workers = min(arguments.workers, len(jobs))
                run_in_processes(write_attempt, jobs, workers, no_result, progress)
            else:
                run_here(write_attempt, jobs, no_result, progress)
    finally:
        _remove_parts(out)
    left = sum(not path.exists() for path in paths)
    if left:
        progress.note(f'interrupted: {left} episodes are left; the same command goes on with them')
    return not left


def _read_settings(arguments: argparse.Namespace) -> Settings:
    from act_ros.config import parameter_files
    from act_ros.parameter_file import read_parameter_file

    for flag, value, most in (
        ('--episodes', arguments.episodes, MOST), ('--workers', arguments.workers, 1024),
    ):  # fmt: skip
        if not 1 <= value <= most:
            raise ParameterError(f'{flag} is {value}, expected 1 to {most}')
    if not 0 <= arguments.seed < 2**32:
        raise ParameterError(f'--seed is {arguments.seed}, expected 0 to {2**32 - 1}')
    settings = read_parameter_file(*parameter_files(arguments.params_file))
    task = Task.from_settings(settings)
    next(attempt(task, settings, 0, 1.0))  # a robot that there is not is said at once
    return settings


def _open(out: Path, settings: Settings, seed: int) -> None:
    """Make the folder, or see that what is in it is of the same recording.

    :raises ParameterError: it is not.
    """
    made_with = out / MADE_WITH
    about = json.loads(json.dumps({'seed': seed, 'parameters': asdict(settings)}))
    if made_with.is_file():
        if _read(made_with) != about:
            raise ParameterError(
                f'{out} holds a recording of another --seed or --params-file ({MADE_WITH}); give '
                f'another --out'
            )
        _remove_parts(out)  # of one that was killed
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError(f'{out} exists, and what is in it stays; give another --out')
    out.mkdir(parents=True, exist_ok=True)
    with whole(made_with) as part:
        part.write_text(json.dumps(about, indent=1) + '\n', encoding='utf-8')


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def _remove_parts(out: Path) -> None:
    """Remove what workers that were ended had begun to write; see `whole`."""
    for part in out.glob(f'.{EPISODE}*'):
        shutil.rmtree(part, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
