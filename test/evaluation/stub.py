"""Policies that know the recording: what they are asked for tells them the time."""

import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from act_ros.policy.interface import About, Statistics
from test.bags.bags import commanded

CHUNK = 20


class Repeater:
    """Says what was recorded: entry i at tick t is the recorded action of t + i - offset."""

    chunk_size, engine_name = CHUNK, 'torch'
    about = About('', '', 'torch float32', 'float32', 'cpu')

    def __init__(self, task, offset: int = 0, seconds: float = 0.0) -> None:
        self.task = task
        self._offset, self._seconds = offset, seconds
        self.statistics = Statistics(
            np.ones(17, np.float32), np.ones(17, np.float32), np.ones(16, np.float32),
            np.full(16, 0.5, np.float32),
        )  # fmt: skip

    def predict(self, qpos, images):
        time.sleep(self._seconds)
        n = int(np.floor(qpos[0] * 50 + 1e-3))
        return commanded(n + np.arange(CHUNK) - self._offset).astype(np.float32)

    def predict_batch(self, observations):
        return np.stack([self.predict(*observation) for observation in observations])


class Erring(Repeater):
    """Errs as trained policies do: each chunk by an offset of its own, known by its tick.

    :ivar asked: every tick that it was asked for.
    """

    chunk_size = 100
    asked: ClassVar[list[int]] = []  # by all of them: a run loads its own

    def predict(self, qpos, images):
        n = int(np.floor(qpos[0] * 50 + 1e-3))
        self.asked.append(n)
        chunk = commanded(n + np.arange(self.chunk_size))
        chunk[:, :8] += np.random.default_rng(n).normal(0, 0.02, 8)
        return chunk.astype(np.float32)


def load_erring(ckpt_dir, *, task, **_):
    return Erring(task)


def load(ckpt_dir, *, task, **_):
    return Repeater(task)


def load_shifted(ckpt_dir, *, task, **_):
    return Repeater(task, offset=1)


def load_openvino(ckpt_dir, *, task, engine, **_):
    policy = Repeater(task)
    policy.engine_name = 'openvino' if engine == 'auto' else engine
    return policy


def load_slow(ckpt_dir, *, task, **_):
    """Slow where the environment says so: a run to be killed, but not what it is compared with."""
    return Repeater(task, seconds=float(os.environ.get('SECONDS_A_PASS', 0)))


def load_and_die_once(ckpt_dir, *, task, **_):
    """As if the system had killed the first worker, for want of memory."""
    path = Path(ckpt_dir) / 'died'
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return Repeater(task)
    if os.environ.get('MAY_DIE'):
        os._exit(9)
    return Repeater(task)
