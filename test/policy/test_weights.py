"""Checkpoints as people have them: where in the file the weights are, and under what names."""

import argparse
import collections
import copy
import pathlib
import warnings

import numpy as np
import pytest
import torch

from act_ros.errors import CheckpointError
from act_ros.policy.checkpoint import read_checkpoint
from act_ros.policy.checkpoint.pickled_file import open_pickled
from act_ros.policy.checkpoint.weights import find_weights
from test.rule import small_config, write_random

ANCHOR = 'query_embed.weight'
KEYS = (ANCHOR, 'backbones.0.0.body.conv1.weight', 'transformer.decoder.norm.bias')


def state(prefix='model.', shift=0.0):
    return {prefix + key: torch.full((2,), i + shift) for i, key in enumerate(KEYS)}


def find(content, path, wanted=None):
    """The weights found in a saved file, loaded."""
    torch.save(content, path)
    with open_pickled(path) as read:
        found = find_weights(path, read, wanted)
        return found, {key: value.load() for key, value in found.weights.items()}


def is_state(weights, shift=0.0):
    return {k: v.tolist() for k, v in weights.items()} == {
        k: v.tolist() for k, v in state('', shift).items()
    }


@pytest.mark.parametrize(
    'prefix',
    ['', 'model.', 'module.', 'module.model.', '_orig_mod.', '_orig_mod.model.',
     'model._orig_mod.', 'module._orig_mod.model.', '_orig_mod.module.model.',
     'module.module.model.', 'policy.model.', 'actor.', '_fsdp_wrapped_module.model.',
     'model.module._checkpoint_wrapped_module.', 'module.policy._orig_mod.model.'],
)  # fmt: skip
def test_what_stands_before_the_keys_is_taken_off(prefix, tmp_path, caplog):
    caplog.set_level('INFO')
    found, weights = find(state(prefix), tmp_path / 'x')
    assert is_state(weights)
    lines = [record.message for record in caplog.records]
    if prefix == 'model.':
        assert (found.place, found.prefix, lines) == ('model', 'model.', [])
    else:
        assert lines == [
            f'{tmp_path / "x"}: assuming the weights are those with the prefix {prefix!r}'
        ]


def test_a_wrapper_may_be_anywhere(tmp_path):
    content = {
        f'model.{ANCHOR}': torch.zeros(2),
        'model.backbones.0.0.module.body.conv1.weight': torch.ones(2),
        'model.transformer._orig_mod.decoder.norm.bias': torch.full((2,), 2.0),
    }
    assert is_state(find(content, tmp_path / 'x')[1])


@pytest.mark.parametrize(
    'place',
    ['model_state_dict', 'state_dict', 'model', 'policy', 'ema', 'module', 'net', 'weights',
     'checkpoint.model', 'a.b.c'],
)  # fmt: skip
def test_weights_are_found_among_other_things(place, tmp_path, caplog):
    caplog.set_level('INFO')
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    content = collections.OrderedDict(state())
    for name in reversed(place.split('.')):
        content = {name: content}
    content |= {
        'optimizer_state_dict': optimizer.state_dict(), 'epoch': 3, 'loss': np.float64(0.1),
        'args': argparse.Namespace(lr=1e-4, folder=pathlib.Path('/data')), 'history': [{'l1': 1}],
        'rng': torch.get_rng_state(), 'scaler': torch.amp.GradScaler(enabled=False).state_dict(),
        'class': read_checkpoint,
    }  # fmt: skip
    found, weights = find(content, tmp_path / 'x')
    assert is_state(weights)
    assert found.place == place
    (line,) = [record.message for record in caplog.records]
    assert line.endswith(f"assuming the weights are those in {place!r}, with the prefix 'model.'")


def test_the_same_weights_twice_are_one(tmp_path):
    one = state()
    for other in (one, dict(one), {f'module.{key}': value for key, value in one.items()}):
        assert is_state(find({'model': one, 'state_dict': other}, tmp_path / 'x')[1])


@pytest.mark.parametrize(
    ('content', 'places'),
    [
        ({'model': state(''), 'ema': state('', 0.5)}, ('model', 'ema')),
        ({'model': state(), 'ema': state('module.model.', 0.5)}, ('model', 'ema')),
        ({'a': {'net': state('')}, 'b': {'net': state('', 0.5)}}, ('a.net', 'b.net')),
        ({**state(), **state('ema_model.', 0.5)}, ('model', 'ema_model')),
        ({**state(''), **state('ema.', 0.5)}, ('', 'ema')),
        ({**state(''), 'ema': state('', 0.5)}, ('', 'ema')),
    ],
)
def test_of_several_weights_config_yaml_says_which(content, places, tmp_path):
    path = tmp_path / 'x'
    with pytest.raises(CheckpointError) as caught:
        find(content, path)
    assert all(repr(place) in str(caught.value) for place in places)
    assert 'say in config.yaml which, e.g. weights: ' in str(caught.value)
    for place, shift in zip(places, (0.0, 0.5), strict=True):
        assert is_state(find(content, path, place)[1], shift)
    with pytest.raises(CheckpointError, match="has no weights 'other', it has "):
        find(content, path, 'other')


class Net(torch.nn.Module):
    """A policy as a whole."""

    def __init__(self):
        super().__init__()
        self.model = torch.nn.ModuleDict({'query_embed': torch.nn.Embedding(2, 2)})


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({}, 'holds a dict without weights, expected a state_dict'),
        ([1], 'holds a list without weights, expected a state_dict'),
        (torch.ones(3), 'holds a StoredTensor without weights'),
        ({'model.x': torch.ones(3)}, f"missing key 'model.{ANCHOR}'; it has ['model.x']"),
        ({**state(), 'x': torch.ones(1)}, "unknown key 'x'"),
        ({**state(), 'module.' + next(iter(state())): torch.ones(1)},
         f"has 'model.{ANCHOR}' twice, once as 'module.model.{ANCHOR}'"),
        (Net(), f'holds more than weights and is not opened: it is a {__name__}.Net; save the '),
        ({'vae.x': torch.ones(3), 'args': Net()}, "query_embed.weight'; it has ['vae.x']"),
        ({'epoch': 1, 'rng': torch.ones(3), 'model': Net()},
         f"more than weights and is not opened: 'model' is a {__name__}.Net; save the state_dict"),
    ],
)  # fmt: skip
def test_a_file_without_the_weights_says_what_it_has(content, message, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        find(content, tmp_path / 'x')
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


class Policy(torch.nn.Module):
    """As the public training has it: the network is its `model`."""

    def __init__(self, network):
        super().__init__()
        self.model = network


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint, and what it is to read."""
    folder = tmp_path_factory.mktemp('ckpt')
    network = write_random(folder, small_config())
    return folder, network, read_checkpoint(folder).weights


@pytest.fixture
def weights(folder):
    """Save something in the checkpoint's place; the weights that are read then."""
    path, _, expected = folder
    content = (path / 'policy_best.ckpt').read_bytes()

    def read(changed, **how):
        torch.save(changed, path / 'policy_best.ckpt', **how)
        return read_checkpoint(path).weights

    yield read, expected
    (path / 'policy_best.ckpt').write_bytes(content)


def same(found, expected):
    return found.keys() == expected.keys() and all(
        value.dtype == torch.float32 and torch.equal(value, expected[key])
        for key, value in found.items()
    )


def compiled_inside(policy):
    policy = copy.copy(policy)
    policy.model = torch.compile(policy.model)
    return policy


@pytest.mark.parametrize(
    'wrap',
    [torch.nn.DataParallel, torch.compile, torch.optim.swa_utils.AveragedModel, compiled_inside,
     lambda policy: torch.compile(torch.nn.DataParallel(policy)),
     lambda policy: torch.nn.DataParallel(torch.compile(policy))],
    ids=['DataParallel', 'compile', 'AveragedModel', 'compiled inside', 'both', 'both turned'],
)  # fmt: skip
def test_the_wrappers_of_torch_are_taken_off(wrap, folder, weights):
    read, expected = weights
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        wrapped = wrap(Policy(copy.deepcopy(folder[1])))
    assert same(read(wrapped.state_dict()), expected)


def test_what_training_keeps_beside_a_weight_is_left_out(folder, weights):
    """A batch norm that was not frozen counts its batches; it computes the same."""
    read, expected = weights
    content = {f'model.{key}': value for key, value in folder[1].state_dict().items()}
    norms = [key for key in content if key.endswith('running_var')]
    assert norms
    for key in norms:
        content[key.replace('running_var', 'num_batches_tracked')] = torch.tensor(1000)
    assert same(read(content), expected)


def test_the_two_positions_of_a_fork_are_read(folder, weights, caplog):
    caplog.set_level('INFO')
    read, expected = weights
    content = {f'model.{key}': value for key, value in folder[1].state_dict().items()}
    both = content.pop('model.additional_pos_embed.weight')
    content |= {'model.latent_pos.weight': both[:1], 'model.robot_state_pos.weight': both[1:]}
    assert same(read(content), expected)
    assert 'reading latent_pos.weight and robot_state_pos.weight as additional' in caplog.text

    # The same names where there is more to a network.
    for change, message in (
        ({'model.robot_state_pos.weight': torch.ones(4, 32)},
         "'model.robot_state_pos.weight' has shape (4, 32), expected (1, 32): this network has"),
        ({'model.depth_backbones.0.conv1.weight': torch.ones(3)},
         "unknown key 'model.depth_backbones.0.conv1.weight'"),
        ({'model.next_action_pos.weight': torch.ones(3, 32)}, "unknown key 'model.next_action_p"),
        ({'model.additional_pos_embed.weight': both}, "unknown key 'model.latent_pos.weight'"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError) as caught:
            read({**content, **change})
        assert message in str(caught.value)


def test_where_a_fork_may_normalise_otherwise_config_yaml_says_how(tmp_path):
    """Of that fork actions are states: normalised as such, with the network all the same."""
    network = write_random(tmp_path, small_config(state_dim=16))
    content = {f'model.{key}': value for key, value in network.state_dict().items()}
    both = content.pop('model.additional_pos_embed.weight')
    content |= {'model.latent_pos.weight': both[:1], 'model.robot_state_pos.weight': both[1:]}
    torch.save(content, tmp_path / 'policy_best.ckpt')
    rng = np.random.default_rng(0)
    arrays = {f'{of}_{what}': rng.uniform(0.5, 1, 16).astype(np.float32)
              for of in ('qpos', 'action') for what in ('mean', 'std')}  # fmt: skip
    torch.save(arrays, tmp_path / 'dataset_stats.pkl')
    with pytest.raises(CheckpointError, match='normalises actions by qpos_mean and qpos_std; say'):
        read_checkpoint(tmp_path)
    config = (tmp_path / 'config.yaml').read_text()
    for which in ('qpos', 'action'):
        (tmp_path / 'config.yaml').write_text(f'{config}\naction_statistics: {which}\n')
        found = read_checkpoint(tmp_path).statistics
        np.testing.assert_array_equal(found.action_mean, arrays[f'{which}_mean'])
        np.testing.assert_array_equal(found.action_std, arrays[f'{which}_std'])
        np.testing.assert_array_equal(found.qpos_std, arrays['qpos_std'])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_cast(dtype, folder, weights, caplog):
    caplog.set_level('INFO')
    read, expected = weights
    content = {f'model.{k}': v.to(dtype) for k, v in folder[1].state_dict().items()}
    assert same(read(content), {k: v.to(dtype).float() for k, v in expected.items()})
    assert f'weights of {dtype} are cast to float32' in caplog.text


def test_a_weight_that_float32_does_not_hold_is_named(folder, weights):
    read, _ = weights
    content = {f'model.{k}': v.double() for k, v in folder[1].state_dict().items()}
    content['model.action_head.bias'][0] = 1e300
    with pytest.raises(CheckpointError, match=r"'model.action_head.bias' is not finite floating"):
        read(content)
    content['model.action_head.bias'] = torch.ones(16, dtype=torch.int64)
    with pytest.raises(CheckpointError, match=r"'model.action_head.bias' is not finite floating"):
        read(content)
    content['model.action_head.bias'] = [1.0] * 16
    with pytest.raises(CheckpointError, match=r"'model.action_head.bias' is a list, expected a t"):
        read(content)


def test_files_of_old_torch_are_read(folder, weights):
    read, expected = weights
    content = {f'model.{key}': value for key, value in folder[1].state_dict().items()}
    assert same(read(content, _use_new_zipfile_serialization=False), expected)
