"""The topic and type of each input, as the parameters give them."""

from collections.abc import Mapping

from act_ros.errors import ParameterError
from act_ros.task import Task


def camera_inputs(settings: Mapping[str, object], task: Task) -> dict[str, tuple[str, str]]:
    """Camera name to image topic and type.

    :raises ParameterError: a list has another length than there are cameras.
    """
    topics = _one_each(settings, 'camera_topics', task.cameras, '{}/image_raw')
    kinds = _one_each(settings, 'camera_types', task.cameras, 'Image')
    return {name: (topics[name], kinds[name]) for name in task.cameras}


def state_inputs(settings: Mapping[str, object], task: Task) -> dict[str, tuple[str, str]]:
    """Source of qpos to topic and type.

    :raises ParameterError: a list has another length than there are sources.
    """
    topics = _one_each(settings, 'state_topics', task.sources, '{}/joint_states')
    kinds = _one_each(settings, 'state_types', task.sources, 'JointState')
    return {name: (topics[name], kinds[name]) for name in task.sources}


def _one_each(
    settings: Mapping[str, object], parameter: str, names: tuple[str, ...], default: str
) -> dict[str, str]:
    values = settings.get(parameter) or [default.format(name) for name in names]
    if len(values) != len(names):
        what = parameter.split('_')[1]
        raise ParameterError(
            f'parameter {parameter!r} lists {len(values)} {what}, expected {len(names)}, '
            f'one each for {", ".join(names)}'
        )
    return dict(zip(names, values, strict=True))
