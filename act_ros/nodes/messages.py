"""Between the loop's values and ROS messages."""

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import JointState

from act_ros.control import Command
from act_ros.errors import TaskError
from act_ros.task import QUANTITIES, Task


class JointCommandBuilder:
    """Actions to one JointState: joints by name, in the order in which the task names them.

    :raises TaskError: several sources, or a quantity that some joints have and others lack.
    """

    def __init__(self, task: Task) -> None:
        sources = sorted({entry.source for entry in task.action})
        if len(sources) > 1:
            raise TaskError(
                f'task.action names the sources {", ".join(sources)}, but one JointState goes '
                f'to one source'
            )
        self._task = task
        self.joints = task.joints
        place = {(e.name, e.quantity): i for i, e in enumerate(task.action)}
        self._columns = {}
        for quantity in QUANTITIES:
            columns = [place.get((joint, quantity)) for joint in self.joints]
            if None not in columns:
                self._columns[quantity] = columns
            elif any(column is not None for column in columns):
                lacking = self.joints[columns.index(None)]
                raise TaskError(
                    f'task.action has a {quantity} of some joints but none of {lacking!r}; '
                    f'a JointState holds it for all or for none'
                )

    def build(self, action: np.ndarray, stamp: Time) -> JointState:
        """The message of an action.

        :param action: (action_dim,) in the policy's units.
        :param stamp: of the header.
        """
        values = self._task.to_robot(action)
        message = JointState(name=self.joints)
        message.header.stamp = stamp
        for quantity, columns in self._columns.items():
            setattr(message, quantity, values[columns])
        return message


def tick_message(
    step: int, episode: int, stamps: Mapping[str, int], command: Command | None, stamp: Time
) -> DiagnosticArray:
    """What one tick was made from: `~/tick`, for debugging and replay.

    :param stamps: the tick's snapshot, input to stamp [ns]; empty where there was none.
    :param command: with its action before any limit; numbers as `repr`, so none is rounded.
    """
    values = {
        'step': str(step),
        'episode': str(episode),
        **{f'stamp/{name}': str(value) for name, value in stamps.items()},
        'chunk_steps': ' '.join(map(str, command.chunk_steps)) if command else '',
        'action': ' '.join(map(repr, command.action.tolist())) if command else '',
    }
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name='tick', values=key_values(values))
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    """Values as diagnostics hold them: text, floats to six digits."""
    return [KeyValue(key=key, value=_plain(value)) for key, value in values.items()]


def _plain(value: object) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)
