"""Read `config.yaml`: what weights cannot tell.

Each value assumed for want of it is one log line.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from act_ros.errors import CheckpointError, shorten

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SideConfig:
    """`config.yaml`. None where the file is silent.

    :ivar weights: where in the file of the checkpoint the weights are, if there are several.
    :ivar action_statistics: 'action' or 'qpos': whose mean and deviation the training
        normalised actions by.
    """

    path: Path
    task: str | None = None
    camera_names: tuple[str, ...] | None = None
    image_size: tuple[int, ...] | None = None
    nheads: int = 8
    dilation: bool = False
    weights: str | None = None
    action_statistics: Literal['action', 'qpos'] | None = None


def read_side_config(path: Path) -> SideConfig:
    """Read the file, if there is one.

    :raises CheckpointError: one line that names the key, and what was expected.
    """
    if not path.exists():
        log.info('no %s: assuming nheads 8 and dilation false', path)
        return SideConfig(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(f'cannot read {path}: {" ".join(str(error).split())}') from None
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, expected a mapping')

    def is_names(value: object) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)

    def is_size(value: object) -> bool:
        return (
            isinstance(value, list)
            and len(value) >= 2
            and len(value) % 2 == 0
            and all(type(v) is int and v > 0 for v in value)
        )

    known = {
        'task': (lambda v: isinstance(v, str), 'the name of a task or the path of its YAML'),
        'camera_names': (is_names, 'a list of camera names'),
        'image_size': (is_size, '[height, width] in pixels, or those of each camera'),
        'nheads': (lambda v: type(v) is int and v > 0, 'a positive whole number'),
        'dilation': (lambda v: type(v) is bool, 'true or false'),
        'weights': (lambda v: isinstance(v, str), 'where in the checkpoint the weights are'),
        'action_statistics': (lambda v: v in ('action', 'qpos'), 'action or qpos'),
    }
    for key, value in content.items():
        if key not in known:
            raise CheckpointError(
                f'{path}: unknown key {shorten(key)}; expected {", ".join(known)}'
            )
        fits, wanted = known[key]
        if not fits(value):
            raise CheckpointError(f'{path}: {key} is {shorten(value)}, expected {wanted}')
    for key, default in (('nheads', 8), ('dilation', False)):
        if key not in content:
            log.info('%s does not say %s: assuming %s', path, key, str(default).lower())
    lists = {key: tuple(content[key]) for key in ('camera_names', 'image_size') if key in content}
    return SideConfig(path, **{**content, **lists})
