"""The topic of each input, as the parameters give it."""

from collections.abc import Mapping

from act_ros.errors import ParameterError
from act_ros.task import Task


def camera_topics(settings: Mapping[str, object], task: Task) -> dict[str, str]:
    """Camera name to image topic.

    :raises ParameterError: `camera_topics` lists another number than there are cameras.
    """
    return _topics(settings, 'camera_topics', task.cameras, '{}/image_raw')


def state_topics(settings: Mapping[str, object], task: Task) -> dict[str, str]:
    """Source of qpos to JointState topic.

    :raises ParameterError: `state_topics` lists another number than there are sources.
    """
    return _topics(settings, 'state_topics', task.sources, '{}/joint_states')


def _topics(
    settings: Mapping[str, object], parameter: str, names: tuple[str, ...], default: str
) -> dict[str, str]:
    topics = settings.get(parameter) or [default.format(name) for name in names]
    if len(topics) != len(names):
        raise ParameterError(
            f'parameter {parameter!r} lists {len(topics)} topics, expected {len(names)}, '
            f'one each for {", ".join(names)}'
        )
    return dict(zip(names, topics, strict=True))
