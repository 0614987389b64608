"""The newest message of every input, and the question whether they make one instant."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from act_ros.errors import ObservationError
from act_ros.observation.image import check_image, decode_image
from act_ros.observation.joints import StateReader
from act_ros.task import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """One instant: complete, fresh, within skew. Frames are not decoded yet.

    :ivar qpos: (state_dim,) float32, in the policy's units.
    :ivar frames: camera name to sensor_msgs/Image.
    :ivar stamps: input name to the time that its age counts from [ns].
    :ivar taken: when the store was asked, on the same clock [ns].
    """

    qpos: np.ndarray
    frames: Mapping[str, Any]
    stamps: Mapping[str, int]
    taken: int

    @property
    def age(self) -> int:
        """Age when taken [ns]: an observation is as old as its oldest input.

        A stamp in the future, of a clock that is a little ahead, makes it no younger than now.
        """
        return max(0, self.taken - min(self.stamps.values()))

    def images(self) -> dict[str, np.ndarray]:
        """Decode every frame, camera name to (H, W, 3) uint8 RGB."""
        return {name: decode_image(frame) for name, frame in self.frames.items()}


class ObservationStore:
    """Keeps the newest message of every input.

    `put` is called by subscriptions and `snapshot` by the control tick, from any threads and
    without a lock: an input is replaced as one tuple.

    :param task: the inputs: its cameras and state sources.
    :param stamp_source: 'header' or 'receipt': what an input's age counts from.
    :param max_age: of any input [s].
    :param max_skew: between the cameras [s].
    """

    def __init__(
        self, task: Task, *, stamp_source: str = 'header', max_age: float, max_skew: float
    ) -> None:
        self._task = task
        self._by_header = stamp_source == 'header'
        self._max_age = round(max_age * 1e9)
        self._max_skew = round(max_skew * 1e9)
        self._reader = StateReader(task)
        self._latest: dict[str, tuple[Any, int]] = {}
        self._unstamped: set[str] = set()
        self.received = dict.fromkeys((*task.cameras, *task.sources), 0)

    def put(self, name: str, message: Any, receipt: int) -> None:
        """Take in a message; the newest wins.

        :param name: of the camera or source.
        :param message: sensor_msgs/Image or JointState, undecoded.
        :param receipt: when it arrived [ns].
        """
        stamp = receipt
        if self._by_header:
            stamp = stamp_ns(message)
            if stamp == 0:
                stamp = receipt
                if name not in self._unstamped:
                    self._unstamped.add(name)
                    log.warning('%s has no header stamp: its age counts from its receipt', name)
        self._latest[name] = (message, stamp)
        self.received[name] += 1

    def clear(self) -> None:
        """Forget everything: after a jump of the clock no stamp means anything."""
        self._latest = {}

    def snapshot(self, now: int) -> tuple[Snapshot | None, dict[str, str]]:
        """Ask for one instant.

        :param now: in the clock of the stamps [ns].
        :returns: the snapshot and no faults, or None and, by the input at fault, one line each.
        """
        latest = dict(self._latest)
        faults = {
            name: fault
            for name in self.received
            if (fault := self._fault(name, latest.get(name), now)) is not None
        }
        if faults:
            return None, faults
        stamps = {name: stamp for name, (_, stamp) in latest.items()}
        cameras = sorted(self._task.cameras, key=stamps.__getitem__)
        skew = stamps[cameras[-1]] - stamps[cameras[0]]
        if skew > self._max_skew:
            faults['camera skew'] = (
                f'{cameras[0]} is {skew / 1e9:.3f} s behind {cameras[-1]}, '
                f'more than max_skew {self._max_skew / 1e9:g} s'
            )
        try:
            qpos = self._reader.read({name: latest[name][0] for name in self._task.sources})
        except ObservationError as error:
            faults['qpos'] = str(error)
        if faults:
            return None, faults
        frames = {name: latest[name][0] for name in self._task.cameras}
        return Snapshot(qpos, frames, stamps, now), {}

    def _fault(self, name: str, entry: tuple[Any, int] | None, now: int) -> str | None:
        """What is wrong with one input by itself."""
        if entry is None:
            return f'{name} has not arrived'
        message, stamp = entry
        age = now - stamp
        if age > self._max_age:
            return f'{name} is stale: {age / 1e9:.3f} s old, max_age {self._max_age / 1e9:g} s'
        if age < -self._max_age:
            return (
                f'{name} is stamped {-age / 1e9:.3f} s in the future: the clocks differ '
                f'(synchronise them, or set stamp_source: receipt)'
            )
        if name in self._task.cameras:
            try:
                check_image(message, self._task.image_size)
            except ObservationError as error:
                return f'{name}: {error}'
        return None


def stamp_ns(message: Any) -> int:
    """The header stamp of a message [ns]."""
    stamp = message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec
