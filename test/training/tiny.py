"""A training that takes seconds: what the samples show tells their actions."""

import hashlib

import numpy as np
import torch

from act_ros.policy.interface import Statistics
from act_ros.task import Entry, Task
from act_ros.training.batch import Batch, Data
from act_ros.training.recipe import Recipe

CHUNK, SIZE, CAMERAS = 6, (32, 48), ('left', 'right')
TASK = Task(
    'tiny', CAMERAS, (Entry.parse('arm/a/position'), Entry.parse('arm/b/position')),
    (Entry.parse('arm/a/position'), Entry.parse('arm/a/velocity')), 50.0, SIZE,
)  # fmt: skip


def recipe(**changes):
    return Recipe(**{
        'chunk_size': CHUNK, 'hidden_dim': 32, 'feedforward_dim': 48, 'encoder_layers': 1,
        'decoder_layers': 2, 'heads': 4, 'backbone_width': 8, 'batch_size': 8, 'lr': 2e-3,
        'lr_backbone': 2e-3, 'steps': 30, 'validate_every': 10, 'device': 'cpu', 'workers': 1,
        **changes,
    })  # fmt: skip


class Shown:
    """Samples of a bright bar; its place and the pose say where the arm goes."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.place = rng.uniform(-1, 1, count)
        self.qpos = rng.normal(size=(count, 2)).astype(np.float32)
        self.length = rng.integers(1, CHUNK + 4, count)

    def __len__(self):
        return len(self.place)

    def batch(self, indices):
        place, qpos = self.place[indices], self.qpos[indices]
        images = np.full((len(place), len(CAMERAS), *SIZE, 3), 40, np.uint8)
        columns = ((place + 1) / 2 * (SIZE[1] - 8)).astype(int)
        for image, column in zip(images, columns, strict=True):
            image[..., column : column + 8, :] = 230
        rise = np.arange(CHUNK) / CHUNK
        position = place[:, None] * rise + qpos[:, :1] * (1 - rise)
        velocity = np.repeat((place - qpos[:, 0])[:, None], CHUNK, axis=1)
        actions = np.stack((position, velocity), axis=2).astype(np.float32)
        pad = np.arange(CHUNK) >= self.length[indices, None]
        return Batch(*map(torch.from_numpy, (qpos, images, actions, pad)))


def data(train=48, validation=16):
    ones = np.ones(2, np.float32)
    return Data(
        Shown(train, 1), Shown(validation, 2) if validation else None,
        Statistics(0 * ones, ones, 0 * ones, ones), np.zeros((5, 2), np.float32), TASK,
        hashlib.sha256(f'{train} {validation}'.encode()).hexdigest(),
    )  # fmt: skip
