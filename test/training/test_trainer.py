"""A training learns, is never lost, and is the same however often it was interrupted."""


import numpy as np
import pytest
import torch

from act_ros.errors import TrainingError
from act_ros.policy.checkpoint import read_checkpoint
from act_ros.training.output import CKPT_NAME, STATE_NAME
from act_ros.training.trainer import run
from test.training import tiny

# All that has a state, or draws at random.
EVERYTHING = {
    'ema': 0.9, 'warmup': 3, 'schedule': 'cosine', 'clip': 10.0, 'freeze_norm': 0.7,
    'dropout': 0.1, 'smooth_queries': True, 'steps': 24, 'validate_every': 8,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def losses(outcome):
    """What of a training does not depend on the time it took."""
    return [(each.step, each.train, each.validation, each.best, each.lr)
            for each in outcome.history]  # fmt: skip


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """The outcome of a training, and the checkpoint that it wrote."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp('uninterrupted')
    outcome = run(tiny.recipe(**EVERYTHING), tiny.data(), out)
    return outcome, (out / CKPT_NAME).read_bytes()


def test_the_loss_falls_below_a_tenth(tmp_path):
    recipe = tiny.recipe(
        steps=120, validate_every=60, cvae=False, dropout=0.0, schedule='cosine', lr=3e-3,
        lr_backbone=3e-3,
    )  # fmt: skip
    reports = []
    outcome = run(recipe, tiny.data(train=16, validation=0), tmp_path,
                  lambda progress: reports.append(progress) or True)  # fmt: skip
    assert reports[-1].train.l1 < 0.1 * reports[0].train.l1
    assert outcome.ended == '120 steps'
    assert (reports[-1].step, reports[-1].epoch) == (120, 60.0)


def test_what_is_written_is_a_checkpoint_in_the_public_format(uninterrupted, tmp_path):
    outcome, _ = uninterrupted
    data = tiny.data()
    assert [each.step for each in outcome.history] == [8, 16, 24]
    out = tmp_path / 'out'
    out.mkdir()
    run(tiny.recipe(steps=2, validate_every=2), data, out)
    assert sorted(p.name for p in out.iterdir()) == ['dataset_stats.pkl', CKPT_NAME]
    (out / 'config.yaml').write_text('nheads: 4\ndilation: false\n')
    checkpoint = read_checkpoint(out)
    assert checkpoint.config.width == 8 and checkpoint.config.chunk_size == tiny.CHUNK
    np.testing.assert_array_equal(checkpoint.statistics.qpos_std, data.statistics.qpos_std)
    state = torch.load(out / CKPT_NAME, weights_only=True)
    assert 'model.transformer.decoder.layers.1.linear1.weight' in state
    assert all(key.startswith('model.') and value.dtype == torch.float32
               for key, value in state.items())  # fmt: skip


def test_stopped_and_taken_up_again_equals_uninterrupted(uninterrupted, tmp_path):
    outcome, content = uninterrupted
    recipe, data = tiny.recipe(**EVERYTHING), tiny.data()
    found = None
    stops = 0
    while found is None or found.ended is None:
        found = run(recipe, data, tmp_path, lambda progress: progress.step % 8 != 0, resume=True)
        stops += found.ended is None
        assert (tmp_path / STATE_NAME).exists() == (found.ended is None)
    assert stops == 2
    assert losses(found) == losses(outcome)
    assert (tmp_path / CKPT_NAME).read_bytes() == content


def test_a_loss_that_is_not_finite_ends_it_and_nothing_is_overwritten(tmp_path):
    recipe, data = tiny.recipe(steps=20, validate_every=5, save_every=0.0), tiny.data()
    run(tiny.recipe(steps=20, validate_every=5), data, tmp_path, lambda p: p.step < 5)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3
    poisoned = tiny.data()
    poisoned.train.qpos[:] = np.nan
    with pytest.raises(TrainingError, match=r'the loss of step 6 is nan, so nothing more is wr'):
        run(recipe, poisoned, tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_training_is_not_taken_up(tmp_path):
    recipe, data = tiny.recipe(steps=20, validate_every=5), tiny.data()
    assert run(recipe, data, tmp_path, lambda progress: False).ended is None
    for other in (tiny.recipe(steps=20, validate_every=5, lr=1.0), tiny.recipe()):
        with pytest.raises(TrainingError, match='is of other samples or another recipe; give'):
            run(other, data, tmp_path, resume=True)
    with pytest.raises(TrainingError, match='is of other samples or another recipe; give'):
        run(recipe, tiny.data(train=40), tmp_path, resume=True)
    (tmp_path / STATE_NAME).write_bytes((tmp_path / STATE_NAME).read_bytes()[:5000])
    with pytest.raises(TrainingError, match=r'is not a readable state of a training: .*; remove'):
        run(recipe, data, tmp_path, resume=True)


def test_it_ends_where_validations_get_no_better(tmp_path):
    recipe = tiny.recipe(steps=100, validate_every=2, patience=2, lr=0.0, lr_backbone=0.0,
                         norm='frozen')  # fmt: skip
    outcome = run(recipe, tiny.data(), tmp_path)
    assert outcome.ended == 'no better one in 2 validations'
    assert [each.best for each in outcome.history] == [True, False, False]
