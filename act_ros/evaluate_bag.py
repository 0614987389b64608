"""`evaluate_bag`: how would a checkpoint have acted on recorded runs? No ROS needed."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from act_ros import cli
from act_ros.progress import ProgressBar

if TYPE_CHECKING:
    from rich.table import Table

    from act_ros.parameters import Settings

PROGRAM = 'evaluate_bag'


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    from act_ros.config import DEFAULT_TASK
    from act_ros.parameters import PARAMETERS

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Score an ACT checkpoint on recorded bags, without a robot and without ROS.',
    )
    add = parser.add_argument
    add('bags', nargs='+', type=Path, metavar='BAG',
        help='folder of a bag, a .mcap or .db3, or a folder of bags')
    add('--ckpt-dir', action='append', metavar='DIR', dest='ckpt_dirs',
        help='folder of a checkpoint; several times for a comparison')
    add('--policy-endpoint', metavar='ADDRESS', help=PARAMETERS['policy_endpoint'].text)
    add('--jpeg-quality', action='append', type=int, metavar='Q', dest='jpeg_qualities',
        help='1 to 100: images go to that server as JPEG (default: as they are); several times '
             'to compare, 0 = as they are')
    add('--params-file', action='append', default=[], metavar='YAML', dest='params_files',
        help="the node's parameters: topics, joints, limits; of several the later count over the "
             f'earlier (default: {DEFAULT_TASK})')
    add('--out', type=Path, default=Path('evaluation'), metavar='DIR',
        help='folder of the results (default: %(default)s)')
    add('--resume', action='store_true', help='go on with what --out holds')

    what = parser.add_argument_group('what is looked at')
    cli.add_selection(what)
    what.add_argument('--stride', type=int, default=1, metavar='N', help='every N-th tick only')
    what.add_argument('--action-offset', default='auto', metavar='D',
                      help='chunk[i] at t is compared with the recorded action of t + i - D '
                           '(default: auto, the D of -2 ... 2 that fits best)')

    how = parser.add_argument_group('how the policy is run')
    how.add_argument('--decay', type=float, help=PARAMETERS['decay'].text)
    how.add_argument('--no-temporal-aggregation', dest='temporal_aggregation',
                     action='store_false', default=None, help='play one chunk after the other')
    how.add_argument('--fade', type=float, metavar='S', help=PARAMETERS['fade'].text)
    how.add_argument('--latency', type=float, action='append', metavar='MS', dest='latencies',
                     help='chunks arrive that late, as on the robot (default: at once); several '
                          'times to compare latencies and fades: the results are of the first')
    how.add_argument('--device', help=PARAMETERS['device'].text)
    how.add_argument('--precision', help=PARAMETERS['precision'].text)
    how.add_argument('--engine', help=PARAMETERS['engine'].text)
    how.add_argument('--torch-threads', type=int, metavar='N',
                     help=PARAMETERS['torch_threads'].text)
    how.add_argument('--batch-size', type=int, default=8, metavar='N',
                     help='most observations in one forward pass (default: %(default)s)')
    how.add_argument('--workers', type=int, default=1, metavar='N',
                     help='processes, an episode each (default: %(default)s)')
    how.add_argument('--ray', metavar='ADDRESS',
                     help='let a Ray cluster do the work; local starts one here')
    return parser.parse_args(argv)  # fmt: skip


def read_settings(arguments: argparse.Namespace) -> dict[str, 'Settings']:
    """The parameters of each checkpoint, by its label.

    :raises ActError: naming the flag's or the file's mistake.
    """
    from act_ros.config import parameter_files
    from act_ros.errors import ParameterError
    from act_ros.parameter_file import read_parameter_file

    latencies = arguments.latencies or []
    cli.check_flags([
        ('--stride', arguments.stride, 1), ('--batch-size', arguments.batch_size, 1),
        ('--workers', arguments.workers, 1),
        ('--start', arguments.start, 0), ('--duration', arguments.duration, 1e-9),
    ])  # fmt: skip
    cli.check_latencies(latencies)
    if any(latencies) and arguments.stride > 1:
        raise ParameterError('--latency needs every tick: leave --stride out')
    settings = read_parameter_file(*parameter_files(*arguments.params_files))
    flags = {
        'decay': arguments.decay,
        'fade': arguments.fade,
        'temporal_aggregation': arguments.temporal_aggregation,
        'device': arguments.device,
        'precision': arguments.precision,
        'engine': arguments.engine,
        'torch_threads': arguments.torch_threads,
    }
    settings = replace(settings, **{k: v for k, v in flags.items() if v is not None})
    endpoint = arguments.policy_endpoint or settings.policy_endpoint
    folders = arguments.ckpt_dirs or ([] if endpoint else [settings.ckpt_dir])
    policies = {
        label: replace(settings, ckpt_dir=folder, policy_endpoint='')
        for label, folder in cli.labelled(folders).items()
    }
    if endpoint:
        qualities = arguments.jpeg_qualities or [settings.policy_jpeg_quality]
        for quality in qualities:
            label = f'server, JPEG {quality}' if quality else 'server'
            policies[label] = replace(
                settings, policy_endpoint=endpoint, policy_jpeg_quality=quality
            )
    elif arguments.jpeg_qualities:
        raise ParameterError('--jpeg-quality is of the images for --policy-endpoint')
    return policies


def read_offset(text: str) -> int | None:
    """The flag --action-offset: a number, or None for the one that fits best."""
    from act_ros.errors import ParameterError

    if text == 'auto':
        return None
    try:
        value = int(text)
    except ValueError:
        value = 1000
    if abs(value) > 100:
        raise ParameterError(f'--action-offset is {text!r}; expected auto, or -100 to 100')
    return value


def run(arguments: argparse.Namespace) -> bool:
    """Evaluate, and print the summary; whether all of it was done."""
    settings, offset = read_settings(arguments), read_offset(arguments.action_offset)
    from act_ros.errors import BagError
    from act_ros.evaluation.report.results import write_results
    from act_ros.evaluation.run.evaluate import carry_out
    from act_ros.evaluation.run.plan import Options, make_plan
    from act_ros.recording.command_faults import lines, unreadable

    offsets = sorted({-2, -1, 0, 1, 2, offset or 0})
    plan = make_plan(
        arguments.bags, settings, episodes=arguments.episodes, start=arguments.start,
        duration=arguments.duration, namespace=arguments.namespace, offset=offset,
        options=Options(
            tuple(ms / 1e3 for ms in arguments.latencies or (0.0,)),
            arguments.batch_size, arguments.stride, offsets,
        ),
    )  # fmt: skip
    jobs = plan.jobs()
    period = 1e9 / next(iter(settings.values())).control_rate
    progress = ProgressBar(
        'ticks',
        {n: round((job.window.stop - job.window.start) / period) for n, job in jobs.items()},
    )
    with progress.until_stopped():
        evaluation = carry_out(
            plan, arguments.out, resume=arguments.resume, workers=arguments.workers,
            ray=arguments.ray, progress=progress,
        )  # fmt: skip
    metrics = write_results(evaluation, arguments.out)
    print_summary(metrics, arguments.out)
    commands = metrics['recorded_commands']
    if unreadable(*commands.values()) and not evaluation.partial:
        first = next(lines(about)[0] for about in commands.values() if lines(about))
        raise BagError(f'nothing is scored, for no recorded command can be read: {first}')
    return not evaluation.partial


def print_summary(metrics: Mapping[str, Any], out: Path) -> None:
    """Print the figures that matter most."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from act_ros.errors import listed
    from act_ros.recording.command_faults import lines

    console = Console()
    say = partial(console.print, markup=False, soft_wrap=True)
    for label, checkpoint in metrics['checkpoints'].items():
        total = checkpoint['total']
        table = Table(title=Text(f'{label}: mean absolute error (in standard deviations)'))
        table.add_column('')
        for name in total['groups']:
            table.add_column(name, justify='right')
        for name, groups in {'policy': total['groups'], **total['baselines']}.items():
            cells = [
                '–' if g['mae'] is None else f'{g["mae"]:.4g} ({g["mae_normalised"]:.3g})'
                for g in groups.values()
            ]
            table.add_row(name, *cells)
        console.print(table)
        say(checkpoint['summary'])
        say(checkpoint['verdict']['text'])
        ticks, times = total['ticks'], checkpoint['timings']
        say(
            f'{ticks["scored"]} ticks scored, {ticks["skipped"]} skipped, '
            f'{ticks["without_action"]} without an action, {ticks["not_commanded"]} without a '
            f'recorded command; offset {checkpoint["offset"]}; '
            f'inference p50 {times["inference_p50_ms"] or 0:.1f} ms'
        )
        say(motion_line(checkpoint['motion']))
        if checkpoint['sweep']:
            console.print(sweep_table(label, checkpoint['sweep']))
        for line in checkpoint['far_from_training']:
            say(line)
    if timeouts := metrics['command_timeouts']:
        taken = ', '.join(f'{value:.3g} s at {latency} ms' for latency, value in timeouts.items())
        say(f'the node would refuse its command_timeout with so late chunks; taken was {taken}')
    if lacking := metrics['limits_not_given']:
        joints = [line.partition(':')[0] for line in lacking]
        say(f'not all limits are given, without which the node does not begin: {listed(joints)}')
    for topic in metrics['topics_not_recorded']:
        say(f'{topic} was not recorded: what is sent there cannot be scored')
    for bag, commands in metrics['recorded_commands'].items():
        for line in lines(commands):
            say(f'{bag}: {line}')
    for bag, texts in metrics['damage'].items():
        for text in texts:
            say(f'{bag}: {text}')
    if metrics['partial']:
        say('interrupted: --resume goes on at the first episode that is not finished')
    if metrics['checkpoints']:
        say(f'report: {out / "report.html"}')


def motion_line(motion: Mapping[str, Any]) -> str:
    """How smooth it would be, beside what was recorded; of the arm's joints, if it has any."""

    def jerk(figures: Mapping[str, Any]) -> str:
        return f'{_short(figures.get("jerk_rms"))} rms, {_short(figures.get("jerk_max"))} max'

    def first(figures: Mapping[str, Any] | None) -> Mapping[str, Any]:
        return next(iter(figures['groups'].values()), {}) if figures else {}

    sent, recorded = first(motion['sent']), first(motion['recorded'])
    seam = '–' if sent.get('seam') is None else f'{sent["seam"] * 1e3:.3g} mrad'
    return (
        f'jerk {jerk(sent)} rad/s³ (recorded {jerk(recorded)}); largest seam {seam}; '
        f'{motion["limit_hits"]} limit hits'
    )


def sweep_table(label: str, rows: Sequence[Mapping[str, Any]]) -> 'Table':
    """The rows of latencies and fades."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f'{label}: latency and fade'))
    heads = {
        'latency_ms': 'latency [ms]', 'fade_s': 'fade [s]', 'seam_mrad': 'seam [mrad]',
        'jerk_rms': 'jerk rms', 'limit_hits': 'limit hits', 'error': 'error [std]',
    }  # fmt: skip
    for head in heads.values():
        table.add_column(Text(head), justify='right')
    for row, following in pairwise([*rows, {'latency_ms': None}]):
        table.add_row(
            *(_short(row[key]) for key in heads), style='bold' if row['configured'] else '',
            end_section=row['latency_ms'] != following['latency_ms'],
        )  # fmt: skip
    return table


def _short(value: float | None) -> str:
    if value is None:
        return '–'
    return f'{value:.3g}' if abs(value) < 1000 else f'{value:.0f}'


def main(argv: list[str] | None = None) -> int:
    """Evaluate and return the exit code: 0, 2 for a mistake, 130 where it was interrupted."""
    arguments = parse_arguments(argv)
    whole = True

    def work() -> None:
        nonlocal whole
        logging.getLogger('act_ros.control').setLevel(logging.ERROR)
        whole = run(arguments)

    code = cli.run(PROGRAM, work)
    return code or (0 if whole else 130)


if __name__ == '__main__':
    sys.exit(main())
