"""Limits of joints as arrays, in the order of an action: for tests that are about numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from act_ros.parameters import JointLimits, Settings
from act_ros.safety import Limits, joints_of
from act_ros.task import Task


def keys(task: Task) -> list[str]:
    """SOURCE/JOINT of each joint of an action."""
    return [f'{places[0].source}/{places[0].name}' for places in joints_of(task)]


def by_joint(joints: Iterable[str], **arrays: Sequence[float]) -> dict[str, JointLimits]:
    """The parameter `joint_limits`; a limit that is None is not given."""
    given = {name: values for name, values in arrays.items() if values is not None}
    rows = zip(*given.values(), strict=True) if given else ()
    names = list(joints)
    found = [dict(zip(given, map(float, row), strict=True)) for row in rows]
    return {
        joint: JointLimits(**row)
        for joint, row in zip(names, found or [{}] * len(names), strict=True)
    }


def parameters(joints: Iterable[str], **arrays: Sequence[float]) -> dict[str, float]:
    """As ROS has them."""
    limits = by_joint(joints, **arrays)
    return {k: v for joint, each in limits.items() for k, v in each.parameters(joint).items()}


def changed(settings: Settings, **arrays: Sequence[float] | float | None) -> Settings:
    """With other limits of the joints that have any, in the order in which they are given."""
    limits = dict(settings.joint_limits)
    for name, values in arrays.items():
        row = np.broadcast_to(np.array(values, object), len(limits))
        limits = {
            joint: replace(each, **{name: None if value is None else float(value)})
            for (joint, each), value in zip(limits.items(), row, strict=True)
        }
    return replace(settings, joint_limits=limits)


def limits_of(settings: Settings) -> Limits:
    """Of the task that the settings describe; steps as they are in one command."""
    found = Limits.from_settings(settings, Task.from_settings(settings))
    steps = np.minimum(found.max_step, found.max_velocity / settings.tick_rate)
    return replace(found, max_step=steps)
