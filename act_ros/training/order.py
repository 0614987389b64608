"""What is drawn at random, each by itself from the seed and the step it is for.

Nothing depends on what was drawn before: a training that is taken up at a step draws what it
would have drawn there.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from detr.detr_vae import LATENT_DIM

_ORDER, _NOISE, _DROPOUT, _WEIGHTS = range(4)


class Order:
    """Which samples a step is trained on: every sample once, in a new order, then once again.

    :param samples: how many there are.
    :param batch_size: of them in a step.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self._samples, self._batch_size = samples, batch_size

        @lru_cache(maxsize=2)
        def shuffled(epoch: int) -> np.ndarray:
            return np.random.default_rng([seed, _ORDER, epoch]).permutation(samples)

        self._shuffled = shuffled

    def indices(self, step: int) -> np.ndarray:
        """Of the samples of a step, (batch_size,)."""
        place = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs, inside = np.divmod(place, self._samples)
        return np.concatenate(
            [self._shuffled(int(epoch))[inside[epochs == epoch]] for epoch in np.unique(epochs)]
        )


def noise(batch_size: int, seed: int, step: int) -> Tensor:
    """Of the latent, (batch_size, 32), of a normal distribution."""
    drawn = np.random.default_rng([seed, _NOISE, step]).standard_normal((batch_size, LATENT_DIM))
    return torch.from_numpy(drawn.astype(np.float32))


def seed_weights(seed: int) -> None:
    """Let torch draw the weights of a new network."""
    torch.manual_seed(_seed_of(seed, _WEIGHTS))


def seed_dropout(seed: int, step: int, rank: int) -> None:
    """Let torch draw what a step drops; each process draws for the samples that it has."""
    torch.manual_seed(_seed_of(seed, _DROPOUT, step, rank))


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
