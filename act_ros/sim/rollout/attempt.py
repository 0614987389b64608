"""One attempt of a roll-out, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from act_ros.control import MotionMeter
from act_ros.interfaces import absolute
from act_ros.parameters import Settings
from act_ros.policy.kept import loaded
from act_ros.sim.acting import START, ExpertPilot, act
from act_ros.sim.command import command_output
from act_ros.sim.feed import Feed
from act_ros.sim.rollout.line import Line, Questions
from act_ros.sim.rollout.pilot import PolicyPilot
from act_ros.sim.world import TIME_LIMIT, Scenario, World
from act_ros.task import Task

LOOKS = 0.5  # how often it is asked whether to go on [s of simulated time]


@dataclass(frozen=True)
class Job:
    """One attempt: what a worker does at a time.

    :ivar label: of who leads the arm.
    :ivar settings: the node's parameters, with the checkpoint's `ckpt_dir`.
    :ivar seed: of the scenario.
    :ivar latency: of a forward pass [s]; None = the script leads the arm.
    :ivar line: between the robot and the policy; None = there is none.
    """

    label: str
    settings: Settings
    seed: int
    latency: float | None
    line: Line | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f'{self.label}, seed {self.seed}'


@dataclass(frozen=True)
class Attempt:
    """What came of one.

    :ivar seed: of the scenario.
    :ivar success: as the world judges.
    :ivar grasped: when the handle was grasped that was held to the end [s]; None if none was.
    :ivar distances: (ticks,) of the gripper from the handle [m].
    :ivar jerks: of the arm that were measured.
    :ivar jerk_rms: of the arm's joints together [rad/s^3]; nan where nothing was measured.
    :ivar jerk_max: of any [rad/s^3].
    :ivar seam: largest change of any in a tick where the chunks change [rad].
    :ivar hits: kind of limit to how often it cut in.
    :ivar without_plan: ticks that no chunk covered.
    :ivar stops: how often commands ended.
    :ivar late: chunks that came when all of them was past.
    :ivar trouble: why commands ended, or never began.
    :ivar durations: of the forward passes [s].
    """

    seed: int
    success: bool
    grasped: float | None
    distances: np.ndarray
    jerks: int
    jerk_rms: float
    jerk_max: float
    seam: float
    hits: dict[str, int] = field(default_factory=dict)
    without_plan: int = 0
    stops: int = 0
    late: int = 0
    trouble: str = ''
    durations: tuple[float, ...] = ()


def do_attempt(job: Job, tell: Callable[[int], bool]) -> Attempt | None:
    """Let a policy, or the script, try once.

    :param tell: asked now and then whether to go on.
    :returns: None where it was not to go on.
    :raises ActError: policy, parameters and robot do not fit each other.
    """
    settings, task = job.settings, Task.from_settings(job.settings)
    world, feed = _stage(settings)
    world.begin(Scenario.from_seed(job.seed))
    feed.begin()
    rate = settings.tick_rate
    pilot: PolicyPilot | ExpertPilot
    if job.latency is None:
        pilot, motion = ExpertPilot(world, feed, rate), MotionMeter(task, rate)
    else:
        pilot = _policy_pilot(job, job.latency)
        motion = pilot.loop.motion
    topic = absolute(command_output(settings, task).topic)
    distances: list[float] = []
    asked = 0.0
    for recorded in act(world, feed, pilot, topic, rate, TIME_LIMIT):
        seconds = (recorded.receipt - START) / 1e9
        if recorded.topic == topic and isinstance(pilot, ExpertPilot):
            # Any of its changes in a tick compares with a seam.
            motion.look(recorded.message.position, np.array([len(distances)]))
        if seconds * rate >= len(distances):
            distances.append(world.distance)
        if world.succeeded:
            break
        if seconds >= asked + LOOKS:
            asked = seconds
            if not tell(0):
                return None
    tell(1)
    return Attempt(
        seed=job.seed, success=world.succeeded, grasped=world.grasped_at,
        distances=np.array(distances), **_motion(motion),
        **(_loop(pilot) if isinstance(pilot, PolicyPilot) else {}),
    )  # fmt: skip


def _policy_pilot(job: Job, latency: float) -> PolicyPilot:
    policy = loaded(job.settings)
    if job.line is None:
        return PolicyPilot(policy, job.settings, latency)
    course = Questions(job.line, latency, START, job.seed)
    return PolicyPilot(policy, job.settings, latency + job.line.longest, course)


@lru_cache(maxsize=1)
def _stage(settings: Settings) -> tuple[World, Feed]:
    """A world and its cameras, for one attempt after the other: they take a while to make."""
    task = Task.from_settings(settings)
    world = World(task.joints)
    return world, Feed(world, task, settings, START)


def _motion(motion: MotionMeter) -> dict[str, Any]:
    """The figures of the arm's motion."""
    arm = motion.arm
    squares = np.where(motion.count, motion.jerk_rms**2 * motion.count, 0.0)[arm].sum()
    jerks = int(motion.count[arm].sum())
    return {
        'jerks': jerks,
        'jerk_rms': float(np.sqrt(squares / jerks)) if jerks else np.nan,
        'jerk_max': float(np.fmax.reduce(motion.jerk_max[arm])),
        'seam': float(np.fmax.reduce(motion.seam[arm])),
    }


def _loop(pilot: PolicyPilot) -> dict[str, Any]:
    """What the control loop had to do."""
    loop = pilot.loop
    hits = {kind: sum(counts.values()) for kind, counts in loop.limiter.hits.items()}
    return {
        'hits': {kind: count for kind, count in hits.items() if count},
        'without_plan': loop.ticks_without_plan,
        'stops': loop.status.count,
        'late': loop.plan.late,
        'trouble': pilot.trouble,
        'durations': tuple(pilot.durations),
    }
