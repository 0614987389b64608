"""The figures of a roll-out on the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

HEADS = {
    'time_median_s': 'time\n[s]',
    'closest_median_mm': 'near\n[mm]',
    'jerk_rms': 'jerk\nrms',
    'seam_mrad': 'seam\n[mrad]',
    'limit_hits': 'limit\nhits',
    'ticks_without_plan': 'no\nplan',
    'inference_p50_ms': 'pass\n[ms]',
}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each checkpoint and latency."""
    found = Table(title='roll-out', title_justify='left', box=SIMPLE_HEAD, padding=0)
    found.add_column('', overflow='fold')
    for head in ('success', '95 %', *HEADS.values()):
        found.add_column(Text(head), justify='right', no_wrap=True)
    for row in rows:
        low, high = row['interval_95']
        found.add_row(
            Text(row['name']),
            f'{row["succeeded"]} of {row["attempted"]}',
            f'{100 * low:.0f}–{100 * high:.0f}',
            *(_short(row[key]) for key in HEADS),
        )
    return found


def remarks(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """What went wrong, a line each."""
    for row in rows:
        failed = [str(each['seed']) for each in row['attempts'] if not each['success']]
        if failed:
            more = f' ... ({len(failed)})' if len(failed) > 10 else ''
            yield f'{row["name"]}: failed with seeds {", ".join(failed[:10])}{more}'
        for text, count in row['faults'].items():
            yield f'{row["name"]}: in {count} attempts commands ended: {text}'
        if row['lengthened']:
            yield (
                f'{row["name"]}: the node would refuse its command_timeout with so late chunks; '
                f'taken was {row["command_timeout_s"]:.3g} s'
            )


def _short(value: float | None) -> str:
    if value is None:
        return '–'
    return f'{value:.3g}' if abs(value) < 1000 else f'{value:.0f}'
