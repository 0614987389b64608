"""Reference checkpoints by rule, and the vectors that the public code gave for them."""

import json
import pickle
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml

from detr import DETRVAE, ACTConfig

REFERENCE = Path(__file__).parent / 'reference'
VECTORS = ('small', 'prenorm', 'per_camera', 'full')


@dataclass(frozen=True)
class Vector:
    """One reference: its description, its inputs, and what the public code answered."""

    name: str
    about: dict
    qpos: np.ndarray  # (n, 17)
    images: np.ndarray  # (n, cameras, H, W, 3) uint8
    chunks: np.ndarray  # (n, k, 16) normalised
    aggregated: np.ndarray  # (n, 16) physical units

    def observation(self, i: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        cameras = self.about['config']['camera_names']
        return self.qpos[i], dict(zip(cameras, self.images[i], strict=True))


def vector(name: str) -> Vector:
    about = json.loads((REFERENCE / f'{name}.json').read_text())
    answers = np.load(REFERENCE / f'{name}.npz')
    qpos, images = inputs(about)
    return Vector(name, about, qpos, images, answers['chunks'], answers['aggregated'])


def write_checkpoint(folder: Path, name: str = 'small', **config: object) -> Path:
    """Write the reference checkpoint `name` as training would; `config` overrides config.yaml."""
    about = json.loads((REFERENCE / f'{name}.json').read_text())
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state_dict(about), folder / 'policy_best.ckpt')
    (folder / 'dataset_stats.pkl').write_bytes(pickle.dumps(stats(about['seed'])))
    side = {
        'task': 'astrobench_dual_arm',
        'camera_names': about['config']['camera_names'],
        'image_size': [about['height'], about['width']],
        'nheads': about['config']['nheads'],
    }
    (folder / 'config.yaml').write_text(yaml.safe_dump({**side, **config}))
    return folder


def small_config(**changes: object) -> ACTConfig:
    """A network of the deployed interface that a pass takes milliseconds of."""
    config = ACTConfig(
        state_dim=17, action_dim=16, chunk_size=5, hidden_dim=32, feedforward_dim=48,
        encoder_layers=1, heads=4, backbone='resnet18', num_backbones=1,
    )  # fmt: skip
    return replace(config, **changes)


def write_random(folder: Path, config: ACTConfig, **side: object) -> DETRVAE:
    """Write a checkpoint of any architecture, without a CVAE encoder; returns its network."""
    write_checkpoint(folder, **{'nheads': config.heads, 'image_size': [64, 96], **side})
    torch.manual_seed(0)
    network = DETRVAE(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    state = {f'model.{key}': value for key, value in network.state_dict().items()}
    torch.save(state, folder / 'policy_best.ckpt')
    return network.eval()


def state_dict(about: dict) -> dict[str, torch.Tensor]:
    return {
        key: torch.from_numpy(_tensor(key, tuple(shape), about['seed']))
        for key, shape in about['manifest'].items()
    }


def stats(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 11])

    def mean(size: int) -> np.ndarray:
        return rng.normal(size=size).astype(np.float32)

    def std(size: int) -> np.ndarray:
        return (0.5 + rng.random(size)).astype(np.float32)

    return {
        'qpos_mean': mean(17),
        'qpos_std': std(17),
        'action_mean': mean(16),
        'action_std': std(16),
        'example_qpos': rng.normal(size=(20, 17)).astype(np.float32),
    }


def inputs(about: dict) -> tuple[np.ndarray, np.ndarray]:
    n, height, width = about['n'], about['height'], about['width']
    rng = np.random.default_rng([about['seed'], 7])
    qpos = rng.normal(size=(n, 17)).astype(np.float32)
    coarse = rng.integers(0, 256, size=(n, 3, height // 20, width // 20, 3)).astype(np.uint8)
    return qpos, coarse.repeat(20, axis=2).repeat(20, axis=3)


def _tensor(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A tensor from its name alone, of a size that keeps activations of order 1."""
    if key.endswith('pos_table'):
        return np.zeros(shape, np.float32)  # used by nothing
    x = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(shape)
    x = x.astype(np.float32)
    last = key.rsplit('.', 1)[-1]
    if last == 'running_var':
        return np.abs(1 + 0.1 * x)
    if last == 'running_mean':
        return 0.1 * x
    if last == 'weight' and any(part in key for part in ('norm', '.bn', 'downsample.1')):
        return 1 + 0.1 * x
    if last in ('bias', 'in_proj_bias'):
        return 0.05 * x
    if len(shape) >= 2 and 'embed' not in key:
        gain = 2.0 if len(shape) == 4 else 1.0
        return x * np.float32(np.sqrt(gain / np.prod(shape[1:])))
    return x
