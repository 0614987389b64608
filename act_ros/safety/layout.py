"""Where the positions and velocities of a task stand in its action."""

import math
from collections.abc import Sequence

import numpy as np

from act_ros.errors import LimitError
from act_ros.safety.bounds import Bounds
from act_ros.safety.braking import LARGEST, ROUNDING, JointBounds
from act_ros.safety.limits import Limits, joint_of
from act_ros.safety.passage import Motion
from act_ros.task import Task


class Layout:
    """An action as positions and velocities, and back.

    :param task: the action's entries.
    :ivar action: all of them.
    :ivar position_entries: those that are positions, in the action's order.
    :ivar positions: their places in the action.
    :ivar velocities: places of the velocities; those beside a position come first.
    """

    def __init__(self, task: Task) -> None:
        self.action = task.action
        joint = joint_of(task)
        positions = [i for i, entry in enumerate(task.action) if entry.quantity == 'position']
        place_of = {joint[task.action[i]]: place for place, i in enumerate(positions)}
        velocities = [i for i, entry in enumerate(task.action) if entry.quantity == 'velocity']
        velocities.sort(key=lambda i: joint[task.action[i]] not in place_of)
        self.position_entries = [task.action[i] for i in positions]
        self._joint_of_position = [joint[task.action[i]] for i in positions]
        self._joint_of_velocity = [joint[task.action[i]] for i in velocities]
        self._beside = [place_of[j] for j in self._joint_of_velocity if j in place_of]
        self.positions = positions
        self.velocities = velocities
        both = positions + velocities
        self._order = [both.index(i) for i in range(len(both))]

    def split(self, values: np.ndarray) -> list[tuple[list[float], list[float]]]:
        """Positions and velocities of actions.

        :param values: (n, action_dim).
        :raises LimitError: one is not finite.
        """
        rows = np.asarray(values, dtype=np.float64).tolist()
        for row in rows:
            if not all(map(math.isfinite, row)):
                where = next(i for i, value in enumerate(row) if not math.isfinite(value))
                raise LimitError(f'the action is not finite at {self.action[where]}')
        return [
            ([row[i] for i in self.positions], [row[i] for i in self.velocities]) for row in rows
        ]

    def join(self, motions: Sequence[Motion]) -> np.ndarray:
        """The actions that are sent, (n, action_dim) float64."""
        rows = [motion.positions + motion.velocities for motion in motions]
        return np.array([[row[i] for i in self._order] for row in rows], dtype=np.float64)

    def arrange(self, limits: Limits, rate: float) -> Bounds:
        """The limits in this order, a tick.

        :param rate: ticks a second [Hz].
        """
        joints = self._joint_of_position
        low = np.maximum(limits.min_position, -LARGEST)[joints]
        high = np.minimum(limits.max_position, LARGEST)[joints]
        step = np.minimum(limits.max_step, limits.max_velocity / rate)[joints]
        # A limit that is next to nothing is still one that can be divided by.
        change = np.maximum(limits.max_acceleration / rate / rate, 1e-300)[joints]
        slack = ROUNDING * np.minimum(step, change)
        slack[np.isinf(slack)] = 0.0
        rows = zip(*(a.tolist() for a in (low, high, step, change, slack)), strict=True)
        moved = self._joint_of_velocity
        speed = np.minimum(limits.max_velocity, LARGEST)[moved]
        speeding = np.clip(limits.max_acceleration / rate, 1e-300, LARGEST)[moved]
        return Bounds(
            limits,
            entries=self.position_entries,
            low=low,
            high=high,
            step=step,
            tolerance=np.minimum(limits.range_tolerance, step),
            max_tracking_error=limits.max_tracking_error[joints],
            continuous=np.flatnonzero(limits.continuous[joints]),
            turning=np.flatnonzero(limits.continuous[joints]).tolist(),
            beside=self._beside,
            rate=rate,
            joints=[JointBounds(*row) for row in rows],
            speeds=list(zip(speed.tolist(), speeding.tolist(), strict=True)),
        )
