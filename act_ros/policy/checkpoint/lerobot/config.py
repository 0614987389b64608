"""`config.json`: what LeRobot says of a policy."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from act_ros.errors import CheckpointError, shorten
from act_ros.policy.checkpoint.lerobot.fields import Fields, read_json
from detr.transformer import ACTIVATIONS

CONFIG_JSON = 'config.json'
STATE, ACTION = 'observation.state', 'action'
_IMAGES = 'observation.images.'
# Of training, of the machine it was done on, and of where the result went.
_IGNORED = (
    'dropout', 'kl_weight', 'device', 'use_amp', 'push_to_hub', 'repo_id', 'private', 'tags',
    'license', 'pretrained_path', 'pretrained_revision', 'pretrained_backbone_weights',
    'use_vae', 'latent_dim', 'n_vae_encoder_layers', 'optimizer_lr', 'optimizer_lr_backbone',
    'optimizer_weight_decay',
)  # fmt: skip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Feature:
    """An input or output of the policy.

    :ivar kind: STATE, VISUAL or ACTION.
    :ivar mode: how it was normalised, where config.json tells; upper case.
    """

    key: str
    kind: str
    shape: tuple[int, ...]
    mode: str

    @property
    def camera(self) -> str:
        """The name that a camera has here."""
        return self.key.removeprefix(_IMAGES)


@dataclass(frozen=True)
class LeRobotConfig:
    """What the network is and how it was used, as LeRobot says it.

    :ivar cameras: in LeRobot's order.
    :ivar n_action_steps: actions played of each chunk where chunks are not ensembled.
    :ivar ensemble_coefficient: weight exp(-c * i), i = 0 the oldest; None: not ensembled.
    """

    path: Path
    state: Feature
    cameras: tuple[Feature, ...]
    action: Feature
    chunk_size: int
    n_action_steps: int
    ensemble_coefficient: float | None
    hidden: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    pre_norm: bool
    activation: str
    dilation: bool
    backbone: str

    @property
    def features(self) -> tuple[Feature, ...]:
        """Everything that is normalised."""
        return self.state, *self.cameras, self.action

    @property
    def own_settings(self) -> dict[str, Any]:
        """The parameters that make of its chunks what LeRobot makes of them."""
        if self.ensemble_coefficient is not None:
            return {'temporal_aggregation': True, 'decay': self.ensemble_coefficient}
        return {'temporal_aggregation': False, 'query_every': self.n_action_steps}


def read_config(path: Path) -> LeRobotConfig:
    """Read the file.

    :raises CheckpointError: it is of a policy that is not supported, or not readable.
    """
    content = read_json(path)
    _check_type(content)
    inputs, outputs = _features(content)
    chunk_size = content.get('chunk_size', int, 100)
    # The one of before 2024-07 was used in another way: it says at most that there was one.
    if content.find('temporal_ensemble_momentum', float) is not None:
        log.warning(
            '%s: temporal_ensemble_momentum, of an early LeRobot, is not read: set '
            'temporal_aggregation and decay', path,
        )  # fmt: skip
    activation = content.get('feedforward_activation', str, 'relu')
    if activation not in ACTIVATIONS:
        raise CheckpointError(
            f'{path}: feedforward_activation is {shorten(activation)}, expected one of '
            f'{", ".join(ACTIVATIONS)}'
        )
    state, cameras = _check_inputs(path, inputs)
    if [feature.key for feature in outputs] != [ACTION]:
        raise CheckpointError(
            f'{path}: the output features are {[f.key for f in outputs]}, expected {ACTION!r}'
        )
    coefficient = content.find('temporal_ensemble_coeff', float)
    config = LeRobotConfig(
        path, state, cameras, outputs[0], chunk_size,
        content.get('n_action_steps', int, chunk_size), coefficient,
        hidden=content.get('dim_model', int, 512),
        heads=content.get('n_heads', int, 8),
        encoder_layers=content.get('n_encoder_layers', int, 4),
        decoder_layers=content.get('n_decoder_layers', int, 1),
        pre_norm=content.get('pre_norm', bool, False),
        activation=activation,
        dilation=_flag(content, 'replace_final_stride_with_dilation'),
        backbone=content.get('vision_backbone', str, 'resnet18'),
    )  # fmt: skip
    _check_numbers(config)
    content.asked.update(_IGNORED, ('dim_feedforward',))
    if content.unknown:
        log.info('%s: not used: %s', path, ', '.join(map(shorten, content.unknown)))
    return config


def _check_type(content: Fields) -> None:
    """Refuse what is no ACT policy, or only a part of one."""
    named = content.find('type', str)
    if named is None and 'input_shapes' not in content.values:
        raise CheckpointError(
            f'{content.path} has neither type nor input_shapes: it is of no LeRobot policy'
        )
    if named is None and 'chunk_size' not in content.values:  # of its policies only ACT has it
        raise CheckpointError(f'{content.path} has no chunk_size: it is of no ACT policy')
    if named not in (None, 'act'):
        raise CheckpointError(
            f'{content.path}: type is {shorten(named)}; only act is supported'
        )
    if content.get('use_peft', bool, False):
        raise CheckpointError(
            f'{content.path}: use_peft is true: the folder holds an adapter instead of all '
            f'weights; merge it into its base model where it was trained'
        )
    steps = content.get('n_obs_steps', int, 1)
    if steps != 1:
        raise CheckpointError(f'{content.path}: n_obs_steps is {steps}; ACT takes 1')


def _features(content: Fields) -> tuple[list[Feature], list[Feature]]:
    """Inputs and outputs, in their order, of either form of the configuration."""
    if 'input_features' in content.values:
        modes = content.object('normalization_mapping')

        def features(name: str) -> list[Feature]:
            found = content.object(name)
            return [_feature(found.object(key), key, modes) for key in found.values]

        return features('input_features'), features('output_features')

    def shapes(which: str) -> list[Feature]:
        found = content.object(f'{which}_shapes')
        modes = content.object(f'{which}_normalization_modes')
        return [
            Feature(
                key, _kind_of(key), _shape(found, key),
                modes.get(key, str, 'identity').upper(),
            )
            for key in found.values
        ]  # fmt: skip

    return shapes('input'), shapes('output')


def _feature(fields: Fields, key: str, modes: Fields) -> Feature:
    kind = fields.get('type', str)
    return Feature(key, kind, _shape(fields, 'shape'), modes.get(kind, str, 'IDENTITY').upper())


def _kind_of(key: str) -> str:
    """What an input of the form without types is."""
    if key.startswith('observation.image'):
        return 'VISUAL'
    if key == 'observation.environment_state':
        return 'ENV'
    return 'ACTION' if key == ACTION else 'STATE'


def _shape(fields: Fields, name: str) -> tuple[int, ...]:
    value = fields.get(name, list)
    if not value or not all(type(n) is int and 0 < n <= 100_000 for n in value):
        raise CheckpointError(f'{fields.path}: {name} is {shorten(value)}, expected sizes')
    return tuple(value)


def _check_inputs(path: Path, inputs: list[Feature]) -> tuple[Feature, tuple[Feature, ...]]:
    """The state and the cameras."""
    cameras = []
    state = None
    for feature in inputs:
        if feature.kind == 'VISUAL':
            if len(feature.shape) != 3 or feature.shape[0] != 3:
                raise CheckpointError(
                    f'{path}: {feature.key} has shape {list(feature.shape)}, expected '
                    f'[3, height, width]'
                )
            cameras.append(feature)
        elif feature.kind == 'STATE' and feature.key == STATE and len(feature.shape) == 1:
            state = feature
        elif feature.kind == 'STATE':
            log.info('%s: the network does not take %s', path, shorten(feature.key))
        elif feature.kind == 'ENV':
            raise CheckpointError(
                f'{path}: {feature.key} is a state of the environment, which a robot does not '
                f'measure; such a policy is not supported'
            )
        else:
            raise CheckpointError(
                f'{path}: {shorten(feature.key)} is of type {shorten(feature.kind)}, expected '
                f'STATE or VISUAL'
            )
    if state is None:
        raise CheckpointError(f'{path}: the input features have no {STATE} of one dimension')
    if not cameras:
        raise CheckpointError(f'{path}: the input features have no camera')
    return state, tuple(cameras)


def _flag(content: Fields, name: str) -> bool:
    """A field that LeRobot writes as false or as 0."""
    if type(content.values.get(name)) is int:
        return bool(content.get(name, int))
    return content.get(name, bool, False)


def _check_numbers(config: LeRobotConfig) -> None:
    for name, value, most in (
        ('chunk_size', config.chunk_size, 100_000),
        ('n_action_steps', config.n_action_steps, config.chunk_size),
        ('n_heads', config.heads, 100_000),
        ('n_decoder_layers', config.decoder_layers, 1000),
    ):
        if not 1 <= value <= most:
            raise CheckpointError(f'{config.path}: {name} is {value}, expected 1 to {most}')
    if config.ensemble_coefficient is not None and config.n_action_steps != 1:
        raise CheckpointError(
            f'{config.path}: n_action_steps is {config.n_action_steps}, but chunks are ensembled '
            f'(temporal_ensemble_coeff), for which it is 1'
        )
