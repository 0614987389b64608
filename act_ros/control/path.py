"""A way to a pose, in the place of a policy: chunks of it, which the loop treats as any other."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from act_ros.errors import ParameterError, PolicyError, listed, shorten
from act_ros.parameters import Settings
from act_ros.policy.interface import Observation
from act_ros.safety import TURN, Limits, joints_of
from act_ros.task import Task

AHEAD = 2.0  # of a chunk [s]
SHARE = 0.5  # of the largest speed and acceleration that the quickest joint has on its way
SHORTEST = 1.0  # that a way takes [s]
NEAR = 0.05  # a joint is at the pose, unless max_tracking_error is less [rad, m]
# Of a minimum-jerk motion over a distance of 1 in a time of 1.
_SPEED, _ACCELERATION = 1.875, 5.7735


class PathPolicy:
    """Predicts the way to a pose: all joints begin and arrive together, without jerk.

    An episode begins where the robot stands then. What has a velocity and no position rests.

    :param task: the action's entries.
    :param goal: (positions,) of the action's position entries, in their order, robot units.
    :param limits: of the joints; the way stays far within them.
    :param where: gives the joints' positions now, in the order of the goal; None: not known.
    :param clock: in which the way goes on [ns].
    :ivar duration: of the way [s], from the start of the episode; None before it is known.
    :raises ParameterError: the goal lies outside the range of a joint.
    """

    def __init__(
        self,
        task: Task,
        goal: np.ndarray,
        limits: Limits,
        where: Callable[[], np.ndarray | None],
        clock: Callable[[], int],
    ) -> None:
        self.task = task
        self.chunk_size = max(2, round(AHEAD * task.rate))
        self._goal, self._limits, self._where, self._clock = goal, limits, where, clock
        joints = joints_of(task)
        joint = {entry: i for i, entries in enumerate(joints) for entry in entries}
        self._positions = [i for i, e in enumerate(task.action) if e.quantity == 'position']
        self._joints = [joint[task.action[i]] for i in self._positions]
        place = {joint[task.action[i]]: p for p, i in enumerate(self._positions)}
        low, high = (edge[self._joints] for edge in (limits.min_position, limits.max_position))
        for i, value, least, most in zip(self._positions, goal, low, high, strict=True):
            if not least <= value <= most:
                raise ParameterError(
                    f'the start pose has {value:g} for {task.action[i]}, outside its range '
                    f'{least:g} to {most:g}'
                )
        self._velocities = [
            (i, place.get(joint[entry]))
            for i, entry in enumerate(task.action) if entry.quantity == 'velocity'
        ]  # fmt: skip
        self.reset()

    def reset(self) -> None:
        """Begin again, from where the robot stands at the next prediction."""
        self._start: np.ndarray | None = None
        self._began = 0
        self.duration: float | None = None

    def predict_newest(self, observe: Callable[[], Observation]) -> np.ndarray:
        """The way from now on, whatever is seen."""
        observe()
        return self.predict(np.empty(0), {})

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The way from now on, (chunk_size, action_dim) float32, in the policy's units.

        :raises PolicyError: where the robot is is not known.
        """
        if self._start is None:
            self._begin()
        assert self._start is not None and self.duration is not None
        elapsed = (self._clock() - self._began) / 1e9
        at = elapsed + np.arange(self.chunk_size) / self.task.rate
        s = np.clip(at / self.duration, 0.0, 1.0)[:, np.newaxis]
        way = self._target - self._start
        positions = self._start + way * (10 * s**3 - 15 * s**4 + 6 * s**5)
        speeds = way * (30 * s**2 - 60 * s**3 + 30 * s**4) / self.duration
        action = np.zeros((self.chunk_size, self.task.action_dim))
        action[:, self._positions] = positions
        for i, place in self._velocities:
            action[:, i] = 0.0 if place is None else speeds[:, place]
        return self.task.from_robot(action).astype(np.float32)

    def played(self, settings: Settings) -> Settings:
        """The parameters for it: its chunks are all of one way, which begins at rest."""
        return replace(
            settings, temporal_aggregation=True, decay=0.0, fade=0.0, ramp_time=0.0
        )

    def is_at(self, measured: np.ndarray) -> bool:
        """Whether the way is over, and the robot at its end.

        :param measured: (positions,), as `where` gives them.
        """
        if self.duration is None or (self._clock() - self._began) / 1e9 < self.duration:
            return False
        near = np.minimum(self._limits.max_tracking_error[self._joints], NEAR)
        return bool((np.abs(measured - self._target) <= near).all())

    def _begin(self) -> None:
        start = self._where()
        if start is None:
            raise PolicyError('where the joints are is not known')
        # A joint that turns for ever goes the shorter way.
        turns = np.where(self._limits.continuous[self._joints], TURN, np.inf)
        free = np.isinf(self._limits.max_position[self._joints])
        way = self._goal - start
        with np.errstate(invalid='ignore'):
            whole = np.where(np.isfinite(turns) & free, np.round(way / turns) * turns, 0.0)
        self._target = self._goal - whole
        distance = np.abs(self._target - start)
        speed = SHARE * self._limits.max_velocity[self._joints]
        acceleration = SHARE * self._limits.max_acceleration[self._joints]
        times = np.maximum(
            _SPEED * distance / speed, np.sqrt(_ACCELERATION * distance / acceleration)
        )
        self.duration = float(max(SHORTEST, times.max(initial=0.0)))
        self._start, self._began = start, self._clock()


def read_pose(texts: tuple[str, ...], task: Task) -> np.ndarray:
    """Read the parameter `start_pose`.

    :param texts: 'source/joint/position VALUE' for each position of the action, robot units.
    :returns: (positions,) in the action's order.
    :raises ParameterError: one is missing, unknown or no number.
    """
    wanted = [str(entry) for entry in task.action if entry.quantity == 'position']
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.strip().rpartition(' ')
        try:
            number = float(value)
        except ValueError:
            number = np.nan
        if name.strip() not in wanted or name.strip() in found or not np.isfinite(number):
            raise ParameterError(
                f"parameter 'start_pose' has {shorten(text)}; expected 'source/joint/position "
                f"VALUE', each position of the action once"
            )
        found[name.strip()] = number
    if lacking := [name for name in wanted if name not in found]:
        raise ParameterError(f"parameter 'start_pose' says nothing of {listed(lacking)}")
    return np.array([found[name] for name in wanted])
