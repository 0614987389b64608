"""Which checkpoints load, and what is said of those that do not."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
import yaml

from act_ros.errors import ActError
from act_ros.policy import load_policy
from detr import DETRVAE
from test.rule import small_config, write_checkpoint, write_random

CHECKPOINT, STATISTICS, CONFIG = 'policy_best.ckpt', 'dataset_stats.pkl', 'config.yaml'


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path / 'ckpt')


def edit(folder, change):
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    change(state)
    torch.save(state, folder / CHECKPOINT)


def refusal(folder, device='cpu', **arguments) -> str:
    with pytest.raises(ActError) as caught:
        load_policy(folder, device=device, **arguments)
    text = str(caught.value)
    assert '\n' not in text
    return text


@pytest.mark.parametrize(
    'config',
    [
        small_config(backbone='resnet34'),
        small_config(backbone='resnet50', pre_norm=True),
        small_config(backbone='resnet50', dilation=True, num_backbones=3),
        small_config(encoder_layers=3, heads=8, chunk_size=1),
    ],
    ids=lambda c: f'{c.backbone}-{"dilated" if c.dilation else "plain"}-{c.num_backbones}',
)
def test_sizes_come_from_the_weights_and_the_policy_equals_the_plain_network(tmp_path, config):
    plain = write_random(tmp_path, config, dilation=config.dilation)
    policy = load_policy(tmp_path, device='cpu')
    assert policy.chunk_size == config.chunk_size
    rng = np.random.default_rng(0)
    qpos = rng.normal(size=17).astype(np.float32)
    images = {
        name: rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for name in policy.task.cameras
    }
    statistics = policy.statistics
    with torch.inference_mode():
        expected = plain(
            torch.from_numpy((qpos - statistics.qpos_mean) / statistics.qpos_std)[None],
            torch.from_numpy(np.stack(list(images.values()))).permute(0, 3, 1, 2)[None],
        )[0].numpy()
    found = (policy.predict(qpos, images) - statistics.action_mean) / statistics.action_std
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_dilation_makes_the_features_of_a_resnet50_finer():
    frames = torch.zeros(1, 1, 3, 64, 96)
    config = small_config(backbone='resnet50')
    assert DETRVAE(config).image_features(frames).shape[2:] == (2, 3)
    dilated = dataclasses.replace(config, dilation=True)
    assert DETRVAE(dilated).image_features(frames).shape[2:] == (4, 6)


def test_values_assumed_are_logged_once_each(folder, caplog):
    caplog.set_level('INFO')
    (folder / CONFIG).write_text(yaml.safe_dump({'image_size': [120, 160], 'nheads': 4}))
    load_policy(folder, device='cpu')
    lines = [r.getMessage() for r in caplog.records if 'assuming' in r.getMessage()]
    for word in ('dilation', 'task', 'cameras'):
        assert sum(word in line for line in lines) == 1, (word, lines)
    assert not any('nheads' in line or 'image_size' in line for line in lines)


def test_what_is_missing_is_named(folder, tmp_path):
    assert 'no checkpoint folder' in refusal(tmp_path / 'nowhere')
    assert f'{CHECKPOINT} (set ckpt_name)' in refusal(folder, ckpt_name='other.ckpt')
    (folder / STATISTICS).unlink()
    assert STATISTICS in refusal(folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('model.action_head.bias'), "missing key 'model.action_head.bias'"),
        (lambda s: s.pop('model.query_embed.weight'), "missing key 'model.query_embed.weight'"),
        (lambda s: s.update({'model.novelty.weight': torch.ones(1)}),
         "unknown key 'model.novelty.weight'"),
        (lambda s: s.update({'action_head.bias': torch.ones(16)}),
         "unknown key 'action_head.bias'"),
        (lambda s: s.update({'model.backbones.0.1.row_embed.weight': torch.ones(50, 32)}),
         'learned position embedding'),
        (lambda s: s.update({'model.latent_out_proj.weight': torch.ones(64, 64)}), 'VQ variant'),
        (lambda s: s['model.action_head.bias'].fill_(np.nan), "'model.action_head.bias' is not f"),
        (lambda s: s.update({'model.input_proj.bias': torch.ones(3)}),
         r"'model.input_proj.bias' has shape (3,), expected (64,)"),
        (lambda s: s.update({'model.action_head.weight': torch.ones(14, 64),
                             'model.action_head.bias': torch.ones(14)}),
         "'action_mean' has shape (16,), the weights need (14,)"),
        (lambda s: s.clear(), 'expected a state_dict'),
    ],
)  # fmt: skip
def test_a_key_that_does_not_fit_is_named(folder, change, message):
    edit(folder, change)
    assert message in refusal(folder)


def test_another_number_of_entries_than_the_task_lists_is_named(folder):
    def fourteen(state):
        state['model.action_head.weight'] = torch.ones(14, 64)
        state['model.action_head.bias'] = torch.ones(14)

    edit(folder, fourteen)
    content = pickle.loads((folder / STATISTICS).read_bytes())
    content |= {key: content[key][:14] for key in ('action_mean', 'action_std')}
    (folder / STATISTICS).write_bytes(pickle.dumps(content))
    assert "has 14 action entries, task 'astrobench_dual_arm' lists 16" in refusal(folder)


@pytest.mark.parametrize(
    ('side', 'message'),
    [
        ({'nheads': 5}, 'hidden size 64 does not divide into 5 heads'),
        ({'dilation': True}, 'only resnet50 can be dilated'),
        ({'nhead': 4}, "unknown key 'nhead'"),
        ({'nheads': 'four'}, "nheads is 'four', expected a positive whole number"),
        ({'image_size': [120]}, 'image_size is [120], expected [height, width]'),
        ({'camera_names': 'rgb_main'}, "camera_names is 'rgb_main', expected a list"),
        ({'task': 'pick_and_place'}, "unknown task 'pick_and_place'; shipped: astrobench"),
        ({'task': 'gone.yaml'}, 'no parameter file'),
    ],
)
def test_a_config_that_does_not_fit_is_named(folder, side, message):
    write_checkpoint(folder, **side)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'version https://git-lfs.github.com/spec/v1', "it begins with b'version https://git-lfs"),
        (b'', "is no checkpoint, it begins with b''"),
        (b'\x80\x02.', 'is not a readable checkpoint'),
        (b'PK\x03\x04 and no more', 'is not a readable checkpoint'),
    ],
)
def test_files_that_are_no_checkpoint_are_named(folder, content, message):
    (folder / CHECKPOINT).write_bytes(content)
    assert message in refusal(folder)


def test_a_checkpoint_that_is_more_than_weights_is_named(folder):
    torch.save({'model.x': object()}, folder / CHECKPOINT)
    assert 'holds more than weights' in refusal(folder)


def test_statistics_run_no_code(folder, tmp_path):
    marker = tmp_path / 'ran'

    class Hostile:
        def __reduce__(self):
            return (open, (str(marker), 'w'))

    (folder / STATISTICS).write_bytes(pickle.dumps({'qpos_mean': Hostile()}))
    assert 'not a dict of plain arrays' in refusal(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'qpos_mean': None}, "'qpos_mean' is nothing"),
        ({'qpos_std': np.zeros(17, np.float32)}, "'qpos_std' has an entry that is not positive"),
        ({'action_mean': np.full(16, np.nan, np.float32)}, "'action_mean' has an entry that is"),
        ({'action_std': np.ones(15, np.float32)}, "'action_std' has shape (15,)"),
    ],
)
def test_statistics_that_do_not_fit_are_named(folder, change, message):
    content = pickle.loads((folder / STATISTICS).read_bytes()) | change
    (folder / STATISTICS).write_bytes(pickle.dumps(content))
    assert message in refusal(folder)


@pytest.mark.parametrize('device', ['tpu', 'cuda:99', 'meta'])
def test_a_device_that_is_not_there_is_named(folder, device):
    assert repr(device) in refusal(folder, device=device)
