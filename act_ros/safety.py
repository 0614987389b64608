"""Limits on a command: nothing non-finite passes, nothing leaves its range or its step.

Everything here is in the robot's units. A joint is a source and name of the action, in the
order in which the action first names them; it has a position, a velocity, or both.
"""

import difflib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from act_ros.errors import LimitError
from act_ros.parameters import Settings
from act_ros.task import Entry, Task

LIMITED = ('position_min', 'position_max', 'max_step', 'max_velocity', 'max_tracking_error')
LARGEST = np.finfo(np.float64).max


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
    def from_settings(cls, settings: Settings, task: Task) -> 'Limits':
        """Read the limits of a task's joints.

        :param settings: an array that is not set means that no joint has this
            limit, which only entries listed in `unlimited` may be without.
        :raises LimitError: naming the parameter and the joint.
        """
        joints = _joints(task)
        named = [str(places[0]) for places in joints]
        unlimited = settings.unlimited
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
            numbers = getattr(settings, parameter)
            if not numbers:
                lowest = parameter == 'position_min'
                numbers = (-np.inf if lowest else np.inf,) * len(joints)
            if len(numbers) != len(joints):
                raise LimitError(
                    f'parameter {parameter!r} has {len(numbers)} values, expected {len(joints)}, '
                    f'one each for {", ".join(named)}'
                )
            arrays[parameter] = np.array(numbers, dtype=np.float64)
        for i, places in enumerate(joints):
            _check_joint(places, {name: arrays[name][i] for name in LIMITED}, unlimited)
        return cls(
            **arrays, range_tolerance=settings.range_tolerance, ramp_time=settings.ramp_time
        )


def _joints(task: Task) -> list[list[Entry]]:
    """The entries of each joint, its position first."""
    joints: dict[tuple[str, str], list[Entry]] = {}
    for entry in task.action:
        joints.setdefault((entry.source, entry.name), []).append(entry)
    return [sorted(entries, key=lambda entry: entry.quantity) for entries in joints.values()]


def _check_joint(
    places: list[Entry], numbers: Mapping[str, float], unlimited: Sequence[str]
) -> None:
    """Refuse numbers that are no limits of a joint."""
    entry = places[0]
    needed = LIMITED if entry.quantity == 'position' else ('max_velocity',)
    for name, value in numbers.items():
        if np.isnan(value):
            raise LimitError(f'parameter {name!r} of {entry} is nan, expected a number')
        if name not in needed:
            continue
        if name.startswith('max') and value <= 0:
            raise LimitError(f'parameter {name!r} of {entry} is {value:g}, expected more than 0')
        if np.isinf(value) and str(entry) not in unlimited:
            raise LimitError(
                f'{entry} has no limit in {name!r}: give it a finite value, or list {entry} in '
                f"'unlimited'"
            )
    low, high = numbers['position_min'], numbers['position_max']
    if entry.quantity == 'position' and not low < high:
        raise LimitError(
            f'position_min of {entry} is {low:g} and position_max {high:g}; expected a range'
        )


@dataclass(frozen=True)
class _Bounds:
    """Limits in the order of the action's positions and velocities.

    Ranges and speeds end at the largest float: nothing infinite is a pose or a command.
    """

    limits: Limits
    low: np.ndarray  # (positions,), as are the next four
    high: np.ndarray
    step: np.ndarray
    tolerance: np.ndarray
    max_tracking_error: np.ndarray
    speed: np.ndarray  # (velocities,)

    def towards(self, target: np.ndarray, last: np.ndarray) -> np.ndarray:
        """At most a step from the last command, and inside the range."""
        near = np.minimum(np.maximum(target, last - self.step), last + self.step)
        return np.minimum(np.maximum(near, self.low), self.high)


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
    """

    def __init__(self, task: Task, limits: Limits, rate: float) -> None:
        self._rate = rate
        self._action = task.action
        joints = _joints(task)
        joint_of = {entry: i for i, entries in enumerate(joints) for entry in entries}
        positions = [i for i, entry in enumerate(task.action) if entry.quantity == 'position']
        place_of = {joint_of[task.action[i]]: place for place, i in enumerate(positions)}
        velocities = [i for i, entry in enumerate(task.action) if entry.quantity == 'velocity']
        # Velocities beside a position come first, so that a slice holds them.
        velocities.sort(key=lambda i: joint_of[task.action[i]] not in place_of)
        self.position_entries = [task.action[i] for i in positions]
        self._joint_of_position = [joint_of[task.action[i]] for i in positions]
        self._joint_of_velocity = [joint_of[task.action[i]] for i in velocities]
        # Which position each of them stands beside.
        beside = [place_of[joint] for joint in self._joint_of_velocity if joint in place_of]
        self._beside = np.array(beside, dtype=np.intp)
        self._positions = np.array(positions, dtype=np.intp)
        self._velocities = np.array(velocities, dtype=np.intp)
        # From positions and velocities, one after the other, back to the action.
        self._order = np.argsort(positions + velocities)

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
        self._bounds = self._arrange(limits)

    @property
    def limits(self) -> Limits:
        """Those in force."""
        return self._bounds.limits

    @property
    def max_tracking_error(self) -> np.ndarray:
        """(positions,) how far each may be from its command."""
        return self._bounds.max_tracking_error

    def set_limits(self, limits: Limits) -> None:
        """Take other limits at once. May be called from any thread.

        :raises LimitError: the last command lies outside the new range; the old ones stay.
        """
        bounds = self._arrange(limits)
        with self._lock:
            if self.last is not None:
                tolerance = bounds.tolerance if self._fresh else 0.0
                self._check(bounds, self.last, tolerance, 'the last command of {} is')
            self._bounds = bounds

    def check_measured(self, measured: np.ndarray) -> None:
        """Refuse a pose that no command can lead out of gently.

        :param measured: (positions,) in the order of `position_entries`.
        :raises LimitError: joints further outside their range than the tolerance, or than
            their step, by name.
        """
        bounds = self._bounds
        self._check(bounds, measured, bounds.tolerance, '{} is measured at')

    def start(self, measured: np.ndarray) -> None:
        """Let steps and ramp begin at a measured pose.

        :raises LimitError: as `check_measured`.
        """
        with self._lock:
            self.check_measured(measured)
            self.last = self._start = np.array(measured, dtype=np.float64)
            self._refuge, self._fresh = None, True

    def restart(self) -> None:
        """Let the ramp begin at the last command."""
        self._start, self._refuge = self._known_last(), None

    def limit(self, values: np.ndarray, elapsed: float) -> np.ndarray:
        """Limit one action and remember it as the last command.

        :param values: (action_dim,).
        :param elapsed: since the ramp began [s].
        :returns: (action_dim,) float64.
        :raises LimitError: a value is not finite.
        """
        values = np.asarray(values, dtype=np.float64)
        self._refuse_non_finite(values)
        with self._lock, np.errstate(over='ignore'):
            last, bounds = self._known_last(), self._bounds
            weight = self._weight(bounds, elapsed)
            ramped, ranged = self._ranged(bounds, values, weight)
            sent = bounds.towards(ranged, last)
            result, too_fast = self._with_velocities(bounds, values, weight, last, sent)
            self.last, self._refuge, self._fresh = sent, None, False
        self._hits['range'] += ranged != ramped
        self._hits['step'] += sent != ranged
        self._hits['velocity'] += too_fast
        return result

    def preview(self, values: np.ndarray, elapsed: float) -> np.ndarray:
        """Limit the actions of coming ticks, each from the one before; nothing is remembered.

        :param values: (n, action_dim), one tick apart.
        :param elapsed: of the first, since the ramp began [s].
        :returns: (n, action_dim) float64.
        :raises LimitError: a value is not finite.
        """
        values = np.asarray(values, dtype=np.float64)
        self._refuse_non_finite(values)
        bounds = self._bounds
        # What was sent, then what will be: (n + 1, positions).
        path = np.empty((len(values) + 1, len(self._positions)))
        path[0] = self._known_last()
        with np.errstate(over='ignore'):
            times = elapsed + np.arange(len(values))[:, np.newaxis] / self._rate
            weights = self._weight(bounds, times)
            _, ranged = self._ranged(bounds, values, weights)
            for i, target in enumerate(ranged):
                path[i + 1] = bounds.towards(target, path[i])
            return self._with_velocities(bounds, values, weights, path[:-1], path[1:])[0]

    def hold(self) -> np.ndarray:
        """The last command at rest; after `retreat` a step nearer to the refuge.

        :returns: (action_dim,) float64, velocities zero.
        """
        values = np.zeros(len(self._action))
        with self._lock, np.errstate(over='ignore'):
            last, bounds = self._known_last(), self._bounds
            if self._refuge is not None or self._fresh:
                target = last if self._refuge is None else self._refuge
                target = np.clip(target, bounds.low, bounds.high)
                self.last, self._fresh = bounds.towards(target, last), False
            values[self._positions] = self.last
        return values

    def retreat(self, pose: np.ndarray) -> None:
        """Let `hold` lead to a pose, as far as it is within the range.

        :param pose: (positions,); a joint whose value is not finite stays where it is.
        """
        self._refuge = np.where(np.isfinite(pose), pose, self._known_last())

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

    def _arrange(self, limits: Limits) -> _Bounds:
        joints = self._joint_of_position
        step = np.minimum(limits.max_step, limits.max_velocity / self._rate)[joints]
        return _Bounds(
            limits,
            low=np.maximum(limits.position_min, -LARGEST)[joints],
            high=np.minimum(limits.position_max, LARGEST)[joints],
            step=step,
            tolerance=np.minimum(limits.range_tolerance, step),
            max_tracking_error=limits.max_tracking_error[joints],
            speed=np.minimum(limits.max_velocity, LARGEST)[self._joint_of_velocity],
        )

    def _check(
        self, bounds: _Bounds, pose: np.ndarray, tolerance: np.ndarray | float, saying: str
    ) -> None:
        near = (bounds.low - tolerance <= pose) & (pose <= bounds.high + tolerance)
        outside = np.flatnonzero(~near)
        if len(outside):
            low, high = bounds.limits.position_min, bounds.limits.position_max
            joints = self._joint_of_position
            raise LimitError(
                '; '.join(
                    f'{saying.format(self.position_entries[i])} {pose[i]:.4g}, outside its range '
                    f'{low[joints[i]]:g} to {high[joints[i]]:g}'
                    for i in outside
                )
            )

    def _known_last(self) -> np.ndarray:
        if self.last is None:
            raise RuntimeError('no last command and no measured pose: call start first')
        return self.last

    def _refuse_non_finite(self, values: np.ndarray) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            where = int(np.argwhere(~finite)[0][-1])
            raise LimitError(f'the action is not finite at {self._action[where]}')

    # The parts of `limit` and `preview`: for one action, or for rows of them. What overflows to
    # infinity is cut to its limit afterwards.

    def _weight(self, bounds: _Bounds, elapsed: float | np.ndarray) -> float | np.ndarray:
        """How much of the policy the ramp lets through, 0 to 1, without a jerk."""
        ramp_time = bounds.limits.ramp_time
        if ramp_time == 0:
            return 1.0
        x = np.fmin(np.fmax(elapsed / ramp_time, 0.0), 1.0)
        return x * x * (3 - 2 * x)

    def _ranged(
        self, bounds: _Bounds, values: np.ndarray, weight: float | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions behind the ramp, and these inside their range."""
        # As a sum of two products: the difference of huge numbers overflows.
        ramped = (1 - weight) * self._start + weight * values.take(self._positions, axis=-1)
        return ramped, np.minimum(np.maximum(ramped, bounds.low), bounds.high)

    def _with_velocities(
        self,
        bounds: _Bounds,
        values: np.ndarray,
        weight: float | np.ndarray,
        last: np.ndarray,
        sent: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The whole limited action, and which velocities of the policy were too fast.

        :param last: positions one tick before.
        :param sent: positions that go out.
        """
        said = values.take(self._velocities, axis=-1)
        beside, alone = said[..., : len(self._beside)], said[..., len(self._beside) :]
        alone *= weight
        changed = (sent != values.take(self._positions, axis=-1)).take(self._beside, axis=-1)
        steps = ((sent - last) * self._rate).take(self._beside, axis=-1)
        np.copyto(beside, steps, where=changed)
        velocities = np.minimum(np.maximum(said, -bounds.speed), bounds.speed)
        too_fast = velocities != said
        # The velocity of a step is over the limit by its rounding only.
        too_fast[..., : len(self._beside)] &= ~changed
        result = np.concatenate((sent, velocities), axis=-1).take(self._order, axis=-1)
        return result, too_fast
