"""The commands that the simulated robot follows; bags and their libraries are not needed here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from act_ros.commands import OUTPUT_TYPES, OutputSpec
from act_ros.errors import ParameterError
from act_ros.interfaces import parse_output
from act_ros.parameters import Settings
from act_ros.task import Task


def commanded(message: Any, joints: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities of a sensor_msgs/JointState, by the names of joints.

    :returns: (joints,) each [rad; 0..1 and per second].
    :raises ValueError: they are not those of all joints.
    """
    positions, velocities = np.array(message.position), np.array(message.velocity)
    if not len(message.name) == len(positions) == len(velocities):
        raise ValueError(
            f'found {len(message.name)} names, {len(positions)} positions and {len(velocities)} '
            f'velocities, expected one of each a joint'
        )
    names = list(message.name)
    places = [names.index(joint) for joint in joints]
    return positions[places], velocities[places]


def command_output(settings: Settings, task: Task) -> OutputSpec:
    """The output that the simulated robot follows.

    :raises ActError: there is none with position and velocity of every joint.
    """
    for spec in (parse_output(text, task) for text in settings.outputs):
        whole = {*spec.joints} == {*task.joints} and len(spec.places) == 2
        if spec.output_type is OUTPUT_TYPES['JointState'] and whole:
            return spec
    raise ParameterError(
        f'the simulated robot follows a JointState with position and velocity of all of its '
        f'joints, but outputs is {list(settings.outputs)}'
    )
