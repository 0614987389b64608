"""The way of one action through the limits: a function of it and of the motion there is."""

from dataclasses import dataclass
from typing import NamedTuple

from act_ros.safety.bounds import MANY, Bounds
from act_ros.safety.braking import (
    JointMotion,
    begin,
    brake,
    follow,
    standing,
    velocity_towards,
)
from act_ros.safety.limits import TURN


@dataclass(frozen=True)
class Motion:
    """What was commanded last, and how it got there.

    :ivar joints: of each position.
    :ivar velocities: as they were sent.
    :ivar fresh: nothing was sent yet: the measured pose counts as the last command.
    """

    joints: list[JointMotion]
    velocities: list[float]
    fresh: bool = False

    @property
    def positions(self) -> list[float]:
        """Of the last command."""
        return [joint[0] for joint in self.joints]

    @property
    def stands(self) -> bool:
        """Whether the last command moved nothing."""
        return not (any(step for _, step, *_ in self.joints) or any(self.velocities))


class Passage(NamedTuple):
    """An action from stage to stage.

    :ivar ramped: positions behind the ramp.
    :ivar targets: the same inside the range.
    :ivar speeds: velocities before their limits.
    :ivar of_steps: places of those that are of a step, beside a position that is sent otherwise
        than it was wanted.
    :ivar motion: what is sent.
    """

    ramped: list[float]
    targets: list[float]
    speeds: list[float]
    of_steps: set[int]
    motion: Motion


def at_rest(positions: list[float], velocities: int) -> Motion:
    """Joints that are measured there, and have still to be commanded.

    :param velocities: how many there are.
    """
    return Motion([standing(place) for place in positions], [0.0] * velocities, fresh=True)


def pass_through(
    bounds: Bounds,
    motion: Motion,
    wanted: list[float],
    said: list[float],
    start: list[float],
    weight: float,
) -> Passage:
    """Limit one action.

    :param wanted: its positions.
    :param said: its velocities, those beside a position first.
    :param start: of the ramp.
    :param weight: how much of the action the ramp lets through, 0 to 1.
    """
    if bounds.turning:
        wanted = _by_the_shorter_way(bounds, wanted, motion)
    ramped = wanted
    if weight != 1.0:
        # As a sum of two products: the difference of huge numbers overflows.
        rest = 1.0 - weight
        ramped = [rest * a + weight * b for a, b in zip(start, wanted, strict=True)]
    joints = bounds.joints
    targets = [
        joint.low if place < joint.low else joint.high if place > joint.high else place
        for place, joint in zip(ramped, joints, strict=True)
    ]
    go = begin if motion.fresh else follow
    moved = list(map(go, joints, motion.joints, targets))

    beside, of_steps = bounds.beside, set()
    speeds = said[: len(beside)] + [weight * speed for speed in said[len(beside) :]]
    for i, place in enumerate(beside):
        changed = abs(moved[place][0] - wanted[place]) > joints[place].slack
        if changed:
            speeds[i] = moved[place][1] * bounds.rate
            of_steps.add(i)
    velocities = list(map(velocity_towards, bounds.speeds, motion.velocities, speeds))
    return Passage(ramped, targets, speeds, of_steps, Motion(moved, velocities))


def come_to_rest(
    bounds: Bounds, motion: Motion, refuges: dict[int, float], commands: int | None = None
) -> Motion:
    """One command of joints that brake.

    :param refuges: where some joints go instead, by place. They are there already, it is the
        command that has to follow: with no velocity.
    :param commands: that are left for coming to rest, this one included: all brake, as much
        harder as that takes.
    """
    moved, led = [], refuges if commands is None else {}
    for i, (joint, state) in enumerate(zip(bounds.joints, motion.joints, strict=True)):
        position, step = state[:2]
        if motion.fresh or i in led:
            target = min(max(led.get(i, position), joint.low), joint.high)
            go = begin if motion.fresh else follow
            moved.append(go(joint, (position, step, target, 0.0, 0.0), target))
        else:
            moved.append(brake(joint, state, commands))
    speeds = [0.0] * len(motion.velocities)
    for i, place in enumerate(bounds.beside):
        if place not in refuges:
            speeds[i] = moved[place][1] * bounds.rate
    limits = bounds.speeds
    if commands is not None:
        limits = [
            (largest, max(change, abs(velocity) / commands))
            for (largest, change), velocity in zip(limits, motion.velocities, strict=True)
        ]
    return Motion(moved, list(map(velocity_towards, limits, motion.velocities, speeds)))


def _by_the_shorter_way(bounds: Bounds, wanted: list[float], motion: Motion) -> list[float]:
    """The same positions, continuous joints turned to where they are nearest to a command."""
    wanted = list(wanted)
    for place in bounds.turning:
        turns = (motion.joints[place][0] - wanted[place]) / TURN
        if abs(turns) < MANY:
            wanted[place] += TURN * round(turns)
    return wanted
