"""The limits of each joint, as the parameters give them.

Everything here is in the robot's units. A joint is a source and name of the action, in the
order in which the action first names them; it has a position, a velocity, or both.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from act_ros.errors import LimitError
from act_ros.parameters import LIMITED, JointLimits, Settings
from act_ros.parameters.joint_limits import PREFIX, joint_keys
from act_ros.task import Entry, Task

TURN = 2 * np.pi  # of a continuous joint [rad]
_WITHOUT = {name: -np.inf if name == 'min_position' else np.inf for name in LIMITED}
_OF_POSITIONS = LIMITED
_OF_VELOCITIES = ('max_velocity', 'max_acceleration')


@dataclass(frozen=True)
class Limits:
    """Limits of each joint, (joints,) float64 each; infinite where there is none.

    :ivar min_position: lowest position.
    :ivar max_position: highest position.
    :ivar max_step: furthest that a joint may be sent in one tick.
    :ivar max_velocity: largest speed, of velocities and of steps.
    :ivar max_acceleration: how much velocities, and those of steps, may change in a second.
    :ivar max_tracking_error: how far a joint may be from its command.
    :ivar continuous: (joints,) bool: positions that differ by whole turns are the same.
    :ivar range_tolerance: how far outside its range a joint may stand at the start.
    :ivar ramp_time: of the transition from the pose there is to the policy's [s].
    """

    min_position: np.ndarray
    max_position: np.ndarray
    max_step: np.ndarray
    max_velocity: np.ndarray
    max_acceleration: np.ndarray
    max_tracking_error: np.ndarray
    continuous: np.ndarray
    range_tolerance: float
    ramp_time: float

    @classmethod
    def from_settings(
        cls, settings: Settings, task: Task, *, complete: bool = True
    ) -> 'Limits':
        """Read the limits of a task's joints.

        :param settings: what they do not say means that a joint has no such limit, which only
            entries listed in `unlimited` may be without.
        :param complete: False for what moves nothing: any joint may be without any limit.
        :raises LimitError: naming the parameter and the joint.
        """
        for error in limit_faults(settings, task):
            if complete or not error.lacking:
                raise error
        joints = joints_of(task)
        rows = [
            {**_WITHOUT, **settings.limits_of(places[0].source, places[0].name).given}
            for places in joints
        ]
        arrays = {name: np.array([row[name] for row in rows]) for name in LIMITED}
        named = [str(places[0]) for places in joints]
        return cls(
            **arrays,
            continuous=np.array([name in settings.continuous for name in named]),
            range_tolerance=settings.range_tolerance,
            ramp_time=settings.ramp_time,
        )


def limit_faults(settings: Settings, task: Task) -> Iterator[LimitError]:
    """Everything that is wrong with the limits of a task's joints."""
    joints = joints_of(task)
    entries = [str(entry) for entry in task.action]
    positions = [name for name in entries if name.endswith('/position')]
    yield from _unknown('unlimited', settings.unlimited, entries, 'entry')
    yield from _unknown('continuous', settings.continuous, positions, 'position')
    yield from _misnamed(settings.joint_limits, joints)
    keys = joint_keys((places[0].source, places[0].name) for places in joints)
    for places, ((source, name), key) in zip(joints, keys.items(), strict=True):
        yield from _faults_of(places, key, settings.limits_of(source, name), settings)


def lacking_limits(settings: Settings, task: Task) -> dict[str, list[str]]:
    """By entry of the action, the limits that it needs and that nothing says."""
    lacking: dict[str, list[str]] = {}
    for error in limit_faults(settings, task):
        if error.lacking:
            lacking.setdefault(error.joints[0], []).append(error.lacking)
    return lacking


def action_turns(task: Task, continuous: Sequence[str]) -> np.ndarray:
    """By how much each entry of an action may differ and be the same, (action_dim,).

    :param continuous: the parameter: names of positions.
    :returns: a turn in the policy's units, infinite where nothing else is the same.
    :raises LimitError: a name is no position of the action.
    """
    names = [str(entry) for entry in task.action]
    positions = [name for name in names if name.endswith('/position')]
    for error in _unknown('continuous', continuous, positions, 'position'):
        raise error
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
    for error in _unknown(parameter, names, entries, 'entry'):
        raise error
    return np.array([name in names for name in entries])


def joints_of(task: Task) -> list[list[Entry]]:
    """The entries of each joint, its position first."""
    joints: dict[tuple[str, str], list[Entry]] = {}
    for entry in task.action:
        joints.setdefault((entry.source, entry.name), []).append(entry)
    return [sorted(entries, key=lambda entry: entry.quantity) for entries in joints.values()]


def joint_of(task: Task) -> dict[Entry, int]:
    """Each entry of an action to the place of its joint in `Limits`."""
    return {entry: i for i, entries in enumerate(joints_of(task)) for entry in entries}


def _unknown(
    parameter: str, names: Iterable[str], known: list[str], what: str
) -> Iterator[LimitError]:
    """Names that the action does not have."""
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1) or known[:1]
        hint = f'; did you mean {near[0]!r}?' if near else ''
        yield LimitError(
            f'parameter {parameter!r} lists {name!r}, which is no {what} of the action{hint}'
        )


def _misnamed(
    given: Mapping[str, JointLimits], joints: list[list[Entry]]
) -> Iterator[LimitError]:
    """Limits that are of no joint of the action, of several, or that are there twice."""
    pairs = [(places[0].source, places[0].name) for places in joints]
    for key in given:
        of = [pair for pair in pairs if key in (pair[1], '/'.join(pair))]
        if not of:
            known = sorted({name for _, name in pairs})
            near = difflib.get_close_matches(key, [*known, *map('/'.join, pairs)], n=1)
            hint = f'; did you mean {near[0]!r}?' if near else f' ({", ".join(known)})'
            yield LimitError(f'joint_limits has {key!r}, which is no joint of the action{hint}')
        elif len(of) > 1:
            names = ' and '.join(joint_keys(pairs)[pair] for pair in of)
            yield LimitError(
                f'joint_limits has {key!r}, which several sources have: write {names} instead'
            )
        elif key != '/'.join(of[0]) and '/'.join(of[0]) in given:
            yield LimitError(f'joint_limits has {key!r} and {"/".join(of[0])!r}: keep one')


def _faults_of(
    places: list[Entry], key: str, limits: JointLimits, settings: Settings
) -> Iterator[LimitError]:
    """What keeps numbers from being the limits of a joint.

    :param places: its entries, the position first.
    :param key: under which its limits stand.
    :param limits: what is said of it.
    """
    entry, given = places[0], limits.given
    numbers = {**_WITHOUT, **given}
    positioned = entry.quantity == 'position'
    needed = _OF_POSITIONS if positioned else _OF_VELOCITIES
    continuous = str(entry) in settings.continuous
    # What says infinite says so on purpose where a joint may well be without this limit: a
    # gripper that an object stops, a joint that turns for ever.
    free = {'max_step', *({'max_tracking_error'} & given.keys())}
    if continuous:
        free |= {'min_position', 'max_position'} & given.keys()
    if str(entry) in settings.unlimited:
        free = set(LIMITED)
    for name, value in numbers.items():
        if np.isnan(value):
            yield LimitError(f'{name} of {entry} is nan, expected a number')
            return
        if name not in needed:
            continue
        if name.startswith('max') and name != 'max_position' and value <= 0:
            yield LimitError(f'{name} of {entry} is {value:g}, expected more than 0')
        if np.isinf(value) and name not in free:
            switch = limits.switched_off(name)
            do = f'{switch} to true' if switch else f'{name} to a finite value'
            yield LimitError(
                f"{entry} has no {name}: set {PREFIX}{key}.{do}, or list {entry} in 'unlimited'",
                [str(entry)],
                lacking=name,
            )
    low, high = numbers['min_position'], numbers['max_position']
    if positioned and not low < high:
        yield LimitError(
            f'min_position of {entry} is {low:g} and max_position {high:g}; expected a range'
        )
    elif positioned and continuous and np.isinf([low, high]).sum() == 1:
        yield LimitError(
            f'min_position of {entry} is {low:g} and max_position {high:g}; a joint in '
            f'continuous ends on both sides, or is -.inf and .inf'
        )
