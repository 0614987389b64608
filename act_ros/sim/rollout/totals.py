"""The figures of a roll-out, as JSON holds them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from act_ros.sim.rollout.attempt import Attempt

Z95 = 1.96  # standard deviations that hold 95 % of a normal distribution


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The interval that holds the true share with 95 %, after Wilson: of use for all of them too.

    :param count: attempts; 1 at least.
    """
    share, z2 = successes / count, Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def totals(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Of some attempts together; lengths in mm, times in s, jerk in rad/s^3.

    :param attempts: one at least.
    """
    count, succeeded = len(attempts), sum(a.success for a in attempts)
    times = [a.grasped for a in attempts if a.success and a.grasped is not None]
    jerks = sum(a.jerks for a in attempts)
    squares = sum(a.jerks * a.jerk_rms**2 for a in attempts if a.jerks)
    hits = Counter[str]()
    for each in attempts:
        hits.update(each.hits)
    durations = [duration for each in attempts for duration in each.durations]
    return {
        'success': succeeded / count,
        'interval_95': [rounded(bound) for bound in wilson(succeeded, count)],
        'succeeded': succeeded,
        'attempted': count,
        'time_median_s': rounded(np.median(times)) if times else None,
        'time_max_s': rounded(max(times, default=None)),
        'closest_median_mm': rounded(1e3 * np.median([a.distances.min() for a in attempts])),
        'final_median_mm': rounded(1e3 * np.median([a.distances[-1] for a in attempts])),
        'jerk_rms': rounded(math.sqrt(squares / jerks)) if jerks else None,
        'jerk_max': rounded(np.fmax.reduce([a.jerk_max for a in attempts])),
        'seam_mrad': rounded(1e3 * np.fmax.reduce([a.seam for a in attempts])),
        'limit_hits': hits.total(),
        'hits': dict(hits),
        'ticks_without_plan': sum(a.without_plan for a in attempts),
        'chunks_late': sum(a.late for a in attempts),
        'stops': sum(a.stops for a in attempts),
        'faults': dict(Counter(a.trouble for a in attempts if a.trouble)),
        'inferences': len(durations),
        'inference_p50_ms': rounded(1e3 * np.median(durations)) if durations else None,
    }


def record(attempt: Attempt) -> dict[str, Any]:
    """The figures of one attempt."""
    return {
        'seed': attempt.seed,
        'success': attempt.success,
        'time_s': rounded(attempt.grasped) if attempt.success else None,
        'closest_mm': rounded(1e3 * attempt.distances.min()),
        'final_mm': rounded(1e3 * attempt.distances[-1]),
        'jerk_rms': rounded(attempt.jerk_rms),
        'jerk_max': rounded(attempt.jerk_max),
        'seam_mrad': rounded(1e3 * attempt.seam),
        'hits': attempt.hits,
        'ticks_without_plan': attempt.without_plan,
        'chunks_late': attempt.late,
        'stops': attempt.stops,
        'fault': attempt.trouble,
        'inferences': len(attempt.durations),
    }


def rounded(value: float | np.floating | None) -> float | None:
    """To four digits; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(f'{value:.4g}')
