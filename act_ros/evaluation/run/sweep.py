"""Several latencies and fades on the same ticks, so that a user can choose."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from act_ros.control import Infer
from act_ros.evaluation.run.horizon import ErrorSums
from act_ros.evaluation.run.rehearsal import Rehearsal, measured
from act_ros.parameters import Settings
from act_ros.recording.ticks import Tick
from act_ros.task import Task

LONGEST = 10.0  # fade that the parameter can be [s]


class Sweep:
    """Every latency with every fade, each in a control loop of its own.

    :param latencies: of a forward pass [s].
    :param main: runs already, beside this: the first latency with the fade of the parameters.
    :param offsets: between action and recording, see `ErrorSums`.
    :ivar sums: errors of the actions, a row a combination.
    """

    def __init__(
        self,
        settings: Settings,
        task: Task,
        chunk_size: int,
        latencies: Sequence[float],
        main: Rehearsal,
        offsets: Sequence[int],
    ) -> None:
        steps = fades(settings.fade, chunk_size, task.rate)
        configured = fade_steps(settings.fade, chunk_size, task.rate)
        self._rows: list[dict[str, Any]] = []
        self._rehearsals: list[Rehearsal] = []
        self._main = main
        for latency in latencies:
            for fade in steps:
                is_configured = fade == configured
                if is_configured and latency == latencies[0]:
                    rehearsal = main
                else:
                    faded = replace(settings, fade=fade / task.rate)
                    rehearsal = Rehearsal(faded, task, chunk_size, latency)
                self._rehearsals.append(rehearsal)
                self._rows.append({
                    'latency': latency, 'fade': fade / task.rate, 'configured': is_configured,
                    'without_action': 0,
                })  # fmt: skip
        self.sums = ErrorSums(offsets, len(self._rows), task.action_dim)
        self._pending: deque[tuple[int, np.ndarray]] = deque()

    def look(self, tick: Tick, index: int, infer: Infer, action: np.ndarray | None) -> None:
        """Go through a tick.

        :param index: on the grid.
        :param action: that of `main`, which has gone through it.
        """
        actions = np.full(self.sums.count.shape[1:], np.nan)
        for i, rehearsal in enumerate(self._rehearsals):
            mine = action if rehearsal is self._main else rehearsal.look(tick, infer)
            if tick.snapshot is None:  # not scored
                continue
            if mine is None:
                self._rows[i]['without_action'] += 1
            else:
                actions[i] = mine
        self._pending.append((index, actions))

    def compare(self, recorded: Sequence[np.ndarray], last: bool) -> None:
        """Compare the actions for which all that is compared with them is known.

        :param recorded: the recorded actions of the grid, as far as they are known.
        :param last: no more will be: compare all.
        """
        after = -min(self.sums.offsets)
        while self._pending and (last or self._pending[0][0] + after < len(recorded)):
            index, actions = self._pending.popleft()
            unknown = np.full(actions.shape[1], np.nan)
            places = [index - offset for offset in self.sums.offsets]
            known = [recorded[i] if 0 <= i < len(recorded) else unknown for i in places]
            self.sums.add(actions - np.array(known)[:, np.newaxis])

    def about(self) -> list[dict[str, Any]]:
        """Of each combination: what it is, and what came of it beside the errors."""
        return [
            {
                **row,
                'limits': rehearsal.limits.about(),
                'motion': measured(rehearsal.limits.motion),
            }
            for row, rehearsal in zip(self._rows, self._rehearsals, strict=True)
        ]


def fade_steps(fade: float, chunk_size: int, rate: float) -> int:
    """For how many steps a chunk is faded in; at most half a chunk counts.

    :param fade: as the parameter [s].
    """
    return min(round(fade * rate), chunk_size // 2)


def fades(configured: float, chunk_size: int, rate: float) -> list[int]:
    """The fades to choose from [steps]: none, that of the parameters, its half and its double.

    :param configured: the parameter [s]; where it is 0, its default is taken beside it.
    """
    steps = fade_steps(configured or Settings.fade, chunk_size, rate)
    twice = fade_steps(min(2 * steps / rate, LONGEST), chunk_size, rate)
    return sorted({0, fade_steps(configured, chunk_size, rate), steps // 2, steps, twice})
