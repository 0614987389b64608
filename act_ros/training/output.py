"""What a training writes: the checkpoint in the public format, and what it is taken up from."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from act_ros.errors import CheckpointError, TrainingError, one_line
from act_ros.files import free, whole
from act_ros.plain_pickle import dumps
from act_ros.policy.checkpoint import CONFIG_NAME, STATS_NAME
from act_ros.policy.checkpoint.pickled_file import StoredTensor, open_pickled, readable
from act_ros.policy.checkpoint.weights import PREFIX
from act_ros.training.batch import Data

CKPT_NAME = 'policy_best.ckpt'
TRAINING, PICTURE, TASK = 'training.json', 'training.png', 'task.yaml'
STATE_NAME = 'training_state.pt'  # while it has not come to its end


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write a file to, which then takes its place.

    :raises TrainingError: one line that says why it could not be written.
    """
    try:
        with whole(path) as part:
            yield part
    except OSError as error:
        raise TrainingError(
            f'cannot write {path}, and nothing there has changed: '
            f'{error.strerror or one_line(error)} ({free(path) / 1e6:.0f} MB are free); '
            f'once it can be, --resume goes on'
        ) from error


def write_statistics(out: Path, data: Data) -> None:
    """Write `dataset_stats.pkl` with the keys that the public code has there."""
    statistics = {**asdict(data.statistics), 'example_qpos': data.example_qpos}
    with written(out / STATS_NAME) as part:
        part.write_bytes(dumps(statistics))


def write_checkpoint(out: Path, weights: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Write `policy_best.ckpt`.

    :param weights: by the network's keys, on any device.
    :raises TrainingError: a weight has no value in that type.
    """
    saved = {PREFIX + key: value.detach().to('cpu', dtype).contiguous()
             for key, value in weights.items()}  # fmt: skip
    for key, value in saved.items():
        if not torch.isfinite(value).all():
            raise TrainingError(
                f'{key!r} is not finite in {dtype}, so {CKPT_NAME} is left as it was; '
                f'set weights: float32, or a lower lr'
            )
    _save(out / CKPT_NAME, saved)


def write_state(out: Path, state: dict[str, Any]) -> None:
    """Write what an interrupted training is taken up from."""
    _save(out / STATE_NAME, state)


def read_state(out: Path) -> dict[str, Any] | None:
    """What `write_state` wrote, its tensors on the CPU; None where there is nothing.

    :raises TrainingError: it cannot be read.
    """
    path = out / STATE_NAME
    if not path.exists():
        return None
    try:
        with open_pickled(path, 'state of a training') as content, readable(path):
            loaded = _loaded(content)
    except CheckpointError as error:
        raise TrainingError(f'{error}; remove it to begin anew') from None
    if not isinstance(loaded, dict):
        raise TrainingError(f'{path} is no state of a training; remove it to begin anew')
    return loaded


def remove_state(out: Path) -> None:
    """A training that came to its end is not taken up again."""
    (out / STATE_NAME).unlink(missing_ok=True)


def remove_parts(out: Path) -> None:
    """Remove what a kill left of files that were being written."""
    for name in (CKPT_NAME, STATE_NAME, STATS_NAME, CONFIG_NAME, TRAINING, PICTURE, TASK):
        for part in out.glob(f'.{name}.*'):
            shutil.rmtree(part, ignore_errors=True)


def _save(path: Path, content: object) -> None:
    with written(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # of a full disk it says only that a position is not right
            raise OSError('its end is not where it should be') from error


def _loaded(content: Any) -> Any:
    """Plain data with its tensors read."""
    if isinstance(content, StoredTensor):
        return content.load()
    if isinstance(content, dict):
        return {key: _loaded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_loaded(value) for value in content)
    return content
