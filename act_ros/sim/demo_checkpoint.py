"""A demonstration checkpoint: untrained weights made by rule, in the form that training writes.

It shows that everything runs, and it moves the arm; it has learnt nothing.
"""

import pickle
import zlib
from pathlib import Path

import numpy as np
import torch
import yaml

from act_ros.errors import ParameterError
from act_ros.sim.robot import HOME
from act_ros.task import Entry, Task
from detr import DETRVAE, ACTConfig

MARK = '# Untrained weights made by rule: for demonstration only.'
FILES = ('config.yaml', 'policy_best.ckpt', 'dataset_stats.pkl')
SEED = 7
CHUNK_SIZE = 250  # 5 s at 50 Hz: more than two passes on a busy CPU core
HEADS = 8
HIDDEN = 64
# How far the arm strays from its home pose, per joint [rad; 0..1], and its velocities.
POSITION_STD = np.array([1.0, 0.5, 1.0, 0.6, 1.0, 0.8, 1.2, 0.8])
VELOCITY_STD = 0.02
# What qpos is to the network: the base drifts by centimetres, and that shall move the arm.
BASE_POSITION_STD, BASE_VELOCITY_STD, JOINT_STD = 0.02, 0.02, 1.0


def is_demo_checkpoint(folder: Path) -> bool:
    """Whether a folder's checkpoint is one for demonstration."""
    try:
        return (folder / FILES[0]).read_text(encoding='utf-8').startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def write_demo_checkpoint(folder: Path, task: Task) -> Path:
    """Write `policy_best.ckpt`, `dataset_stats.pkl` and `config.yaml`.

    :param folder: is made if it does not exist.
    :param task: gives the sizes and what `config.yaml` says.
    :raises ParameterError: another checkpoint is there.
    """
    if not is_demo_checkpoint(folder) and any((folder / name).exists() for name in FILES):
        raise ParameterError(
            f'{folder} holds a checkpoint that is not for demonstration; give another --out'
        )
    folder.mkdir(parents=True, exist_ok=True)
    side = {
        'task': task.name,
        'camera_names': list(task.cameras),
        'image_size': list(task.image_size),
        'nheads': HEADS,
        'dilation': False,
    }
    # First of all: it says whose the others are.
    (folder / 'config.yaml').write_text(f'{MARK}\n{yaml.safe_dump(side)}', encoding='utf-8')
    config = ACTConfig(
        state_dim=task.state_dim,
        action_dim=task.action_dim,
        chunk_size=CHUNK_SIZE,
        hidden_dim=HIDDEN,
        feedforward_dim=4 * HIDDEN,
        encoder_layers=2,
        heads=HEADS,
        backbone='resnet18',
        num_backbones=1,
    )
    with torch.device('meta'):
        shapes = {key: value.shape for key, value in DETRVAE(config).state_dict().items()}
    weights = {
        key: torch.from_numpy(_weight(key, tuple(shape)).astype(np.float32))
        for key, shape in shapes.items()
    }
    _centre(config, weights, len(task.cameras))
    torch.save(
        {f'model.{key}': value for key, value in weights.items()}, folder / 'policy_best.ckpt'
    )
    (folder / 'dataset_stats.pkl').write_bytes(pickle.dumps(_statistics(task)))
    return folder


def _weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor from its name, scaled so that activations stay of order 1."""
    x = np.random.default_rng([SEED, zlib.crc32(key.encode())]).standard_normal(shape)
    if key == 'query_embed.weight':
        return _smooth_queries(*shape)
    if key == 'input_proj_robot_state.weight':
        return 8.0 * x / np.sqrt(shape[1])  # loud: the pose shall tell in the action
    if key.endswith('multihead_attn.in_proj_weight'):
        # Sharp attention: each query, and so each step of the chunk, looks somewhere else.
        x[: 2 * shape[1]] *= np.sqrt(6.0)
    last = key.rsplit('.', 1)[-1]
    if last == 'running_var':
        return np.ones(shape)
    if last == 'weight' and len(shape) == 1:
        return np.ones(shape)
    if last in ('bias', 'in_proj_bias', 'running_mean'):
        return 0.05 * x
    gain = 2.0 if len(shape) == 4 else 1.0
    return x * np.sqrt(gain / np.prod(shape[1:]))


def _centre(config: ACTConfig, weights: dict[str, torch.Tensor], cameras: int) -> None:
    """Shift the last bias so that a blank observation asks for the mean: the home pose."""
    network = DETRVAE(config)
    network.load_state_dict(weights)
    with torch.inference_mode():
        qpos = torch.zeros(1, config.state_dim)
        grey = torch.full((1, cameras, 3, 120, 160), 60, dtype=torch.uint8)
        chunk = network(qpos, grey)[0]
    weights['action_head.bias'] -= chunk.mean(dim=0)


def _smooth_queries(steps: int, hidden: int) -> np.ndarray:
    """Queries that change slowly along the chunk, so that a plan is a smooth motion."""
    rng = np.random.default_rng([SEED, 1])
    period = rng.uniform(3.0, 6.0, hidden) * steps
    phase = rng.uniform(0.0, 2 * np.pi, hidden)
    return np.sin(2 * np.pi * np.arange(steps)[:, None] / period + phase)


def _statistics(task: Task) -> dict[str, np.ndarray]:
    home = dict(zip(task.joints, HOME, strict=True))

    def mean(entry: Entry) -> float:
        return home.get(entry.name, 0.0) if entry.quantity == 'position' else 0.0

    def qpos_std(entry: Entry) -> float:
        if entry.name in home:
            return JOINT_STD
        return BASE_POSITION_STD if entry.quantity == 'position' else BASE_VELOCITY_STD

    position_std = dict(zip(home, POSITION_STD, strict=True))
    statistics = {
        'qpos_mean': [mean(e) for e in task.state],
        'qpos_std': [qpos_std(e) for e in task.state],
        'action_mean': [mean(e) for e in task.action],
        'action_std': [
            position_std[e.name] if e.quantity == 'position' else VELOCITY_STD
            for e in task.action
        ],
        'example_qpos': [mean(e) for e in task.state],
    }
    return {key: np.array(value, dtype=np.float32) for key, value in statistics.items()}
