"""Which task a checkpoint is for: what `config.yaml` names, and what is given."""

import logging
from dataclasses import replace

from act_ros.config import DEFAULT_TASK, load_task
from act_ros.errors import ActError
from act_ros.policy.checkpoint.side_config import SideConfig
from act_ros.task import Task

log = logging.getLogger(__name__)


def resolve_task(side: SideConfig, task: Task | None) -> Task:
    """The task given, or the one named beside the weights, with the network's own cameras.

    :raises ActError: it cannot be read.
    """
    if task is None:
        if side.task is None:
            log.info('%s names no task: assuming %s', side.path, DEFAULT_TASK)
        task = _named_task(side, side.task or DEFAULT_TASK)
    elif side.task is not None:
        _compare_tasks(side, side.task, task)
    cameras, image_size = side.camera_names, side.image_size
    if cameras is None:
        log.info('%s does not say cameras: assuming %s', side.path, list(task.cameras))
    if image_size is None:
        log.info('%s does not say image_size: assuming %s', side.path, list(task.image_size))
    return replace(
        task, cameras=cameras or task.cameras, image_size=image_size or task.image_size
    )


def _named_task(side: SideConfig, name: str) -> Task:
    """A task by its name, or by the path of a YAML, seen from beside the checkpoint."""
    return load_task(str(side.path.parent / name) if name.endswith(('.yaml', '.yml')) else name)


def _compare_tasks(side: SideConfig, name: str, given: Task) -> None:
    """Warn where the task given is to the policy another one than it was trained for.

    Names, sources and units are the robot's affair: two tasks agree where they have the same
    entries in the same order, at the same rate, and the same cameras where `config.yaml` does
    not list them.
    """
    try:
        trained = _named_task(side, name)
    except ActError as error:
        # Of one's own task there may be no more than the name here.
        if name != given.name:
            log.warning('%s: the task given is not compared with %s: %s', side.path, name, error)
        return

    def interface(task: Task) -> dict[str, object]:
        entries = {'state': task.state, 'action': task.action}
        return {
            **{f'{what} entry {i}': f'{entry.name}/{entry.quantity}'
               for what, each in entries.items() for i, entry in enumerate(each)},
            'rate': task.rate,
            'cameras': side.camera_names or task.cameras,
            'image_size': side.image_size or task.image_size,
        }  # fmt: skip

    expected, found = interface(trained), interface(given)
    for what in expected | found:
        if expected.get(what) != found.get(what):
            log.warning(
                '%s: the policy was trained for task %s, the task given is another: %s is %s, '
                'was %s', side.path, name, what, found.get(what), expected.get(what),
            )  # fmt: skip
            return
