"""One topic of commands: a part of the action, and what it is sent as."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from act_ros.errors import TaskError, shorten
from act_ros.task import QUANTITIES, Task

if TYPE_CHECKING:
    from act_ros.commands.decoding import Decoder
    from act_ros.commands.encoding import Encoder


@dataclass(frozen=True)
class OutputType:
    """What commands can be sent as.

    :ivar message_type: as in 'sensor_msgs/msg/JointState'.
    :ivar encoder: makes the messages.
    :ivar decoder: reads them.
    :ivar named: a message names its joints; otherwise its values stand in a fixed order.
    :ivar trajectory: a message holds points in time, each with a position.
    :ivar horizon: the coming ticks are sent too.
    """

    message_type: str
    encoder: 'type[Encoder]'
    decoder: 'type[Decoder]'
    named: bool = True
    trajectory: bool = False
    horizon: bool = False


class OutputSpec:
    """One topic of commands: a part of the action, and what it is sent as.

    :param text: as the parameter has it, for errors.
    :param topic: where it goes.
    :param output_type: as what.
    :param columns: places in the action, in the message's order.
    :param task: the action's entries.
    :ivar joints: joint names, each once; empty where messages name none.
    :ivar places: quantity to the places in the action of each joint's.
    :raises TaskError: the entries do not make a message of this type.
    """

    def __init__(
        self, text: str, topic: str, output_type: OutputType, columns: Sequence[int], task: Task
    ) -> None:
        self.topic, self.output_type, self.columns = topic, output_type, list(columns)
        self.entries = [task.action[i] for i in columns]
        self.joints: list[str] = []
        self.places: dict[str, np.ndarray] = {}
        if output_type.named:
            self._order_by_joint(text)
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

    def _order_by_joint(self, text: str) -> None:
        """Names once, and the places of each quantity in their order."""
        sources = sorted({entry.source for entry in self.entries})
        if len(sources) > 1:
            raise TaskError(
                f'output {shorten(text)} has entries of the sources {", ".join(sources)}, but one '
                f'message names the joints of one: give each an output of its own'
            )
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
