"""Figures for people and for programs."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from act_ros import cli


def run(
    name: str, text: str, measure: Callable[[], Mapping[str, object]], argv: list[str] | None
) -> int:
    """A benchmark's command line: `--json FILE`, and an exit code.

    :param text: what `--help` says.
    :param measure: gives the figures.
    """
    parser = argparse.ArgumentParser(
        prog=f'python -m benchmarks.{name}',
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='where to write the figures')
    arguments = parser.parse_args(argv)
    return cli.run(name, lambda: show(name, measure(), arguments.json))


def show(title: str, figures: Mapping[str, object], path: Path | None) -> None:
    """Print figures, and write them to a JSON file where there is one."""
    table = Table('figure', 'value', title=title, title_justify='left')
    for key, value in figures.items():
        table.add_row(key, str(value))
    Console().print(table)
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + '\n')
