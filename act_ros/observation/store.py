"""The newest message of every input, and the question whether they make one instant."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from act_ros.errors import ObservationError, TaskError
from act_ros.observation.image import check_image, decode_image
from act_ros.observation.joints import StateReader
from act_ros.task import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """One instant: complete, fresh, within skew. Frames are not decoded yet.

    :ivar qpos: (state_dim,) float32, in the policy's units.
    :ivar frames: camera name to sensor_msgs/Image or CompressedImage.
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
        """Decode every frame, camera name to (H, W, 3) uint8 RGB.

        :raises ObservationError: a frame is damaged.
        """
        return {name: self.image(name) for name in self.frames}

    def image(self, name: str) -> np.ndarray:
        """Decode one camera's frame, (H, W, 3) uint8 RGB.

        :raises ObservationError: it is damaged.
        """
        return _decode(name, self.frames[name])


@dataclass(frozen=True)
class _Held:
    """The newest message of one input."""

    message: Any
    stamp: int  # that its age counts from [ns]
    receipt: int  # when the newest message came, a repetition included [ns]
    repeated: int = 0  # messages with the same stamp since
    changed: int = 0  # stamp of the first frame with these very bytes [ns]


class ObservationStore:
    """Keeps the newest message of every input.

    `put` is called by subscriptions, `snapshot` and `measured` by the control tick, from any
    threads and without a lock: an input is replaced as one object.

    :param task: the inputs: its cameras and state sources.
    :param stamp_source: 'header' or 'receipt': what an input's age counts from.
    :param max_age: of any input [s].
    :param max_skew: between the cameras [s].
    :param frozen_timeout: longest that a camera may send the same bytes [s]; 0 = for ever.
    :param kinds: source to 'JointState' (where it is absent) or 'Odometry'.
    :param twist_frame: of the velocities of an Odometry.
    :raises TaskError: an entry cannot be read, or a commanded joint is not measured.
    """

    def __init__(
        self,
        task: Task,
        *,
        stamp_source: str = 'header',
        max_age: float,
        max_skew: float,
        frozen_timeout: float = 0.0,
        kinds: Mapping[str, str] = {},
        twist_frame: str = '',
    ) -> None:
        self._task = task
        self._by_header = stamp_source == 'header'
        self._max_age = round(max_age * 1e9)
        self._max_skew = round(max_skew * 1e9)
        self._frozen = round(frozen_timeout * 1e9)
        self._reader = StateReader(task.state, kinds, twist_frame)
        positions = [entry for entry in task.action if entry.quantity == 'position']
        for entry in positions:
            if entry.source not in task.sources:
                raise TaskError(
                    f'{entry} is commanded but not measured: task.state has no entry of '
                    f'{entry.source!r}, so no topic brings it (found: {", ".join(task.sources)})'
                )
        self._measured_sources = tuple(dict.fromkeys(entry.source for entry in positions))
        self._measured = StateReader(positions, kinds, twist_frame)
        self._latest: dict[str, _Held] = {}
        self._unstamped: set[str] = set()
        self.received = dict.fromkeys((*task.cameras, *task.sources), 0)

    def put(self, name: str, message: Any, receipt: int) -> None:
        """Take in a message; the newest wins.

        :param name: of the camera or source.
        :param message: sensor_msgs/Image, CompressedImage or JointState, nav_msgs/Odometry.
        :param receipt: when it arrived [ns].
        """
        self.received[name] += 1
        # What `clear` takes away meanwhile shall not come back.
        latest = self._latest
        header, held = stamp_ns(message), latest.get(name)
        if held is not None and header != 0 and header == stamp_ns(held.message):
            # Nothing new has been seen or measured, so it goes on ageing.
            latest[name] = replace(held, receipt=receipt, repeated=held.repeated + 1)
            return
        stamp = header if self._by_header else receipt
        if stamp == 0:
            stamp = receipt
            if name not in self._unstamped:
                self._unstamped.add(name)
                log.warning('%s has no header stamp: its age counts from its receipt', name)
        changed = stamp
        if self._frozen and held is not None and name in self._task.cameras:
            changed = held.changed if _same_bytes(message, held.message) else stamp
        latest[name] = _Held(message, stamp, receipt, changed=changed)

    def clear(self) -> None:
        """Forget everything: after a jump of the clock no stamp means anything."""
        self._latest = {}

    def ages(self, now: int) -> dict[str, float | None]:
        """Age of every input [s]; None where nothing has arrived."""
        latest = dict(self._latest)
        return {
            name: (now - latest[name].stamp) / 1e9 if name in latest else None
            for name in self.received
        }

    def snapshot(self, now: int) -> tuple[Snapshot | None, dict[str, str]]:
        """Ask for one instant.

        :param now: in the clock of the stamps [ns].
        :returns: the snapshot and no faults, or None and, by the input at fault, one line each.
        """
        latest = dict(self._latest)
        faults = self._faults(self.received, latest, now)
        if faults:
            return None, faults
        stamps = {name: held.stamp for name, held in latest.items()}
        cameras = sorted(self._task.cameras, key=stamps.__getitem__)
        skew = stamps[cameras[-1]] - stamps[cameras[0]]
        if skew > self._max_skew:
            faults[cameras[0]] = (
                f'{cameras[0]} is {skew / 1e9:.3f} s behind {cameras[-1]}, '
                f'more than max_skew {self._max_skew / 1e9:g} s'
            )
        messages = {name: latest[name].message for name in self._task.sources}
        values, wrong = self._reader.read(messages)
        faults |= wrong
        if faults:
            return None, faults
        scale, offset = self._task.state_units
        qpos = (values * scale + offset).astype(np.float32)
        frames = {name: latest[name].message for name in self._task.cameras}
        return Snapshot(qpos, frames, stamps, now), {}

    def measured(self, now: int) -> tuple[np.ndarray | None, dict[str, str]]:
        """Where the commanded joints are.

        :param now: in the clock of the stamps [ns].
        :returns: (positions,) float64 of the action's position entries, robot units, and no
            faults; or None and, by the source at fault, one line each.
        """
        latest = dict(self._latest)
        faults = self._faults(self._measured_sources, latest, now)
        if not faults:
            values, faults = self._measured.read(
                {source: latest[source].message for source in self._measured_sources}
            )
        return (None, faults) if faults else (values, {})

    def _faults(
        self, names: Iterable[str], latest: Mapping[str, _Held], now: int
    ) -> dict[str, str]:
        return {
            name: fault
            for name in names
            if (fault := self._fault(name, latest.get(name), now)) is not None
        }

    def _fault(self, name: str, held: _Held | None, now: int) -> str | None:
        """What is wrong with one input by itself."""
        if held is None:
            return f'{name} has not arrived'
        age, coming = now - held.stamp, now - held.receipt <= self._max_age
        limit = f'max_age {self._max_age / 1e9:g} s'
        if age > self._max_age and held.repeated and coming:
            return (
                f'{name} is frozen: {held.repeated} messages with the same stamp, '
                f'{age / 1e9:.3f} s old, {limit}'
            )
        if held.receipt - held.stamp > self._max_age and coming:
            return (
                f'{name} is stamped {(held.receipt - held.stamp) / 1e9:.3f} s before it arrived, '
                f'{limit}: the clocks differ, or its driver is late (synchronise them, or set '
                f'stamp_source: receipt)'
            )
        if age > self._max_age:
            return f'{name} is stale: {age / 1e9:.3f} s old, {limit}'
        if age < -self._max_age:
            return (
                f'{name} is stamped {-age / 1e9:.3f} s in the future: the clocks differ '
                f'(synchronise them, or set stamp_source: receipt)'
            )
        if name not in self._task.cameras:
            return None
        same = held.stamp - held.changed
        if self._frozen and same > self._frozen:
            return (
                f'{name} is frozen: the same picture for {same / 1e9:.1f} s, '
                f'frozen_timeout {self._frozen / 1e9:g} s'
            )
        try:
            check_image(held.message, self._task.image_size)
        except ObservationError as error:
            return f'{name}: {error}'
        return None


def _decode(name: str, frame: Any) -> np.ndarray:
    try:
        return decode_image(frame)
    except ObservationError as error:
        raise ObservationError(f'{name}: {error}') from None


def _same_bytes(message: Any, other: Any) -> bool:
    a, b = np.frombuffer(message.data, np.uint8), np.frombuffer(other.data, np.uint8)
    # The noise of a camera that is alive shows at once; all of 640x480 takes 60 us.
    return np.array_equal(a[:4096], b[:4096]) and np.array_equal(a, b)


def stamp_ns(message: Any) -> int:
    """The header stamp of a message [ns]."""
    stamp = message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec
