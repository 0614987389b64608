"""The demonstration's picture: one attempt as the cameras see it, and the curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from act_ros.demo.account import Account, Moment
from act_ros.demo.attempts import Attempt, Attempts
from act_ros.demo.monitor import Monitor
from act_ros.files import whole
from act_ros.sim.renderer import Renderer
from act_ros.sim.scene import default_cameras, placed
from act_ros.sim.world import REACH, Scenario
from act_ros.task import Task

SIZE = (360, 480)  # of the views, height and width [px]: larger than what the policy sees
NEAR = 0.1  # what is nearer is drawn as this [cm]
GOOD, BAD, GREY = '#2c8a4b', '#c0392b', '#5b6770'


def draw(monitor: Monitor, attempts: Attempts, task: Task, path: Path) -> None:
    """Write it as PNG, whole or not at all."""
    figure = Figure(figsize=(17.6, 8.2))
    left, right = figure.subfigures(1, 2, width_ratios=(1.24, 1), squeeze=False)[0]
    shown = _shown(attempts)
    if shown is not None:
        _views(left, monitor, shown, task)
    _curves(right, monitor, attempts, shown)
    with whole(path) as part:
        figure.savefig(part, format='png', dpi=100)


def _shown(attempts: Attempts) -> Attempt | None:
    """The attempt to be shown: the first that succeeded, else the first."""
    begun = [attempt for attempt in attempts.made if attempt.began is not None]
    whole = [attempt for attempt in begun if attempt.success and attempt.ended is not None]
    return next(iter(whole or begun), None)


def _views(figure: SubFigure, monitor: Monitor, attempt: Attempt, task: Task) -> None:
    """What each camera sees, drawn from what the robot has said of itself."""
    moments = _moments(monitor, attempt)
    axes = figure.subplots(len(task.cameras), len(moments), squeeze=False)
    figure.subplots_adjust(left=0.03, right=1.0, top=0.91, bottom=0.01, wspace=0.015, hspace=0.02)
    for row, (name, camera) in zip(axes, default_cameras(task.cameras).items(), strict=True):
        renderer = Renderer(camera, *SIZE)
        for axis, moment in zip(row, moments.values(), strict=True):
            axis.imshow(renderer.render(moment))
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=9)
    for axis, title in zip(axes[0], moments, strict=True):
        axis.set_title(title, fontsize=10)
    result = 'the handle is grasped' if attempt.success else attempt.outcome or 'cut off'
    figure.suptitle(
        f'Scene {attempt.seed}: {result}', y=0.985, fontsize=13, weight='bold',
        color=GOOD if attempt.success else BAD,
    )  # fmt: skip


def _moments(monitor: Monitor, attempt: Attempt) -> dict[str, Moment]:
    """Three moments of an attempt, with titles."""
    begun, ended = attempt.span
    accounts = [account for account in monitor.accounts if begun <= account.stamp <= ended]
    nearest = min(accounts, key=lambda account: account.distance)
    held = next((account for account in accounts if account.grasped), None)
    decisive = held or nearest
    start = accounts[0].distance
    on_way = next((a for a in accounts if a.distance < 0.5 * start), accounts[0])
    titles = ('on the way', 'the grasp' if held else 'nearest to the handle', 'afterwards')
    chosen = (min(on_way, decisive, key=lambda account: account.stamp), decisive, accounts[-1])
    return {
        f'{title}, {account.stamp - begun:.1f} s': _moment(monitor, account)
        for title, account in zip(titles, chosen, strict=True)
    }


def _moment(monitor: Monitor, account: Account) -> Moment:
    """What there was to see when an account was made."""
    plate = placed(Scenario.from_seed(account.seed).place)
    base = _at(monitor.states[monitor.base], account.stamp)
    return Moment(
        _at(monitor.states[monitor.arm], account.stamp), base[:3], base[3:],
        np.stack((plate, account.unit)),
    )  # fmt: skip


def _at(states: Sequence[tuple[float, np.ndarray]], time: float) -> np.ndarray:
    """States between those that were seen."""
    times = [stamp for stamp, _ in states]
    return np.array([np.interp(time, times, one) for one in np.array([x for _, x in states]).T])


def _curves(
    figure: SubFigure, monitor: Monitor, attempts: Attempts, shown: Attempt | None
) -> None:
    """The distance in all attempts; commands and measured positions in the one that is shown."""
    distance, position, velocity = figure.subplots(3, 1)
    figure.subplots_adjust(left=0.075, right=0.86, top=0.945, bottom=0.06, hspace=0.38)
    _distances(distance, monitor, attempts)
    if shown is None:
        return
    begun, ended = shown.span
    commands = [command for command in monitor.commands if begun <= command[0] <= ended]
    times = np.array([command[0] for command in commands]) - begun
    states = [state for state in monitor.states[monitor.arm] if begun <= state[0] <= ended]
    measured = np.array([state[1] for state in states])
    measured_times = np.array([state[0] for state in states]) - begun
    for axis, column, title in (
        (position, 1, f'Scene {shown.seed}: commands (lines) and measured positions (dots) '
                      '[rad; gripper 0..1]'),
        (velocity, 2, f'Scene {shown.seed}: velocities of the commands [rad/s; gripper 1/s]'),
    ):  # fmt: skip
        values = np.array([command[column] for command in commands])
        for j, joint in enumerate(monitor.joints):
            (line,) = axis.plot(times, values[:, j], lw=1.2, label=joint)
            if column == 1 and len(states):
                axis.plot(
                    measured_times, measured[:, j], '.', ms=2.5, color=line.get_color()
                )
        if shown.time_to_grasp is not None:
            axis.axvline(shown.time_to_grasp, color=GOOD, lw=1)
        axis.set_xlim(0, times[-1])
        _decorate(axis, title)
    position.legend(fontsize=8, loc='upper left', bbox_to_anchor=(1.0, 1.0), frameon=False)
    velocity.set_xlabel('since the first command of the attempt [s]', fontsize=8)


def _distances(axis: Axes, monitor: Monitor, attempts: Attempts) -> None:
    first = monitor.commands[0][0]
    for attempt in attempts.made:
        begun, ended = attempt.span
        accounts = [a for a in monitor.accounts if begun <= a.stamp <= ended]
        if not accounts:
            continue
        times = np.array([account.stamp for account in accounts]) - first
        values = 100 * np.array([account.distance for account in accounts])
        colour = GOOD if attempt.success else BAD if attempt.outcome else GREY
        axis.axvspan(times[0], times[-1], color=colour, alpha=0.08, lw=0)
        axis.plot(times, np.maximum(values, NEAR), color=colour, lw=1.3)
        if attempt.time_to_grasp is not None:
            at = begun + attempt.time_to_grasp - first
            axis.plot(at, max(np.interp(at, times, values), NEAR), 'o', color=colour, ms=7)
    axis.axhline(100 * REACH, color=GREY, ls='--', lw=1)
    axis.set_yscale('log')
    axis.set_ylim(0.6 * NEAR, 100)
    axis.set_yticks([0.1, 1, 10, 100], ['0.1', '1', '10', '100'])
    axis.set_xlim(0, monitor.accounts[-1].stamp - first)
    made = len(attempts.decided)
    _decorate(axis, f'{attempts.successes} of {made} attempts succeeded: distance from the '
                    f'handle [cm]; dots: grasped, dashes: in reach')  # fmt: skip
    axis.set_xlabel('since the first command [s]', fontsize=8)


def _decorate(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=10, loc='left')
    axis.tick_params(which='both', labelsize=8)
    axis.grid(alpha=0.3, lw=0.6)
