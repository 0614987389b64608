"""The limits of single joints, by their names: as MoveIt and ros2_control call them."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from act_ros.errors import ParameterError, shorten
from act_ros.parameters.table import Parameter, check_values, row, rows

JOINT_LIMITS = 'joint_limits'
PREFIX = f'{JOINT_LIMITS}.'
# Those that count; each may be infinite where it says so on purpose.
LIMITED = (
    'min_position',
    'max_position',
    'max_step',
    'max_velocity',
    'max_acceleration',
    'max_tracking_error',
)
# What else stands in such files, and means nothing to a policy: of planners, of controllers.
UNUSED = (
    'has_deceleration_limits', 'max_deceleration', 'has_jerk_limits', 'max_jerk',
    'has_effort_limits', 'max_effort', 'has_soft_limits', 'k_position', 'k_velocity',
    'soft_lower_limit', 'soft_upper_limit', 'angle_wraparound',
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JointLimits:
    """The limits of a joint, in the robot's units; None where nothing is said."""

    min_position: float | None = row(None, 'lowest position of the joint', live=True)
    max_position: float | None = row(None, 'highest position of the joint', live=True)
    max_velocity: float | None = row(None, 'largest speed of the joint', live=True)
    max_acceleration: float | None = row(
        None, 'how much the speed of the joint may change in a second', live=True
    )
    max_step: float | None = row(
        None,
        'furthest that the joint may be sent in one command; default: what max_velocity allows',
        live=True,
    )
    max_tracking_error: float | None = row(
        None,
        'further from its command than this for 0.2 s the joint stops all commands; .inf for one '
        'that may stop short of it, as a gripper does on an object',
        live=True,
    )
    has_position_limits: bool | None = row(
        None, 'false: min_position and max_position do not count', live=True
    )
    has_velocity_limits: bool | None = row(
        None, 'false: max_velocity does not count', live=True
    )
    has_acceleration_limits: bool | None = row(
        None, 'false: max_acceleration does not count', live=True
    )

    def __post_init__(self) -> None:
        check_values(self, ROWS)

    @property
    def given(self) -> dict[str, float]:
        """Those of `LIMITED` that are given and count."""
        values = {name: getattr(self, name) for name in LIMITED if not self.switched_off(name)}
        return {name: value for name, value in values.items() if value is not None}

    def switched_off(self, limit: str) -> str:
        """The name of what says `false`, and so that a limit does not count; else empty."""
        switch = switch_of(limit)
        return switch if getattr(self, switch, None) is False else ''

    def furthest(self, rate: float) -> float:
        """What may be sent in one command, by `max_step` and `max_velocity`; may be infinite.

        :param rate: of the commands [Hz].
        """
        given = self.given
        return min(given.get('max_step', math.inf), given.get('max_velocity', math.inf) / rate)

    def scaled(self, ticks: int) -> 'JointLimits':
        """With room for so many commands in one."""
        return self if self.max_step is None else replace(self, max_step=self.max_step * ticks)

    def parameters(self, joint: str) -> dict[str, Any]:
        """By the names in ROS."""
        return {
            f'{PREFIX}{joint}.{name}': value
            for name, value in vars(self).items()
            if value is not None
        }


ROWS = rows(JointLimits)


def switch_of(limit: str) -> str:
    """`has_velocity_limits` of `max_velocity`; there is one of some limits only."""
    return f'has_{limit.rpartition("_")[2]}_limits'


def is_joint_limit(name: str) -> bool:
    """Whether a parameter is of a single joint."""
    return name.startswith(PREFIX)


def joint_keys(joints: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Under what limits of each joint stand: its name, or SOURCE/JOINT where that is of several.

    :param joints: source and name of each.
    """
    pairs = list(dict.fromkeys(joints))
    called = [key for source, name in pairs for key in (name, f'{source}/{name}')]
    return {
        (source, name): name if called.count(name) == 1 else f'{source}/{name}'
        for source, name in pairs
    }


def limit_names(joints: Iterable[tuple[str, str]]) -> list[str]:
    """The parameters of some joints, source and name of each."""
    return [f'{PREFIX}{key}.{limit}' for key in joint_keys(joints).values() for limit in ROWS]


def limit_row(name: str) -> Parameter:
    """The row of a parameter of a joint, under its whole name.

    :raises ParameterError: there is no such limit.
    """
    joint, limit = split(name)
    if limit in UNUSED:
        return Parameter(name, float, False, None, 'not used')
    if limit not in ROWS:
        near = difflib.get_close_matches(limit, ROWS, n=1)
        hint = f'; did you mean {PREFIX + joint + "." + near[0]!r}?' if near else ''
        raise ParameterError(f'unknown parameter {name!r}{hint}')
    return replace(ROWS[limit], name=name)


def read_joint_limits(values: Mapping[str, object]) -> dict[str, JointLimits]:
    """The limits among parameters, by joint.

    :raises ParameterError: naming the parameter.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if is_joint_limit(name):
            joint, limit = split(name)
            if limit not in UNUSED:
                found.setdefault(joint, {})[limit] = limit_row(name).check(value)
    return {joint: JointLimits(**limits) for joint, limits in found.items()}


def unused_limits(names: Iterable[str]) -> list[str]:
    """Which parameters are limits that mean nothing here."""
    return [name for name in names if is_joint_limit(name) and split(name)[1] in UNUSED]


def split(name: str) -> tuple[str, str]:
    """Joint, or SOURCE/JOINT, and limit; a joint's name may have dots."""
    joint, _, limit = name.removeprefix(PREFIX).rpartition('.')
    if not joint:
        raise ParameterError(
            f'parameter {shorten(name)} names no joint; expected {PREFIX}JOINT.LIMIT'
        )
    return joint, limit
