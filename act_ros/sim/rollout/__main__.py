"""`python -m act_ros.sim.rollout`: how often does a policy do the simulated robot's task?

Closed loop in simulated time, without ROS: the messages of the simulated robot go through the
node's own code, and its commands back to the robot.
"""

import argparse
import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from act_ros import cli
from act_ros.progress import ProgressBar

if TYPE_CHECKING:
    from act_ros.parameters import Settings
    from act_ros.sim.rollout.attempt import Attempt

PROGRAM = 'rollout'
MOST, WORKERS, THREADS = 100_000, 1024, 1024


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    from act_ros.config import CONFIG_DIR
    from act_ros.parameters import PARAMETERS
    from act_ros.sim import SEED
    from act_ros.sim.rollout.line import FORM

    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('--ckpt-dir', action='append', metavar='DIR', dest='ckpt_dirs',
        help='folder of a checkpoint; several times for a comparison (default: the demonstration '
             'that comes with this package)')
    add('--expert', action='store_true',
        help='let the script try too; without --ckpt-dir, it alone')
    add('--params-file', metavar='YAML', default=str(CONFIG_DIR / 'demo.yaml'),
        help="the node's parameters (default: %(default)s)")
    add('--episodes', type=int, default=50, metavar='N',
        help='attempts of each, all with the same scenarios (default: %(default)s)')
    add('--seed', type=int, default=SEED, metavar='S',
        help='of the first scenario; the others count on (default: %(default)s)')
    add('--latency', type=float, action='append', metavar='MS', dest='latencies',
        help='chunks arrive that late, as on the robot (default: 0, at once); several times to '
             'compare')
    add('--line', action='append', metavar='LINE', dest='lines',
        help=f'the policy is at the end of a line: {FORM}; several times to compare')
    add('--command-timeout', type=float, metavar='S', help=PARAMETERS['command_timeout'].text)
    add('--workers', type=int, default=1, metavar='N', help='processes (default: %(default)s)')
    add('--device', help=PARAMETERS['device'].text)
    add('--torch-threads', type=int, default=1, metavar='N',
        help='of each worker; other numbers round otherwise (default: %(default)s)')
    add('--json', type=Path, metavar='FILE', help='write the figures there')
    add('--out', type=Path, metavar='DIR', help='write rollout.json and rollout.png there')
    return parser.parse_args(argv)  # fmt: skip


def read_settings(arguments: argparse.Namespace) -> tuple['Settings', dict[str, str]]:
    """The parameters, and the folder of each checkpoint by its label.

    :raises ActError: naming the flag's or the file's mistake.
    """
    from act_ros.config import parameter_files
    from act_ros.errors import ParameterError
    from act_ros.parameter_file import read_parameter_file
    from act_ros.sim import DEMONSTRATION

    for flag, value, least, most in (
        ('--episodes', arguments.episodes, 1, MOST),
        ('--workers', arguments.workers, 1, WORKERS),
        ('--seed', arguments.seed, 0, 2**32 - 1),
        ('--torch-threads', arguments.torch_threads, 1, THREADS),
    ):  # fmt: skip
        if not least <= value <= most:
            raise ParameterError(f'{flag} is {value}, expected {least} to {most}')
    cli.check_latencies(arguments.latencies or [])
    file = arguments.json
    if file is not None and not file.absolute().parent.is_dir():
        raise ParameterError(f'--json {file}: there is no folder {file.absolute().parent}')
    settings = read_parameter_file(*parameter_files(arguments.params_file))
    flags = {
        'device': arguments.device,
        'torch_threads': arguments.torch_threads,
        'command_timeout': arguments.command_timeout,
    }
    settings = replace(settings, **{k: v for k, v in flags.items() if v is not None})
    folders = arguments.ckpt_dirs or ([] if arguments.expert else [str(DEMONSTRATION)])
    return settings, cli.labelled(folders)


def run(arguments: argparse.Namespace) -> bool:
    """Roll out, and show what came of it; whether all of it was done."""
    settings, checkpoints = read_settings(arguments)
    from rich.console import Console

    from act_ros.sim.rollout.line import parse_lines
    from act_ros.sim.rollout.picture import picture
    from act_ros.sim.rollout.run import carry_out, contenders, figures
    from act_ros.sim.rollout.table import remarks, table

    latencies = [ms / 1e3 for ms in arguments.latencies or (0.0,)]
    lines = parse_lines(arguments.lines or ())
    trying = contenders(settings, checkpoints, latencies, arguments.expert, lines or (None,))
    if arguments.out is not None:
        # What cannot be written is said before the work, and whatever does not fit before that.
        arguments.out.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    progress = ProgressBar('attempts', dict.fromkeys(range(len(trying) * len(seeds)), 1))
    tried: list[bool] = []
    simulated = 0.0

    def done(attempt: 'Attempt') -> None:
        nonlocal simulated
        tried.append(attempt.success)
        simulated += len(attempt.distances) / settings.tick_rate
        progress.say(f'{sum(tried)} of {len(tried)} succeeded')

    started = time.perf_counter()
    with progress.until_stopped():
        attempts = carry_out(trying, seeds, arguments.workers, done, progress)
    lasted = time.perf_counter() - started
    found = figures(trying, attempts, seeds)
    rows = found['results']
    if arguments.json is not None:
        write_json(found, arguments.json)
    if arguments.out is not None and rows:
        write_json(found, arguments.out / 'rollout.json')
        picture(rows, [made for made in attempts if made], arguments.out / 'rollout.png')
    console = Console()
    if rows:
        console.print(table(rows))
    for line in remarks(rows):
        console.print(line, markup=False, soft_wrap=True)
    console.print(
        f'{simulated:.0f} s of simulated time in {lasted:.1f} s: '
        f'{simulated / lasted:.3g} times real time'
    )
    if found['partial']:
        console.print('interrupted: the figures are of the attempts that were made')
    if arguments.out is not None and rows:
        console.print(f'picture: {arguments.out / "rollout.png"}', soft_wrap=True)
    return not found['partial']


def write_json(figures: dict, path: Path) -> None:
    """Write the figures, whole or not at all."""
    from act_ros.files import whole

    with whole(path) as part:
        part.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')


def main(argv: list[str] | None = None) -> int:
    """Roll out and return the exit code: 0, 2 for a mistake, 130 where it was interrupted."""
    arguments = parse_arguments(argv)
    complete = True

    def work() -> None:
        nonlocal complete
        logging.getLogger('act_ros.policy').setLevel(logging.ERROR)
        logging.getLogger('act_ros.control').setLevel(logging.CRITICAL)  # the table tells of it
        complete = run(arguments)

    return cli.run(PROGRAM, work) or (0 if complete else 130)


if __name__ == '__main__':
    sys.exit(main())
