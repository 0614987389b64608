"""The training form and the inference form are one network."""

import numpy as np
import pytest
import torch

from act_ros.policy import load_policy
from act_ros.task import Entry
from act_ros.training.batch import Batch
from act_ros.training.objective import Objective, channels_first, entry_weights
from detr.backbone import FrozenBatchNorm2d
from detr.detr_vae import LATENT_DIM
from detr.training import BatchNorm2d, TrainingACT, smooth_queries
from test.rule import small_config, write_checkpoint

CAMERAS = 3


def make_batch(config, size=(64, 96), batch=4):
    rng = np.random.default_rng(1)
    pad = np.arange(config.chunk_size) >= rng.integers(1, config.chunk_size + 1, (batch, 1))
    return Batch(
        torch.from_numpy(rng.normal(size=(batch, config.state_dim)).astype(np.float32)),
        torch.from_numpy(rng.integers(0, 256, (batch, CAMERAS, *size, 3), dtype=np.uint8)),
        torch.from_numpy(
            rng.normal(size=(batch, config.chunk_size, config.action_dim)).astype(np.float32)
        ),
        torch.from_numpy(pad),
    )


def trained(config, steps=3, **how):
    """A network after some steps, its norms frozen before the last where they are trained."""
    torch.manual_seed(0)
    network = TrainingACT(config, **how)
    objective = Objective(network, 10.0, torch.ones(config.action_dim)).train()
    batch = make_batch(config)
    optimizer = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], lr=1e-3
    )
    for step in range(steps):
        if step == steps - 1:
            for norm in network.norms:
                norm.freeze()
        optimizer.zero_grad()
        objective(batch, torch.randn(len(batch.qpos), LATENT_DIM))[2].backward()
        optimizer.step()
    return network.eval(), batch


@pytest.mark.parametrize('pre_norm', [False, True], ids=['post_norm', 'pre_norm'])
@pytest.mark.parametrize('batch_norm', [False, True], ids=['frozen', 'batch'])
def test_the_inference_form_equals_the_training_form(pre_norm, batch_norm, tmp_path):
    config = small_config(pre_norm=pre_norm, width=8, num_backbones=CAMERAS)
    network, batch = trained(config, batch_norm=batch_norm)
    write_checkpoint(tmp_path, image_size=[64, 96], nheads=config.heads)
    state = {f'model.{key}': value for key, value in network.state_dict().items()}
    torch.save(state, tmp_path / 'policy_best.ckpt')
    policy = load_policy(tmp_path, device='cpu')
    with torch.no_grad():
        # A latent of zero: the mean of one that tells nothing.
        network.latent_proj.weight.zero_()
        network.latent_proj.bias.zero_()
        expected = network.reconstruct(
            channels_first(batch.images), batch.qpos, batch.actions, batch.is_pad,
            torch.zeros(len(batch.qpos), LATENT_DIM),
        ).actions  # fmt: skip
    statistics = policy.statistics
    for i in range(2):
        qpos = batch.qpos[i].numpy() * statistics.qpos_std + statistics.qpos_mean
        images = dict(zip(policy.task.cameras, batch.images[i].numpy(), strict=True))
        found = policy.predict(qpos.astype(np.float32), images)
        found = (found - statistics.action_mean) / statistics.action_std
        np.testing.assert_allclose(found, expected[i].numpy(), rtol=0, atol=1e-5)


def test_dropout_is_in_training_only():
    config = small_config()
    torch.manual_seed(0)
    network = TrainingACT(config, dropout=0.5)
    batch = make_batch(config)
    parts = batch.qpos, batch.actions, batch.is_pad
    with torch.no_grad():
        assert not torch.equal(network.posterior(*parts)[0], network.posterior(*parts)[0])
        network.eval()
        assert torch.equal(network.posterior(*parts)[0], network.posterior(*parts)[0])


def test_padded_actions_count_for_nothing():
    config = small_config()
    network, batch = trained(config, steps=1, dropout=0.0)
    changed = torch.where(batch.is_pad[..., None], torch.tensor(9.0), batch.actions)
    assert batch.is_pad.any()
    with torch.no_grad():
        for a, b in zip(network.posterior(batch.qpos, batch.actions, batch.is_pad),
                        network.posterior(batch.qpos, changed, batch.is_pad),
                        strict=True):  # fmt: skip
            torch.testing.assert_close(a, b)


def test_without_a_cvae_the_latent_is_zero_and_its_encoder_is_not_trained():
    config = small_config()
    torch.manual_seed(0)
    begun = TrainingACT(config, cvae=False).state_dict()
    network, batch = trained(config, cvae=False, dropout=0.0)
    with torch.no_grad():
        noise = torch.randn(len(batch.qpos), LATENT_DIM)
        images = channels_first(batch.images)
        found = network.reconstruct(images, batch.qpos, batch.actions, batch.is_pad, noise)
        assert torch.equal(found.actions, network(batch.qpos, images))
    assert not found.mu.any() and not found.logvar.any()
    same = {key for key, value in network.state_dict().items() if torch.equal(value, begun[key])}
    assert {'latent_proj.weight', 'latent_out_proj.weight', 'cls_embed.weight'} <= same
    assert 'latent_out_proj.bias' not in same


def test_a_frozen_norm_stays_as_it_is():
    torch.manual_seed(0)
    norm, x = BatchNorm2d(8), torch.randn(2, 8, 5, 5) + 3
    norm(x)
    assert norm.running_mean.any()
    norm.freeze()
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    found = norm.train()(x)
    constant = FrozenBatchNorm2d(8)
    constant.load_state_dict(before)
    torch.testing.assert_close(found, constant(x))
    assert not any(p.requires_grad for p in norm.parameters())
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


def test_smooth_queries_change_slowly():
    queries = smooth_queries(100, 32)
    assert queries.shape == (100, 32)
    assert (queries[1:] - queries[:-1]).abs().max() < 0.03
    assert queries.std() > 0.3


def test_velocities_can_count_less():
    entries = [Entry.parse('arm/a/position'), Entry.parse('arm/a/velocity')]
    assert entry_weights(entries, 0.5).tolist() == [1.0, 0.5]
