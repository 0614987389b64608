"""A step of a training: what it makes smaller, and how far it goes."""

import numpy as np
import pytest
import torch

from act_ros.training.learner import Learner
from act_ros.training.order import noise
from test.training import tiny

CPU = torch.device('cpu')


def learner(steps=100, **changes):
    return Learner(tiny.recipe(**changes), tiny.TASK, steps, CPU)


def batch():
    return tiny.data().train.batch(np.arange(8))


def step(taught, number=0):
    """Its losses."""
    return taught.step(number, batch(), noise(8, 0, number)).numpy()


def test_the_learning_rate_rises_and_then_stays():
    constant = learner(warmup=10)
    assert [constant.rate(i) for i in (0, 4, 9, 10, 55, 99)] == [0.1, 0.5, 1, 1, 1, 1]
    assert [learner().rate(i) for i in (0, 99)] == [1, 1]


def test_the_learning_rate_rises_and_falls_as_a_cosine():
    cosine = learner(schedule='cosine', warmup=20)
    assert [cosine.rate(i) for i in (0, 9, 19, 20)] == [0.05, 0.5, 1, 1]
    # A quarter, half and three quarters of what comes after the warm-up.
    found = [cosine.rate(i) for i in (40, 60, 80)]
    assert found == pytest.approx([(1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])
    assert 0 < cosine.rate(99) < 1e-3
    assert cosine.rate(100) == 0
    assert learner(schedule='cosine').rate(0) == 1


def test_each_step_is_taken_with_its_rate():
    taught = learner(warmup=10, lr=1e-3, lr_backbone=1e-4)
    for number, share in ((0, 0.1), (4, 0.5), (50, 1)):
        step(taught, number)
        rates = [group['lr'] for group in taught.optimizer.param_groups]
        assert rates == pytest.approx([1e-3 * share, 1e-4 * share])


def test_a_backbone_without_a_learning_rate_stays_as_it_is():
    taught = learner(lr_backbone=0.0, weight_decay=0.1)
    before = {name: p.detach().clone() for name, p in taught.network.named_parameters()}
    step(taught)
    changed = {name for name, p in taught.network.named_parameters()
               if not torch.equal(p, before[name])}  # fmt: skip
    assert not [name for name in changed if name.startswith('backbones.')]
    assert 'input_proj.weight' in changed and 'action_head.weight' in changed


def test_velocities_count_as_the_recipe_says():
    """The second of the two entries of the action is a velocity."""
    whole, half, none = (
        step(learner(velocity_weight=weight, dropout=0.0))[0] for weight in (1.0, 0.5, 0.0)
    )
    assert 0 < none < half < whole
    assert half == pytest.approx((whole + none) / 2, rel=1e-5)
