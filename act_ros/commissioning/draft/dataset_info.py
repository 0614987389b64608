"""`meta/info.json` of a LeRobot dataset: names, rate and cameras of a training."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from act_ros.errors import ParameterError, one_line, shorten

IMAGES = 'observation.images.'
LARGEST = 1_000_000  # bytes
# What LeRobot puts behind the name of a motor.
SUFFIXES = ('.pos', '.vel')


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset says of the robot it was recorded with.

    :ivar state: names of the entries of qpos, as they are there, likewise of the action.
    :ivar cameras: name to height and width [px].
    """

    path: Path
    state: tuple[str, ...]
    action: tuple[str, ...]
    cameras: Mapping[str, tuple[int, int]]
    rate: float


def without_suffix(name: str) -> str:
    """What LeRobot's motor is called."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def read_dataset_info(path: Path) -> DatasetInfo:
    """Read the file.

    :raises ParameterError: naming the file and what was expected.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ParameterError(f'{path} is too long for a meta/info.json')
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(f'cannot read {path}: {one_line(error)}') from None
    content = content if isinstance(content, dict) else {}
    features, fps = content.get('features'), content.get('fps')
    rated = isinstance(fps, int | float) and 1 <= fps <= 500
    if not isinstance(features, dict) or not isinstance(fps, int | float) or not rated:
        raise ParameterError(
            f"{path} is no meta/info.json of a LeRobot dataset: expected 'features' and 'fps'"
        )
    cameras = {
        name.removeprefix(IMAGES): _size(path, name, feature)
        for name, feature in features.items()
        if name.startswith(IMAGES)
    }
    return DatasetInfo(
        path, _names(path, features, 'observation.state'), _names(path, features, 'action'),
        cameras, float(fps),
    )  # fmt: skip


def _names(path: Path, features: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The names of a feature's entries: a list, or by kind (`motors`) in older datasets."""
    feature = features.get(name)
    names = feature.get('names') if isinstance(feature, dict) else None
    if isinstance(names, dict):
        names = [each for group in names.values() if isinstance(group, list) for each in group]
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ParameterError(f'{path}: {name} has the names {shorten(names)}, expected a list')
    return tuple(names)


def _size(path: Path, name: str, feature: Any) -> tuple[int, int]:
    """Height and width; the channels are first or last, whatever `names` says."""
    shape = feature.get('shape') if isinstance(feature, dict) else None
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(n) is int for n in shape):
        raise ParameterError(f'{path}: {name} has the shape {shorten(shape)}, expected 3 numbers')
    height, width = shape[1:] if shape[0] == 3 else shape[:2]
    return height, width
