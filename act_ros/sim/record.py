"""`python -m act_ros.sim.record`: recordings of the scripted expert, made without ROS.

Each attempt is a bag of its own: cameras, states and commands as a robot would record them, the
same each time for the same seed.
"""

import argparse
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from rich.console import Console
from rich.progress import track

from act_ros import cli
from act_ros.bags.bag import Recorded
from act_ros.child import end_with_parent
from act_ros.errors import ParameterError
from act_ros.files import whole
from act_ros.interfaces import absolute
from act_ros.parameters import Settings
from act_ros.sim.acting import START, ExpertPilot, act
from act_ros.sim.command import command_output
from act_ros.sim.feed import Feed
from act_ros.sim.world import Scenario, World
from act_ros.task import Task

MOST = 100_000  # episodes


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


def write_attempt(path: Path, task: Task, settings: Settings, seed: int) -> None:
    """Write one attempt as an MCAP bag."""
    from act_ros.bags.writing import write_bag
    from act_ros.sim.expert import DURATION

    with whole(path) as part:
        messages = attempt(task, settings, seed, DURATION)
        write_bag(part, messages, compressed=True)


def main(argv: list[str] | None = None) -> int:
    """Write the recordings."""
    from act_ros.config import CONFIG_DIR

    parser = argparse.ArgumentParser(prog='record', description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('--episodes', type=int, default=100, metavar='N', help='how many (default: %(default)s)')
    add('--out', type=Path, required=True, metavar='DIR', help='a new folder for the bags')
    add('--seed', type=int, default=0, help='of the first; the others count on')
    add('--params-file', default=str(CONFIG_DIR / 'demo.yaml'), metavar='YAML',
        help="topics and image size (default: the demonstration's)")
    add('--workers', type=int, default=1, metavar='N', help='processes (default: %(default)s)')
    arguments = parser.parse_args(argv)

    cli.interrupt_on_signals()
    return cli.run('record', lambda: _record(arguments))


def _record(arguments: argparse.Namespace) -> None:
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
    out = arguments.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError(f'{out} exists, and what is in it stays; give another --out')
    out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (out / f'episode_{i:05d}', task, settings, arguments.seed + i)
        for i in range(arguments.episodes)
    ]
    if arguments.workers == 1:
        for job in track(jobs, 'episodes', console=Console(stderr=True)):
            write_attempt(*job)
        return
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(arguments.workers, context, _begin, (os.getpid(),)) as pool:
        try:
            waiting = [pool.submit(write_attempt, *job) for job in jobs]
            for done in track(
                as_completed(waiting), 'episodes', len(jobs), console=Console(stderr=True)
            ):
                done.result()
        except BrokenProcessPool:
            raise ParameterError(
                'a process was lost: run fewer --workers if memory is short, with another --out'
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it comes to the parent, which ends this
    end_with_parent(parent)


if __name__ == '__main__':
    sys.exit(main())
