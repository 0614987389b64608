"""A base's pose and velocity from nav_msgs/Odometry."""

from collections.abc import Sequence
from typing import Any

from act_ros.errors import ObservationError, TaskError
from act_ros.observation.geometry import (
    POSE,
    QUATERNION,
    frame_name,
    pose_numbers,
    product,
    rotation_of,
)
from act_ros.observation.joints import NAN, Reading
from act_ros.task import TWIST, Entry


class OdometryReader:
    """Reads entries out of nav_msgs/Odometry.

    Positions are those of the pose; roll, pitch and yaw as REP-103 has them (fixed axes).
    Velocities are the twist's, in the frame that the policy wants.

    :param source: for errors.
    :param entries: names x, y, z, roll, pitch, yaw; for positions qx, qy, qz, qw too.
    :param twist_frame: the frame of the velocities: the message's frame_id or child_frame_id.
    :raises TaskError: an entry has another name, or velocities have no frame.
    """

    def __init__(self, source: str, entries: Sequence[Entry], twist_frame: str) -> None:
        self._source = source
        self._twist_frame = frame_name(twist_frame)
        for entry in entries:
            if entry.name not in (POSE if entry.quantity == 'position' else TWIST):
                raise TaskError(
                    f'{entry} is not in an Odometry; expected {", ".join(TWIST)}, '
                    f'or {", ".join(QUATERNION)} as position'
                )
        self._slots = tuple(range(len(entries)))
        # In the pose's numbers, and after them the twist's.
        self._places = [
            POSE.index(e.name) if e.quantity == 'position' else len(POSE) + TWIST.index(e.name)
            for e in entries
        ]
        self._wants_pose = any(entry.quantity == 'position' for entry in entries)
        self._wants_twist = any(entry.quantity == 'velocity' for entry in entries)
        if self._wants_twist and not self._twist_frame:
            raise TaskError(
                f"parameter 'twist_frame' is not set, but {source!r} is an Odometry with "
                f"velocities: name the frame the policy wants them in, the message's frame_id "
                f'or its child_frame_id'
            )

    def read(self, message: Any) -> Reading:
        """What a message says of the entries: something of all [m, rad, m/s, rad/s]."""
        layout = message.header.frame_id, message.child_frame_id
        try:
            numbers = self._numbers(message)
        except ObservationError as error:
            wrong = dict.fromkeys(self._slots, str(error))
            return Reading(self._slots, [NAN] * len(self._slots), wrong, layout)
        values, remark = [numbers[i] for i in self._places], ''
        if self._wants_twist and not all(layout):
            remark = self._remark(*layout)
        return Reading(self._slots, values, {}, layout, remark)

    def missing(self, slots: Sequence[int]) -> str:
        """Why some entries have not arrived: a message holds them all."""
        return f'{self._source} has not arrived'

    def _numbers(self, message: Any) -> list[float]:
        """Those of the pose and the twist, NaN where nobody wants them.

        :raises ObservationError: a frame or a quaternion that means nothing.
        """
        pose, twist = message.pose.pose, message.twist.twist
        turned = self._wants_twist and self._in_frame_of_pose(message)
        numbers = [NAN] * len(POSE)
        # An orientation that is not used need not be one: some drivers leave it zero.
        if self._wants_pose or turned:
            rotation = rotation_of(self._source, pose.orientation)
        if self._wants_pose:
            numbers = pose_numbers(pose, rotation)
        for vector in (twist.linear, twist.angular):
            values = vector.x, vector.y, vector.z
            numbers += product(rotation, values) if turned else values
        return numbers

    def _in_frame_of_pose(self, message: Any) -> bool:
        """Whether the twist, which is in the child's frame, is wanted in that of the pose.

        A frame that the message does not name is the wanted one, if the other is not.

        :raises ObservationError: neither is.
        """
        frame, child = frame_name(message.header.frame_id), frame_name(message.child_frame_id)
        wanted = self._twist_frame
        if not (frame or child):
            raise ObservationError(
                f'{self._source} is an Odometry without frame_id and child_frame_id, so the frame '
                f'of its twist is unknown; let its driver name them'
            )
        if wanted == child or (not child and wanted != frame):
            return False
        if wanted == frame or not frame:
            return True
        raise ObservationError(
            f'{self._source} is an Odometry of {child!r} in {frame!r}, but twist_frame '
            f'is {wanted!r}; expected one of the two'
        )

    def _remark(self, frame: str, child: str) -> str:
        """What is assumed of the frame that a message does not name."""
        wanted = self._twist_frame
        if wanted == frame_name(child):
            return ''
        if wanted == frame_name(frame):
            return f'{self._source} has no child_frame_id: its twist is turned as one of the base'
        lacking = 'frame_id' if child else 'child_frame_id'
        return f'{self._source} has no {lacking}: twist_frame {wanted!r} is taken for it'
