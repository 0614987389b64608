"""An episode of a bag as ticks and samples: what was observed, and what was commanded then."""

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.bags.bag import Bag
from act_ros.bags.folder import files_of
from act_ros.errors import ObservationError
from act_ros.files import states
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.recording.episodes import NS, Window
from act_ros.recording.playback import Playback, RecordedActions
from act_ros.recording.ticks import Tick
from act_ros.task import Task
from act_ros.training.cache import Cache

FORMAT = 3  # of what is made of an episode
# The parameters that what is made of it depends on.
PARAMETERS = (
    'task.cameras', 'task.image_size', 'task.state', 'task.action', 'control_rate',
    'command_rate', 'camera_topics', 'camera_types', 'state_topics', 'state_types', 'twist_frame',
    'camera_rotations', 'camera_crops', 'image_resize', 'outputs', 'stamp_source', 'max_age',
    'max_skew', 'frozen_timeout',
)  # fmt: skip


def _matters(name: str) -> bool:
    """Whether what is made of an episode depends on a parameter."""
    # By how far a joint can move in a step two publishers of it are told apart.
    return name in PARAMETERS or name.endswith(
        ('.max_step', '.max_velocity', '.has_velocity_limits')
    )


@dataclass(frozen=True)
class Episode:
    """Where samples come from.

    :ivar frames: how many there are at most.
    :ivar namespace: that relative topics are under.
    :ivar sample_every: ticks from one sample to the next.
    :ivar action_offset: a sample's first action is that of so many ticks before it.
    """

    bag: Path
    window: Window
    settings: Settings
    frames: int
    namespace: str = ''
    sample_every: int = 1
    action_offset: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return f'{self.bag}, {self.window.name}'

    @property
    def ticks(self) -> int:
        """How many there are at most."""
        return round((self.window.stop - self.window.start) / NS * self.settings.control_rate)

    def identity(self) -> dict[str, Any]:
        """What the samples are made from, as JSON has it."""
        parameters, window = self.settings.parameters(), self.window
        return json.loads(
            json.dumps(
                {
                    'format': FORMAT,
                    'bag': str(self.bag),
                    'files': states(files_of(self.bag)),
                    'window': [window.start, window.stop, window.exact],
                    'namespace': self.namespace,
                    'sample_every': self.sample_every,
                    'action_offset': self.action_offset,
                    'parameters': {n: v for n, v in parameters.items() if _matters(n)},
                }
            )
        )


@dataclass(frozen=True)
class Job:
    """An episode to be taken into a cache, by whichever process.

    :ivar building: folder for what is not whole yet.
    """

    episode: Episode
    cache: Path
    building: Path

    @property
    def name(self) -> str:
        return self.episode.name


def do_job(job: Job, tell: Callable[[int], bool] = lambda ticks: True) -> None:
    """Decode an episode into the cache.

    :param tell: how many ticks are done.
    :raises ActError: the bag does not fit, or the disk is full.
    """
    with Cache(job.cache).begun(job.episode.identity(), job.building) as begun:
        begun.keep(*extract(job.episode, begun.add, tell))


def extract(
    episode: Episode, write: Callable[[np.ndarray], None], tell: Callable[[int], bool]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Play an episode, and write the frames of its samples.

    :param write: takes the next frame.
    :returns: what was found, and the arrays of an `Entry`.
    """
    settings, window = episode.settings, episode.window
    task = Task.from_settings(settings)
    with Bag(episode.bag) as bag:
        played = Playback(bag, window, settings, task, episode.namespace)
        actions = RecordedActions(played.commands, task.rate)
        ticks = _Ticks(task, episode, write)
        for tick in played.ticks():
            ticks.look(tick)
            actions.look(tick.time)
            for action in actions.known():
                ticks.command(action)
            if len(ticks.time) % 50 == 0:
                tell(len(ticks.time))
        for action in actions.known(last=True):
            ticks.command(action)
        arrays = ticks.arrays()
        about = {
            'bag': str(episode.bag),
            'episode': window.name,
            'start': window.start,
            'stop': window.stop,
            'ticks': len(arrays['time']),
            'complete': int(np.isfinite(arrays['qpos']).all(axis=1).sum()),
            'commanded': int(np.isfinite(arrays['action']).all(axis=1).sum()),
            'samples': len(arrays['sample']),
            'frames': ticks.written,
            'faults': ticks.faults,
            'not_recorded': played.topics.missing,
            'commands': played.commands.about(),
            'damage': played.remarks(),
            'why_empty': '' if ticks.any_complete else played.why_empty(),
        }
    return about, arrays


class _Ticks:
    """The ticks of an episode; samples wait until their first action is known."""

    def __init__(
        self, task: Task, episode: Episode, write: Callable[[np.ndarray], None]
    ) -> None:
        self._task, self._write_frame = task, write
        self._every, self._offset = episode.sample_every, episode.action_offset
        self.time: list[int] = []
        self._qpos: list[np.ndarray] = []
        self._action: list[np.ndarray] = []
        self._pauses: list[int] = []
        self._waiting: deque[tuple[int, Snapshot]] = deque()
        self._sample: list[int] = []
        self._frame: list[list[int]] = []
        self._newest: dict[str, tuple[Any, int]] = {}  # of each camera: message, its number
        self.written = 0
        self.faults: dict[str, dict[str, Any]] = {}
        self.any_complete = False

    def look(self, tick: Tick) -> None:
        index = len(self.time)
        self.time.append(tick.time)
        if tick.pause:
            self._pauses.append(index)
        if tick.snapshot is None:
            self._note(tick.faults)
            self._qpos.append(np.full(self._task.state_dim, np.nan, np.float32))
            return
        self.any_complete = True
        self._qpos.append(tick.snapshot.qpos)
        if index % self._every == 0:
            self._waiting.append((index, tick.snapshot))

    def command(self, action: np.ndarray) -> None:
        """Take in the action of the next tick."""
        self._action.append(self._task.from_robot(action).astype(np.float32))
        while self._waiting and self._waiting[0][0] - self._offset < len(self._action):
            index, snapshot = self._waiting.popleft()
            first = index - self._offset
            if first >= 0 and np.isfinite(self._action[first]).all():
                self._write(index, snapshot)

    def _write(self, index: int, snapshot: Snapshot) -> None:
        try:
            fresh = {
                name: snapshot.image(name) for name, message in snapshot.frames.items()
                if name not in self._newest or self._newest[name][0] is not message
            }  # fmt: skip
        except ObservationError as error:
            self._note({str(error).partition(':')[0]: str(error)})
            return
        for name, pixels in fresh.items():
            self._write_frame(pixels)
            self._newest[name] = snapshot.frames[name], self.written
            self.written += 1
        self._sample.append(index)
        self._frame.append([self._newest[name][1] for name in self._task.cameras])

    def _note(self, faults: Mapping[str, str]) -> None:
        for name, text in faults.items():
            fault = self.faults.setdefault(name, {'ticks': 0, 'first': text})
            fault['ticks'] += 1

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it; a pause, in which no ticks were made, ends what was commanded before."""
        action = np.array(self._action, np.float32).reshape(-1, self._task.action_dim)
        action[np.array(self._pauses, int) - 1] = np.nan
        sample = np.array(self._sample, np.int64)
        frame = np.array(self._frame, np.int64).reshape(-1, len(self._task.cameras))
        begins = np.isfinite(action[sample - self._offset]).all(axis=1)
        return {
            'time': np.array(self.time, np.int64),
            'qpos': np.array(self._qpos, np.float32).reshape(-1, self._task.state_dim),
            'action': action,
            'sample': sample[begins],
            'frame': frame[begins],
        }
