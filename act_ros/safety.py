"""Limits on a command: nothing non-finite passes, nothing leaves its range or its step.

Everything here is in the robot's units. A joint is a source and name of the action, in the
order in which the action first names them; it has a position, a velocity, or both.
"""

import difflib
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from act_ros.errors import LimitError
from act_ros.task import Entry, Task

LIMITED = ('position_min', 'position_max', 'max_step', 'max_velocity', 'max_tracking_error')


@dataclass(frozen=True)
class Limits:
    """Limits of each joint, (joints,) float64 each; infinite where there is none.

    :ivar position_min: lowest position.
    :ivar position_max: highest position.
    :ivar max_step: furthest that a joint may be sent in one tick.
    :ivar max_velocity: largest speed, of velocities and of steps.
    :ivar max_tracking_error: how far a joint may be from its command.
    :ivar range_tolerance: how far outside its range a joint may stand at the start.
    :ivar ramp_time: of the transition from the pose there is to the policy's [s].
    """

    position_min: np.ndarray
    position_max: np.ndarray
    max_step: np.ndarray
    max_velocity: np.ndarray
    max_tracking_error: np.ndarray
    range_tolerance: float
    ramp_time: float

    @classmethod
    def from_parameters(cls, values: Mapping[str, object], task: Task) -> 'Limits':
        """Read the limits of a task's joints.

        :param values: flat parameters; an array that is absent means that no joint has this
            limit, which only entries listed in `unlimited` may be without.
        :raises LimitError: naming the parameter and the joint.
        """
        joints = _joints(task)
        named = [str(places[0]) for places in joints]
        unlimited = values.get('unlimited') or []
        entries = [str(entry) for entry in task.action]
        for name in unlimited:
            if name not in entries:
                near = difflib.get_close_matches(name, entries, n=1) or entries[:1]
                raise LimitError(
                    f"parameter 'unlimited' lists {name!r}, which is no entry of the action; "
                    f'did you mean {near[0]!r}?'
                )
        arrays = {}
        for parameter in LIMITED:
            numbers = values.get(parameter)
            if not numbers:
                lowest = parameter == 'position_min'
                numbers = [-np.inf if lowest else np.inf] * len(joints)
            if len(numbers) != len(joints):
                raise LimitError(
                    f'parameter {parameter!r} has {len(numbers)} values, expected {len(joints)}, '
                    f'one each for {", ".join(named)}'
                )
            arrays[parameter] = np.array(numbers, dtype=np.float64)
        for i, places in enumerate(joints):
            _check_joint(places, {name: arrays[name][i] for name in LIMITED}, unlimited)
        return cls(
            **arrays, range_tolerance=values['range_tolerance'], ramp_time=values['ramp_time']
        )


def _joints(task: Task) -> list[list[Entry]]:
    """The entries of each joint, its position first."""
    joints: dict[tuple[str, str], list[Entry]] = {}
    for entry in task.action:
        joints.setdefault((entry.source, entry.name), []).append(entry)
    return [sorted(entries, key=lambda entry: entry.quantity) for entries in joints.values()]


def _check_joint(
    places: list[Entry], numbers: Mapping[str, float], unlimited: list[str]
) -> None:
    """Refuse numbers that are no limits of a joint."""
    entry = places[0]
    for name, value in numbers.items():
        if np.isnan(value):
            raise LimitError(f'parameter {name!r} of {entry} is nan, expected a number')
        if name.startswith('max') and value <= 0:
            raise LimitError(f'parameter {name!r} of {entry} is {value:g}, expected more than 0')
    needed = LIMITED if entry.quantity == 'position' else ('max_velocity',)
    for name in needed:
        if np.isinf(numbers[name]) and str(entry) not in unlimited:
            raise LimitError(
                f'{entry} has no limit in {name!r}: give it a finite value, or list {entry} in '
                f"'unlimited'"
            )
    low, high = numbers['position_min'], numbers['position_max']
    if entry.quantity == 'position' and not low < high:
        raise LimitError(
            f'position_min of {entry} is {low:g} and position_max {high:g}; expected a range'
        )


class CommandLimiter:
    """Turns what the policy says into what may be sent.

    An action passes in this order: finite? -> ramp -> position range -> step from the last
    command -> velocity. A step is never longer than the velocity limit allows in one tick. A
    position that any of these changed gets the velocity of its step.

    All methods but `set_limits` are for one thread.

    :param task: the action's entries.
    :param limits: of its joints.
    :param rate: ticks a second [Hz].
    :ivar position_entries: entries of the action that are positions, in its order.
    :ivar last: (positions,) those of the last command, or None.
    :ivar max_tracking_error: (positions,) how far each may be from its command.
    :ivar hits: how often a limit changed a command: kind to entry to count.
    """

    def __init__(self, task: Task, limits: Limits, rate: float) -> None:
        self._rate = rate
        self._action = task.action
        joints = _joints(task)
        joint_of = {entry: i for i, entries in enumerate(joints) for entry in entries}
        self._positions = _places(task, 'position')
        self._velocities = _places(task, 'velocity')
        self.position_entries = [task.action[i] for i in self._positions]
        velocity_entries = [task.action[i] for i in self._velocities]
        self._joint_of_position = [joint_of[entry] for entry in self.position_entries]
        self._joint_of_velocity = [joint_of[entry] for entry in velocity_entries]
        # Velocities beside a position, as (place among velocities, place among positions).
        pairs = [
            (v, p)
            for v, joint in enumerate(self._joint_of_velocity)
            for p, other in enumerate(self._joint_of_position)
            if joint == other
        ]
        self._paired = [v for v, _ in pairs], [p for _, p in pairs]
        paired = set(self._paired[0])
        self._alone = [v for v in range(len(velocity_entries)) if v not in paired]

        self.last: np.ndarray | None = None
        self._start: np.ndarray | None = None  # of the ramp
        self._refuge: np.ndarray | None = None  # where `hold` goes
        self._fresh = False  # nothing was sent since `start`: the measured pose counts as last
        self._hits = {
            'range': np.zeros(len(self._positions), dtype=int),
            'step': np.zeros(len(self._positions), dtype=int),
            'velocity': np.zeros(len(self._velocities), dtype=int),
        }
        self._lock = threading.Lock()
        self._take(limits)

    def set_limits(self, limits: Limits) -> None:
        """Take other limits at once. May be called from any thread.

        :raises LimitError: the last command lies outside the new range; the old ones stay.
        """
        with self._lock:
            old = self.limits
            self._take(limits)
            try:
                if self.last is not None:
                    tolerance = self._tolerance if self._fresh else 0.0
                    self._check(self.last, tolerance, 'the last command of {} is')
            except LimitError:
                self._take(old)
                raise

    def check_measured(self, measured: np.ndarray) -> None:
        """Refuse a pose that no command can lead out of gently.

        :param measured: (positions,) in the order of `position_entries`.
        :raises LimitError: joints further outside their range than the tolerance, or than
            their step, by name.
        """
        self._check(measured, self._tolerance, '{} is measured at')

    def start(self, measured: np.ndarray) -> None:
        """Let steps and ramp begin at a measured pose.

        :raises LimitError: as `check_measured`.
        """
        self.check_measured(measured)
        with self._lock:
            self.last = np.array(measured, dtype=np.float64)
            self._fresh = True
            self._start, self._refuge = self.last, None

    def restart(self) -> None:
        """Let the ramp begin at the last command."""
        self._start, self._refuge = self.last, None

    def forget(self) -> None:
        """Have no last command any more."""
        self.last = self._start = self._refuge = None

    def limit(self, values: np.ndarray, elapsed: float) -> np.ndarray:
        """Limit one action and remember it as the last command.

        :param values: (action_dim,).
        :param elapsed: since the ramp began [s].
        :returns: (action_dim,) float64.
        :raises LimitError: a value is not finite.
        """
        values = np.asarray(values, dtype=np.float64)
        self._refuse_non_finite(values)
        with self._lock:
            result, positions, hits = self._limited(self.last, values, self._weight(elapsed))
            self.last, self._refuge, self._fresh = positions, None, False
        for kind, hit in hits.items():
            self._hits[kind] += hit
        return result

    def preview(self, values: np.ndarray, elapsed: float) -> np.ndarray:
        """Limit the actions of coming ticks, each from the one before; nothing is remembered.

        :param values: (n, action_dim), one tick apart.
        :param elapsed: of the first, since the ramp began [s].
        :returns: (n, action_dim).
        """
        self._refuse_non_finite(values)
        result = np.empty(values.shape)
        with self._lock:
            last = self.last
            for i, row in enumerate(values):
                weight = self._weight(elapsed + i / self._rate)
                result[i], last, _ = self._limited(last, row, weight)
        return result

    def hold(self) -> np.ndarray:
        """The last command at rest; after `retreat` a step nearer to the refuge.

        :returns: (action_dim,) float64, velocities zero.
        """
        with self._lock:
            if self._refuge is not None or self._fresh:
                target = self.last if self._refuge is None else self._refuge
                self.last = self._towards(np.clip(target, self._low, self._high), self.last)
                self._fresh = False
            values = np.zeros(len(self._action))
            values[self._positions] = self.last
        return values

    def retreat(self, pose: np.ndarray) -> None:
        """Let `hold` lead to a pose, as far as it is within the range.

        :param pose: (positions,).
        """
        self._refuge = np.array(pose, dtype=np.float64)

    @property
    def hits(self) -> dict[str, dict[str, int]]:
        """How often a limit changed a command: kind to entry to count, without zeros."""
        places = {'range': self._positions, 'step': self._positions, 'velocity': self._velocities}
        return {
            kind: {
                str(self._action[place]): int(count)
                for place, count in zip(places[kind], counts, strict=True)
                if count
            }
            for kind, counts in self._hits.items()
        }

    def _take(self, limits: Limits) -> None:
        joints = self._joint_of_position
        self.limits = limits
        self._low, self._high = limits.position_min[joints], limits.position_max[joints]
        self._step = np.minimum(limits.max_step, limits.max_velocity / self._rate)[joints]
        self.max_tracking_error = limits.max_tracking_error[joints]
        self._speed = limits.max_velocity[self._joint_of_velocity]
        self._tolerance = np.minimum(limits.range_tolerance, self._step)

    def _check(self, pose: np.ndarray, tolerance: np.ndarray | float, saying: str) -> None:
        low, high = self._low - tolerance, self._high + tolerance
        outside = np.flatnonzero(~((low <= pose) & (pose <= high)))
        if len(outside):
            raise LimitError(
                '; '.join(
                    f'{saying.format(self.position_entries[i])} {pose[i]:.4g}, outside its range '
                    f'{self._low[i]:g} to {self._high[i]:g}'
                    for i in outside
                )
            )

    def _refuse_non_finite(self, values: np.ndarray) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            where = int(np.argwhere(~finite)[0][-1])
            raise LimitError(f'the action is not finite at {self._action[where]}')

    def _weight(self, elapsed: float) -> float:
        """How much of the policy's position the ramp lets through, 0 to 1, without a jerk."""
        ramp = self.limits.ramp_time
        if elapsed >= ramp:
            return 1.0
        x = max(0.0, elapsed / ramp)
        return x * x * (3 - 2 * x)

    def _limited(
        self, last: np.ndarray, values: np.ndarray, weight: float
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """The limited action, its positions, and which limits it hit."""
        wanted = values[self._positions]
        ramped = wanted
        if weight < 1:
            # As a sum of two products: a difference of huge numbers may overflow.
            ramped = (1 - weight) * self._start + weight * wanted
        ranged = np.minimum(np.maximum(ramped, self._low), self._high)
        positions = self._towards(ranged, last)
        said = values[self._velocities]
        if weight < 1:
            said[self._alone] *= weight
        of_velocities, of_positions = self._paired
        steps = (positions - last) * self._rate
        changed = (positions != wanted)[of_positions]
        said[of_velocities] = np.where(changed, steps[of_positions], said[of_velocities])
        velocities = np.minimum(np.maximum(said, -self._speed), self._speed)
        result = np.empty(len(values))
        result[self._positions], result[self._velocities] = positions, velocities
        hits = {
            'range': ranged != ramped,
            'step': positions != ranged,
            'velocity': velocities != said,
        }
        return result, positions, hits

    def _towards(self, target: np.ndarray, last: np.ndarray) -> np.ndarray:
        """At most a step from the last command, and inside the range."""
        near = np.minimum(np.maximum(target, last - self._step), last + self._step)
        return np.minimum(np.maximum(near, self._low), self._high)


def _places(task: Task, quantity: str) -> np.ndarray:
    return np.array(
        [i for i, entry in enumerate(task.action) if entry.quantity == quantity], dtype=np.intp
    )
