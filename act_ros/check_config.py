"""`check_config`: does a parameter file fit the policy and the robot? Moves nothing."""

import argparse
import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from act_ros import cli

if TYPE_CHECKING:
    from collections.abc import Callable

    from act_ros.commissioning.check.findings import Finding, Findings

PROGRAM = 'check_config'
DOES_NOT_FIT = 1  # exit code
NAMESPACE = '/?([A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*)?'
STYLES = {'fits': 'green', 'doubt': 'yellow', 'WRONG': 'bold red', 'open': 'dim'}


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Tell line by line what of a parameter file fits and what does not: by '
                    'itself, to a checkpoint, to a recording or to the robot that is there. '
                    'Nothing is sent to any robot.',
        epilog='Exit code: 0 where nothing is wrong, 1 where something is, 2 for a mistake.',
    )  # fmt: skip
    add = parser.add_argument
    add('params_files', nargs='+', type=Path, metavar='YAML',
        help="the node's parameters; of several the later count over the earlier")
    add('--ckpt-dir', metavar='DIR', help='folder of the checkpoint (default: as the file says)')
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--bag', action='append', type=Path, metavar='BAG', dest='bags',
                       help='a recording of the robot; several times for several')
    where.add_argument('--live', action='store_true',
                       help='the robot that is there, by ROS: it is listened to')
    add('--seconds', type=float, metavar='S',
        help='how long to listen, or how much of each bag to read (default: 5, or 60)')
    add('--namespace', default='', metavar='NS', help="the node's, for relative topics")
    return parser.parse_args(argv)  # fmt: skip


def check(arguments: argparse.Namespace, findings: 'Findings') -> None:
    """Look at all that the command line names."""
    from act_ros.commissioning.check.policy import check_policy
    from act_ros.commissioning.check.robot import check_robot
    from act_ros.errors import ParameterError

    cli.check_flags([('--seconds', arguments.seconds, 1)])
    if not re.fullmatch(NAMESPACE, arguments.namespace):
        raise ParameterError(
            f'--namespace is {arguments.namespace!r}, expected one of ROS: words of letters, '
            f'digits and _, as in /robot_1/arm'
        )
    robot = check_robot(arguments.params_files, arguments.namespace, findings)
    if robot is None:
        findings.open('the rest', 'is not looked at: mend what is wrong first')
        return
    settings, statistics = robot.settings, None
    if arguments.ckpt_dir is not None:
        settings = dataclasses.replace(settings, ckpt_dir=arguments.ckpt_dir, policy_endpoint='')
        robot = dataclasses.replace(robot, settings=settings)
    folder = Path(settings.ckpt_dir)
    there = any((folder / name).is_file() for name in (settings.ckpt_name, 'config.json'))
    if settings.policy_endpoint or there or arguments.ckpt_dir is not None:
        statistics = check_policy(robot, findings)
    else:
        name = settings.ckpt_name
        findings.open('checkpoint', f'there is no {name} in {folder}: give --ckpt-dir')
    if arguments.bags:
        from act_ros.commissioning.check.recording import check_bags

        seconds = arguments.seconds or 60.0
        check_bags(
            robot, arguments.bags, arguments.namespace, seconds, statistics, findings
        )
    elif arguments.live:
        cli.require_ros(PROGRAM)
        from act_ros.nodes.live_check import check_live

        check_live(robot, arguments.namespace, arguments.seconds or 5.0, statistics, findings)
    else:
        findings.open('inputs', 'no message is looked at: give --bag or --live')


def main(argv: list[str] | None = None) -> int:
    """Check, print, and return the exit code."""
    arguments = parse_arguments(argv)
    code = 0

    def work() -> None:
        nonlocal code
        from act_ros.commissioning.check.findings import Findings

        findings = Findings(_printer())
        check(arguments, findings)
        code = DOES_NOT_FIT if findings.any_wrong else 0
        counts = f'{findings.count("WRONG")} wrong, {findings.count("doubt")} in doubt'
        print(f'{counts}, {findings.count("open")} not looked at')

    return cli.run(PROGRAM, work) or code


def _printer() -> 'Callable[[Finding], None]':
    from rich.console import Console
    from rich.text import Text

    console = Console()

    def tell(finding: 'Finding') -> None:
        line = Text(f'{finding.verdict:<6}', STYLES[finding.verdict])
        line.append(f' {finding.about:<12} ', 'bold').append(finding.text, 'default')
        console.print(line, soft_wrap=True)

    return tell


if __name__ == '__main__':
    sys.exit(main())
