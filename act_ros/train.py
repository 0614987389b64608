"""`train`: recorded runs to a checkpoint in the public format. No ROS needed."""

import argparse
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from act_ros import cli
from act_ros.progress import ProgressBar

if TYPE_CHECKING:
    from act_ros.parameters import Settings
    from act_ros.training.batch import Data
    from act_ros.training.progress import Progress, Validation
    from act_ros.training.recipe import Recipe
    from act_ros.training.results import Results
    from act_ros.training.team import Team

PROGRAM = 'train'
WAITING = 0.1  # share of the time that the network waits for samples; more is told


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    from act_ros.config import DEFAULT_TASK
    from act_ros.training.recipe import add_flags

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Train an ACT policy on recorded bags, without a robot and without ROS.',
    )
    add = parser.add_argument
    add('bags', nargs='+', type=Path, metavar='BAG',
        help='folder of a bag, a .mcap or .db3, or a folder of bags')
    add('--params-file', action='append', default=[], metavar='YAML', dest='params_files',
        help="the node's parameters: topics, joints, freshness; of several files the later count "
             f'over the earlier (default: {DEFAULT_TASK})')
    add('--out', type=Path, required=True, metavar='DIR', help='folder of the checkpoint')
    add('--recipe', type=Path, action='append', default=[], metavar='YAML',
        help='lines of NAME: VALUE; of several files the later count over the earlier')
    add('--resume', action='store_true', help='go on with what --out holds')
    add('--cache', type=Path, metavar='DIR',
        help='folder of the decoded frames (default: OUT.cache, beside --out)')
    add('--decoders', type=int, default=1, metavar='N',
        help='processes that decode bags, an episode each (default: %(default)s)')
    cli.add_selection(parser.add_argument_group('what is looked at'))
    add_flags(parser)
    return parser.parse_args(argv)  # fmt: skip


def run(arguments: argparse.Namespace) -> bool:
    """Train; whether it came to its end."""
    from act_ros.config import parameter_files
    from act_ros.parameter_file import as_one_file, read_parameter_file
    from act_ros.policy.policy import resolve_device
    from act_ros.training.output import remove_state
    from act_ros.training.recipe import read_recipe
    from act_ros.training.results import Results
    from act_ros.training.team import is_first, joined

    cli.check_flags([
        ('--decoders', arguments.decoders, 1),
        ('--start', arguments.start, 0), ('--duration', arguments.duration, 1e-9),
    ])  # fmt: skip
    recipe = read_recipe(arguments.recipe, vars(arguments))
    files = parameter_files(*arguments.params_files)
    settings = read_parameter_file(*files)
    cuda = resolve_device(recipe.device).type == 'cuda'
    results = Results(arguments.out.resolve())
    if not is_first():
        if results.finished():
            return True
        logging.disable(logging.WARNING)
        with joined(cuda=cuda) as team:
            # What the first one has decoded is in the cache.
            data, _ = read(arguments, settings, recipe)
            return train(recipe, data, results, team, resume=arguments.resume)
    if results.check(resume=arguments.resume):
        remove_state(results.out)  # a kill may have come between the end and this
        print(f'{results.out} holds a finished training: {results.known["ended"]}')
        return True
    data, about = read(arguments, settings, recipe, results)
    # Where the files describe no task, the default's stands before them.
    own = as_one_file(*files) if len(files) == len(arguments.params_files) else None
    with results.begun(about, data.task, recipe, own), joined(cuda=cuda) as team:
        return train(recipe, data, results, team, resume=arguments.resume)


def read(
    arguments: argparse.Namespace,
    settings: 'Settings',
    recipe: 'Recipe',
    results: 'Results | None' = None,
) -> tuple['Data', dict[str, Any]]:
    """Look at all bags, decode what is not in the cache yet, and make samples of it.

    :param results: of the training that is gone on with; None: nothing is shown or compared.
    :returns: the samples, and what is told of them.
    """
    from act_ros.bags.folder import bags_of
    from act_ros.errors import BagError
    from act_ros.task import Task
    from act_ros.training.cache import Cache
    from act_ros.training.dataset import Selection, assemble, decode, find_episodes
    from act_ros.training.results import described, options_of

    out = arguments.out.resolve()
    cache = Cache((arguments.cache or out.with_name(f'{out.name}.cache')).resolve())
    selection = Selection(
        arguments.episodes, arguments.start, arguments.duration, arguments.namespace
    )
    quiet = results is None
    try:
        paths = bags_of(arguments.bags)
        looked = ProgressBar('bags', dict.fromkeys(range(len(paths)), 1), quiet=quiet)
        with looked.shown():
            episodes = find_episodes(paths, settings, recipe, selection, cache, looked)
        options = options_of(recipe, episodes)
        if results is not None:
            results.compare(options, episodes)
        ticks = {number: episode.ticks for number, episode in enumerate(episodes)}
        decoded = ProgressBar('ticks', ticks, quiet=quiet)
        with decoded.shown():
            entries = decode(episodes, cache, arguments.decoders, decoded)
        data, parts = assemble(entries, Task.from_settings(settings), recipe)
    except MemoryError:
        raise BagError(
            'the memory is too small to read the bags: give fewer --decoders, or parts of the '
            'bags (--start, --duration)'
        ) from None
    held = len(data.validation or ())
    decoded.note(
        f'{len(data.train)} samples of {len(parts.train)} episodes to train on, {held} of '
        f'{len(parts.validation)} to validate by'
    )
    samples = {'train': len(data.train), 'validation': held}
    return data, {**options, 'samples': samples, **described(entries, parts)}


def train(
    recipe: 'Recipe', data: 'Data', results: 'Results', team: 'Team', *, resume: bool
) -> bool:
    """Train, with what is known of it in the folder at any time; whether it came to its end."""
    from act_ros.training.trainer import run as take_steps

    progress = ProgressBar('steps', {0: recipe.steps_of(len(data.train))}, quiet=not team.first)
    # Who started a team sends a signal more than once, and kills it where that does not help.
    again = signal.SIG_DFL if team.size == 1 else signal.SIG_IGN
    with progress.until_stopped(again):
        report = partial(show, results, progress)
        outcome = take_steps(recipe, data, results.out, report, resume=resume, team=team)
    if outcome.ended is None:
        progress.note('interrupted: --resume goes on')
        return False
    best = next(each for each in reversed(outcome.history) if each.best)
    progress.note(f'ended: {outcome.ended}; best: {validation_line(best)}')
    progress.note(f'checkpoint: {results.out}')
    return True


def show(results: 'Results', bar: ProgressBar, progress: 'Progress') -> bool:
    """Show where a training is, and write down its validations; whether to go on."""
    now, history = progress.train, progress.history
    waits = f', {progress.waited:.0%} waiting' if progress.waited > WAITING else ''
    bar.show(
        progress.step,
        f'loss {now.loss:.3g} (L1 {now.l1:.3g}, KL {now.kl:.2g}), '
        f'{progress.samples_per_s:.0f} samples/s{waits}',
    )
    if history and history[-1].step == progress.step:
        # Before the state goes that an interrupted training is taken up from.
        results.note(history, progress.ended)
        bar.note(validation_line(history[-1]))
    return not bar.stopped


def validation_line(found: 'Validation') -> str:
    """A validation for people."""
    held = '' if found.validation is None else f', validation L1 {found.validation.l1:.4f}'
    return (
        f'step {found.step} (epoch {found.epoch:.1f}): train loss {found.train.loss:.4f}{held}'
        f'{", the best" if found.best else ""}'
    )


def main(argv: list[str] | None = None) -> int:
    """Train and return the exit code: 0, 2 for a mistake, 130 where it was interrupted."""
    arguments = parse_arguments(argv)
    whole = True

    def work() -> None:
        nonlocal whole
        whole = run(arguments)

    cli.interrupt_on_signals()
    code = cli.run(PROGRAM, work)
    return code or (0 if whole else 130)


def program() -> None:
    """Train and end the process."""
    code = main()
    if 'WORLD_SIZE' in os.environ:
        # Torch leaves a thread of gloo's behind. Where that lets go of its last tensor while the
        # interpreter ends, it would abort the process.
        cli.leave(code)
    sys.exit(code)


if __name__ == '__main__':
    program()
