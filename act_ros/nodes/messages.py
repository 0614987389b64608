"""Between the loop's values and ROS messages."""

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from act_ros.control import Command
from act_ros.nodes.outputs import duration
from act_ros.task import QUANTITIES, Task


def tick_message(
    step: int, episode: int, stamps: Mapping[str, int], command: Command | None, stamp: Time
) -> DiagnosticArray:
    """What one tick was made from: `~/tick`, for debugging and replay.

    :param stamps: the tick's snapshot, input to stamp [ns]; empty where there was none.
    :param command: with its action before any limit; numbers as `repr`, so none is rounded.
    """
    action = command.action if command else None
    values = {
        'step': str(step),
        'episode': str(episode),
        **{f'stamp/{name}': str(value) for name, value in stamps.items()},
        'chunk_steps': ' '.join(map(str, command.chunk_steps)) if command else '',
        'action': '' if action is None else ' '.join(map(repr, action.tolist())),
    }
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name='tick', values=key_values(values))
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message


def chunk_message(task: Task, chunk: np.ndarray, stamp: int) -> JointTrajectory:
    """A plan for people to look at: `~/chunk`, before any limit.

    :param chunk: (chunk_size, action_dim) in the policy's units.
    :param stamp: of the observation it was predicted from [ns].
    """
    values = task.to_robot(chunk)
    columns = {
        quantity: [i for i, entry in enumerate(task.action) if entry.quantity == quantity]
        for quantity in QUANTITIES
    }
    names = [task.action[i].name for i in columns['position']]
    message = JointTrajectory(joint_names=names)
    message.header.stamp = Time(sec=stamp // 10**9, nanosec=stamp % 10**9)
    message.points = [
        JointTrajectoryPoint(
            positions=row[columns['position']],
            velocities=row[columns['velocity']],
            time_from_start=duration(i / task.rate),
        )
        for i, row in enumerate(values)
    ]
    return message


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    """Values as diagnostics hold them: text, floats to six digits."""
    return [KeyValue(key=key, value=_plain(value)) for key, value in values.items()]


def _plain(value: object) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)
