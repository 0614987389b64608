"""`sim_robot`: the entry point of the simulated robot.

Nothing heavy is imported above, so that Ctrl-C counts at once.
"""

import sys

from act_ros import cli


def main() -> int:
    """Run the simulated robot until a signal and return the exit code."""
    cli.exit_at_once()
    cli.require_ros('sim_robot')
    from act_ros.demo.robot_node import run

    return run()


if __name__ == '__main__':
    sys.exit(main())
