"""A benchmark's command line, and its figures for people and for programs."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from act_ros import cli


def run(
    name: str,
    text: str,
    measure: Callable[..., Mapping[str, object]],
    quick: Mapping[str, object],
    argv: list[str] | None,
) -> int:
    """A whole command line of nothing but `--json FILE` and `--quick`; the exit code.

    :param text: what `--help` says.
    :param measure: gives the figures.
    :param quick: what `measure` is called with for the smallest run that there is.
    """
    arguments = command_line(name, text).parse_args(argv)
    size = quick if arguments.quick else {}
    return cli.run(name, lambda: show(name, measure(**size), arguments.json))


def command_line(name: str, text: str) -> argparse.ArgumentParser:
    """A parser that knows `--json FILE` and `--quick`."""
    parser = argparse.ArgumentParser(
        prog=f'python -m benchmarks.{name}',
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--json', type=output_file, metavar='FILE', help='where to write the figures'
    )
    parser.add_argument(
        '--quick', action='store_true',
        help='the smallest run that there is: shows that it works, its figures say nothing',
    )  # fmt: skip
    return parser


def output_file(text: str) -> Path:
    """A path that can be written, as far as is known before the minutes of measuring."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'{text} is a folder, expected a file')
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f'the folder of {text} does not exist; make it first')
    return path


def show(title: str, figures: Mapping[str, object], path: Path | None) -> None:
    """Print figures, and write them to a JSON file where there is one."""
    table = Table('figure', 'value', title=title, title_justify='left')
    for key, value in figures.items():
        table.add_row(key, str(value))
    Console().print(table)
    write(figures, path)


def write(figures: object, path: Path | None) -> None:
    """Write figures to a JSON file where there is one."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + '\n')
