"""How smooth the motion is when chunks disagree and come late, for several rules of blending.

A policy by rule moves the simulated arm from pose to pose through the control loop and its
limits, in simulated time: no network, no cameras, no ROS. The path is known: moves of minimum
jerk between random poses. A chunk leads from where the arm is seen back to that path, and errs
as a trained policy does: it has an offset of its own in every joint, constant plus a drift
along the chunk. Passes are back to back; one that ends at a tick is followed by the pass of the
observation of the tick before. All rules get the same paths and the same offsets.

A row is a rule at a latency, over all episodes:

  latency_ms          of a pass
  rule                see below
  jerk_rms, jerk_max  of what is commanded, over the arm's joints [rad/s^3]
  seam_mrad           largest change of a joint in one tick where the chunks behind it change
  limit_hits          how often a limit changed a command, an episode; `hits` by kind
  speed_error         velocities sent, against the change of their positions, rms [mrad/s]
  error_mrad          the arm's distance from the path, rms of the joints: smooth is easily late
  reached_percent     poses to which every joint has come within 60 mrad when the move ends
  chunks              behind a command, on average
  without_plan        ticks that no chunk covered, an episode

The rules:

  public     as published: no fade, and no limit of the acceleration; the other limits are on
  default    the task file, as it is shipped
  fade S     with another fade [s]
  newest     every entry follows the newest chunk; hard: with fade 0
  off        aggregation off; hard: with fade 0
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from act_ros import cli
from act_ros.child import end_with_parent
from act_ros.config import DEFAULT_TASK, task_file
from act_ros.control import LockStep
from act_ros.observation import Snapshot
from act_ros.parameter_file import read_parameter_file
from act_ros.parameters import Settings
from act_ros.safety import Limits
from act_ros.sim.robot import JOINT_COUNT, SimulatedRobot
from act_ros.task import Task
from benchmarks.motion_policy import STATED, Expert, Route
from benchmarks.table import command_line, write

LATENCIES = (60, 200, 500, 1000)  # [ms]
FADES = (0.0, 0.1, 0.2, 0.4, 0.8)  # [s]
CHUNK = 100
ARM_JOINTS = JOINT_COUNT - 1  # the rest is the gripper
EPISODES, SECONDS = 30, 8.0
QUICK = {'episodes': 1, 'seconds': 4.0}
SIZES = 60, 1000  # of chunks: one is to outlast the slowest pass
FREE = 1e9  # an acceleration that nothing reaches [rad/s^2]
REACHED = 0.06  # three times a chunk's offset [rad]
TIMEOUT = 5.0  # command_timeout: what a chunk was made from is up to two passes old [s]

Row = dict[str, Any]
Job = tuple[int, str, Settings, int, int, float]  # what `measure_row` takes


def rules(settings: Settings) -> dict[str, Settings]:
    """The parameters of each rule.

    :param settings: as they are shipped.
    """
    every = settings.task_action
    free = {
        joint: replace(limits, max_acceleration=FREE)
        for joint, limits in settings.joint_limits.items()
    }
    return {
        'public': replace(settings, fade=0.0, joint_limits=free),
        'default': settings,
        **{
            f'fade {fade:g}': replace(settings, fade=fade)
            for fade in FADES
            if fade != settings.fade
        },
        'newest': replace(settings, follow_newest=every),
        'newest, hard': replace(settings, follow_newest=every, fade=0.0),
        'off': replace(settings, temporal_aggregation=False),
        'off, hard': replace(settings, temporal_aggregation=False, fade=0.0),
    }


def measure(
    latencies: Sequence[int] = LATENCIES,
    chunk_size: int = CHUNK,
    episodes: int = EPISODES,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Run every rule at every latency.

    :param latencies: of a pass [ms].
    :param seconds: of an episode.
    :returns: the rows, and what they were measured with.
    """
    shipped = read_parameter_file(task_file(DEFAULT_TASK))
    jobs = [
        (latency, name, settings, chunk_size, episodes, seconds)
        for latency in latencies
        for name, settings in rules(replace(shipped, command_timeout=TIMEOUT)).items()
    ]
    with get_context('spawn').Pool(None, _begin_worker, [os.getpid()]) as pool:
        rows = list(track(pool.imap(_measure_job, jobs), '', len(jobs), transient=True))
    jerk, step = path_figures(episodes, seconds, shipped.control_rate)
    return {
        **STATED,
        'rate_hz': shipped.control_rate,
        'chunk_size': chunk_size,
        'episodes': episodes,
        'episode_s': seconds,
        'default_fade_s': shipped.fade,
        'path_jerk_rms': rounded(jerk),
        'path_step_mrad': rounded(1e3 * step),
        'rows': rows,
    }


def _begin_worker(parent: int) -> None:
    """Ctrl-C is the parent's to hear; its end is this process's, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def _measure_job(job: Job) -> Row:
    return measure_row(*job)


def measure_row(
    latency: int, name: str, settings: Settings, chunk_size: int, episodes: int, seconds: float
) -> Row:
    """One rule at one latency."""
    done = [
        Episode(settings, chunk_size, latency, seconds, seed).run() for seed in range(episodes)
    ]
    hits = Counter[str]()
    for episode in done:
        hits.update({k: sum(counts.values()) for k, counts in episode.loop.limiter.hits.items()})
    motions = [episode.loop.motion for episode in done]
    errors = np.concatenate([episode.errors for episode in done])
    slips = np.concatenate([episode.slips() for episode in done])
    at_ends = np.concatenate([episode.at_ends for episode in done])
    return {
        'latency_ms': latency,
        'rule': name,
        'jerk_rms': rounded(np.sqrt(np.mean([m.arm_jerk_rms**2 for m in motions]))),
        'jerk_max': rounded(max(m.jerk_max[m.arm].max() for m in motions)),
        'seam_mrad': rounded(1e3 * max(m.seam[m.arm].max() for m in motions)),
        'limit_hits': rounded(hits.total() / episodes),
        'hits': {kind: rounded(count / episodes) for kind, count in hits.items()},
        'speed_error': rounded(1e3 * np.sqrt(np.mean(slips**2))),
        'error_mrad': rounded(1e3 * np.sqrt(np.mean(errors**2))),
        'reached_percent': rounded(100 * np.mean(np.abs(at_ends).max(axis=1) < REACHED)),
        'chunks': rounded(np.mean([count for episode in done for count in episode.depths])),
        'without_plan': rounded(sum(e.loop.ticks_without_plan for e in done) / episodes),
    }


class Episode:
    """One run of a rule along one path.

    :param latency: of a pass [ms].
    :param seconds: how long it lasts.
    :param seed: of the path and the offsets.
    :ivar loop: the control loop: it knows the motion and the limit hits.
    :ivar errors: (ticks, arm joints) from the path [rad].
    :ivar at_ends: (moves, arm joints) the same when each move ought to have ended.
    :ivar depths: chunks behind each command.
    """

    def __init__(
        self, settings: Settings, chunk_size: int, latency: int, seconds: float, seed: int
    ) -> None:
        self._task = task = Task.from_settings(settings)
        limits = Limits.from_settings(settings, task)
        self._lockstep = LockStep(settings, task, chunk_size, limits, latency / 1e3)
        self.loop = self._lockstep.loop
        self._times = np.arange(round(seconds * task.rate)) / task.rate
        rng = np.random.default_rng(seed)
        self._route = Route(rng, seconds)
        self._expert = Expert(self._route, rng, chunk_size, task.rate)
        self._robot = SimulatedRobot(task.joints)
        self.depths: list[int] = []
        self._sent: list[np.ndarray] = []

    def run(self) -> 'Episode':
        """Run it to its end; the same."""
        arm = self.loop.motion.arm
        seen = np.array([self._tick(now) for now in self._times])
        self.errors = (seen - self._route.at(self._times)[0])[:, arm]
        ends = np.rint(self._route.ends * self._task.rate).astype(int)
        self.at_ends = self.errors[ends[ends < len(seen)]]
        return self

    def slips(self) -> np.ndarray:
        """(messages - 2, arm joints) velocities sent, against what the positions do [rad/s]."""
        positions, velocities = np.split(np.array(self._sent), 2, axis=1)
        moved = (positions[2:] - positions[:-2]) * self._task.rate / 2
        return (velocities[1:-1] - moved)[:, :ARM_JOINTS]

    def _tick(self, now: float) -> np.ndarray:
        """Go through a tick as the node does; where the arm is."""
        robot, ns = self._robot, round(now * 1e9)
        robot.advance(now)
        seen = robot.positions
        command = self._lockstep.tick(ns, Snapshot(seen, {}, {'arm': ns}, ns), seen, self._infer)
        if command is not None:
            robot.command(now, *np.split(command.values, 2))
            self.depths.append(len(command.chunk_steps))
            self._sent.append(command.values)
        return seen

    def _infer(self, seen: Snapshot) -> np.ndarray:
        return self._expert.predict(seen.qpos, seen.taken / 1e9)


def path_figures(episodes: int, seconds: float, rate: float) -> tuple[float, float]:
    """Of the paths themselves: rms of the arm's jerk [rad/s^3], largest step in a tick [rad]."""
    times = np.arange(round(seconds * rate)) / rate
    paths = [Route(np.random.default_rng(seed), seconds).at(times)[0] for seed in range(episodes)]
    arm = np.array(paths)[..., :ARM_JOINTS]
    jerk = np.diff(arm, 3, axis=1) * rate**3
    return float(np.sqrt(np.mean(jerk**2))), float(np.abs(np.diff(arm, axis=1)).max())


def rounded(value: float | np.floating) -> float:
    """To three digits that mean something."""
    return float(f'{value:.3g}')


def show(figures: dict[str, Any], path: Path | None) -> None:
    """Print the rows, and write everything to a JSON file where there is one."""
    rows, stated = figures['rows'], {k: v for k, v in figures.items() if k != 'rows'}
    table = Table(title='motion', title_justify='left', box=SIMPLE_HEAD, padding=0)
    shown = [key for key in rows[0] if key != 'hits']
    for key in shown:
        table.add_column(key.replace('_', '\n'), no_wrap=True)
    for row, following in pairwise([*rows, {'latency_ms': None}]):
        table.add_row(
            *(row[key] if key == 'rule' else f'{row[key]:g}' for key in shown),
            end_section=row['latency_ms'] != following['latency_ms'],
        )
    console = Console()
    console.print(table)
    console.print(', '.join(f'{key} {value:g}' for key, value in stated.items()))
    write(figures, path)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = command_line('motion', __doc__)
    parser.add_argument(
        '--chunk-size', type=int, default=CHUNK, metavar='K',
        help=f'actions in a chunk (default: {CHUNK}, which passes of 1000 ms leave no overlap)',
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if not SIZES[0] <= arguments.chunk_size <= SIZES[1]:
        parser.error(f'--chunk-size is {arguments.chunk_size}, expected {SIZES[0]} to {SIZES[1]}')
    size: dict[str, Any] = QUICK if arguments.quick else {}

    def work() -> None:
        show(measure(chunk_size=arguments.chunk_size, **size), arguments.json)

    return cli.run('motion', work)


if __name__ == '__main__':
    sys.exit(main())
