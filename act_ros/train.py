"""`train`: recorded runs to a checkpoint in the public format. No ROS needed."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from act_ros import cli

if TYPE_CHECKING:
    from act_ros.parameters import Settings
    from act_ros.training.batch import Data
    from act_ros.training.cache import Entry
    from act_ros.training.display import Display
    from act_ros.training.progress import Progress, Validation
    from act_ros.training.recipe import Recipe
    from act_ros.training.results import Results

PROGRAM = 'train'
STOPS = (signal.SIGINT, signal.SIGTERM)


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
    add('--params-file', metavar='YAML',
        help=f"the node's parameters: topics, joints, freshness (default: {DEFAULT_TASK})")
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
    from act_ros.parameter_file import read_parameter_file
    from act_ros.task import Task
    from act_ros.training.dataset import assemble
    from act_ros.training.display import say
    from act_ros.training.recipe import read_recipe
    from act_ros.training.results import Results, described

    cli.check_flags([
        ('--decoders', arguments.decoders, 1),
        ('--start', arguments.start, 0), ('--duration', arguments.duration, 1e-9),
    ])  # fmt: skip
    recipe = read_recipe(arguments.recipe, vars(arguments))
    files = parameter_files(arguments.params_file)
    settings = read_parameter_file(*files)
    task, out = Task.from_settings(settings), arguments.out.resolve()
    results = Results(out)
    if results.check(resume=arguments.resume):
        say(f'{out} holds a finished training: {results.known["ended"]}')
        return True
    options, entries = read_bags(arguments, settings, recipe, results)
    data, parts = assemble(entries, task, recipe)
    held = len(data.validation or ())
    say(
        f'{len(data.train)} samples of {len(parts.train)} episodes to train on, {held} of '
        f'{len(parts.validation)} to validate by'
    )
    about = {
        **options,
        'samples': {'train': len(data.train), 'validation': held},
        **described(entries, parts),
    }
    # One file describes the task itself; two are the default task's, and what counts over it.
    own = Path(arguments.params_file) if arguments.params_file and len(files) == 1 else None
    results.begin(about, task, recipe, own)
    return train(recipe, data, out, results, resume=arguments.resume)


def read_bags(
    arguments: argparse.Namespace, settings: 'Settings', recipe: 'Recipe', results: 'Results'
) -> tuple[dict[str, Any], list['Entry']]:
    """Look at all bags, then decode what is not in the cache yet.

    :returns: the options that a training has for good, and the episodes.
    """
    from act_ros.bags.folder import bags_of
    from act_ros.errors import BagError
    from act_ros.training.cache import Cache
    from act_ros.training.dataset import Selection, decode, find_episodes
    from act_ros.training.display import Display
    from act_ros.training.results import options_of

    out = arguments.out.resolve()
    cache = Cache((arguments.cache or out.with_name(f'{out.name}.cache')).resolve())
    selection = Selection(
        arguments.episodes, arguments.start, arguments.duration, arguments.namespace
    )
    try:
        paths = bags_of(arguments.bags)
        with Display('bags', len(paths)) as display:
            episodes = find_episodes(paths, settings, recipe, selection, cache, display)
        options = options_of(recipe, episodes)
        results.compare(options, episodes)
        with Display('ticks', sum(episode.ticks for episode in episodes)) as display:
            return options, decode(episodes, cache, arguments.decoders, display)
    except MemoryError:
        raise BagError(
            'the memory is too small to read the bags: give fewer --decoders, or parts of the '
            'bags (--start, --duration)'
        ) from None


def train(
    recipe: 'Recipe', data: 'Data', out: Path, results: 'Results', *, resume: bool
) -> bool:
    """Train, with what is known of it in the folder at any time; whether it came to its end."""
    from act_ros.errors import ActError
    from act_ros.training.display import Display, say
    from act_ros.training.trainer import run as take_steps

    try:
        with Display('steps', recipe.steps_of(len(data.train))) as display:
            watch = Watch(results, display)
            outcome = take_steps(recipe, data, out, watch, resume=resume)
    except (ActError, OSError):
        results.give_up()
        raise
    if outcome.ended is None:
        say('interrupted: --resume goes on')
        return False
    best = next(each for each in reversed(outcome.history) if each.best)
    say(f'ended: {outcome.ended}; best: {validation_line(best)}')
    say(f'checkpoint: {out}')
    return True


class Watch:
    """Shows a training, writes down how it goes, and knows the wish to stop."""

    def __init__(self, results: 'Results', display: 'Display') -> None:
        self._results, self._display = results, display
        self._stopped = False
        for number in STOPS:
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        """Handle a signal: the training is put by; a second one ends at once."""
        self._stopped = True
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)

    def __call__(self, progress: 'Progress') -> bool:
        """Take in where the training is; whether to go on."""
        now, history = progress.train, progress.history
        self._display.show(
            progress.step,
            f'loss {now.loss:.4f} (L1 {now.l1:.4f}, KL {now.kl:.3g}), '
            f'{progress.samples_per_s:.0f} samples/s',
        )
        if history and history[-1].step == progress.step:
            # Before the state goes that an interrupted training is taken up from.
            self._results.note(history, progress.ended)
            self._display.say(validation_line(history[-1]))
        return not self._stopped


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


if __name__ == '__main__':
    sys.exit(main())
