"""Commands against the ideal grid: how late each is, and which places have no command."""

from collections.abc import Sequence

import numpy as np

# A command never comes before its tick, so what seems early is only this much so, at most.
EARLY = 0.1  # of a period


def grid_figures(stamps: Sequence[int], period: int) -> dict[str, object]:
    """The figures of the commands' times.

    :param stamps: when each command was built [ns], in order, at least two.
    :param period: of the grid, exact [ns].
    :returns: `ticks_missed`, `jitter_*_ms` and `command_rate_hz`.
    """
    times = np.asarray(stamps, dtype=np.int64) - stamps[0]
    places, late = lateness(times, period)
    p50, p99 = np.percentile(late, (50, 99)) / 1e6
    filled = len(np.unique(places))
    empty, doubled = int(places[-1] - places[0]) + 1 - filled, len(places) - filled
    return {
        'ticks_missed': empty + doubled,
        'jitter_p50_ms': round(float(p50), 3),
        'jitter_p99_ms': round(float(p99), 3),
        'jitter_max_ms': round(float(late.max()) / 1e6, 3),
        'command_rate_hz': round(float(1e9 * (len(times) - 1) / times[-1]), 3),
    }


def lateness(times: np.ndarray, period: int) -> tuple[np.ndarray, np.ndarray]:
    """The place on the grid where each command was due, and how late it came.

    The nearest place would not do: a command that is 19 ms late would count as 1 ms early. So
    a command was due at the first place after the command before it. Where ticks are left out,
    the next command is late by the whole gap, and the other places of the gap stay empty. A
    second command between two places belongs to the same place as the first.

    :param times: of the commands [ns], in order, shape (n,).
    :param period: of the grid [ns].
    :returns: places, whole numbers, and lateness [ns], each of shape (n,).
    """
    since_start = times - _grid_start(times, period)
    passed = np.floor(since_start / period + EARLY).astype(int)  # the newest place there was
    places = passed.copy()
    places[1:] = np.minimum(passed[:-1] + 1, passed[1:])
    return places, since_start - places * period


def _grid_start(times: np.ndarray, period: int) -> float:
    """Where the grid lies [ns]: its places are where the earliest commands come.

    Steady and system time are slewed alike, so that one grid holds for the whole run.
    """
    turns = np.exp(2j * np.pi * times / period)
    usual = np.angle(turns.mean()) / (2 * np.pi) * period
    # From a quarter of a period before the usual time to three quarters after it.
    offsets = (times - usual + period / 4) % period - period / 4
    # Not the very first: what is later still has wrapped round to there.
    return usual + np.quantile(offsets, 0.01)
