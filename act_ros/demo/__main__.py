"""`make demo`: the entry point of the demonstration.

Nothing heavy is imported above, so that Ctrl-C counts at once.
"""

import argparse
import sys
from pathlib import Path

from act_ros import cli


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration and return its exit code."""
    cli.exit_at_once()
    parser = argparse.ArgumentParser(
        prog='demo', description='The main job on the simulated robot, as processes over DDS.'
    )
    parser.add_argument('--seconds', type=float, default=20.0, help='from the first command on')
    parser.add_argument('--out', type=Path, default=Path('out/demo'), help='folder of the results')
    parser.add_argument('--task', default='astrobench_dual_arm', help='name or YAML')
    arguments = parser.parse_args(argv)

    def work() -> None:
        from act_ros.nodes.isolation import own_graph

        # The shell's ROS_DOMAIN_ID may be a robot's.
        with own_graph('demo') as graph:
            from act_ros.demo.demonstration import run

            run(graph, arguments.task, arguments.seconds, arguments.out)

    cli.require_ros('demo')
    cli.interrupt_on_signals()
    return cli.run('demo', work)


if __name__ == '__main__':
    sys.exit(main())
