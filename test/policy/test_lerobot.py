"""Checkpoints of LeRobot: the real library's chunks and actions, and what is refused."""

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from act_ros.errors import ActError
from act_ros.parameters import Settings
from act_ros.policy import PolicyProcess, Rollout, load_policy
from act_ros.policy.checkpoint import read_checkpoint
from detr.backbone import RESNETS
from test.policy.lerobot import (
    NORMALIZER,
    VECTORS,
    all_weights,
    reference,
    write_lerobot,
)

TOLERANCE = 1e-4
STATE = 'observation.state'


def load(folder, name='plain', **options):
    return load_policy(folder, device='cpu', task=reference(name).task, **options)


def refusal(folder, name='plain'):
    with pytest.raises(ActError) as caught:
        load(folder, name)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def chunks(policy, given):
    return np.stack([policy.predict(*given.observation(i)) for i in range(len(given.qpos))])


@pytest.mark.parametrize(
    ('name', 'engine'), [*((name, 'torch') for name in VECTORS), ('minmax', 'openvino')]
)
def test_chunks_and_actions_equal_those_of_the_library(name, engine, tmp_path):
    if engine == 'openvino':
        pytest.importorskip('openvino')
    given = reference(name)
    policy = load(write_lerobot(tmp_path, name), name, engine=engine)
    rollout = Rollout(policy)
    for i, (chunk, action) in enumerate(zip(given.chunks, given.actions, strict=True)):
        observation = given.observation(i)
        np.testing.assert_allclose(policy.predict(*observation), chunk, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(rollout.act(*observation), action, rtol=0, atol=TOLERANCE)


def test_a_process_of_its_own_takes_images_of_several_sizes(tmp_path):
    given = reference('minmax')
    policy = PolicyProcess()
    try:
        policy.load(write_lerobot(tmp_path, 'minmax'), device='cpu', task=given.task)
        policy.warm_up()
        found = policy.predict(*given.observation(3))
        assert policy.about.own_settings == {'temporal_aggregation': False, 'query_every': 4}
    finally:
        policy.close()
    np.testing.assert_allclose(found, given.chunks[3], rtol=0, atol=TOLERANCE)


def test_an_image_of_another_cameras_size_is_refused(tmp_path):
    given = reference('minmax')
    policy = load(write_lerobot(tmp_path, 'minmax'), 'minmax')
    qpos, images = given.observation(0)
    swapped = dict(zip(images, reversed(images.values()), strict=True))
    with pytest.raises(ActError, match=r"'top' is \(80, 120, 3\) uint8, expected \(120, 160, 3\)"):
        policy.predict(qpos, swapped)


# --- layouts


def as_oldest(folder):
    """The in-model layout, with the configuration of before 2025."""
    config = json.loads((folder / 'config.json').read_text())
    inputs, outputs = config.pop('input_features'), config.pop('output_features')
    for which, features in (('input', inputs), ('output', outputs)):
        config[f'{which}_shapes'] = {key: f['shape'] for key, f in features.items()}
        config[f'{which}_normalization_modes'] = dict.fromkeys(features, 'mean_std')
    del config['type'], config['normalization_mapping']
    (folder / 'config.json').write_text(json.dumps(config))


def test_a_configuration_of_before_2025(tmp_path):
    given = reference('old')
    as_oldest(write_lerobot(tmp_path, 'old'))
    (tmp_path / 'config.yaml').write_text('policy: {name: act}\ntraining: {lr: 1e-5}\n')
    np.testing.assert_allclose(chunks(load(tmp_path, 'old'), given), given.chunks, atol=TOLERANCE)


def test_a_configuration_of_before_2025_is_of_act_by_its_chunks(tmp_path):
    as_oldest(write_lerobot(tmp_path, 'old'))
    config = json.loads((tmp_path / 'config.json').read_text())
    del config['chunk_size']
    (tmp_path / 'config.json').write_text(json.dumps(config))
    assert 'has no chunk_size: it is of no ACT policy' in refusal(tmp_path)


def test_names_of_before_july_2024_and_of_a_compiled_model(tmp_path):
    given = reference('old')
    write_lerobot(tmp_path, 'old')
    renamed = {
        key.replace('encoder_1d_feature_pos_embed', 'encoder_robot_and_latent_pos_embed')
        .replace('model.decoder.', 'model._orig_mod.decoder.'): value
        for key, value in all_weights('old').items()
    }  # fmt: skip
    assert renamed.keys() != all_weights('old').keys()
    save_file(renamed, tmp_path / 'model.safetensors')
    np.testing.assert_allclose(chunks(load(tmp_path, 'old'), given), given.chunks, atol=TOLERANCE)


def test_config_yaml_beside_it_names_the_task_and_nothing_else(tmp_path):
    write_lerobot(tmp_path)
    (tmp_path / 'config.yaml').write_text('task: astrobench_dual_arm\n')
    assert read_checkpoint(tmp_path).side.task == 'astrobench_dual_arm'
    (tmp_path / 'config.yaml').write_text('task: astrobench_dual_arm\nnheads: 4\n')
    assert 'beside a LeRobot checkpoint only task is expected' in refusal(tmp_path)


def test_without_a_task_the_dimensions_tell(tmp_path):
    write_lerobot(tmp_path)
    with pytest.raises(ActError, match=r"has 6 state entries, task 'astrobench_dual_arm' lists"):
        load_policy(tmp_path, device='cpu')


# --- modes


def restate(folder, changes, of=(STATE, 'action'), **config):
    """Change what the processors say, in both of them."""
    for name in ('policy_preprocessor.json', 'policy_postprocessor.json'):
        content = json.loads((folder / name).read_text())
        for step in content['steps']:
            if 'state_file' not in step:
                continue
            step['config'] |= config
            path = folder / step['state_file']
            stats = load_file(path)
            for feature in of:
                for statistic, value in changes.items():
                    key = f'{feature}.{statistic}'
                    if value is None:
                        stats.pop(key, None)
                    else:
                        stats[key] = np.asarray(value(stats[key]), np.float32)
            save_file(stats, path)
        (folder / name).write_text(json.dumps(content))


def modes(mode):
    return {'VISUAL': 'MEAN_STD', 'STATE': mode, 'ACTION': mode}


@pytest.mark.parametrize('mode', ['MIN_MAX', 'QUANTILES', 'QUANTILE10', 'IDENTITY'])
def test_each_mode_is_its_formula(mode, tmp_path):
    """A network that is told another normalisation, on inputs that it then sees alike."""
    given = reference('plain')
    plain = load(write_lerobot(tmp_path / 'plain'))
    write_lerobot(tmp_path / 'other')
    restate(tmp_path / 'other', {}, norm_map=modes(mode))
    other = load(tmp_path / 'other')
    stats = load_file(tmp_path / 'other' / NORMALIZER)

    def numbers(feature, statistic):
        return stats[f'{feature}.{statistic}'].astype(np.float64)

    ends = {'MIN_MAX': ('min', 'max'), 'QUANTILES': ('q01', 'q99'), 'QUANTILE10': ('q10', 'q90')}

    def normalised_as(feature, values):
        if mode == 'IDENTITY':
            return values
        low, high = (numbers(feature, end) for end in ends[mode])
        return low + (values + 1) / 2 * (high - low)

    qpos, images = given.observation(0)
    seen = (qpos - numbers(STATE, 'mean')) / numbers(STATE, 'std')
    expected = (plain.predict(qpos, images) - numbers('action', 'mean')) / numbers('action', 'std')
    found = other.predict(normalised_as(STATE, seen).astype(np.float32), images)
    np.testing.assert_allclose(found, normalised_as('action', expected), rtol=0, atol=2e-5)


def test_a_joint_that_never_moved_is_accepted_with_a_warning(tmp_path, caplog):
    given = reference('plain')
    write_lerobot(tmp_path)
    restate(tmp_path, {'std': lambda std: np.where(np.arange(6) == 2, 0, std)})
    policy = load(tmp_path)
    for what in ('observation.state', 'action'):
        assert f'{what} never changed in training at [2]' in caplog.text
    qpos, images = given.observation(0)
    qpos[2] = load_file(tmp_path / NORMALIZER)['observation.state.mean'][2]
    chunk = policy.predict(qpos, images)
    constant = load_file(tmp_path / NORMALIZER)['action.mean'][2]
    assert np.isfinite(chunk).all() and (chunk[:, 2] == constant).all()


def test_a_state_that_is_not_to_be_normalised_is_not(tmp_path):
    """`normalize_observation_keys` lists which inputs are."""
    given = reference('plain')
    cameras = [f'observation.images.{name}' for name in given.images]
    write_lerobot(tmp_path / 'a')
    path = tmp_path / 'a' / 'policy_preprocessor.json'
    content = json.loads(path.read_text())
    content['steps'][3]['config']['normalize_observation_keys'] = cameras
    path.write_text(json.dumps(content))
    write_lerobot(tmp_path / 'b')
    restate(tmp_path / 'b', {'mean': np.zeros_like, 'std': np.ones_like}, [STATE])
    found = [load(tmp_path / name).predict(*given.observation(0)) for name in 'ab']
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5)


# --- other networks


def torch_layers(weights, about, qpos, images, activation):
    """ACT of `plain` by torch's own transformer layers: another implementation."""
    prefix = 'model.'
    w = {key.removeprefix(prefix): torch.from_numpy(value) for key, value in weights.items()}
    tokens, position = images
    latent = w['encoder_latent_input_proj.bias']
    state = torch.nn.functional.linear(
        qpos, w['encoder_robot_state_input_proj.weight'], w['encoder_robot_state_input_proj.bias']
    )
    memory = torch.cat((torch.stack((latent, state)), tokens))
    position = torch.cat((w['encoder_1d_feature_pos_embed.weight'], position))

    def attention(name, q, k, v):
        module = torch.nn.MultiheadAttention(64, 8)
        module.load_state_dict({
            key.removeprefix(f'{name}.'): v for key, v in w.items() if key.startswith(f'{name}.')
        })  # fmt: skip
        return module(q, k, v)[0]

    def norm(name, x):
        return torch.nn.functional.layer_norm(x, (64,), w[f'{name}.weight'], w[f'{name}.bias'])

    def linear(name, x):
        return torch.nn.functional.linear(x, w[f'{name}.weight'], w[f'{name}.bias'])

    def forward(name, x):
        return linear(f'{name}.linear2', activation(linear(f'{name}.linear1', x)))

    x = memory
    for i in range(2):
        name = f'encoder.layers.{i}'
        placed = x + position
        x = norm(f'{name}.norm1', x + attention(f'{name}.self_attn', placed, placed, x))
        x = norm(f'{name}.norm2', x + forward(name, x))
    memory, query = x, w['decoder_pos_embed.weight']
    y = torch.zeros_like(query)
    for i in range(about['layers']):
        name = f'decoder.layers.{i}'
        y = norm(f'{name}.norm1', y + attention(f'{name}.self_attn', y + query, y + query, y))
        y = norm(f'{name}.norm2', y + attention(
            f'{name}.multihead_attn', y + query, memory + position, memory))  # fmt: skip
        y = norm(f'{name}.norm3', y + forward(name, y))
    return linear('action_head', norm('decoder.norm', y))


@pytest.mark.parametrize(
    ('layers', 'activation', 'engine'),
    [(1, 'gelu', 'torch'), (3, 'relu', 'torch'), (2, 'gelu', 'torch'), (2, 'gelu', 'openvino')],
)
def test_several_decoder_layers_and_gelu(layers, activation, engine, tmp_path):
    if engine == 'openvino':
        pytest.importorskip('openvino')
    given = reference('plain')
    write_lerobot(tmp_path, n_decoder_layers=layers, feedforward_activation=activation)
    weights = all_weights('plain')
    rng = np.random.default_rng(3)
    for key in [key for key in weights if key.startswith('model.decoder.layers.0.')]:
        for i in range(1, layers):
            other = (weights[key] * (1 + 0.3 * rng.normal(size=weights[key].shape)))
            weights[key.replace('.0.', f'.{i}.', 1)] = other.astype(np.float32)
    save_file(weights, tmp_path / 'model.safetensors')
    policy = load(tmp_path, engine=engine)
    plain = read_checkpoint(tmp_path).network()
    assert len(plain.transformer.decoder.layers) == layers

    qpos, images = given.observation(0)
    statistics = policy.statistics
    state = torch.from_numpy((qpos - statistics.qpos_mean) / statistics.qpos_std)
    frames = torch.from_numpy(np.stack([frame.transpose(2, 0, 1) for frame in images.values()]))
    function = getattr(torch.nn.functional, activation)
    with torch.inference_mode():
        whole = plain(state[None], frames[None])[0].numpy()
        from detr.detr_vae import normalise_images, to_tokens

        features = plain.input_proj(plain.backbones[0](normalise_images(frames)))
        tokens = to_tokens(features).flatten(0, 1)
        position = to_tokens(plain.image_positions(features[:1], 1)[None].mT.unflatten(
            -1, features.shape[-2:]))[0].repeat(2, 1)  # fmt: skip
        about = {'layers': layers}
        expected = torch_layers(weights, about, state, (tokens, position), function).numpy()
    np.testing.assert_allclose(whole, expected, rtol=0, atol=2e-5)
    found = (policy.predict(qpos, images) - statistics.action_mean) / statistics.action_std
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_the_deeper_resnets_are_those_that_lerobot_allows():
    assert [sum(depths) for _, depths in RESNETS.values()] == [8, 16, 16, 33, 50]


# --- its own settings


@pytest.mark.parametrize(
    ('name', 'config', 'own'),
    [
        ('plain', {}, {'temporal_aggregation': False, 'query_every': 8}),
        ('plain', {'n_action_steps': 3}, {'temporal_aggregation': False, 'query_every': 3}),
        ('ensemble', {}, {'temporal_aggregation': True, 'decay': 0.01}),
        (
            'ensemble', {'temporal_ensemble_coeff': -0.2},
            {'temporal_aggregation': True, 'decay': -0.2},
        ),
        (
            'ensemble', {'temporal_ensemble_coeff': 0},
            {'temporal_aggregation': True, 'decay': 0.0},
        ),
    ],
)  # fmt: skip
def test_its_own_settings_count(name, config, own, tmp_path):
    policy = load(write_lerobot(tmp_path, name, **config), name)
    assert policy.about.own_settings == own


def test_a_negative_coefficient_favours_the_newest_as_in_the_library(tmp_path):
    """The library's rule written out: weights exp(-m i), i = 0 the oldest."""
    given = reference('ensemble')
    write_lerobot(tmp_path, 'ensemble', temporal_ensemble_coeff=-0.4)
    rollout = Rollout(load(tmp_path, 'ensemble'))
    for step in range(6):
        found = rollout.act(*given.observation(step))
        rows = np.array([given.chunks[s][step - s] for s in range(step + 1)], np.float64)
        weights = np.exp(0.4 * np.arange(step + 1))
        np.testing.assert_allclose(found, weights @ rows / weights.sum(), rtol=0, atol=TOLERANCE)


def test_what_the_user_says_wins_and_a_line_says_so(tmp_path, caplog):
    from act_ros.policy import as_played, tell_played

    caplog.set_level(logging.INFO)
    policy = load(write_lerobot(tmp_path))
    tell_played(Settings(query_every=3), policy)
    assert 'temporal_aggregation is false, as the checkpoint was trained for' in caplog.text
    assert 'query_every is 3 as you say; the checkpoint was trained for 8' in caplog.text
    played = as_played(Settings(temporal_aggregation=True), policy).blending
    assert (played.temporal_aggregation, played.decay) == (True, 0.01)
    assert as_played(Settings(), policy).blending.query_every == 8


def test_what_the_network_does_not_take_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = json.loads((write_lerobot(tmp_path) / 'config.json').read_text())
    features = config['input_features'] | {
        'observation.effort': {'type': 'STATE', 'shape': [6]},
    }
    config |= {'input_features': features, 'novelty': 1, 'replace_final_stride_with_dilation': 0}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    given = reference('plain')
    np.testing.assert_allclose(chunks(load(tmp_path), given), given.chunks, atol=TOLERANCE)
    assert "the network does not take 'observation.effort'" in caplog.text
    assert "config.json: not used: 'novelty'" in caplog.text


# --- what is refused


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'type': 'diffusion'}, "type is 'diffusion'; only act is supported"),
        ({'type': None}, 'neither type nor input_shapes'),
        ({'use_peft': True}, 'use_peft is true: the folder holds an adapter'),
        ({'n_obs_steps': 2}, 'n_obs_steps is 2; ACT takes 1'),
        ({'feedforward_activation': 'glu'}, "activation is 'glu', expected one of relu"),
        ({'n_action_steps': 9}, 'n_action_steps is 9, expected 1 to 8'),
        ({'n_action_steps': '9'}, "n_action_steps is '9', expected a whole number"),
        ({'temporal_ensemble_coeff': 0.01}, 'n_action_steps is 8, but chunks are ensembled'),
        ({'n_heads': 7}, 'hidden size 64 does not divide into 7 heads'),
        ({'n_heads': 0}, 'n_heads is 0'),
        ({'chunk_size': 9}, 'chunk_size is 9, but model.safetensors has 8'),
        ({'dim_model': 32}, 'dim_model is 32, but model.safetensors has 64'),
        ({'pre_norm': True}, 'pre_norm is True, but model.safetensors has False'),
        ({'vision_backbone': 'resnet34'}, 'vision_backbone is resnet34, but model.safe'),
        ({'n_decoder_layers': 2}, 'has the decoder layers [0], but n_decoder_layers of'),
        ({'n_encoder_layers': 1}, 'has the encoder layers [0, 1], but n_encoder_layers of'),
        ({'replace_final_stride_with_dilation': True}, 'which has none'),
        ({'output_features': {}}, "the output features are [], expected 'action'"),
        ({'input_features': {}}, 'have no observation.state'),
        (
            {'input_features': {STATE: {'type': 'STATE', 'shape': [6]}}},
            'the input features have no camera',
        ),
        (
            {'input_features': {'observation.environment_state': {'type': 'ENV', 'shape': [3]}}},
            'is a state of the environment',
        ),
        (
            {'input_features': {'task': {'type': 'LANGUAGE', 'shape': [3]}}},
            "'task' is of type 'LANGUAGE', expected STATE or VISUAL",
        ),
        (
            {'input_features': {'observation.images.a': {'type': 'VISUAL', 'shape': [1, 5, 5]}}},
            'observation.images.a has shape [1, 5, 5], expected [3, height, width]',
        ),
        ({'input_features': [1]}, 'input_features is [1], expected an object'),
    ],
)
def test_a_configuration_that_is_not_supported_is_named(config, message, tmp_path):
    assert message in refusal(write_lerobot(tmp_path, **config))


@pytest.mark.parametrize(
    ('changes', 'config', 'message'),
    [
        ({'mean': None}, {}, "is normalised by MEAN_STD, but has no statistic 'mean'"),
        ({'q01': None}, {'norm_map': modes('QUANTILES')}, "QUANTILES, but has no statistic 'q01'"),
        ({}, {'norm_map': modes('MAX_ABS')}, "is normalised by 'MAX_ABS', expected one of"),
        ({'std': lambda std: std[:3]}, {}, 'observation.state.std has shape (3,), expected 6'),
        ({'std': lambda std: -std}, {}, 'observation.state.std has a negative entry'),
        ({'mean': lambda mean: mean * np.inf}, {}, 'statistics that were never set'),
        ({}, {'features': {}}, 'does not say how to normalise observation.state'),
        ({}, {'clip': True}, "normalizer_processor has 'clip', which is not known here"),
    ],
)
def test_statistics_that_do_not_fit_are_named(changes, config, message, tmp_path):
    restate(write_lerobot(tmp_path), changes, **config)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize('name', ['observation_state', 'observation_images_phone_2'])
def test_an_input_without_statistics_in_the_model_is_refused(name, tmp_path):
    """LeRobot's own migration loses those of a camera with '_' in its name, and goes on."""
    write_lerobot(tmp_path, 'old')
    weights = all_weights('old')
    gone = [key for key in weights if key.startswith(f'normalize_inputs.buffer_{name}.')]
    assert len(gone) == 2
    save_file({k: v for k, v in weights.items() if k not in gone}, tmp_path / 'model.safetensors')
    assert 'is normalised by MEAN_STD, but has no statistic' in refusal(tmp_path, 'old')


@pytest.mark.parametrize(
    ('step', 'message'),
    [
        ({'registry_name': 'relative_action_processor'}, "is 'relative_action_processor', which"),
        ({'class': 'os.system', 'config': {}}, "is 'os.system', code of its own"),
        ({}, "is 'nameless', code of its own"),
        (3, 'step 0 is 3, expected an object'),
    ],
)
@pytest.mark.parametrize('which', ['policy_preprocessor.json', 'policy_postprocessor.json'])
def test_steps_that_are_not_known_are_refused(which, step, message, tmp_path):
    path = write_lerobot(tmp_path) / which
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'steps': [step, *content['steps']]}))
    assert message in refusal(tmp_path)


@pytest.mark.parametrize(
    ('state_file', 'message'),
    [
        ('../model.safetensors', "state_file is '../model.safetensors', expected a name"),
        ('gone.safetensors', "gone.safetensors', which LeRobot writes beside config.json"),
    ],
)
def test_a_state_file_is_one_beside_it(state_file, message, tmp_path):
    path = write_lerobot(tmp_path) / 'policy_preprocessor.json'
    content = json.loads(path.read_text())
    content['steps'][3]['state_file'] = state_file
    path.write_text(json.dumps(content))
    assert message in refusal(tmp_path)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('config.json', b'{', 'cannot read'),
        ('config.json', b'[1]', 'holds a list, expected an object'),
        ('config.json', b'[' * 100_000, 'cannot read'),
        ('config.json', b' ' * 1_000_001, 'more than 1000000 bytes'),
        ('model.safetensors', b'', 'is not a readable file of safetensors'),
        ('model.safetensors', b'\xff' * 64, 'is not a readable file of safetensors'),
        ('model.safetensors', None, 'which LeRobot writes beside config.json'),
        ('policy_postprocessor.json', None, 'and no statistics in the model'),
        (NORMALIZER, b'\x08\0\0\0\0\0\0\0{"a": 1}', 'is not a readable file of safetensors'),
    ],
)
def test_damaged_files_are_named(name, content, message, tmp_path):
    path = write_lerobot(tmp_path) / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda w: w.pop('model.action_head.bias'), "missing key 'model.action_head.bias'"),
        (
            lambda w: w.pop('model.encoder_robot_state_input_proj.weight'),
            "missing key 'model.encoder_robot_state_input_proj.weight'",
        ),
        (lambda w: w.update({'model.extra': w['model.action_head.bias']}), "key 'model.extra'"),
        (
            lambda w: w.update({'model.query_embed.weight': w['model.action_head.bias']}),
            "unknown key 'model.query_embed.weight'",
        ),
        (
            lambda w: w.update({'model.encoder.layers.0.linear1.bias': np.ones(3, np.float32)}),
            "'model.encoder.layers.0.linear1.bias' has shape (3,)",
        ),
        (
            lambda w: w['model.action_head.bias'].fill(np.nan),
            "'model.action_head.bias' is not finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named_as_the_file_has_them(change, message, tmp_path):
    write_lerobot(tmp_path)
    weights = all_weights('plain')
    change(weights)
    save_file(weights, tmp_path / 'model.safetensors')
    assert message in refusal(tmp_path)


def test_the_folder_of_a_training_says_where_the_checkpoint_is(tmp_path):
    write_lerobot(tmp_path / 'checkpoints' / '1000' / 'pretrained_model')
    (tmp_path / 'checkpoints' / 'last').symlink_to('1000')
    assert "checkpoints/last/pretrained_model': set ckpt_dir to that" in refusal(tmp_path)


def test_a_robot_with_other_cameras_is_told_both_lists(tmp_path):
    from act_ros.policy.interface import check_task

    policy = load(write_lerobot(tmp_path))
    robot = replace(policy.task, cameras=('front', 'side'))
    with pytest.raises(ActError, match=r"\['front', 'side'\], but .* with \['front', 'wrist'\]"):
        check_task(robot, policy.task)


def test_half_precision_weights_are_cast(tmp_path):
    given = reference('plain')
    write_lerobot(tmp_path)
    halved = {key: value.astype(np.float16) for key, value in all_weights('plain').items()}
    save_file(halved, tmp_path / 'model.safetensors')
    found = load(tmp_path).predict(*given.observation(0))
    np.testing.assert_allclose(found, given.chunks[0], rtol=0, atol=0.05)


def test_a_public_checkpoint_beside_a_config_json_is_what_it_was(tmp_path):
    from test.rule import write_checkpoint

    write_checkpoint(tmp_path)
    shutil.copy(write_lerobot(tmp_path / 'other') / 'config.json', tmp_path)
    assert read_checkpoint(tmp_path).own_settings == {}
