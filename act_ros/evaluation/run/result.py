"""What came of one episode and checkpoint, and the file that it is kept in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.evaluation.run.horizon import HorizonSums
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
    :ivar durations: of the forward passes, a observation each [s].
    """

    about: dict[str, Any]
    ticks: dict[str, np.ndarray]
    recorded: np.ndarray
    sums: HorizonSums
    durations: np.ndarray

    def save(self, path: Path) -> None:
        """Write to a file, whole or not at all."""
        with whole(path) as part, part.open('wb') as file:
            content: dict[str, Any] = {
                'about': np.array(json.dumps(self.about)),
                'recorded': self.recorded,
                'offsets': np.array(self.sums.offsets),
                'absolute': self.sums.absolute,
                'square': self.sums.square,
                'count': self.sums.count,
                'durations': self.durations,
                **{f'tick/{name}': values for name, values in self.ticks.items()},
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
        sums = HorizonSums(content['offsets'].tolist(), *content['count'].shape[1:])
        sums.absolute, sums.square = content['absolute'], content['square']
        sums.count = content['count']
        ticks = {
            name.removeprefix('tick/'): values
            for name, values in content.items()
            if name.startswith('tick/')
        }
        about = json.loads(str(content['about']))
        return cls(about, ticks, content['recorded'], sums, content['durations'])
