"""Which reader a source of joint states has, by the type of its messages."""

from collections.abc import Sequence

from act_ros.errors import TaskError
from act_ros.observation.arrays import ArrayReader, TrajectoryReader
from act_ros.observation.joints import JointReader
from act_ros.observation.odometry import OdometryReader
from act_ros.observation.stamped import PoseReader, TwistReader
from act_ros.observation.state import Reader
from act_ros.task import Entry


def make_reader(
    kind: str, source: str, entries: Sequence[Entry], *, of_state: int, twist_frame: str
) -> Reader:
    """The reader of a source.

    :param kind: as the parameter `state_types` has it.
    :param entries: whose values are wanted, those of qpos first and in its order.
    :param of_state: how many of them are of qpos.
    :param twist_frame: of the velocities of an Odometry.
    :raises TaskError: such messages do not have an entry.
    """
    if kind == 'Odometry':
        return OdometryReader(source, entries, twist_frame)
    if kind == 'Float64MultiArray':
        for entry in entries[of_state:]:
            raise TaskError(
                f'{entry} is commanded but not measured: {source!r} is a Float64MultiArray, '
                f'which has the entries of task.state only'
            )
        return ArrayReader(source, entries, of_state)
    if kind == 'PoseStamped':
        return PoseReader(source, entries)
    if kind == 'TwistStamped':
        return TwistReader(source, entries)
    return {'JointTrajectory': TrajectoryReader}.get(kind, JointReader)(source, entries)
