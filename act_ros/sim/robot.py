"""Physics of a simulated free-flying robot: a drifting base, a seven-joint left arm, a gripper.

Time is an argument of every call, so the same calls always give the same motion.  Vectors with
eight entries hold the seven arm joints [rad] and then the gripper (0 closed, 1 open).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

JOINT_COUNT = 8
"""Seven arm joints and the gripper."""

HOME: FloatArray = np.array([-0.20, -0.80, -0.40, 1.95, -0.40, -1.25, 0.40, 0.70])
"""Usual pose of the simulated arm: elbow up, gripper open before the task object [rad; 0..1]."""

POSITION_LIMITS: FloatArray = np.array([
    [-1.8, 1.8],
    [-2.0, 1.2],
    [-2.4, 2.4],
    [-0.2, 2.5],
    [-2.6, 2.6],
    [-1.8, 1.8],
    [-2.8, 2.8],
    [0.0, 1.0],
])
"""Lower and upper position limits of the simulated arm [rad; 0..1], shape (8, 2)."""

VELOCITY_LIMITS: FloatArray = np.array([1.2, 1.2, 1.5, 1.5, 2.0, 2.0, 2.4, 2.0])
"""Largest speeds of the simulated arm [rad/s; 1/s], shape (8,)."""

ACCELERATION_LIMITS: FloatArray = np.array([6.0, 6.0, 8.0, 8.0, 12.0, 12.0, 14.0, 16.0])
"""Largest accelerations of the simulated arm [rad/s^2; 1/s^2], shape (8,)."""

BASE_AXES = ['x', 'y', 'z', 'roll', 'pitch', 'yaw']
"""Names of the base's joint states, in their order."""

CAMERA_RATE, STATE_RATE = 30.0, 100.0
"""Frames a second of each camera, and joint states a second [Hz]."""

# Position error -> speed (gain) and speed error -> acceleration (rate).  Four times the gain makes
# the linear loop critically damped, with both poles at -2 * gain.
_POSITION_GAIN = 9.0
_SPEED_RATE = 4.0 * _POSITION_GAIN
# Share of the acceleration planned for braking; the rest makes up for the lag of the speed loop.
_BRAKING_SHARE = 0.7
_LONGEST_SUBSTEP = 0.01
# After a longer gap (a suspended process) the arm has long come to rest: skip what is before it.
_LONGEST_ADVANCE = 3.0

# Drift of the base: rows x, y, z [m], roll, pitch, yaw [rad]; two sines each, as amplitude,
# period [s] and phase [rad].  Incommensurable periods keep the path from repeating visibly.
_DRIFT_AMPLITUDES = np.array([
    [0.022, 0.007],
    [0.026, 0.009],
    [0.020, 0.008],
    [0.022, 0.008],
    [0.018, 0.006],
    [0.028, 0.008],
])
_DRIFT_PERIODS = np.array([
    [11.3, 6.7],
    [13.9, 7.9],
    [9.7, 6.1],
    [12.7, 7.3],
    [10.1, 6.5],
    [14.9, 8.3],
])
_DRIFT_PHASES = np.array([
    [0.0, 1.1],
    [1.9, 0.4],
    [0.8, 2.6],
    [2.2, 0.9],
    [0.3, 1.7],
    [1.2, 2.9],
])
_DRIFT_RATES = 2.0 * np.pi / _DRIFT_PERIODS


class SimulatedRobot:
    """A robot that follows joint commands within its limits while its base drifts.

    Base quantities follow REP-103 (x forward, y left, z up) and are all expressed in the fixed
    world frame, which the base frame coincides with on average.

    :param joint_names: names of the seven arm joints and of the gripper, in this order.
    :param command_timeout: the arm brakes and holds once its last command is older than this [s].
    """

    def __init__(self, joint_names: Sequence[str], *, command_timeout: float = 0.2) -> None:
        names = tuple(joint_names)
        if len(names) != JOINT_COUNT:
            raise ValueError(
                f'found {len(names)} joint names, expected {JOINT_COUNT} '
                '(seven arm joints, then the gripper)')
        if len(set(names)) != JOINT_COUNT:
            raise ValueError(f'joint names are not unique: {list(names)}')
        if not command_timeout > 0.0:
            raise ValueError(f'command_timeout is {command_timeout}, expected a positive time [s]')
        self.joint_names = names
        self.command_timeout = float(command_timeout)
        self._index = {name: i for i, name in enumerate(names)}
        self._free = np.ones(JOINT_COUNT, dtype=bool)
        self.begin()

    def begin(self, pose: FloatArray = HOME, drift: float = 0.0) -> None:
        """Stand still somewhere, without a command; time starts anew, and what is jammed stays.

        :param pose: joint positions within the limits, shape (8,) [rad; 0..1].
        :param drift: how far along its drift the base is [s].
        """
        self._positions = np.array(pose, dtype=np.float64)
        self._velocities = np.zeros(JOINT_COUNT)
        self._target_positions = self._positions.copy()
        self._target_velocities = np.zeros(JOINT_COUNT)
        self._command_time = -math.inf
        self._start: float | None = None
        self._time = 0.0
        self._drift = float(drift)
        self._narrowest = float(POSITION_LIMITS[-1, 0])
        self._update_base(0.0)

    def command(
        self,
        now: float,
        positions: np.ndarray | Sequence[float],
        velocities: np.ndarray | Sequence[float],
    ) -> None:
        """Set a new target, which moves on with its velocity until the next one or the timeout.

        Targets outside the limits are legal: the arm goes as far as its limits allow.

        :param now: time of the command [s].
        :param positions: target positions, shape (8,) [rad; 0..1].
        :param velocities: target velocities, shape (8,) [rad/s; 1/s].
        :raises ValueError: wrong length or a value that is not finite; the earlier target stays.
        """
        target_positions = self._checked(positions, 'position')
        target_velocities = self._checked(velocities, 'velocity')
        self._target_positions = target_positions
        self._target_velocities = np.clip(target_velocities, -VELOCITY_LIMITS, VELOCITY_LIMITS)
        self._command_time = float(now)

    def advance(self, now: float) -> None:
        """Move the base and the arm to a time; the first call only sets where time starts.

        :param now: time [s], never less than in the call before.
        :raises ValueError: time runs backwards or is not finite.
        """
        if not math.isfinite(now):
            raise ValueError(f'time is {now}, expected a finite number')
        if self._start is None:
            self._start = self._time = now
        if now < self._time:
            raise ValueError(f'time runs backwards: {now} after {self._time}')
        begin = max(self._time, now - _LONGEST_ADVANCE)
        # A tick at 100 Hz must not take two substeps because of the last bits of its time.
        count = math.ceil((now - begin) / _LONGEST_SUBSTEP - 1e-6)
        for i in range(count):
            step = (now - begin) / count
            self._substep(begin + i * step, step)
        self._time = now
        self._update_base(now - self._start)

    def stop_gripper_at(self, opening: float) -> None:
        """Something is between the fingers: they close no further than this, 0..1."""
        self._narrowest = opening

    def block(self, name: str) -> None:
        """Jam a joint where it is, as a mechanical fault would.

        :param name: name of an arm joint or of the gripper.
        """
        index = self._joint_index(name)
        self._free[index] = False
        self._velocities[index] = 0.0

    def release(self, name: str) -> None:
        """Free a blocked joint again.

        :param name: name of an arm joint or of the gripper.
        """
        self._free[self._joint_index(name)] = True

    @property
    def blocked(self) -> frozenset[str]:
        """Names of the joints that are jammed."""
        return frozenset(
            name for name, free in zip(self.joint_names, self._free, strict=True) if not free)

    @property
    def positions(self) -> FloatArray:
        """Joint positions, shape (8,) [rad; 0..1]."""
        return self._positions.copy()

    @property
    def velocities(self) -> FloatArray:
        """Joint velocities, shape (8,) [rad/s; 1/s]."""
        return self._velocities.copy()

    @property
    def position_limits(self) -> FloatArray:
        """Lower and upper position limits, shape (8, 2) [rad; 0..1]."""
        return POSITION_LIMITS.copy()

    @property
    def velocity_limits(self) -> FloatArray:
        """Largest speeds, shape (8,) [rad/s; 1/s]."""
        return VELOCITY_LIMITS.copy()

    @property
    def base_position(self) -> FloatArray:
        """Position of the base in the world frame, shape (3,) [m]."""
        return self._base_position.copy()

    @property
    def base_orientation(self) -> FloatArray:
        """Roll, pitch and yaw of the base, applied as Rz(yaw) Ry(pitch) Rx(roll), (3,) [rad]."""
        return self._base_orientation.copy()

    @property
    def base_linear_velocity(self) -> FloatArray:
        """Velocity of the base origin, expressed in the world frame, shape (3,) [m/s]."""
        return self._base_linear_velocity.copy()

    @property
    def base_angular_velocity(self) -> FloatArray:
        """Angular velocity of the base, expressed in the world frame, shape (3,) [rad/s]."""
        return self._base_angular_velocity.copy()

    def _checked(self, values: np.ndarray | Sequence[float], what: str) -> FloatArray:
        """:return: the values as an array of their own, shape (8,), all finite."""
        array = np.array(values, dtype=np.float64)
        if array.ndim != 1:
            raise ValueError(f'{what} targets have shape {array.shape}, expected ({JOINT_COUNT},)')
        if len(array) < JOINT_COUNT:
            missing = ', '.join(self.joint_names[len(array):])
            raise ValueError(
                f'found {len(array)} {what} targets, expected {JOINT_COUNT}: none for {missing}')
        if len(array) > JOINT_COUNT:
            raise ValueError(
                f'found {len(array)} {what} targets, expected {JOINT_COUNT}: '
                f'{self.joint_names[-1]} is the last joint')
        finite = np.isfinite(array)
        if not finite.all():
            first = int(np.argmin(finite))
            raise ValueError(f'{what} target of {self.joint_names[first]} is {array[first]}, '
                             'expected a finite number')
        return array

    def _joint_index(self, name: str) -> int:
        if name not in self._index:
            raise ValueError(f'unknown joint {name!r}, expected one of {list(self.joint_names)}')
        return self._index[name]

    def _substep(self, time: float, step: float) -> None:
        """Integrate the arm over one short step that starts at a time (both in s)."""
        age = max(0.0, time - self._command_time)
        if age > self.command_timeout:
            if not self._velocities.any():
                return
            acceleration = -self._velocities / step
        else:
            acceleration = _SPEED_RATE * (self._wanted_velocities(age) - self._velocities)
        np.clip(acceleration, -ACCELERATION_LIMITS, ACCELERATION_LIMITS, out=acceleration)
        velocities = self._velocities + acceleration * step
        # The position limits hold exactly, and so does what the fingers close on: never be faster
        # than braking before them allows.
        limits = POSITION_LIMITS.copy()
        limits[-1, 0] = min(self._narrowest, self._positions[-1])
        room = limits - self._positions[:, None]
        velocities = np.clip(
            velocities, -_braking_speed(-room[:, 0], step), _braking_speed(room[:, 1], step))
        self._velocities = np.where(self._free, velocities, 0.0)
        self._positions = np.clip(
            self._positions + self._velocities * step, limits[:, 0], limits[:, 1])

    def _wanted_velocities(self, age: float) -> FloatArray:
        """Speeds that lead to the target and end there, within the velocity limits.

        :param age: time since the command [s], during which the target has moved on.
        :return: velocities, shape (8,) [rad/s; 1/s].
        """
        target = self._target_positions + self._target_velocities * age
        error = np.clip(target, POSITION_LIMITS[:, 0], POSITION_LIMITS[:, 1]) - self._positions
        distance = np.abs(error)
        speed = np.minimum(
            _POSITION_GAIN * distance,
            np.sqrt(2.0 * _BRAKING_SHARE * ACCELERATION_LIMITS * distance))
        wanted = self._target_velocities + np.copysign(speed, error)
        return np.clip(wanted, -VELOCITY_LIMITS, VELOCITY_LIMITS)

    def _update_base(self, elapsed: float) -> None:
        """Evaluate the drift and its exact derivative, some seconds after the start."""
        phases = _DRIFT_RATES * (elapsed + self._drift) + _DRIFT_PHASES
        pose = (_DRIFT_AMPLITUDES * np.sin(phases)).sum(axis=1)
        rates = (_DRIFT_AMPLITUDES * _DRIFT_RATES * np.cos(phases)).sum(axis=1)
        self._base_position, self._base_orientation = pose[:3], pose[3:]
        self._base_linear_velocity = rates[:3]
        self._base_angular_velocity = _angular_velocity(pose[3:], rates[3:])


def _braking_speed(distance: FloatArray, step: float) -> FloatArray:
    """Largest speed for the next step from which full braking ends within a distance.

    It solves ``v * step + v**2 / (2 * a) = distance``.  After such a step, a speed lower by
    ``a * step`` satisfies it again, so the acceleration limit is never broken to obey it.

    :param distance: distance left per joint, not negative, shape (8,) [rad; 1].
    :param step: length of the step [s].
    :return: speeds, shape (8,) [rad/s; 1/s].
    """
    loss = ACCELERATION_LIMITS * step
    return np.sqrt(loss * loss + 2.0 * ACCELERATION_LIMITS * distance) - loss


def _angular_velocity(orientation: FloatArray, rates: FloatArray) -> FloatArray:
    """Turn the rates of roll, pitch and yaw into an angular velocity in the world frame.

    :param orientation: roll, pitch, yaw, shape (3,) [rad].
    :param rates: their derivatives, shape (3,) [rad/s].
    :return: angular velocity, shape (3,) [rad/s].
    """
    _, pitch, yaw = orientation.tolist()
    roll_rate, pitch_rate, yaw_rate = rates.tolist()
    return np.array([
        math.cos(yaw) * math.cos(pitch) * roll_rate - math.sin(yaw) * pitch_rate,
        math.sin(yaw) * math.cos(pitch) * roll_rate + math.cos(yaw) * pitch_rate,
        yaw_rate - math.sin(pitch) * roll_rate,
    ])
