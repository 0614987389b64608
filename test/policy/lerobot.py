"""Checkpoints as LeRobot wrote them, and what the real library made of them.

The reference has everything but the weights, which are by the rule of the other references.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from act_ros.task import Entry, Task
from detr.detr_vae import IMAGENET
from test.rule import REFERENCE, state_dict

FOLDER = REFERENCE / 'lerobot'
VECTORS = ('plain', 'ensemble', 'minmax', 'old')
NORMALIZER = 'policy_preprocessor_step_3_normalizer_processor.safetensors'


@dataclass(frozen=True)
class Reference:
    """One reference.

    :ivar qpos: (n, state_dim).
    :ivar images: of each camera, (n, H, W, 3) uint8.
    :ivar chunks: (n, chunk_size, action_dim), physical units.
    :ivar actions: (n, action_dim): what the library plays, from the first step on.
    """

    about: dict
    qpos: np.ndarray
    images: dict[str, np.ndarray]
    chunks: np.ndarray
    actions: np.ndarray

    def observation(self, i: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return self.qpos[i], {name: frames[i] for name, frames in self.images.items()}

    @property
    def task(self) -> Task:
        """A robot of these cameras and as many joints."""

        def entries(count: int) -> tuple[Entry, ...]:
            return tuple(Entry('arm', f'joint_{i}', 'position') for i in range(count))

        sides = [side for size in self.about['cameras'].values() for side in size]
        return Task(
            'lerobot', tuple(self.about['cameras']), entries(self.about['state']),
            entries(self.about['action']), 30.0, tuple(sides),
        )  # fmt: skip


def reference(name: str) -> Reference:
    about = json.loads((FOLDER / f'{name}.json').read_text())
    answers = np.load(FOLDER / f'{name}.npz')
    mean, std = _state_statistics(name)
    rng = np.random.default_rng([about['seed'], 7])
    steps = about['steps']
    qpos = (mean + std * rng.normal(size=(steps, about['state']))).astype(np.float32)
    images = {}
    for camera, (height, width) in about['cameras'].items():
        coarse = rng.integers(0, 256, size=(steps, height // 20, width // 20, 3)).astype(np.uint8)
        images[camera] = coarse.repeat(20, axis=1).repeat(20, axis=2)
    return Reference(about, qpos, images, answers['chunks'], answers['actions'])


def _state_statistics(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == 'old':
        weights = all_weights(name)
        begin = 'normalize_inputs.buffer_observation_state.'
        return weights[f'{begin}mean'], weights[f'{begin}std']
    stats = load_file(FOLDER / f'{name}.{NORMALIZER}')
    return stats['observation.state.mean'], stats['observation.state.std']


def all_weights(name: str) -> dict[str, np.ndarray]:
    """Everything in `model.safetensors`: by the rule, and in the old layout its statistics."""
    return {key: value.copy() for key, value in _all_weights(name).items()}


@cache
def _all_weights(name: str) -> dict[str, np.ndarray]:
    about = json.loads((FOLDER / f'{name}.json').read_text())
    weights = {
        key: np.ascontiguousarray(value.numpy()) for key, value in state_dict(about).items()
    }
    rng = np.random.default_rng([about['seed'], 13])
    numbers = {
        (what, statistic): draw.astype(np.float32)
        for what in ('state', 'action')
        for statistic, draw in (
            ('mean', rng.normal(size=about[what])), ('std', 0.5 + rng.random(about[what]))
        )
    }  # fmt: skip
    images = {'mean': IMAGENET.mean, 'std': IMAGENET.std}
    for key in [key for key in weights if not key.startswith('model.')]:
        feature, _, statistic = key.rpartition('.')
        what = feature.rpartition('_')[2]
        value = images[statistic] if '_images_' in key else numbers[what, statistic]
        weights[key] = np.array(value, np.float32).reshape(weights[key].shape)
    return weights


def write_lerobot(folder: Path, name: str = 'plain', **changes: object) -> Path:
    """Write a reference as LeRobot does; `changes` are of fields of config.json, None removes."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob(f'{name}.*'):
        own = path.name.removeprefix(f'{name}.')
        if own not in ('json', 'npz'):
            shutil.copy(path, folder / own)
    (folder / 'model.safetensors').write_bytes(_file(name))
    change_json(folder / 'config.json', changes)
    return folder


@cache
def _file(name: str) -> bytes:
    return save(_all_weights(name))


def change_json(path: Path, changes: Mapping[str, object]) -> None:
    """Set fields of an object in a file; None removes."""
    content = {**json.loads(path.read_text()), **changes}
    removed = {key for key, value in changes.items() if value is None}
    path.write_text(json.dumps({k: v for k, v in content.items() if k not in removed}))
