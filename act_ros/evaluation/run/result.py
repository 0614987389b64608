"""What came of one episode and checkpoint, and the file that it is kept in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.evaluation.run.horizon import ErrorSums, HorizonSums
from act_ros.files import whole


@dataclass
class EpisodeResult:
    """What came of one episode and checkpoint; all numbers in the robot's units.

    :ivar about: names, counts and texts, as JSON holds them.
    :ivar ticks: by name, one row a tick that was looked at: `index` on the grid, `time` [ns],
        `complete`, `qpos`, `stamps` [ns], `predicted` (NaN where there was no action) and
        `measured`.
    :ivar recorded: (grid, action_dim) the recorded action of every tick of the grid.
    :ivar sums: errors of the raw chunks.
    :ivar durations: of the forward passes, an observation each [s].
    :ivar sweep: errors of the actions, a row a combination of latency and fade; none with one
        latency.
    """

    about: dict[str, Any]
    ticks: dict[str, np.ndarray]
    recorded: np.ndarray
    sums: HorizonSums
    durations: np.ndarray
    sweep: ErrorSums

    def save(self, path: Path) -> None:
        """Write to a file, whole or not at all."""
        with whole(path) as part, part.open('wb') as file:
            content: dict[str, Any] = {
                'about': np.array(json.dumps(self.about)),
                'recorded': self.recorded,
                'durations': self.durations,
                **_under('tick', self.ticks),
                **_under('sums', self.sums.arrays()),
                **_under('sweep', self.sweep.arrays()),
            }
            np.savez_compressed(file, **content)

    @classmethod
    def load(cls, path: Path) -> 'EpisodeResult | None':
        """Read a file that `save` has written; None where there is none, or it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
            return cls._from(content)
        except Exception:  # whatever an archive's damage may raise: then it is done again
            return None

    @classmethod
    def _from(cls, content: dict[str, np.ndarray]) -> 'EpisodeResult':
        return cls(
            json.loads(str(content['about'])),
            _found('tick', content),
            content['recorded'],
            HorizonSums.from_arrays(_found('sums', content)),
            content['durations'],
            ErrorSums.from_arrays(_found('sweep', content)),
        )


def _under(folder: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f'{folder}/{name}': values for name, values in arrays.items()}


def _found(folder: str, content: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(f'{folder}/'): values
        for name, values in content.items()
        if name.startswith(f'{folder}/')
    }
