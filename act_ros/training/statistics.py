"""Means and deviations of the episodes that are trained on, as the public code takes them."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from act_ros.errors import listed
from act_ros.policy.interface import Statistics
from act_ros.task import Entry as TaskEntry
from act_ros.task import Task
from act_ros.training.cache import Entry

log = logging.getLogger(__name__)

LEAST = 1e-2  # deviation; what moves less is not made larger than that
STILL = 1e-6  # and of what does not move at all


def statistics_of(entries: Sequence[Entry], task: Task) -> Statistics:
    """Over all ticks that are known; whatever never moves is told in a line.

    :param entries: with a complete observation and a command among them.
    """
    qpos_mean, qpos_std = _spread([entry.qpos for entry in entries])
    action_mean, action_std = _spread([entry.action for entry in entries])
    _tell_still('qpos', task.state, qpos_std)
    _tell_still('the action', task.action, action_std)
    return Statistics(
        *(
            values.astype(np.float32)
            for values in (
                qpos_mean, np.maximum(qpos_std, LEAST), action_mean, np.maximum(action_std, LEAST)
            )
        )
    )  # fmt: skip


def _spread(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of rows, without those that are not known."""
    known = [part[np.isfinite(part).all(axis=1)].astype(np.float64) for part in parts]
    count = sum(map(len, known))
    mean = sum(part.sum(axis=0) for part in known) / count
    square = sum(((part - mean) ** 2).sum(axis=0) for part in known)
    return mean, np.sqrt(square / max(count - 1, 1))


def _tell_still(what: str, entries: Sequence[TaskEntry], std: np.ndarray) -> None:
    still = [str(entry) for entry, value in zip(entries, std, strict=True) if value < STILL]
    if still:
        log.warning(
            '%s never moves in %s: its deviation counts as %g', listed(still), what, LEAST
        )
