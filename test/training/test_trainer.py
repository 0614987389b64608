"""A training learns, is never lost, and is the same however often it was interrupted."""


import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from act_ros.errors import TrainingError
from act_ros.policy import load_policy
from act_ros.training import trainer
from act_ros.training.objective import distance
from act_ros.training.output import CKPT_NAME, STATE_NAME, read_state
from act_ros.training.team import Team
from act_ros.training.trainer import failures_are_named, run
from test.readme.clone import free_port
from test.training import tiny

ROOT = Path(__file__).parents[2]
# All that has a state, or draws at random.
EVERYTHING = {
    'ema': 0.9, 'warmup': 3, 'schedule': 'cosine', 'clip': 10.0, 'freeze_norm': 0.7,
    'dropout': 0.1, 'smooth_queries': True, 'steps': 24, 'validate_every': 8,
}  # fmt: skip


@pytest.fixture(scope='module', autouse=True)
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
    out = tmp_path_factory.mktemp('uninterrupted')
    outcome = run(tiny.recipe(**EVERYTHING), tiny.data(), out)
    return outcome, (out / CKPT_NAME).read_bytes()


def test_the_loss_falls_below_a_tenth(tmp_path):
    recipe = tiny.recipe(
        steps=100, validate_every=10, cvae=False, dropout=0.0, pre_norm=True, lr=5e-3,
        lr_backbone=1e-3, schedule='cosine',
    )  # fmt: skip
    reports = []
    outcome = run(recipe, tiny.data(train=8, validation=0), tmp_path,
                  lambda progress: reports.append(progress) or True)  # fmt: skip
    first, last = outcome.history[0], outcome.history[-1]
    assert first.train.l1 == pytest.approx(0.33, rel=0.2)
    assert last.train.l1 < 0.1 * first.train.l1
    assert outcome.ended == '100 steps'
    assert (reports[-1].step, reports[-1].epoch, reports[-1].ended) == (100, 100.0, '100 steps')
    assert [each.validation for each in outcome.history] == [None] * 10


@pytest.mark.parametrize(
    ('changes', 'precision'),
    [({}, 1e-5), ({'weights': 'float16'}, 2e-3), ({'precision': 'bfloat16'}, 5e-2)],
    ids=['float32', 'float16', 'bfloat16'],
)
def test_what_is_validated_is_what_is_written_and_runs(changes, precision, tmp_path):
    """The mean of the weights, with a latent of zero, in a checkpoint of the public format."""
    recipe, data = tiny.recipe(steps=8, validate_every=4, ema=0.5, **changes), tiny.data()
    outcome = run(recipe, data, tmp_path)
    assert [(each.step, each.best) for each in outcome.history] == [(4, True), (8, True)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ['dataset_stats.pkl', CKPT_NAME]
    state = torch.load(tmp_path / CKPT_NAME, weights_only=True)
    dtype = getattr(torch, recipe.weights)
    assert all(key.startswith('model.') and value.dtype == dtype for key, value in state.items())
    assert 'model.transformer.decoder.layers.1.linear1.weight' in state

    (tmp_path / 'config.yaml').write_text('nheads: 4\ndilation: false\n')
    policy = load_policy(tmp_path, task=tiny.TASK, device='cpu')
    np.testing.assert_array_equal(policy.statistics.qpos_std, data.statistics.qpos_std)
    batch = data.validation.batch(np.arange(len(data.validation)))
    chunks = policy.predict_batch([
        (qpos, dict(zip(tiny.CAMERAS, images, strict=True)))
        for qpos, images in zip(batch.qpos.numpy(), batch.images.numpy(), strict=True)
    ])  # fmt: skip
    l1 = distance(torch.from_numpy(chunks), batch, torch.ones(2)).item()
    assert l1 == pytest.approx(outcome.history[-1].validation.l1, rel=precision)


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


@contextlib.contextmanager
def at_most(what, limit):
    """Let the system give this process no more of something."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path):
    recipe, data = tiny.recipe(steps=20, validate_every=2), tiny.data()
    run(recipe, data, tmp_path, lambda progress: False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3
    with (
        at_most(resource.RLIMIT_FSIZE, 100_000),
        pytest.raises(TrainingError, match=r'cannot write .*/policy_best.ckpt, and nothing ther'),
    ):
        run(recipe, data, tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_too_little_memory_is_one_line(tmp_path):
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    with (
        at_most(resource.RLIMIT_AS, used + 2**28),
        pytest.raises(TrainingError, match='the memory of cpu is too small for batch_size 8: low'),
    ):
        run(tiny.recipe(hidden_dim=8192), tiny.data(), tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (MemoryError(), 'the memory of cpu is too small for batch_size 8: lower it'),
        (torch.cuda.OutOfMemoryError('CUDA out of memory.'), 'the memory of cpu is too small'),
        (RuntimeError('unsupported memory format option ChannelsLast'), None),
        (RuntimeError('a connection of the graph is missing; gloo and nccl are not'), None),
    ],
)
def test_only_what_is_known_gets_another_name_and_keeps_its_cause(error, text):
    with (
        pytest.raises(TrainingError if text else RuntimeError, match=text) as caught,
        failures_are_named(tiny.recipe(), torch.device('cpu'), Team(0, 2)),
    ):
        raise error
    assert (caught.value.__cause__ if text else caught.value) is error


def start(out, changes, **environment):
    return subprocess.Popen(
        [sys.executable, '-m', 'test.training.process', str(out), json.dumps(changes)],
        cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1', **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_killed_at_any_moment_and_taken_up_again_equals_uninterrupted(uninterrupted, tmp_path):
    _, content = uninterrupted
    seed, codes = random.randrange(2**32), []
    print(f'kills are drawn by seed {seed}')
    draw = random.Random(seed)
    for kill in (True, True, False):
        # Each step is reported and saved, so that a kill meets a saving, too.
        process = start(tmp_path, {**EVERYTHING, 'save_every': 0.0})
        if kill:
            for _ in range(draw.randint(1, 6)):
                process.stdout.readline()
            time.sleep(draw.uniform(0.0, 0.05))
            process.kill()
        output, _ = process.communicate(timeout=120)
        codes.append(process.returncode)
    assert codes[0] == -9 and codes[-1] == 0, output
    assert (tmp_path / CKPT_NAME).read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ['dataset_stats.pkl', CKPT_NAME]


def start_two(out, changes):
    where = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port()), 'WORLD_SIZE': '2'}
    return [start(out, changes, RANK=str(i), LOCAL_RANK=str(i), **where) for i in (0, 1)]


def test_a_process_that_lost_another_says_so(tmp_path):
    first, other = start_two(tmp_path, {'steps': 10_000, 'validate_every': 10_000})
    first.stdout.readline()
    other.kill()
    other.communicate()
    said = first.communicate(timeout=60)[0]
    assert said.splitlines()[-1].endswith('process 0 of 2 ends, for another one has ended')


def test_two_processes_that_share_each_batch_equal_one(tmp_path, monkeypatch):
    changes = {**EVERYTHING, 'dropout': 0.0, 'steps': 6, 'validate_every': 3, 'freeze_norm': 0.6,
               'save_every': 0.0}  # fmt: skip
    processes = start_two(tmp_path, changes)
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[1] == ''

    monkeypatch.setattr(trainer, 'REPORT_EVERY', 0.0)
    recipe, data, alone = tiny.recipe(**changes), tiny.data(), tmp_path / 'alone'
    alone.mkdir()
    expected = []
    for last in (1, 6):
        run(recipe, data, alone,
            lambda p, last=last: expected.append(p.train.loss) or p.step != last,
            resume=True)  # fmt: skip
        if last == 1:
            first = read_state(alone)['learner']
    found = [float(line) for line in outputs[0].split()]
    assert found == pytest.approx(expected, rel=1e-3)
    (tmp_path / 'first').rename(tmp_path / STATE_NAME)
    shared = read_state(tmp_path)['learner']
    for key, value in first['network'].items():
        if 'running' in key:
            torch.testing.assert_close(shared['network'][key], value, rtol=1e-4, atol=1e-6)
    gradients = [state['optimizer']['state'] for state in (first, shared)]
    for key, each in gradients[0].items():
        # But for what is 0 up to rounding, as the keys' bias of an attention.
        torch.testing.assert_close(gradients[1][key]['exp_avg'], each['exp_avg'],
                                   rtol=1e-2, atol=1e-5)  # fmt: skip
