"""Which checkpoints load, and what is said of those that do not."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
import yaml

from act_ros.config import CONFIG_DIR, DEFAULT_TASK, load_task
from act_ros.errors import ActError
from act_ros.policy import load_policy
from act_ros.policy.checkpoint import read_checkpoint
from act_ros.policy.checkpoint.side_config import read_side_config
from act_ros.policy.named_task import resolve_task
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
        small_config(width=8),
        small_config(backbone='resnet50', width=16, num_backbones=3),
    ],
    ids=lambda c: f'{c.backbone}-{c.width}-{"dilated" * c.dilation}-{c.num_backbones}',
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
        ({'dilation': True}, 'only resnet50 and up can be dilated'),
        ({'nhead': 4}, "unknown key 'nhead'"),
        ({'nheads': 'four'}, "nheads is 'four', expected a positive whole number"),
        ({'image_size': [120]}, 'image_size is [120], expected [height, width]'),
        ({'camera_names': 'rgb_main'}, "camera_names is 'rgb_main', expected a list"),
        ({'weights': 3}, 'weights is 3, expected where in the checkpoint the weights are'),
        ({'weights': 'ema'}, "has no weights 'ema', it has 'model'"),
        ({'action_statistics': 'both'}, "action_statistics is 'both', expected action or qpos"),
        ({'action_statistics': 'qpos'}, 'qpos, but the checkpoint has 17 state and 16 action'),
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
        (b'nheads: [4', 'cannot read '),
        (b'nheads: \xff', 'cannot read '),
        (b'- nheads: 4', 'holds a list, expected a mapping'),
    ],
)
def test_a_config_that_is_none_is_named(folder, content, message):
    (folder / CONFIG).write_bytes(content)
    assert message in refusal(folder)


def test_without_a_config_what_the_public_code_trains_with_is_assumed(tmp_path, caplog):
    caplog.set_level('INFO')
    side = read_side_config(tmp_path / CONFIG)
    assert (side.nheads, side.dilation) == (8, False)
    assert 'assuming nheads 8 and dilation false' in caplog.text


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


@pytest.fixture(scope='module')
def task_file():
    """The shipped task as a YAML of one's own: changed by a function."""
    shipped = yaml.safe_load((CONFIG_DIR / f'{DEFAULT_TASK}.yaml').read_text())

    def write(path, change=lambda values: None):
        values = copy.deepcopy(shipped)
        change(values['/**']['ros__parameters'])
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def name_task(folder, name):
    config = yaml.safe_load((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(yaml.safe_dump({**config, 'task': name}))


def warnings_of(folder, caplog, task):
    caplog.clear()
    resolve_task(read_side_config(folder / CONFIG), task)
    return [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']


def test_a_task_given_that_is_the_one_named_is_no_warning(folder, tmp_path, task_file, caplog):
    own = task_file(folder / 'own.yaml')
    other_names = task_file(tmp_path / 'copy.yaml', lambda v: v['task'].update(name='my_robot'))
    # Topics, sources and units are the robot's.
    other_robot = task_file(tmp_path / 'robot.yaml', lambda v: v['task'].update(
        state=[e.replace('arm/left_gripper/position', 'hand/left_gripper/position scale=0.04')
               for e in v['task']['state']]))  # fmt: skip
    for named in (DEFAULT_TASK, 'own.yaml', str(own), '../copy.yaml'):
        name_task(folder, named)
        for given in (DEFAULT_TASK, str(own), str(other_names), str(other_robot)):
            assert warnings_of(folder, caplog, load_task(given)) == []
    # One's own task, of which only the name is known beside the checkpoint.
    name_task(folder, 'my_robot')
    assert warnings_of(folder, caplog, load_task(str(other_names))) == []


@pytest.mark.parametrize(
    ('change', 'difference'),
    [
        (lambda v: v['task']['state'].insert(9, v['task']['state'].pop(10)),
         'state entry 9 is left_joint_2/position, was left_joint_1/position'),
        (lambda v: v['task']['action'].append(v['task']['action'].pop(7)),
         'action entry 7 is left_joint_1/velocity, was left_gripper/position'),
        (lambda v: v.update(control_rate=30.0), 'rate is 30.0, was 50.0'),
    ],
)  # fmt: skip
def test_a_task_given_that_is_another_to_the_policy_is_a_warning(
    folder, tmp_path, task_file, change, difference, caplog
):
    task_file(folder / 'own.yaml')
    given = load_task(str(task_file(tmp_path / 'given.yaml', change)))
    for named in (DEFAULT_TASK, 'own.yaml'):
        name_task(folder, named)
        (warning,) = warnings_of(folder, caplog, given)
        assert f'was trained for task {named}, the task given is another: {difference}' in warning


def test_the_order_of_cameras_counts_where_config_yaml_does_not_list_them(
    folder, tmp_path, task_file, caplog
):
    turned = task_file(tmp_path / 'given.yaml', lambda v: v['task']['cameras'].reverse())
    given = load_task(str(turned))
    assert warnings_of(folder, caplog, given) == []
    (folder / CONFIG).write_text(
        yaml.safe_dump({'task': DEFAULT_TASK, 'image_size': [120, 160], 'nheads': 4})
    )
    (warning,) = warnings_of(folder, caplog, given)
    assert "cameras is ('rgb_under', " in warning


def test_a_task_named_that_cannot_be_read_is_a_warning_where_one_is_given(folder, caplog):
    for named, reason in (('gone.yaml', 'no parameter file'), ('pick', "unknown task 'pick'")):
        name_task(folder, named)
        (warning,) = warnings_of(folder, caplog, load_task())
        assert f'the task given is not compared with {named}: {reason}' in warning


def test_decoder_layers_that_count_for_nothing_are_told_where_they_were_trained(folder, caplog):
    """Some train the last layer; nothing but the weights of the others tells."""
    caplog.set_level('INFO')
    read_checkpoint(folder)
    assert 'assuming that actions come from the first decoder layer' in caplog.text

    def untrained(state):
        for key in state:
            if '.decoder.layers.1.norm' in key:
                state[key].fill_(0.999 if key.endswith('weight') else 0.0)

    edit(folder, untrained)
    caplog.clear()
    read_checkpoint(folder)
    assert 'decoder layer' not in caplog.text


@pytest.mark.parametrize('device', ['tpu', 'cuda:99', 'meta'])
def test_a_device_that_is_not_there_is_named(folder, device):
    assert repr(device) in refusal(folder, device=device)
