"""The motion of one joint from command to command, always able to brake in time.

A command is one tick, and lengths are in the joint's units a tick: a step is what one command
adds to the position, and from one command to the next it differs by at most `change`, which is
max_acceleration / rate^2. In n ticks of braking a joint goes on by (d - c) + (d - 2c) + ..., so
a step that leaves room for these leaves room for them after the next, weaker step too: what can
brake once always can, exactly.

In floats, joint by joint: for a dozen joints that is twice as fast as arrays. ruckig (MIT), the
usual library for this, was measured and left out: its free edition ignores position limits (2.32
at a max_position of 2.0 when the acceleration limit was lowered), it sends no target as it is,
however gentle (up to 5 mrad away), it refuses or fails on targets that are far away, and ROS
packages it without its Python module.
"""

import math
import sys
from typing import NamedTuple

LARGEST = sys.float_info.max

# Of the smaller of step and change: what is nearer than this to a target is at it, and what is
# over a limit by less is within it. A sum of floats does not tell.
ROUNDING = 1e-9
MANY = 1e15  # ticks: braking that takes longer is not braking, and float counts no further
# A target that speeds up or slows down leaves less acceleration for going to it, but not less
# than this share of it: how it moves is only guessed.
LEAST_SHARE = 0.2


class JointBounds(NamedTuple):
    """The limits of a position, a tick.

    :ivar low: of its range, as is `high`.
    :ivar step: furthest that one command may lead.
    :ivar change: of the step, from one command to the next; infinite without such a limit.
    :ivar slack: what is rounding.
    """

    low: float
    high: float
    step: float
    change: float
    slack: float


# A joint as it was last commanded, and the target that it follows, as a bare tuple: each tick
# makes one for each joint.
#
# position: of the last command
# step:     that led there
# target:   of the last command, inside the range
# drift:    how far the target moves in a tick, as far as a joint could follow that
# bend:     how the drift changes in a tick, smoothed
JointMotion = tuple[float, float, float, float, float]


def standing(position: float) -> JointMotion:
    """A joint at rest that is to stay there."""
    return position, 0.0, position, 0.0, 0.0


def braking_step(room: float, change: float) -> float:
    """The longest step after which a joint still comes to rest within the room there was.

    :param room: not negative.
    """
    ratio = room / change
    if ratio <= 1:
        return room
    if ratio > MANY * MANY:
        ratio = MANY * MANY
    # The step d is followed by n shorter ones, where n c < d <= (n + 1) c.
    n = math.floor(math.sqrt(2 * ratio + 0.25) - 0.5)
    return change * (ratio / (n + 1) + 0.5 * n)


def stopping_distance(step: float, change: float) -> float:
    """How far a joint goes on after a step when it brakes, with the step's sign."""
    if abs(step) <= change:
        return 0.0
    ratio = min(abs(step) / change, MANY)
    n = math.floor(ratio)
    return math.copysign(change * n * (ratio - 0.5 * (n + 1)), step)


def rest_of(joint: JointBounds, motion: JointMotion) -> float:
    """Where a joint that brakes comes to rest."""
    place = motion[0] + stopping_distance(motion[1], joint.change)
    return min(max(place, joint.low), joint.high)


def follow(joint: JointBounds, motion: JointMotion, target: float) -> JointMotion:
    """One command towards a target that may move.

    A target that the limits allow to follow is met to the last digit. Another is gone after with
    the target's own drift and, on top of it, the longest step from which what lies between can
    still be braked: so it is met as soon as the limits allow, and not passed. The drift counts
    only as far as a joint could follow it, lest a target that jumps to and fro leads away from
    both its places.

    :param target: inside the range.
    """
    low, high, longest, change, _ = joint
    position, last_step, last_target, last_drift, bend = motion
    if change == math.inf:
        nearest = min(max(target, position - longest), position + longest)
        return _moved(joint, position, nearest, target, 0.0, 0.0)
    drift = target - last_target
    if drift > last_drift + change:
        drift = last_drift + change
    elif drift < last_drift - change:
        drift = last_drift - change
    if drift > longest or drift < -longest:
        drift = math.copysign(longest, drift)
    bend = 0.5 * (bend + drift - last_drift)
    step = target - position
    apart = step - drift  # what the target's own way leaves between them
    least = LEAST_SHARE * change
    if -least <= apart <= least:
        # The usual case first: a joint that goes on as it is wanted to.
        if (
            -longest <= step <= longest
            and last_step - change <= step <= last_step + change
            and step * step <= 2 * change * (high - target if step > 0 else target - low)
        ):
            return target, step, target, drift, bend
    else:
        share = change + (bend if apart > 0 else -bend)
        if share > change:
            share = change
        elif share < least:
            share = least
        if apart > 0:
            step = drift + braking_step(apart, share)
        else:
            step = drift - braking_step(-apart, share)
    if step > last_step + change:
        step = last_step + change
    elif step < last_step - change:
        step = last_step - change
    step = _in_time(joint, position, last_step, step)
    return _moved(joint, position, position + step, target, drift, bend)


def begin(joint: JointBounds, motion: JointMotion, target: float) -> JointMotion:
    """The first command, of a joint that stands.

    From outside its range it goes to the end of the range at once, its step counting from where
    it is measured, and its motion from the end of the range: what is wrong is rather the
    measurement.
    """
    measured = motion[0]
    inside = min(max(measured, joint.low), joint.high)
    motion = follow(joint, standing(inside), target)
    if inside == measured:
        return motion
    nearest = min(max(motion[0], measured - joint.step), measured + joint.step)
    return _moved(joint, inside, nearest, *motion[2:])


def brake(joint: JointBounds, motion: JointMotion, commands: int | None = None) -> JointMotion:
    """One command of a joint that comes to rest.

    :param commands: that are left for it, this one included; where the limit would take more of
        them, braking is as much harder.
    """
    position, last_step = motion[:2]
    if last_step == 0.0:
        return standing(position)
    size, change = abs(last_step), joint.change
    if commands is not None:
        change = max(change, size / commands)
    step = math.copysign(max(size - change, 0.0), last_step)
    step = _in_time(joint, position, last_step, step)
    position, step = _moved(joint, position, position + step, position, 0.0, 0.0)[:2]
    # A target that goes on from here is one that moves as the joint does.
    return position, step, position, step, 0.0


def commands_to_rest(speed: float, change: float) -> int:
    """How many commands braking takes, from a step or a velocity."""
    return math.ceil(min(abs(speed) / change, MANY) - ROUNDING)


def velocity_towards(limit: tuple[float, float], before: float, wanted: float) -> float:
    """The velocity nearest to a wanted one that the limits allow; the speed's counts first.

    :param limit: the largest, and how much it may change.
    :param before: the last one.
    """
    largest, change = limit
    velocity = wanted
    if abs(wanted - before) > change * (1 + ROUNDING):
        velocity = before + (change if wanted > before else -change)
    if velocity > largest:
        return largest
    return velocity if velocity > -largest else -largest


def _in_time(joint: JointBounds, position: float, last_step: float, step: float) -> float:
    """The step, no longer than its limit, and so that braking ends inside the range.

    Where other limits have come, both may ask for more than the acceleration there may be: for
    the range, that is the same in each tick up to its end.
    """
    low, high, longest, change, slack = joint
    size, room = (step, high - position) if step > 0 else (-step, position - low)
    if size > longest:
        size = longest
    # For most there is room enough, which is quicker to see.
    reach = size + 0.5 * change
    if reach * reach > 2 * change * room:
        in_time = braking_step(room, change)
        if size <= in_time:
            return math.copysign(size, step)
        size = in_time
        ahead = last_step if step > 0 else -last_step
        if ahead - size > change + slack:
            ticks = math.floor(min(2 * room / ahead, MANY) + 1 + ROUNDING)
            size = min(ahead - ahead / ticks, longest)
    return math.copysign(size, step)


def _moved(
    joint: JointBounds, before: float, position: float, target: float, drift: float, bend: float
) -> JointMotion:
    """The motion after a command, which rounding keeps neither from its target nor in the range.

    :param before: the position before it.
    """
    low, high, _, _, slack = joint
    if -slack <= position - target <= slack:
        position = target
    if position > high:
        position = high
    elif position < low:
        position = low
    step = position - before
    if step > LARGEST or step < -LARGEST:
        step = math.copysign(LARGEST, step)
    return position, step, target, drift, bend
