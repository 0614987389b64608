"""The limits of each joint, as the parameters give them.

Everything here is in the robot's units. A joint is a source and name of the action, in the
order in which the action first names them; it has a position, a velocity, or both.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from act_ros.errors import LimitError
from act_ros.parameters import Settings
from act_ros.task import Entry, Task

TURN = 2 * np.pi  # of a continuous joint [rad]
LIMITED = (
    'position_min',
    'position_max',
    'max_step',
    'max_velocity',
    'max_acceleration',
    'max_tracking_error',
)


@dataclass(frozen=True)
class Limits:
    """Limits of each joint, (joints,) float64 each; infinite where there is none.

    :ivar position_min: lowest position.
    :ivar position_max: highest position.
    :ivar max_step: furthest that a joint may be sent in one tick.
    :ivar max_velocity: largest speed, of velocities and of steps.
    :ivar max_acceleration: how much velocities, and those of steps, may change in a second.
    :ivar max_tracking_error: how far a joint may be from its command.
    :ivar continuous: (joints,) bool: positions that differ by whole turns are the same.
    :ivar range_tolerance: how far outside its range a joint may stand at the start.
    :ivar ramp_time: of the transition from the pose there is to the policy's [s].
    """

    position_min: np.ndarray
    position_max: np.ndarray
    max_step: np.ndarray
    max_velocity: np.ndarray
    max_acceleration: np.ndarray
    max_tracking_error: np.ndarray
    continuous: np.ndarray
    range_tolerance: float
    ramp_time: float

    @classmethod
    def from_settings(cls, settings: Settings, task: Task) -> 'Limits':
        """Read the limits of a task's joints.

        :param settings: an array that is not set means that no joint has this
            limit, which only entries listed in `unlimited` may be without.
        :raises LimitError: naming the parameter and the joint.
        """
        joints = joints_of(task)
        named = [str(places[0]) for places in joints]
        entries = [str(entry) for entry in task.action]
        _check_listed('unlimited', settings.unlimited, entries, 'entry')
        action_turns(task, settings.continuous)
        arrays, given = {}, set()
        for parameter in LIMITED:
            numbers = getattr(settings, parameter)
            if numbers:
                given.add(parameter)
            else:
                lowest = parameter == 'position_min'
                numbers = (-np.inf if lowest else np.inf,) * len(joints)
            if len(numbers) != len(joints):
                raise LimitError(
                    f'parameter {parameter!r} has {len(numbers)} values, expected {len(joints)}, '
                    f'one each for {", ".join(named)}'
                )
            arrays[parameter] = np.array(numbers, dtype=np.float64)
        for i, places in enumerate(joints):
            # What says infinite says so on purpose where a joint may well be without this limit:
            # a gripper that an object stops, a joint that turns for ever.
            free = {'max_tracking_error'} & given
            if named[i] in settings.continuous:
                free |= {'position_min', 'position_max'} & given
            if named[i] in settings.unlimited:
                free = set(LIMITED)
            _check_joint(places, {name: arrays[name][i] for name in LIMITED}, free)
            ends = arrays['position_min'][i], arrays['position_max'][i]
            if named[i] in settings.continuous and np.isinf(ends).sum() == 1:
                raise LimitError(
                    f'position_min of {named[i]} is {ends[0]:g} and position_max {ends[1]:g}; '
                    f'a joint in continuous ends on both sides, or is -.inf and .inf'
                )
        return cls(
            **arrays,
            continuous=np.array([name in settings.continuous for name in named]),
            range_tolerance=settings.range_tolerance,
            ramp_time=settings.ramp_time,
        )


def action_turns(task: Task, continuous: Sequence[str]) -> np.ndarray:
    """By how much each entry of an action may differ and be the same, (action_dim,).

    :param continuous: the parameter: names of positions.
    :returns: a turn in the policy's units, infinite where nothing else is the same.
    :raises LimitError: a name is no position of the action.
    """
    names = [str(entry) for entry in task.action]
    positions = [name for name in names if name.endswith('/position')]
    _check_listed('continuous', continuous, positions, 'position')
    return np.array(
        [
            TURN * abs(entry.scale) if name in continuous else np.inf
            for name, entry in zip(names, task.action, strict=True)
        ]
    )


def action_entries(task: Task, parameter: str, names: Sequence[str]) -> np.ndarray:
    """Which entries of an action a parameter lists, (action_dim,) bool.

    :raises LimitError: a name is no entry of the action.
    """
    entries = [str(entry) for entry in task.action]
    _check_listed(parameter, names, entries, 'entry')
    return np.array([name in names for name in entries])


def joints_of(task: Task) -> list[list[Entry]]:
    """The entries of each joint, its position first."""
    joints: dict[tuple[str, str], list[Entry]] = {}
    for entry in task.action:
        joints.setdefault((entry.source, entry.name), []).append(entry)
    return [sorted(entries, key=lambda entry: entry.quantity) for entries in joints.values()]


def _check_listed(parameter: str, names: Iterable[str], known: list[str], what: str) -> None:
    """Refuse names that the action does not have."""
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1) or known[:1]
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise LimitError(
            f'parameter {parameter!r} lists {name!r}, which is no {what} of the action{hint}'
        )


def _check_joint(places: list[Entry], numbers: Mapping[str, float], free: set[str]) -> None:
    """Refuse numbers that are no limits of a joint.

    :param free: names of those that may be infinite.
    """
    entry = places[0]
    needed = LIMITED if entry.quantity == 'position' else ('max_velocity', 'max_acceleration')
    for name, value in numbers.items():
        if np.isnan(value):
            raise LimitError(f'parameter {name!r} of {entry} is nan, expected a number')
        if name not in needed:
            continue
        if name.startswith('max') and value <= 0:
            raise LimitError(f'parameter {name!r} of {entry} is {value:g}, expected more than 0')
        if np.isinf(value) and name not in free:
            raise LimitError(
                f'{entry} has no limit in {name!r}: give it a finite value, or list {entry} in '
                f"'unlimited'"
            )
    low, high = numbers['position_min'], numbers['position_max']
    if entry.quantity == 'position' and not low < high:
        raise LimitError(
            f'position_min of {entry} is {low:g} and position_max {high:g}; expected a range'
        )
