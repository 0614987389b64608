"""`make demo`: the entry point of the demonstration.

Nothing heavy is imported above, so that Ctrl-C counts at once.
"""

import argparse
import sys
from pathlib import Path

from act_ros import cli
from act_ros.sim import DEMONSTRATION, SEED

CONFIG = Path(__file__).parents[1] / 'config'


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration and return its exit code."""
    cli.exit_at_once()
    parser = argparse.ArgumentParser(
        prog='demo',
        description='The simulated robot grasps a handle again and again, as processes over DDS.',
    )
    add = parser.add_argument
    add('--seconds', type=float, default=30.0, metavar='S',
        help='from the first command on (default: %(default)g)')
    add('--seed', type=int, default=SEED, metavar='N',
        help='of the first scene; the next have the next (default: %(default)s)')
    add('--ckpt-dir', type=Path, default=DEMONSTRATION, metavar='DIR',
        help='folder of a checkpoint (default: the one that comes with the package)')
    add('--params-file', type=Path, default=CONFIG / 'demo.yaml', metavar='YAML',
        help="parameters of both programs (default: the demonstration's)")
    add('--out', type=Path, default=Path('out/demo'), metavar='DIR',
        help='folder of the results (default: %(default)s)')
    arguments = parser.parse_args(argv)  # fmt: skip
    if not 0.1 <= arguments.seconds <= 3600:
        parser.error(f'--seconds is {arguments.seconds:g}, expected 0.1 to 3600')
    if not 0 <= arguments.seed < 2**32:
        parser.error(f'--seed is {arguments.seed}, expected 0 to {2**32 - 1}')

    def work() -> None:
        from act_ros.nodes.isolation import own_graph

        # The shell's ROS_DOMAIN_ID may be a robot's.
        with own_graph('demo') as graph:
            from act_ros.demo.demonstration import Wish, run

            run(graph, Wish(**vars(arguments)))

    cli.require_ros('demo')
    cli.interrupt_on_signals()
    return cli.run('demo', work)


if __name__ == '__main__':
    sys.exit(main())
