"""The newest of every input, and the question whether they make one instant."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from act_ros.errors import ObservationError, TaskError
from act_ros.interfaces import state_inputs
from act_ros.observation.arrival import Ageing
from act_ros.observation.camera import CameraInput
from act_ros.observation.framing import Framing, framings
from act_ros.observation.image import decode_image
from act_ros.observation.readers import make_reader
from act_ros.observation.state import StateInput
from act_ros.parameters import Settings
from act_ros.task import Entry, Task

Store = TypeVar('Store', bound='ObservationStore')


@dataclass(frozen=True)
class Snapshot:
    """One instant: complete, fresh, within skew. Frames are not decoded yet.

    :ivar qpos: (state_dim,) float32, in the policy's units.
    :ivar frames: camera name to sensor_msgs/Image or CompressedImage.
    :ivar stamps: input name to the time that its age counts from [ns].
    :ivar taken: when the store was asked, on the same clock [ns].
    :ivar framings: camera name to what becomes of its frames, if anything does.
    """

    qpos: np.ndarray
    frames: Mapping[str, Any]
    stamps: Mapping[str, int]
    taken: int
    framings: Mapping[str, Framing] = field(default_factory=dict)

    @property
    def age(self) -> int:
        """Age when taken [ns]: an observation is as old as its oldest input.

        A stamp in the future, of a clock that is a little ahead, makes it no younger than now.
        """
        return max(0, self.taken - min(self.stamps.values()))

    def images(self) -> dict[str, np.ndarray]:
        """Decode every frame: camera name to the policy's image, (H, W, 3) uint8 RGB.

        :raises ObservationError: a frame is damaged.
        """
        return {name: self.image(name) for name in self.frames}

    def damaged(self) -> dict[str, str]:
        """Decode every frame to see whether that can be done; one line for each that cannot."""
        faults = {}
        for name in self.frames:
            try:
                self.image(name)
            except ObservationError as error:
                faults[name] = str(error)
        return faults

    def image(self, name: str) -> np.ndarray:
        """Decode one camera's frame: the policy's image, (H, W, 3) uint8 RGB.

        :raises ObservationError: it is damaged.
        """
        pixels, framing = _decode(name, self.frames[name]), self.framings.get(name)
        return pixels if framing is None else framing.apply(pixels)


class ObservationStore:
    """Keeps the newest frame of every camera and the newest value of every joint.

    `put` is called by subscriptions, `snapshot` and `measured` by the control tick, from any
    threads. The tick waits for nobody: what is known of an input is replaced as one object.

    :param task: the inputs: its cameras and state sources.
    :param stamp_source: 'header' or 'receipt': what an input's age counts from.
    :param max_age: of any input [s].
    :param max_skew: between the cameras [s].
    :param frozen_timeout: longest that a camera may send the same bytes [s]; 0 = for ever.
    :param kinds: source to the type of its messages; 'JointState' where it is absent.
    :param twist_frame: of the velocities of an Odometry.
    :param max_step: furthest that each joint of the action may be sent in one of the policy's
        steps, in the order in which the action first names them; empty if that is not known.
    :param frames: what becomes of those of each camera; by default nothing.
    :ivar max_age: as given.
    :ivar received: by input, how many messages had something that is wanted.
    :ivar heard: the inputs of which any message has come.
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
        max_step: Sequence[float] = (),
        frames: Mapping[str, Framing] | None = None,
    ) -> None:
        self.max_age = max_age
        self._task, self._kinds, self._twist_frame = task, kinds, twist_frame
        self._ageing = Ageing(stamp_source == 'header', round(max_age * 1e9))
        self._framings = frames or {n: Framing(size) for n, size in task.image_sizes.items()}
        self._max_skew = round(max_skew * 1e9)
        self._frozen = round(frozen_timeout * 1e9)
        joints = dict.fromkeys((entry.source, entry.name) for entry in task.action)
        self._steps = dict(zip(joints, max_step, strict=False))
        positions = [entry for entry in task.action if entry.quantity == 'position']
        for entry in positions:
            if entry.source not in task.sources:
                raise TaskError(
                    f'{entry} is commanded but not measured: task.state has no entry of '
                    f'{entry.source!r}, so no topic brings it (found: {", ".join(task.sources)})'
                )
        # Of every source the entries that are wanted, be it for qpos or for where the joints
        # are; in the robot's units an entry is the same for both.
        wanted = {str(entry): entry for entry in (*task.state, *positions)}.values()
        self._entries = {s: [e for e in wanted if e.source == s] for s in task.sources}
        self._state = self._view(task.state)
        self._positions = self._view(positions)
        self._inputs = self._empty()
        self.received = dict.fromkeys((*task.cameras, *task.sources), 0)
        self.heard: set[str] = set()

    @classmethod
    def from_settings(cls: type[Store], settings: Settings, task: Task) -> Store:
        """The store of a robot as its parameters describe it: live and of a bag alike.

        :raises ActError: the parameters do not fit the task.
        """
        first = {(entry.source, entry.name): entry for entry in task.action}.values()
        return cls(
            task,
            stamp_source=settings.stamp_source,
            max_age=settings.max_age,
            max_skew=settings.max_skew,
            frozen_timeout=settings.frozen_timeout,
            kinds={name: kind for name, (_, kind) in state_inputs(settings, task).items()},
            twist_frame=settings.twist_frame,
            max_step=[settings.step_of(entry.source, entry.name) for entry in first],
            frames=framings(settings, task),
        )

    def put(self, name: str, message: Any, receipt: int, publisher: Hashable = None) -> None:
        """Take in a message; the newest wins.

        :param name: of the camera or source.
        :param message: of the type of that input.
        :param receipt: when it arrived [ns].
        :param publisher: who sent it, as far as that is known.
        """
        self.heard.add(name)
        if self._inputs[name].put(message, receipt, publisher):
            self.received[name] += 1

    def clear(self) -> None:
        """Forget everything: after a jump of the clock no stamp means anything."""
        # What is being put meanwhile goes with the rest.
        self._inputs = self._empty()

    def ages(self, now: int) -> dict[str, float | None]:
        """Age of every input [s], that of its oldest joint; None where one has not arrived."""
        stamps = {name: input_.stamp() for name, input_ in self._inputs.items()}
        return {n: None if stamp is None else (now - stamp) / 1e9 for n, stamp in stamps.items()}

    def remarks(self) -> list[str]:
        """What was assumed of the inputs, and what looks wrong with them but may not be."""
        return [text for input_ in self._inputs.values() for text in [*input_.remarks.values()]]

    def snapshot(self, now: int) -> tuple[Snapshot | None, dict[str, str]]:
        """Ask for one instant.

        :param now: in the clock of the stamps [ns].
        :returns: the snapshot and no faults, or None and, by the input at fault, one line each.
        """
        inputs, cameras = self._inputs, self._task.cameras
        shown = {name: inputs[name].look(now) for name in cameras}
        faults = {name: look.fault for name, look in shown.items() if look.fault}
        values, stamps, wrong = self._look(inputs, self._state, now)
        faults |= wrong
        if not faults:
            stamps = {name: look.stamp for name, look in shown.items()} | stamps
            faults = self._skewed(stamps)
        if faults:
            return None, faults
        scale, offset = self._task.state_units
        qpos = (values * scale + offset).astype(np.float32)
        frames = {name: look.frame for name, look in shown.items()}
        return Snapshot(qpos, frames, stamps, now, self._framings), {}

    def measured(self, now: int) -> tuple[np.ndarray | None, dict[str, str]]:
        """Where the commanded joints are.

        :param now: in the clock of the stamps [ns].
        :returns: (positions,) float64 of the action's position entries, robot units, and no
            faults; or None and, by the source at fault, one line each.
        """
        values, _, faults = self._look(self._inputs, self._positions, now)
        return (None, faults) if faults else (values, {})

    def _look(
        self, inputs: Mapping[str, Any], view: '_View', now: int
    ) -> tuple[np.ndarray, dict[str, int], dict[str, str]]:
        """Some entries' values, and by source their oldest stamp and what is wrong with them."""
        values, stamps, faults = np.empty(view.size), {}, {}
        for source, (places, slots) in view.of.items():
            look = inputs[source].look(slots, now)
            values[places], stamps[source] = look.values, look.stamp
            if look.fault:
                faults[source] = look.fault
        return values, stamps, faults

    def _skewed(self, stamps: Mapping[str, int]) -> dict[str, str]:
        """The camera that is furthest behind, if it is too far."""
        cameras = sorted(self._task.cameras, key=stamps.__getitem__)
        skew = stamps[cameras[-1]] - stamps[cameras[0]]
        if skew <= self._max_skew:
            return {}
        return {
            cameras[0]: f'{cameras[0]} is {skew / 1e9:.3f} s behind {cameras[-1]}, '
            f'more than max_skew {self._max_skew / 1e9:g} s'
        }

    def _view(self, entries: Sequence[Entry]) -> '_View':
        """Where some entries are held."""
        of = {}
        for source in dict.fromkeys(entry.source for entry in entries):
            places = [i for i, entry in enumerate(entries) if entry.source == source]
            held = [str(entry) for entry in self._entries[source]]
            of[source] = places, [held.index(str(entries[i])) for i in places]
        return _View(len(entries), of)

    def _empty(self) -> dict[str, Any]:
        """Inputs of which nothing is known."""
        cameras = {
            name: CameraInput(name, framing, self._ageing, self._frozen)
            for name, framing in self._framings.items()
        }
        period = round(1e9 / self._task.rate)
        states = {}
        for source, entries in self._entries.items():
            reader = make_reader(
                self._kinds.get(source, 'JointState'), source, entries,
                of_state=sum(entry.source == source for entry in self._task.state),
                twist_frame=self._twist_frame,
            )  # fmt: skip
            steps = [
                self._steps.get((source, e.name), np.inf) if e.quantity == 'position' else np.inf
                for e in entries
            ]
            states[source] = StateInput(source, entries, reader, self._ageing, steps, period)
        return {**cameras, **states}


class _View(NamedTuple):
    """Where some entries are held: source to their places among them, and to those there."""

    size: int
    of: dict[str, tuple[list[int], list[int]]]


def _decode(name: str, frame: Any) -> np.ndarray:
    try:
        return decode_image(frame)
    except ObservationError as error:
        raise ObservationError(f'{name}: {error}') from None
