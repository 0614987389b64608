"""What a robot is to the policy: cameras, state and action entries, rate, image size."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from act_ros.errors import TaskError, shorten
from act_ros.parameters import Settings

QUANTITIES = ('position', 'velocity')
# What the entries of a base are called, in the order of a Twist; angles as REP-103 has them.
TWIST = ('x', 'y', 'z', 'roll', 'pitch', 'yaw')
GRIPPER = ('gripper', 'finger', 'hand')  # one of them is in the name of every gripper's joint
# A joint may be called anything that a URDF permits, with slashes and spaces: its name is what
# stands between the first slash and the last.
_ENTRY = re.compile(r'(?P<source>[^/\s]+)/(?P<name>.+)/(?P<quantity>[^/]+)')
_OPTION = re.compile(r'\s(scale|offset)=(\S*)$')


@dataclass(frozen=True)
class Entry:
    """One number of qpos or of the action, and where it lives on the robot.

    The policy's value is `scale * robot value + offset`; scale and offset are 1 and 0 unless
    the policy was trained in other units than the robot speaks (a gripper, mostly).
    """

    source: str
    name: str
    quantity: str
    scale: float = 1.0
    offset: float = 0.0

    def __str__(self) -> str:
        return f'{self.source}/{self.name}/{self.quantity}'

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        units = [(name, getattr(self, name)) for name in ('scale', 'offset')]
        given = [f' {name}={value!r}' for name, value in units if value != (name == 'scale')]
        return f'{self}{"".join(given)}'

    @property
    def is_gripper(self) -> bool:
        """Whether it is of a gripper, by its name: told apart from the arm's joints."""
        return any(word in self.name.lower() for word in GRIPPER)

    @classmethod
    def parse(cls, text: str) -> 'Entry':
        """Read `source/name/position|velocity [scale=S] [offset=O]`.

        The source ends at the first slash, the quantity begins after the last.

        :raises TaskError: naming the text and what is wrong with it.
        """
        path, options = _split_options(text) if isinstance(text, str) else ('', {})
        match = _ENTRY.fullmatch(path)
        if match is None or match['name'].strip() != match['name'] or not path.isprintable():
            raise TaskError(
                f'task entry {shorten(text)} is not of the form '
                f"'source/joint/position|velocity [scale=S] [offset=O]'"
            )
        if match['quantity'] not in QUANTITIES:
            raise TaskError(
                f"task entry {shorten(text)} asks for {shorten(match['quantity'])}; expected one "
                f'of {", ".join(QUANTITIES)} at its end, before scale=S and offset=O'
            )
        try:
            scale, offset = float(options.get('scale', 1)), float(options.get('offset', 0))
        except ValueError:
            raise TaskError(f'task entry {shorten(text)}: scale and offset are numbers') from None
        if not np.isfinite([scale, offset]).all() or scale == 0:
            raise TaskError(
                f'task entry {shorten(text)}: scale is finite and not 0, offset finite'
            )
        return cls(match['source'], match['name'], match['quantity'], scale, offset)


def _split_options(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the options at a text's end, and these."""
    path, options = text.strip(), dict[str, str]()
    while match := _OPTION.search(path):
        if match[1] in options:
            raise TaskError(f'task entry {shorten(text)} gives {match[1]} twice')
        options[match[1]] = match[2]
        path = path[: match.start()].rstrip()
    return path, options


@dataclass(frozen=True)
class Task:
    """The interface between a robot and a policy, in the policy's order.

    :ivar rate: control rate [Hz]: one step of the policy is 1 / rate.
    :ivar image_size: height and width of every camera [px], or those of each in turn.
    """

    name: str
    cameras: tuple[str, ...]
    state: tuple[Entry, ...]
    action: tuple[Entry, ...]
    rate: float
    image_size: tuple[int, ...]

    def __post_init__(self) -> None:
        for what, items in (
            ('cameras', self.cameras),
            ('state', self.state),
            ('action', self.action),
        ):
            if not items:
                raise TaskError(f'task {self.name!r}: {what} is empty; list at least one')
            names = [str(item) for item in items]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise TaskError(f'task {self.name!r}: {what} lists {twice[0]!r} twice')
        sides = tuple(self.image_size)
        fits = len(sides) in (2, 2 * len(self.cameras)) and all(1 <= s <= 8192 for s in sides)
        if not fits:
            raise TaskError(
                f'task {self.name!r}: image_size is {list(sides)}; expected [height, width] in '
                f'pixels, or those of each of {len(self.cameras)} cameras'
            )
        if sides == sides[:2] * len(self.cameras):  # one way to say that all are the same
            sides = sides[:2]
        object.__setattr__(self, 'image_size', sides)

    @classmethod
    def from_settings(cls, settings: Settings) -> 'Task':
        """Build a task from the parameters that describe one (`task.name`, `task.cameras`, ...).

        :raises TaskError: naming the parameter that is missing or does not fit.
        """
        for name, value in (
            ('task.cameras', settings.task_cameras),
            ('task.state', settings.task_state),
            ('task.action', settings.task_action),
        ):
            if not value:
                raise TaskError(f'parameter {name!r} is not set; the task file lists it')
        return cls(
            name=settings.task_name,
            cameras=settings.task_cameras,
            state=tuple(Entry.parse(text) for text in settings.task_state),
            action=tuple(Entry.parse(text) for text in settings.task_action),
            rate=settings.control_rate,
            image_size=settings.task_image_size,
        )

    @property
    def state_dim(self) -> int:
        return len(self.state)

    @property
    def action_dim(self) -> int:
        return len(self.action)

    @cached_property
    def image_sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of each camera's images [px]."""
        sides = self.image_size
        if len(sides) == 2:
            sides *= len(self.cameras)
        pairs = zip(sides[::2], sides[1::2], strict=True)
        return dict(zip(self.cameras, pairs, strict=True))

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of joint states, in the order in which qpos first names them."""
        return tuple(dict.fromkeys(entry.source for entry in self.state))

    @property
    def joints(self) -> list[str]:
        """The joints of the action, in the order in which it first names them."""
        return list(dict.fromkeys(entry.name for entry in self.action))

    @cached_property
    def state_units(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset of each state entry, (state_dim,) each."""
        return _scale_and_offset(self.state)

    @cached_property
    def action_units(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset of each action entry, (action_dim,) each."""
        return _scale_and_offset(self.action)

    def to_robot(self, action: np.ndarray) -> np.ndarray:
        """Convert an action from the policy's units to the robot's.

        :param action: (..., action_dim), policy units.
        :returns: (..., action_dim) float64, rad, rad/s or as the robot's driver defines.
        """
        scale, offset = self.action_units
        with np.errstate(over='ignore'):  # whoever sends it refuses what is not finite
            return (np.asarray(action, dtype=np.float64) - offset) / scale

    def from_robot(self, action: np.ndarray) -> np.ndarray:
        """Convert an action from the robot's units to the policy's.

        :param action: (..., action_dim), robot units.
        :returns: (..., action_dim) float64.
        """
        scale, offset = self.action_units
        return np.asarray(action, dtype=np.float64) * scale + offset


def _scale_and_offset(entries: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([e.scale for e in entries]), np.array([e.offset for e in entries])
