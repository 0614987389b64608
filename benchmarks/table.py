"""Figures for people and for programs."""

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table


def show(title: str, figures: Mapping[str, object], path: Path | None) -> None:
    """Print figures, and write them to a JSON file where there is one."""
    table = Table('figure', 'value', title=title, title_justify='left')
    for key, value in figures.items():
        table.add_row(key, str(value))
    Console().print(table)
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + '\n')
