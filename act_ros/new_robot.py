"""`new_robot`: drafts the parameter file of a robot. Moves nothing."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from act_ros import cli

if TYPE_CHECKING:
    from act_ros.commissioning.draft.document import Draft
    from act_ros.commissioning.draft.proposal import Proposal
    from act_ros.commissioning.draft.sighting import Sighting
    from act_ros.task import Entry

PROGRAM = 'new_robot'


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Draft the parameter file of a robot from what there is of it. Nothing is '
                    'sent to any robot. What is guessed in the file is marked CONFIRM, and what '
                    'nothing has said OPEN.',
    )  # fmt: skip
    add = parser.add_argument
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--bag', type=Path, help='a recording of the robot')
    where.add_argument('--live', action='store_true',
                       help='the robot that is there, by ROS: it is listened to')
    add('--urdf', type=Path, metavar='FILE',
        help='description of the robot (default: what it publishes as robot_description)')
    add('--joint-limits', type=Path, metavar='YAML', help="MoveIt's joint_limits.yaml")
    add('--ckpt-dir', default='', metavar='DIR', help='folder of the checkpoint')
    add('--ckpt-name', default='policy_best.ckpt', metavar='FILE', help='its file name')
    add('--dataset-info', type=Path, metavar='JSON',
        help='meta/info.json of the LeRobot dataset that the policy was trained on')
    add('--name', default='', help='of the task (default: that of the file)')
    add('--out', type=Path, default=Path('robot.yaml'), metavar='YAML',
        help='the file to write, a new one (default: %(default)s)')
    add('--seconds', type=float, default=None, metavar='S',
        help='how long to listen, or how much of the bag to read (default: 5, or 60)')
    arguments = parser.parse_args(argv)
    if not (arguments.bag or arguments.live or arguments.urdf or arguments.dataset_info):
        parser.error('nothing to draft it from: give --bag, --live, --urdf or --dataset-info')
    return arguments  # fmt: skip


def draft(arguments: argparse.Namespace) -> None:
    """Look at what the command line names, write the file, and say what is left to do."""
    from act_ros.commissioning.draft.dataset_info import read_dataset_info
    from act_ros.commissioning.draft.document import make_draft
    from act_ros.commissioning.draft.policy_side import read_policy_side
    from act_ros.commissioning.draft.proposal import propose
    from act_ros.commissioning.draft.sources import Sources
    from act_ros.commissioning.draft.urdf import Described, parse_descriptions, read_urdf
    from act_ros.errors import ParameterError
    from act_ros.parameter_file import read_robot_limits

    cli.check_flags([('--seconds', arguments.seconds, 1)])
    out = arguments.out
    if out.exists():
        raise ParameterError(f'{out} is there already, and stays: give another --out')
    info = arguments.dataset_info
    dataset = None if info is None else read_dataset_info(info)
    side = read_policy_side(arguments.ckpt_dir, arguments.ckpt_name, dataset)
    limits: dict[str, float] = {}
    if arguments.joint_limits is not None:
        said = read_robot_limits(arguments.joint_limits)
        limits = {name: float(v) for name, v in said.items() if isinstance(v, int | float)}
    sighting = _look(arguments)
    description = parse_descriptions(sighting.descriptions, sighting.where)
    if arguments.urdf is not None:
        description = Described(read_urdf(arguments.urdf))
    sources = Sources(sighting, description.joints)
    proposal = propose(sighting, sources, side)
    if not (proposal.state or proposal.action or side.cameras or sighting.cameras()):
        raise ParameterError(
            f'{sighting.where} shows no camera and no joint: nothing to draft a file from'
        )
    if not proposal.sure and sys.stdin.isatty():
        proposal = _ask_orders(proposal)
    made_of = [sighting.where, *(str(p) for p in (arguments.urdf, arguments.joint_limits, info)
                                 if p is not None), arguments.ckpt_dir]  # fmt: skip
    name = arguments.name or out.stem
    drafted = make_draft(
        name, sighting, side, proposal, description, limits, [each for each in made_of if each]
    )
    _write(drafted, out)
    _tell(drafted, out, arguments)


def _look(arguments: argparse.Namespace) -> 'Sighting':
    """What is seen of the robot."""
    from act_ros.commissioning.draft.sighting import Sighting, sight_bag

    if arguments.bag is not None:
        return sight_bag(arguments.bag, arguments.seconds or 60.0)
    if arguments.live:
        cli.require_ros(PROGRAM)
        from act_ros.nodes.live_sighting import sight_live

        return sight_live(arguments.seconds or 5.0)
    return Sighting()


def _ask_orders(proposal: 'Proposal') -> 'Proposal':
    """Let the person at the terminal say in which order the policy was trained."""
    from act_ros.commissioning.draft.document import confirmed

    state, said = _ask('qpos', proposal.state)
    action, said_too = _ask('the action', proposal.action)
    return confirmed(proposal, state, action) if said and said_too else proposal


def _ask(what: str, entries: 'Sequence[Entry]') -> 'tuple[Sequence[Entry], bool]':
    """Entries in the right order, and whether a person has said that they are."""
    from act_ros.commissioning.draft.document import reordered

    for number, entry in enumerate(entries, 1):
        print(f'{number:>4}  {entry}')
    print(
        f'Was the policy trained with {what} in this order? y, n (it is marked in the file), or '
        f'the numbers in the right order, of those alone that it has:'
    )
    while True:
        try:
            answer = input('> ').strip()
        except EOFError:
            return entries, False
        if answer.lower() in ('y', 'yes', 'n', 'no'):
            return entries, answer.lower().startswith('y')
        words = answer.replace(',', ' ').split()
        numbers = [int(word) for word in words if word.isdecimal()]
        fit = numbers and len(numbers) == len(words) == len(set(numbers))
        if fit and all(1 <= number <= len(entries) for number in numbers):
            return reordered(entries, numbers), True
        print(f'expected y, n, or different numbers from 1 to {len(entries)}')


def _write(drafted: 'Draft', out: Path) -> None:
    """Write the file, whole, and see that it can be read back."""
    from act_ros.errors import ParameterError
    from act_ros.files import whole
    from act_ros.parameter_file import read_parameter_file

    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as part:
        part.write_text(drafted.text, encoding='utf-8')
        try:
            read_parameter_file(part)
        except ParameterError as error:
            said = str(error).replace(str(part), str(out))
            raise ParameterError(f'nothing is written: {said}') from None


def _tell(drafted: 'Draft', out: Path, arguments: argparse.Namespace) -> None:
    print(f'wrote {out}')
    for mark, texts in (('CONFIRM', drafted.confirm), ('OPEN', drafted.open)):
        for text in texts:
            print(f'{mark:<8} {text}')
    given = ['--ckpt-dir', arguments.ckpt_dir] if arguments.ckpt_dir else []
    given += ['--bag', str(arguments.bag)] if arguments.bag else ['--live'] * arguments.live
    print(f'then: python -m act_ros.check_config {shlex.join([str(out), *given])}')


def main(argv: list[str] | None = None) -> int:
    """Draft, and return the exit code: 0, or 2 for a mistake."""
    arguments = parse_arguments(argv)

    def work() -> None:
        package = logging.getLogger('act_ros')
        level = package.level
        package.setLevel(logging.WARNING)  # what is assumed stands in the file
        try:
            draft(arguments)
        finally:
            package.setLevel(level)

    return cli.run(PROGRAM, work)


if __name__ == '__main__':
    sys.exit(main())
