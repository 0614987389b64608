"""Turns what the policy says into what may be sent."""

import threading
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from act_ros.safety.braking import commands_to_rest, rest_of, standing
from act_ros.safety.hits import Hits
from act_ros.safety.layout import Layout
from act_ros.safety.limits import Limits
from act_ros.safety.passage import Motion, at_rest, come_to_rest, pass_through
from act_ros.task import Task

# A joint that does not follow is met where it is measured no further from the last command than
# this many times its max_tracking_error: a measurement may be what is wrong. With the limits of
# the shipped task, a joint that was blocked at its full speed is 3.1 times as far when it is
# noticed.
RETREAT = 4.0




class CommandLimiter:
    """Turns what the policy says into what may be sent.

    Where limits conflict, one that comes first here wins:

    1. Nothing that is not finite is sent.
    2. No position outside its range. A joint that begins outside, by what is tolerated, is
       commanded to the end of the range at once, and its motion begins there, at rest.
    3. No step longer than max_step, nor than max_velocity allows in one tick; no velocity above
       max_velocity.
    4. From one command to the next, steps and velocities change by no more than max_acceleration
       allows. Steps are such that a joint can always brake before the end of its range, so this
       yields to the others only where they are set anew while it moves: then it is cut to the
       new speed at once, and brakes evenly before a new end of the range.

    So an action passes in this order: finite? -> ramp -> position range -> acceleration, step
    and braking distance -> velocity. What is within all of them passes as it is, to the last
    digit. A position that any of these changed gets the velocity of its step. A continuous joint
    goes to an action by the shorter way, as far as its range reaches.

    All methods but `set_limits` are for one thread.

    :param task: the action's entries.
    :param limits: of its joints.
    :param rate: ticks a second [Hz].
    :ivar position_entries: entries of the action that are positions, in its order.
    """

    def __init__(self, task: Task, limits: Limits, rate: float) -> None:
        self._rate = rate
        self._layout = Layout(task)
        self.position_entries = self._layout.position_entries
        self._motion: Motion | None = None
        self._coming: list[Motion] = []  # after it, as it was previewed
        self._before: tuple[Motion | None, list[Motion]] = None, []  # the last action
        self._start: list[float] = []  # of the ramp
        # Of joints that do not follow, by place: where they were commanded before that was
        # found, and where `hold` leads them.
        self._planned: dict[int, float] = {}
        self._refuges: dict[int, float] = {}
        self._hits = Hits(self._layout)
        self._lock = threading.Lock()
        self._bounds = self._layout.arrange(limits, rate)

    @property
    def last(self) -> np.ndarray | None:
        """(positions,) those of the last command, or None."""
        return None if self._motion is None else np.array(self._motion.positions)

    @property
    def known_last(self) -> np.ndarray:
        """`last`, where there is one; else it raises as `motion` does."""
        return np.array(self.motion.positions)

    @property
    def motion(self) -> Motion:
        """What was commanded last.

        :raises RuntimeError: nothing was, and no pose is measured.
        """
        if self._motion is None:
            raise RuntimeError('no last command and no measured pose: call start first')
        return self._motion

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
        bounds = self._layout.arrange(limits, self._rate)
        with self._lock:
            if (last := self.last) is not None:
                tolerance = bounds.tolerance if self.motion.fresh else 0.0
                bounds.check(last, tolerance, 'the last command of {} is', last)
            self._bounds = bounds

    def check_measured(self, measured: np.ndarray) -> None:
        """Refuse a pose that no command can lead out of gently.

        :param measured: (positions,) in the order of `position_entries`.
        :raises LimitError: joints further outside their range than the tolerance, or than
            their step, by name; continuous ones that may be in one turn or another.
        """
        with np.errstate(over='ignore'):
            self._bounds.place(measured, self.last)

    def start(
        self,
        measured: np.ndarray,
        action: np.ndarray | None = None,
        stood: np.ndarray | None = None,
    ) -> None:
        """Let steps and ramp begin at a measured pose, at rest.

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
            first = None if action is None else action[self._layout.positions]
            pose = bounds.place(measured, last, first)
            if last is not None and stood is not None:
                stood = bounds.nearest(stood, last)
                nearer = np.minimum(stood, last) - bounds.step <= pose
                nearer &= pose <= np.maximum(stood, last) + bounds.step
                pose = np.where(np.isinf(bounds.max_tracking_error) & nearer, last, pose)
            self._motion = at_rest(pose.tolist(), len(self._layout.velocities))
            self._start = self._motion.positions
            self._refuges.clear()

    def restart(self) -> None:
        """Let the ramp begin where the joints come to rest."""
        with self._lock:
            motion, bounds = self.motion, self._bounds
            rest = [rest_of(*pair) for pair in zip(bounds.joints, motion.joints, strict=True)]
            # What stands there is no target that moves as the joints do.
            joints = [
                (position, step, place, 0.0, 0.0)
                for (position, step, *_), place in zip(motion.joints, rest, strict=True)
            ]
            self._motion = replace(motion, joints=joints)
            self._start = rest
            self._refuges.clear()

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
        [action] = self._layout.split(values[np.newaxis])
        with self._lock:
            bounds, before = self._bounds, self.motion
            weight = ramp_weight(bounds.limits.ramp_time, elapsed)
            passage = pass_through(bounds, before, *action, self._start, weight)
            self._before, self._motion = (before, self._coming), passage.motion
            self._refuges.clear()
        self._hits.count(bounds, before, passage)
        return self._layout.join([passage.motion])[0]

    def take_back(self) -> None:
        """The last action was limited and has not gone out: go on from the command before."""
        with self._lock:
            self._motion, self._coming = self._before

    def preview(self, values: np.ndarray, elapsed: float, rest: int = 0) -> np.ndarray:
        """Limit the actions of coming ticks, each from the one before; but for `go_on`, nothing is
        remembered.

        :param values: (n, action_dim), one tick apart.
        :param elapsed: of the first, since the ramp began [s].
        :param rest: where it is not 0, commands follow in which all comes to rest, so many at
            most; where the limits would take more, it brakes harder.
        :returns: (n or more, action_dim) float64.
        :raises LimitError: a value is not finite.
        """
        bounds, motions = self._bounds, [self.motion]
        for i, action in enumerate(self._layout.split(values)):
            weight = ramp_weight(bounds.limits.ramp_time, elapsed + i / self._rate)
            passage = pass_through(bounds, motions[-1], *action, self._start, weight)
            motions.append(passage.motion)
        for left in range(rest, 0, -1):
            if motions[-1].stands:
                break
            motions.append(come_to_rest(bounds, motions[-1], {}, left))
        self._coming = motions[1:]
        return self._layout.join(motions[1:]).reshape(-1, len(self._layout.action))

    def go_on(self, ticks: int, places: Collection[int]) -> None:
        """Nothing was sent for so many ticks: who knew the last preview has followed that.

        :param places: of the action's entries that did.
        """
        with self._lock:
            if ticks <= 0 or not self._coming:
                return
            motion, layout = self.motion, self._layout
            ahead = self._coming[min(ticks, len(self._coming)) - 1]
            self._coming = self._coming[ticks:]
            joints, velocities = list(motion.joints), list(motion.velocities)
            for i, place in enumerate(layout.positions):
                if place in places:
                    # Limits may have come since: the range counts first.
                    low, high, *_ = self._bounds.joints[i]
                    inside = low <= ahead.joints[i][0] <= high
                    nearest = min(max(ahead.joints[i][0], low), high)
                    joints[i] = ahead.joints[i] if inside else standing(nearest)
            for i, place in enumerate(layout.velocities):
                if place in places:
                    velocities[i] = ahead.velocities[i]
            self._motion = replace(motion, joints=joints, velocities=velocities)

    def wait(self) -> None:
        """Nothing is sent at a tick: joints stay at their commands, and slow down as in `hold`."""
        with self._lock:
            motion = self.motion
            if motion.fresh:
                return
            braked = come_to_rest(self._bounds, motion, {})
            joints = [
                (place, step, place, step, 0.0)
                for place, (_, step, *_) in zip(motion.positions, braked.joints, strict=True)
            ]
            self._motion = replace(braked, joints=joints)

    def hold(self, commands: int | None = None) -> np.ndarray:
        """The next command of joints that brake, and then the last position at rest.

        After `retreat`, those that do not follow go on to their refuge.

        :param commands: that are left for coming to rest, this one included: all brake, as much
            harder as that takes, also those on their way to a refuge.
        :returns: (action_dim,) float64.
        """
        with self._lock:
            motion = come_to_rest(self._bounds, self.motion, self._refuges, commands)
            self._motion = motion
        return self._layout.join([motion])[0]

    def retreat(self, pose: np.ndarray, lost: np.ndarray) -> np.ndarray:
        """Let `hold` lead joints that do not follow to where they are, within the range.

        What stops them may be an obstacle: they stop where they are commanded now, without
        braking, and go from there. One that is too far from the last command stays there.

        :param pose: (positions,) measured; continuous joints as `nearest` turns them.
        :param lost: (positions,) bool: the joints that do not follow; the others brake.
        :returns: (positions,) bool: those of them that are led to where they are.
        """
        met = np.zeros(len(lost), dtype=bool)
        with self._lock:
            motion, bounds = self.motion, self._bounds
            joints, velocities = list(motion.joints), list(motion.velocities)
            for i in np.flatnonzero(lost).tolist():
                if i not in self._refuges:
                    self._planned[i] = joints[i][0]
                    joints[i] = standing(joints[i][0])
                    for entry, place in enumerate(bounds.beside):
                        velocities[entry] *= place != i
                # What is not a number is not near.
                reach = RETREAT * bounds.max_tracking_error[i]
                met[i] = abs(float(pose[i]) - self._planned[i]) <= reach
                rest = rest_of(bounds.joints[i], joints[i])
                self._refuges[i] = float(pose[i]) if met[i] else rest
            self._motion = replace(motion, joints=joints, velocities=velocities)
        return met

    @property
    def commands_to_rest(self) -> int:
        """How many commands of `hold` bring everything to rest; 0 where it is."""
        motion, bounds = self.motion, self._bounds
        joints = zip(bounds.joints, motion.joints, strict=True)
        speeds = zip(bounds.speeds, motion.velocities, strict=True)
        return max(
            0,
            *(commands_to_rest(step, joint.change) for joint, (_, step, *_) in joints),
            *(commands_to_rest(velocity, change) for (_, change), velocity in speeds),
        )

    @property
    def hits(self) -> dict[str, dict[str, int]]:
        """How often a limit changed a command: kind to entry to count, without zeros."""
        return self._hits.by_entry

    @property
    def limited_actions(self) -> int:
        """How many actions were changed by limits, whatever their number."""
        return self._hits.actions


def ramp_weight(ramp_time: float, elapsed: float) -> float:
    """How much of the policy the ramp lets through, 0 to 1, without a jerk."""
    if ramp_time == 0 or elapsed >= ramp_time:
        return 1.0
    x = max(float(elapsed), 0.0) / ramp_time
    return x * x * (3 - 2 * x)
