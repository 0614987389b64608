"""Read a checkpoint of the public ACT code: weights, statistics, and what config.yaml adds.

Sizes come from the weights; what they cannot tell comes from `config.yaml` beside them, and
each value assumed for want of it is one log line.
"""

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from act_ros.errors import CheckpointError
from act_ros.policy.interface import Statistics
from act_ros.policy.pickled_file import open_pickled, readable
from act_ros.policy.side_config import SideConfig, read_side_config
from act_ros.policy.statistics import read_statistics
from act_ros.policy.weights import Joined, StateDict, find_weights
from detr import DETRVAE, ACTConfig
from detr.backbone import RESNETS
from detr.detr_vae import LATENT_DIM

STATS_NAME = 'dataset_stats.pkl'
CONFIG_NAME = 'config.yaml'

# Trained beside the network, used by nothing at inference; which of them exist depends on the
# dialect. latent_out_proj.weight multiplies a zero latent.
_UNUSED = re.compile(
    r'(encoder\.|cls_embed\.|encoder_action_proj\.|encoder_joint_proj\.|latent_proj\.|'
    r'is_pad_head\.|transformer\.decoder\.layers\.[1-9]\d*\.).*|pos_table|.*\.num_batches_tracked'
)
_LEARNED_POSITION = re.compile(r'backbones\.\d+\.1\..*')
# A fork has the positions of latent and joint states in two embeddings, and the tokens in
# another order, for which attention does not care.
_POSITIONS = 'additional_pos_embed.weight'
_FORKED_POSITIONS = ('latent_pos.weight', 'robot_state_pos.weight')

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: the network's sizes, its weights, the statistics."""

    path: Path
    config: ACTConfig
    weights: dict[str, torch.Tensor] = field(repr=False)
    statistics: Statistics = field(repr=False)
    side: SideConfig

    def network(self) -> DETRVAE:
        """The plain network with these weights, float32 on the CPU, not to be trained."""
        with torch.device('meta'):
            network = DETRVAE(self.config)
        network.load_state_dict(self.weights, assign=True)
        return network.eval().requires_grad_(False)


def read_checkpoint(folder: str | Path, name: str = 'policy_best.ckpt') -> Checkpoint:
    """Read the checkpoint in a folder.

    :param folder: holds the checkpoint, `dataset_stats.pkl` and perhaps `config.yaml`.
    :param name: file name of the checkpoint.
    :raises CheckpointError: one line that names the file or key, and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f'no checkpoint folder {str(folder)!r}; it holds {name} and {STATS_NAME} '
            f'(set --ckpt-dir or the parameter ckpt_dir)'
        )
    path = folder / name
    if not path.is_file():
        found = sorted(p.name for p in folder.glob('*.ckpt'))
        hint = f'; the folder has {", ".join(found)} (set ckpt_name)' if found else ''
        raise CheckpointError(f'no checkpoint {str(path)!r}{hint}')
    side = read_side_config(folder / CONFIG_NAME)
    with open_pickled(path) as content:
        state = find_weights(path, content, side.weights)
        forked = _join_positions(path, state)
        config = _sizes(path, state, side)
        weights = _load(path, state, config)
    by = _action_statistics(path, config, side, forked)
    statistics = read_statistics(folder / STATS_NAME, config.state_dim, config.action_dim, by)
    return Checkpoint(path, config, weights, statistics, side)


def _join_positions(path: Path, state: StateDict) -> bool:
    """Give the two positions of the fork their public name; whether it is the fork."""
    forked = all(key in state.weights for key in _FORKED_POSITIONS)
    if not forked or _POSITIONS in state.weights:
        return False
    parts = [state.weights.pop(key) for key in _FORKED_POSITIONS]
    for key, part in zip(_FORKED_POSITIONS, parts, strict=True):
        if len(part.shape) != 2 or part.shape[0] != 1 or part.shape != parts[0].shape:
            raise CheckpointError(
                f'{path}: {state.prefix + key!r} has shape {tuple(part.shape)}, expected '
                f'(1, {parts[0].shape[-1]}): this network has other inputs'
            )
    state.weights[_POSITIONS] = Joined(parts)
    log.info('%s: reading %s as %s', path, ' and '.join(_FORKED_POSITIONS), _POSITIONS)
    return True


def _action_statistics(
    path: Path, config: ACTConfig, side: SideConfig, forked: bool
) -> Literal['action', 'qpos']:
    """By whose mean and deviation the actions were normalised."""
    same = config.action_dim == config.state_dim
    if side.action_statistics is not None:
        if side.action_statistics == 'qpos' and not same:
            raise CheckpointError(
                f'{side.path}: action_statistics is qpos, but the checkpoint has '
                f'{config.state_dim} state and {config.action_dim} action entries'
            )
        return side.action_statistics
    if forked and same:
        # Actions that are states of a later step; other descendants of the fork normalise as
        # the public code does. A wrong guess would be a wrong command.
        raise CheckpointError(
            f'{path}: its keys {" and ".join(_FORKED_POSITIONS)} are those of a fork that '
            f'normalises actions by qpos_mean and qpos_std; say in {side.path} whether this '
            f'training did: action_statistics: qpos, or action'
        )
    return 'action'


def _sizes(path: Path, state: StateDict, side: SideConfig) -> ACTConfig:
    """What the network is, read from the shapes of its weights."""
    weights, prefix = state.weights, state.prefix

    def shape(key: str, dims: int) -> tuple[int, ...]:
        if key not in weights:
            raise CheckpointError(f'{path}: {state.lacking(key)}')
        if len(weights[key].shape) != dims:
            raise CheckpointError(
                f'{path}: {prefix + key!r} has shape {tuple(weights[key].shape)}, '
                f'expected {dims} dimensions'
            )
        return weights[key].shape

    def count(pattern: str) -> int:
        found = {int(m[1]) for key in weights if (m := re.match(pattern, key))}
        return max(found, default=-1) + 1

    for key in weights:
        if _LEARNED_POSITION.fullmatch(key):
            raise CheckpointError(
                f'{path}: {prefix + key!r} belongs to a learned position embedding; only the '
                f'sine embedding is supported'
            )
    latent = shape('latent_out_proj.weight', 2)[1]
    if latent != LATENT_DIM:
        raise CheckpointError(
            f"{path}: '{prefix}latent_out_proj.weight' takes {latent} numbers, expected "
            f'{LATENT_DIM}: a VQ variant, which needs a second model, is not supported'
        )
    chunk_size, hidden = shape('query_embed.weight', 2)
    if hidden % side.nheads or hidden % 4:
        raise CheckpointError(
            f'{path}: hidden size {hidden} does not divide into {side.nheads} heads; '
            f'set nheads in {side.path}'
        )
    body = 'backbones.0.0.body.'
    width = shape(f'{body}conv1.weight', 4)[0]
    kind = 'bottleneck' if f'{body}layer1.0.conv3.weight' in weights else 'basic'
    depths = tuple(count(rf'{re.escape(body)}layer{i}\.(\d+)\.') for i in (1, 2, 3, 4))
    backbone = next((name for name, it in RESNETS.items() if it == (kind, depths)), None)
    if backbone is None:
        raise CheckpointError(
            f'{path}: backbone of {kind} blocks {depths} is none of {", ".join(RESNETS)}'
        )
    if side.dilation and kind == 'basic':
        raise CheckpointError(
            f'{side.path}: dilation is true, but the checkpoint has a {backbone}, which has '
            f'none; only resnet50 can be dilated'
        )
    return ACTConfig(
        state_dim=shape('input_proj_robot_state.weight', 2)[1],
        action_dim=shape('action_head.weight', 2)[0],
        chunk_size=chunk_size,
        hidden_dim=hidden,
        feedforward_dim=shape('transformer.decoder.layers.0.linear1.weight', 2)[0],
        encoder_layers=count(r'transformer\.encoder\.layers\.(\d+)\.'),
        heads=side.nheads,
        backbone=backbone,
        num_backbones=count(r'backbones\.(\d+)\.'),
        width=width,
        dilation=side.dilation,
        pre_norm='transformer.encoder.norm.weight' in weights,
    )


def _load(path: Path, state: StateDict, config: ACTConfig) -> dict[str, torch.Tensor]:
    """The weights that the network uses, checked against its shapes; float32."""
    weights, prefix = state.weights, state.prefix
    with torch.device('meta'):
        expected = {key: value.shape for key, value in DETRVAE(config).state_dict().items()}
    missing = [key for key in expected if key not in weights]
    unknown = [key for key in weights if key not in expected and not _UNUSED.fullmatch(key)]
    if missing or unknown:
        wrong = [state.lacking(key) for key in missing[:1]]
        wrong += [f'unknown key {prefix + key!r}' for key in unknown[:1]]
        raise CheckpointError(f'{path}: {", ".join(wrong)}')
    for key, wanted in expected.items():
        found = weights[key]
        if tuple(found.shape) != tuple(wanted):
            raise CheckpointError(
                f'{path}: {prefix + key!r} has shape {tuple(found.shape)}, '
                f'expected {tuple(wanted)}'
            )
    with readable(path):
        loaded = {key: weights[key].load() for key in expected}
        later = weights.get('transformer.decoder.layers.1.norm1.weight')
        if later is not None and len(later.load().unique()) > 1:  # as it began, it is all ones
            log.info(
                '%s: assuming that actions come from the first decoder layer, as the public code '
                'takes them; later layers are trained too', path,
            )  # fmt: skip
    others = sorted({str(value.dtype) for value in loaded.values()} - {'torch.float32'})
    if others:
        log.info('%s: weights of %s are cast to float32', path, ', '.join(others))
    cast = {key: value.float() for key, value in loaded.items() if value.is_floating_point()}
    for key in expected:
        if key not in cast or not torch.isfinite(cast[key]).all():
            raise CheckpointError(f'{path}: {prefix + key!r} is not finite floating point')
    return cast
