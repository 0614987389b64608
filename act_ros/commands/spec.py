"""One topic of commands: a part of the action, and what it is sent as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from act_ros.errors import TaskError, listed, shorten
from act_ros.task import QUANTITIES, TWIST, Task

if TYPE_CHECKING:
    from act_ros.commands.decoding import Decoder
    from act_ros.commands.encoding import Encoder


@dataclass(frozen=True)
class OutputType:
    """What commands can be sent as.

    :ivar message_type: as in 'sensor_msgs/msg/JointState'.
    :ivar encoder: makes the messages.
    :ivar decoder: reads them.
    :ivar holds: 'joints': a message names them; 'values': they stand in the order of the output;
        'twist': the velocity of a base; 'gripper': the position of one joint.
    :ivar trajectory: a message holds points in time, each with a position.
    :ivar horizon: the coming ticks are sent too.
    :ivar options: words of the form NAME=VALUE that an output of it may have; those with a
        number have a float as their default.
    :ivar action: type of the action whose goals the messages become; '' where they are published.
    """

    message_type: str
    encoder: 'type[Encoder]'
    decoder: 'type[Decoder]'
    holds: Literal['joints', 'values', 'twist', 'gripper'] = 'joints'
    trajectory: bool = False
    horizon: bool = False
    options: Mapping[str, str | float] = field(default_factory=dict)
    action: str = ''


class OutputSpec:
    """One topic of commands: a part of the action, and what it is sent as.

    :param text: as the parameter has it, for errors.
    :param topic: where it goes.
    :param output_type: as what.
    :param columns: places in the action, in the message's order.
    :param task: the action's entries.
    :param options: as the text has them.
    :ivar options: with their defaults.
    :ivar joints: joint names, each once; empty where messages name none.
    :ivar places: quantity to the places in the action of each joint's.
    :raises TaskError: the entries do not make a message of this type.
    """

    def __init__(
        self,
        text: str,
        topic: str,
        output_type: OutputType,
        columns: Sequence[int],
        task: Task,
        options: Mapping[str, str] = {},
    ) -> None:
        self.topic, self.output_type, self.columns = topic, output_type, list(columns)
        self.entries = [task.action[i] for i in columns]
        self.options = _options(text, output_type, options)
        self.joints: list[str] = []
        self.places: dict[str, np.ndarray] = {}
        if output_type.holds == 'joints':
            self._order_by_joint(text)
        elif output_type.holds == 'twist':
            self._check_twist(text)
        elif output_type.holds == 'gripper' and [e.quantity for e in self.entries] != ['position']:
            raise TaskError(
                f'output {shorten(text)} has {listed([*map(str, self.entries)])}; a gripper is '
                f'commanded by one position'
            )
        if output_type.trajectory and 'position' not in self.places:
            raise TaskError(f'output {shorten(text)}: a trajectory needs positions')

    @property
    def message_type(self) -> str:
        """As in 'sensor_msgs/msg/JointState'."""
        return self.output_type.message_type

    @property
    def velocities_alone(self) -> list[str]:
        """Velocities that are sent without their joint's position: motion until told otherwise."""
        held = {(e.source, e.name) for e in self.entries if e.quantity == 'position'}
        return [
            str(e)
            for e in self.entries
            if e.quantity == 'velocity' and (e.source, e.name) not in held
        ]

    def _check_twist(self, text: str) -> None:
        """All are velocities of one base."""
        self._check_source(text)
        for entry in self.entries:
            if entry.quantity != 'velocity' or entry.name not in TWIST:
                raise TaskError(
                    f'output {shorten(text)}: {entry} is not in a Twist; expected '
                    f'{", ".join(TWIST)} as velocity'
                )

    def _check_source(self, text: str) -> None:
        sources = sorted({entry.source for entry in self.entries})
        if len(sources) > 1:
            raise TaskError(
                f'output {shorten(text)} has entries of the sources {", ".join(sources)}, but one '
                f'message is of one: give each an output of its own'
            )

    def _order_by_joint(self, text: str) -> None:
        """Names once, and the places of each quantity in their order."""
        self._check_source(text)
        place = {
            (e.name, e.quantity): i for i, e in zip(self.columns, self.entries, strict=True)
        }
        self.joints = list(dict.fromkeys(entry.name for entry in self.entries))
        for quantity in QUANTITIES:
            places = [place.get((joint, quantity)) for joint in self.joints]
            if None not in places:
                self.places[quantity] = np.array(places)
            elif any(i is not None for i in places):
                lacking = self.joints[places.index(None)]
                raise TaskError(
                    f'output {shorten(text)} has a {quantity} of some joints but none of '
                    f'{lacking!r}; it holds one for all or for none'
                )


def _options(text: str, output_type: OutputType, given: Mapping[str, str]) -> dict[str, Any]:
    """The options of an output, each in its type.

    :raises TaskError: one is no number.
    """
    options: dict[str, Any] = dict(output_type.options)
    for name, value in given.items():
        options[name] = value
        if isinstance(output_type.options[name], float):
            try:
                options[name] = float(value)
            except ValueError:
                options[name] = np.nan
            if not (np.isfinite(options[name]) and options[name] >= 0):
                raise TaskError(
                    f'output {shorten(text)}: {name} is {shorten(value)}, expected a number of 0 '
                    f'or more'
                )
    return options
