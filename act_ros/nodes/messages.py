"""Between the loop's values and ROS messages."""

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.time import Time as RosTime
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from act_ros.control import Command
from act_ros.nodes.message_classes import doubles
from act_ros.task import Task


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
    place = {(e.source, e.name, e.quantity): i for i, e in enumerate(task.action)}
    moved = [entry for entry in task.action if entry.quantity == 'position']
    positions = [place[e.source, e.name, 'position'] for e in moved]
    # Those of the same joints in the same order, or none.
    velocities = [place.get((e.source, e.name, 'velocity')) for e in moved]
    if None in velocities:
        velocities = []
    message = JointTrajectory(joint_names=[entry.name for entry in moved])
    message.header.stamp = RosTime(nanoseconds=stamp).to_msg()
    message.points = [
        JointTrajectoryPoint(
            positions=doubles(row[positions]),
            velocities=doubles(row[velocities]),
            time_from_start=Duration(nanoseconds=round(i / task.rate * 1e9)).to_msg(),
        )
        for i, row in enumerate(values)
    ]
    return message


def key_values(values: Mapping[str, object]) -> list[KeyValue]:
    """Values as diagnostics hold them: text, floats to six digits."""
    return [KeyValue(key=key, value=_plain(value)) for key, value in values.items()]


def _plain(value: object) -> str:
    return f'{value:.6g}' if isinstance(value, float) else str(value)
