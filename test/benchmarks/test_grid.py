"""What the benchmark of the control loop makes of the times of commands."""

import numpy as np
import pytest

from benchmarks.grid import grid_figures, lateness

PERIOD = 20_000_000
MS = 1_000_000


def stamps(late, count=500, start=1_234_567_891):
    """Commands on a grid, some of them late: {place: ms}, or missing: {place: None}."""
    places = [k for k in range(count) if late.get(k, 0) is not None]
    return [start + k * PERIOD + round(late.get(k, 0) * MS) for k in places]


@pytest.mark.parametrize('ms', [0.5, 5, 12, 17.5, 19])
def test_a_late_command_counts_with_all_of_its_delay(ms):
    figures = grid_figures(stamps({100: ms}), PERIOD)
    assert figures['jitter_max_ms'] == pytest.approx(ms, abs=0.01)
    assert figures['jitter_p50_ms'] == pytest.approx(0, abs=0.01)
    assert figures['ticks_missed'] == 0
    assert figures['command_rate_hz'] == pytest.approx(50, abs=0.01)


def test_one_percent_of_late_commands_is_seen_at_p99():
    figures = grid_figures(stamps(dict.fromkeys(range(10, 500, 50), 3.0)), PERIOD)
    assert figures['jitter_p99_ms'] == pytest.approx(3.0, abs=0.05)


def test_a_missing_command_is_missed_and_the_next_late_by_the_gap():
    figures = grid_figures(stamps({100: None, 101: None}), PERIOD)
    assert figures['ticks_missed'] == 2
    assert figures['jitter_max_ms'] == pytest.approx(40, abs=0.01)


def test_a_command_sent_twice_is_no_good_either():
    times = stamps({})
    figures = grid_figures(sorted([*times, times[100] + MS]), PERIOD)
    assert figures['ticks_missed'] == 1


def test_places_follow_one_another():
    places, late = lateness(np.array(stamps({3: 15.0}, count=500)) - 1_234_567_891, PERIOD)
    assert places.tolist() == list(range(500))
    np.testing.assert_allclose(late[:6] / MS, [0, 0, 0, 15, 0, 0], atol=0.01)
