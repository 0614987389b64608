"""A way to a pose, in the place of a policy: chunks of it, which the loop treats as any other."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from act_ros.errors import LimitError, ParameterError, PolicyError, listed, shorten
from act_ros.parameters import Settings
from act_ros.policy.interface import Observation
from act_ros.safety import Limits, joints_of
from act_ros.safety.bounds import Bounds
from act_ros.safety.braking import LARGEST
from act_ros.safety.layout import Layout
from act_ros.task import Task

AHEAD = 2.0  # of a chunk [s]
SHARE = 0.5  # of the largest speed and acceleration that the quickest joint has on its way
SHORTEST = 1.0  # that a way takes [s]
# A joint is at the pose where it can be in that time, unless max_tracking_error is less: so it
# does not matter what it is measured in [s].
NEAR = 0.05
# Of a minimum-jerk motion over a distance of 1 in a time of 1.
_SPEED, _ACCELERATION = 1.875, 5.7735


class PathPolicy:
    """Predicts the way to a pose: all joints begin and arrive together, without jerk.

    An episode begins where the robot stands then. What has a velocity and no position rests.

    :param task: the action's entries.
    :param goal: (positions,) of the action's position entries, in their order, robot units.
    :param limits: of the joints; the way stays far within them.
    :param rate: of the ticks [Hz].
    :param where: gives the joints' positions now, in the order of the goal; None: not known.
    :param clock: in which the way goes on [ns].
    :ivar duration: of the way [s], from the start of the episode; None before it is known.
    :raises LimitError: the goal lies outside the range of a joint, or one has no largest speed.
    """

    def __init__(
        self,
        task: Task,
        goal: np.ndarray,
        limits: Limits,
        rate: float,
        where: Callable[[], np.ndarray | None],
        clock: Callable[[], int],
    ) -> None:
        self.task = task
        self.chunk_size = max(2, round(AHEAD * task.rate))
        self._where, self._clock = where, clock
        layout = Layout(task)
        self._bounds = bounds = layout.arrange(limits, rate)
        self._goal = _within(goal, bounds)
        for entry, step in zip(bounds.entries, bounds.step, strict=True):
            if not np.isfinite(step):
                raise LimitError(
                    f'{entry} has no largest speed, without which there is no way to the start '
                    f'pose: set joint_limits.{entry.name}.max_velocity'
                )
        joints = {entry: i for i, entries in enumerate(joints_of(task)) for entry in entries}
        places = [joints[entry] for entry in bounds.entries]
        self._speed = SHARE * bounds.step * rate
        self._acceleration = SHARE * limits.max_acceleration[places]
        self._near = np.minimum(bounds.max_tracking_error, NEAR * bounds.step * rate)
        self._positions = layout.positions
        self._velocities = [  # with the place of their joint's position
            (i, places.index(joints[task.action[i]]))
            for i in layout.velocities if joints[task.action[i]] in places
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
            action[:, i] = speeds[:, place]
        return self.task.from_robot(action).astype(np.float32)

    def played(self, settings: Settings) -> Settings:
        """The parameters for it: its chunks are all of one way, which begins at rest."""
        return replace(settings, temporal_aggregation=True, decay=0.0, fade=0.0, ramp_time=0.0)

    def is_at(self, measured: np.ndarray) -> bool:
        """Whether the way is over, and the robot at its end.

        :param measured: (positions,), as `where` gives them.
        """
        if self.duration is None or (self._clock() - self._began) / 1e9 < self.duration:
            return False
        return not self.away(measured)

    def away(self, measured: np.ndarray) -> dict[str, float]:
        """How far which positions are from the pose, if that is too far to be there.

        :param measured: (positions,), as `where` gives them.
        """
        # It may be measured a turn further than it was.
        goal = self._bounds.nearest(self._goal, measured)
        far = np.abs(measured - goal)
        names = zip(self._bounds.entries, far, far > self._near, strict=True)
        return {str(entry): float(distance) for entry, distance, too_far in names if too_far}

    def _begin(self) -> None:
        measured = self._where()
        if measured is None:
            raise PolicyError('where the joints are is not known')
        bounds = self._bounds
        start = bounds.inside(measured)
        # A joint that turns for ever goes the shorter way; one with a range stays in it.
        free = (bounds.low <= -LARGEST) & (bounds.high >= LARGEST)
        self._target = np.where(free, bounds.nearest(self._goal, start), self._goal)
        distance = np.abs(self._target - start)
        times = np.maximum(
            _SPEED * distance / self._speed, np.sqrt(_ACCELERATION * distance / self._acceleration)
        )
        self.duration = float(max(SHORTEST, times.max(initial=0.0)))
        self._start, self._began = start, self._clock()


def read_pose(texts: tuple[str, ...], task: Task, limits: Limits, rate: float) -> np.ndarray:
    """Read the parameter `start_pose`.

    :param texts: 'source/joint/position VALUE' for each position of the action, robot units.
    :param rate: of the ticks [Hz].
    :returns: (positions,) in the action's order.
    :raises ParameterError: one is missing, unknown or no number.
    :raises LimitError: one lies outside its range.
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
    pose = np.array([found[name] for name in wanted])
    return _within(pose, Layout(task).arrange(limits, rate))


def _within(pose: np.ndarray, bounds: Bounds) -> np.ndarray:
    """A pose to go to, within the ranges: one that was measured may be a little outside.

    :raises LimitError: it is far outside.
    """
    pose = bounds.inside(pose)
    bounds.check(pose, bounds.tolerance, 'the start pose has {} at', pose)
    return np.clip(pose, bounds.low, bounds.high)
