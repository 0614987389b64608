"""Turns what the policy says into what may be sent."""

import threading

import numpy as np

from act_ros.errors import LimitError
from act_ros.safety.bounds import LARGEST, Bounds
from act_ros.safety.limits import Limits, joints_of
from act_ros.task import Task

# A joint that does not follow is met where it is measured no further from the last command than
# this many times its max_tracking_error: a measurement may be what is wrong. With the limits of
# the shipped task, a joint that was blocked at its full speed is 3.1 times as far when it is
# noticed.
RETREAT = 4.0


class CommandLimiter:
    """Turns what the policy says into what may be sent.

    An action passes in this order: finite? -> ramp -> position range -> step from the last
    command -> velocity. A step is never longer than the velocity limit allows in one tick. A
    position that any of these changed gets the velocity of its step. A continuous joint goes
    to an action by the shorter way, as far as its range reaches.

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
        joints = joints_of(task)
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
        self._planned: np.ndarray | None = None  # the last positions before any retreat
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
                self._check(
                    bounds, self.last, tolerance, 'the last command of {} is', self.last
                )
            self._bounds = bounds

    def check_measured(self, measured: np.ndarray) -> None:
        """Refuse a pose that no command can lead out of gently.

        :param measured: (positions,) in the order of `position_entries`.
        :raises LimitError: joints further outside their range than the tolerance, or than
            their step, by name; continuous ones that may be in one turn or another.
        """
        with np.errstate(over='ignore'):
            self._place(self._bounds, measured, self.last)

    def start(
        self,
        measured: np.ndarray,
        action: np.ndarray | None = None,
        stood: np.ndarray | None = None,
    ) -> None:
        """Let steps and ramp begin at a measured pose.

        :param action: (action_dim,) what will be commanded first. Which turn a joint without a
            range is in, its driver may know where its encoder does not: it begins in that of
            its last command, else in that of this one.
        :param stood: (positions,) where the joints were when the last command was sent, if one
            was. A joint that need not reach its command, and has moved no other way than
            towards it since, begins at that command: a gripper keeps its force.
        :raises LimitError: as `check_measured`.
        """
        with self._lock, np.errstate(over='ignore'):
            bounds, last = self._bounds, self.last
            pose = self._place(bounds, measured, last, action)
            if last is not None and stood is not None:
                stood = bounds.nearest(stood, last)
                nearer = np.minimum(stood, last) - bounds.step <= pose
                nearer &= pose <= np.maximum(stood, last) + bounds.step
                pose = np.where(np.isinf(bounds.max_tracking_error) & nearer, last, pose)
            self.last = self._start = self._planned = pose
            self._refuge, self._fresh = None, True

    def restart(self) -> None:
        """Let the ramp begin at the last command."""
        self._start, self._refuge = self.known_last, None

    def nearest(self, measured: np.ndarray) -> np.ndarray:
        """The same pose, continuous joints turned to where they are nearest to the last command.

        :param measured: (positions,).
        """
        return self._bounds.nearest(measured, self.known_last)

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
            last, bounds = self.known_last, self._bounds
            values = self._by_the_shorter_way(bounds, values, last)
            weight = self._weight(bounds, elapsed)
            ramped, ranged = self._ranged(bounds, values, weight)
            sent = bounds.towards(ranged, last)
            result, too_fast = self._with_velocities(bounds, values, weight, last, sent)
            self.last = self._planned = sent
            self._refuge, self._fresh = None, False
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
        values = np.array(values, dtype=np.float64)
        self._refuse_non_finite(values)
        bounds = self._bounds
        # What was sent, then what will be: (n + 1, positions).
        path = np.empty((len(values) + 1, len(self._positions)))
        path[0] = self.known_last
        with np.errstate(over='ignore'):
            times = elapsed + np.arange(len(values))[:, np.newaxis] / self._rate
            weights = np.broadcast_to(self._weight(bounds, times), times.shape)
            _, ranged = self._ranged(bounds, values, weights)
            for i, target in enumerate(ranged):
                if len(bounds.continuous):
                    values[i] = self._by_the_shorter_way(bounds, values[i], path[i])
                    target = self._ranged(bounds, values[i], weights[i])[1]
                path[i + 1] = bounds.towards(target, path[i])
            return self._with_velocities(bounds, values, weights, path[:-1], path[1:])[0]

    def hold(self) -> np.ndarray:
        """The last command at rest; after `retreat` a step nearer to the refuge.

        :returns: (action_dim,) float64, velocities zero.
        """
        values = np.zeros(len(self._action))
        with self._lock, np.errstate(over='ignore'):
            last, bounds = self.known_last, self._bounds
            if self._refuge is not None or self._fresh:
                target = last if self._refuge is None else self._refuge
                target = np.clip(target, bounds.low, bounds.high)
                self.last, self._fresh = bounds.towards(target, last), False
            values[self._positions] = self.last
        return values

    def retreat(self, pose: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Let `hold` lead joints that do not follow to where they are, within the range.

        One that is too far from the last command is held where its command is now.

        :param pose: (positions,) measured; continuous joints as `nearest` turns them.
        :param lost: (positions,) bool: the joints that do not follow; the others stay.
        :returns: (positions,) bool: those of them that are led to where they are.
        """
        with self._lock, np.errstate(over='ignore'):
            last, bounds = self.known_last, self._bounds
            # What is not a number is not near.
            near = np.abs(pose - self._planned) <= RETREAT * bounds.max_tracking_error
            refuge = last if self._refuge is None else self._refuge
            self._refuge = np.where(lost, np.where(near, pose, last), refuge)
            return lost & near

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

    def _arrange(self, limits: Limits) -> Bounds:
        joints = self._joint_of_position
        step = np.minimum(limits.max_step, limits.max_velocity / self._rate)[joints]
        return Bounds(
            limits,
            low=np.maximum(limits.position_min, -LARGEST)[joints],
            high=np.minimum(limits.position_max, LARGEST)[joints],
            step=step,
            tolerance=np.minimum(limits.range_tolerance, step),
            max_tracking_error=limits.max_tracking_error[joints],
            speed=np.minimum(limits.max_velocity, LARGEST)[self._joint_of_velocity],
            continuous=np.flatnonzero(limits.continuous[joints]),
        )

    def _place(
        self,
        bounds: Bounds,
        measured: np.ndarray,
        last: np.ndarray | None,
        action: np.ndarray | None = None,
    ) -> np.ndarray:
        """A measured pose, continuous joints in the turn that they are in.

        One that has not left its last command is in the turn of that. Of others the range has to
        tell: a command in the wrong turn would send the joint through a whole one.

        :raises LimitError: it is outside the range, or the range holds it in several turns.
        """
        pose = np.array(measured, dtype=np.float64)
        if last is not None:
            pose = bounds.nearest(pose, last)
            stayed = np.abs(pose - last) <= bounds.max_tracking_error
            pose = np.where(stayed, pose, bounds.inside(pose))
        else:
            stayed = np.zeros(len(pose), dtype=bool)
            if action is not None:
                pose = bounds.nearest(pose, action[self._positions])
            pose = bounds.inside(pose)
        said = np.where(stayed, pose, measured)
        self._check(bounds, pose, bounds.tolerance, '{} is measured at', said)
        unclear = np.flatnonzero(bounds.unclear(pose) & ~stayed)
        if len(unclear):
            entries = [str(self.position_entries[i]) for i in unclear]
            raise LimitError(
                '; '.join(
                    f'{entry} is measured at {measured[i]:.4g}, and its range {bounds.low[i]:g} '
                    f'to {bounds.high[i]:g} holds that in more than one turn: move it to where '
                    f'only one is possible'
                    for i, entry in zip(unclear, entries, strict=True)
                ),
                joints=entries,
            )
        return pose

    def _check(
        self,
        bounds: Bounds,
        pose: np.ndarray,
        tolerance: np.ndarray | float,
        saying: str,
        said: np.ndarray,
    ) -> None:
        """Refuse a pose outside the range.

        :param saying: with a place for the entry, before the value.
        :param said: the pose as people know it, continuous joints not turned.
        """
        near = (bounds.low - tolerance <= pose) & (pose <= bounds.high + tolerance)
        outside = np.flatnonzero(~near)
        if len(outside):
            low, high = bounds.limits.position_min, bounds.limits.position_max
            joints, entries = self._joint_of_position, self.position_entries
            raise LimitError(
                '; '.join(
                    f'{saying.format(entries[i])} {said[i]:.4g}, outside its range '
                    f'{low[joints[i]]:g} to {high[joints[i]]:g}'
                    for i in outside
                ),
                joints=[str(entries[i]) for i in outside],
            )

    @property
    def known_last(self) -> np.ndarray:
        """`last`, where there is one.

        :raises RuntimeError: there is none.
        """
        if self.last is None:
            raise RuntimeError('no last command and no measured pose: call start first')
        return self.last

    def _refuse_non_finite(self, values: np.ndarray) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            where = int(np.argwhere(~finite)[0][-1])
            raise LimitError(f'the action is not finite at {self._action[where]}')

    def _by_the_shorter_way(
        self, bounds: Bounds, values: np.ndarray, last: np.ndarray
    ) -> np.ndarray:
        """The same action, continuous joints turned to where they are nearest to a command."""
        if not len(bounds.continuous):
            return values
        values = values.copy()
        values[self._positions] = bounds.nearest(values[self._positions], last)
        return values

    # The parts of `limit` and `preview`: for one action, or for rows of them. What overflows to
    # infinity is cut to its limit afterwards.

    def _weight(self, bounds: Bounds, elapsed: float | np.ndarray) -> float | np.ndarray:
        """How much of the policy the ramp lets through, 0 to 1, without a jerk."""
        ramp_time = bounds.limits.ramp_time
        if ramp_time == 0:
            return 1.0
        x = np.fmin(np.fmax(elapsed / ramp_time, 0.0), 1.0)
        return x * x * (3 - 2 * x)

    def _ranged(
        self, bounds: Bounds, values: np.ndarray, weight: float | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions behind the ramp, and these inside their range."""
        # As a sum of two products: the difference of huge numbers overflows.
        assert self._start is not None  # where there is a last command, a ramp has begun
        ramped = (1 - weight) * self._start + weight * values.take(self._positions, axis=-1)
        return ramped, np.minimum(np.maximum(ramped, bounds.low), bounds.high)

    def _with_velocities(
        self,
        bounds: Bounds,
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
