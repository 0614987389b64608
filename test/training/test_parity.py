"""One batch and five steps of AdamW, equal to what the public training code computes."""

import json

import numpy as np
import pytest
import torch

from act_ros.config import load_task
from act_ros.policy.checkpoint import read_checkpoint
from act_ros.training.batch import Batch
from act_ros.training.learner import Learner
from act_ros.training.recipe import Recipe
from detr.detr_vae import LATENT_DIM
from test import rule

PRECISION = 1e-4  # relative
# The gradient through a ReLU whose input is 0 but for rounding is there or not: what a backbone's
# weights get differs by the order in which convolutions add, in the public code as here.
KINKS = 1e-3
# Adam makes steps of one size from gradients of any: a change of the weights of `small` by 1e-7
# changes its L1 by this much after each of the steps, whoever computes it.
CHAOS = {'small': (0, 2e-5, 5e-4, 1e-2, 1e-2), 'prenorm': (0, 0, 0, 0, 0)}
NAMES = ('small', 'prenorm')


class Training:
    """A reference of training: its network, its batch, and what the public code gave."""

    def __init__(self, name, folder):
        self.name = name
        self.about = json.loads((rule.REFERENCE / f'training_{name}.json').read_text())
        self.arrays = np.load(rule.REFERENCE / f'training_{name}.npz')
        network = json.loads((rule.REFERENCE / f'{name}.json').read_text())
        self.manifest = network['manifest']
        checkpoint = read_checkpoint(rule.write_checkpoint(folder, name))
        config = checkpoint.config
        recipe = Recipe(
            chunk_size=config.chunk_size, hidden_dim=config.hidden_dim,
            feedforward_dim=config.feedforward_dim, encoder_layers=config.encoder_layers,
            decoder_layers=network['config']['dec_layers'], heads=config.heads,
            backbone=config.backbone, backbone_width=config.width,
            backbone_per_camera=config.num_backbones > 1, pre_norm=config.pre_norm, dropout=0.0,
            norm='frozen', kl_weight=self.about['kl_weight'], lr=self.about['lr'],
            lr_backbone=self.about['lr_backbone'], weight_decay=self.about['weight_decay'],
            precision='float32',
        )  # fmt: skip
        steps = len(self.about['losses'])
        self.learner = Learner(recipe, load_task(), steps, torch.device('cpu'))
        self.network = self.learner.network
        state = {key.removeprefix('model.'): value
                 for key, value in rule.state_dict(network).items()}  # fmt: skip
        state['pos_table'] = self.network.pos_table
        self.network.load_state_dict(state)
        batch, chunk, action_dim = self.about['batch'], config.chunk_size, config.action_dim
        qpos, images = rule.inputs({**network, 'n': batch})
        statistics = checkpoint.statistics
        rng = np.random.default_rng([network['seed'], 17])
        actions = rng.normal(size=(batch, chunk, action_dim)).astype(np.float32)
        noise = rng.normal(size=(batch, LATENT_DIM)).astype(np.float32)
        ends = np.array([chunk, chunk - 3, 2])
        self.noise = torch.from_numpy(noise)
        self.batch = Batch(
            torch.from_numpy((qpos - statistics.qpos_mean) / statistics.qpos_std),
            torch.from_numpy(images),
            torch.from_numpy(actions),
            torch.from_numpy(np.arange(chunk) >= ends[:, None]),
        )


@pytest.fixture(scope='module', params=NAMES)
def training(request, tmp_path_factory):
    return Training(request.param, tmp_path_factory.mktemp('ckpt'))


def test_the_keys_are_those_of_the_public_code(training):
    found = {f'model.{key}': list(value.shape)
             for key, value in training.network.state_dict().items()}  # fmt: skip
    assert found == training.manifest


def test_losses_and_gradients_equal_the_public_ones(training):
    with torch.no_grad():
        found = training.network.reconstruct(
            training.batch.images.permute(0, 1, 4, 2, 3), training.batch.qpos,
            training.batch.actions, training.batch.is_pad, training.noise,
        )  # fmt: skip
    for name, value in zip(('a_hat', 'mu', 'logvar'), found, strict=True):
        np.testing.assert_allclose(
            value.numpy(), training.arrays[name], rtol=PRECISION, atol=PRECISION, err_msg=name
        )

    for step, expected in enumerate(training.about['losses']):
        losses = training.learner.step(step, training.batch, training.noise)
        for name, value in zip(('l1', 'kl', 'loss'), losses.tolist(), strict=True):
            precision = PRECISION + (CHAOS[training.name][step] if name == 'l1' else 0)
            assert value == pytest.approx(expected[name], rel=precision), (step, name)
        if step == 0:
            check_gradients(training)


def check_gradients(training):
    norms = {f'model.{name}': p.grad.norm().item()
             for name, p in training.network.named_parameters() if p.grad is not None}  # fmt: skip
    public = training.about['gradient_norms']
    assert norms.keys() <= public.keys()
    for key, expected in public.items():
        precision = KINKS if 'backbones' in key else PRECISION
        # Of the keys of a self-attention over equal values it is 0 but for rounding.
        assert norms.get(key, 0.0) == pytest.approx(expected, rel=precision, abs=1e-6), key
