"""`python -m act_ros.sim.demo_bag`: a recording of the simulated robot, made without ROS.

The scripted expert does its task, from a seed that no training has seen; cameras, states and
commands are written as a robot would record them. It is the same each time.
"""

import argparse
import sys
from pathlib import Path

from act_ros import cli
from act_ros.bags.bag import Bag
from act_ros.bags.writing import write_bag
from act_ros.config import CONFIG_DIR, parameter_files
from act_ros.errors import BagError, ParameterError
from act_ros.files import whole
from act_ros.parameter_file import read_parameter_file
from act_ros.parameters import Settings
from act_ros.sim.acting import START
from act_ros.sim.expert import DURATION
from act_ros.sim.record import attempt
from act_ros.task import Task

OUT = Path('out/demo/bag')
SEED = 2_000_000


def demo_settings() -> Settings:
    """The parameters of the demonstration."""
    return read_parameter_file(*parameter_files(CONFIG_DIR / 'demo.yaml'))


def write_demo_bag(path: Path, seconds: float, settings: Settings) -> Path:
    """Write the recording as an MCAP bag, in place of a former one.

    :param settings: the robot's parameters: topics and image size.
    :raises ParameterError: something else is there.
    """
    recorded = attempt(Task.from_settings(settings), settings, SEED, seconds)

    former = _former(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        write_bag(part, recorded)
        for file in former:
            file.unlink()
    return path


def _former(path: Path) -> list[Path]:
    """The files of a recording that was written here before.

    :raises ParameterError: something else is there.
    """
    files = [path / f'{path.name}.mcap', path / 'metadata.yaml']
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return []
    try:
        with Bag(path) as bag:
            is_former = set(path.iterdir()) == set(files) and bag.start == START
    except BagError:
        is_former = False
    if not is_former:
        raise ParameterError(f'{path} is no demonstration bag, and stays; give another --out')
    return files


def main(argv: list[str] | None = None) -> int:
    """Write the recording."""
    parser = argparse.ArgumentParser(prog='demo_bag', description=__doc__.split('\n')[0])
    parser.add_argument(
        '--out', type=Path, default=OUT, metavar='DIR',
        help='of the bag; a former recording there is replaced (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--seconds', type=float, default=DURATION, help='of the recording (default: %(default)g)'
    )
    arguments = parser.parse_args(argv)
    if not 0.1 <= arguments.seconds <= 3600:
        parser.error(f'--seconds is {arguments.seconds:g}, expected 0.1 to 3600')

    def work() -> None:
        print(write_demo_bag(arguments.out, arguments.seconds, demo_settings()))

    return cli.run('demo_bag', work)


if __name__ == '__main__':
    sys.exit(main())
