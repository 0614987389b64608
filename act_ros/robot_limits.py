"""MoveIt's `joint_limits.yaml` as parameters: the limits of a whole robot's joints.

ROS reads no such file as parameters, for it names no node. Its joints are those of the robot,
of which the policy may command a few; and what it does not say others may.
"""

import difflib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from act_ros.errors import ParameterError, TaskError, shorten
from act_ros.parameters.joint_limits import (
    JOINT_LIMITS,
    LIMITED,
    PREFIX,
    limit_row,
    split,
    switch_of,
)
from act_ros.task import Entry

log = logging.getLogger(__name__)

# Of a planner, and so of no controller.
SCALING = ('default_velocity_scaling_factor', 'default_acceleration_scaling_factor')
# What the values of xacro's files may be marked with.
UNITS = {'!degrees': math.radians, '!radians': float}

V = TypeVar('V')


def is_of_robot(keys: Sequence[str]) -> bool:
    """Whether a file with these keys at its top is one."""
    return JOINT_LIMITS in keys


def limits_said(values: Mapping[str, V]) -> dict[str, V]:
    """What such a file says of limits.

    `has_velocity_limits: false` means there that somebody else may say them, and not that there
    are none: MoveIt's assistant writes it beside `max_acceleration: 0`.

    :param values: all of it, by flat names.
    :raises ParameterError: it says what such files do not.
    """
    said: dict[str, V] = {}
    for name, value in values.items():
        if name in SCALING:
            continue
        if not name.startswith(PREFIX):
            raise ParameterError(
                f"{shorten(name)} stands beside '{JOINT_LIMITS}:'; parameters stand below "
                f"'/**:' and 'ros__parameters:'"
            )
        limit_row(name)  # refuses a typo
        joint, limit = split(name)
        switch = values.get(f'{PREFIX}{joint}.{switch_of(limit)}')
        if limit in LIMITED and switch is not False:
            said[name] = value
    return said


def of_the_action(limits: Mapping[str, V], action: Sequence[str], path: Path) -> dict[str, V]:
    """The limits of joints that an action has; the others are logged.

    :param action: its entries, as the parameter `task.action` has them.
    :raises ParameterError: no joint is of the action.
    """
    try:
        entries = [Entry.parse(text) for text in action]
    except TaskError:  # said where the task is read
        return dict(limits)
    names = sorted({each.name for each in entries})
    known = {*names, *(f'{each.source}/{each.name}' for each in entries)}
    joints = dict.fromkeys(split(name)[0] for name in limits)
    left_out = [joint for joint in joints if joint not in known]
    if left_out and len(left_out) == len(joints):
        near = difflib.get_close_matches(left_out[0], names, n=1) or names[:1]
        raise ParameterError(
            f'{path} has limits of {", ".join(left_out)}, and none is a joint of the action; name '
            f'them as it does, {", ".join(map(repr, near))} for one'
        )
    if left_out:
        log.info('%s: not of the action, and not used: %s', path, ', '.join(left_out))
    return {name: value for name, value in limits.items() if split(name)[0] in known}
