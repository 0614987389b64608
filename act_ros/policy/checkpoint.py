"""Read a checkpoint of the public ACT code: weights, statistics, and what config.yaml adds.

Sizes come from the weights; what they cannot tell comes from `config.yaml` beside them, and
each value assumed for want of it is one log line.
"""

import logging
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml

from act_ros import plain_pickle
from act_ros.errors import CheckpointError, shorten
from act_ros.policy.interface import Statistics
from detr import DETRVAE, ACTConfig
from detr.backbone import RESNETS
from detr.detr_vae import LATENT_DIM

STATS_NAME = 'dataset_stats.pkl'
CONFIG_NAME = 'config.yaml'
PREFIX = 'model.'
_TORCH_FILES = (b'PK\x03\x04', b'\x80\x02')  # zip archives, and pickles of old versions

# Trained beside the network, used by nothing at inference; which of them exist depends on the
# dialect. latent_out_proj.weight multiplies a zero latent.
_UNUSED = re.compile(
    r'(encoder\.|cls_embed\.|encoder_action_proj\.|encoder_joint_proj\.|latent_proj\.|'
    r'is_pad_head\.|transformer\.decoder\.layers\.[1-9]\d*\.).*|pos_table'
)
_LEARNED_POSITION = re.compile(r'backbones\.\d+\.1\..*')

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SideConfig:
    """`config.yaml`: what weights cannot tell. None where the file is silent."""

    path: Path
    task: str | None = None
    camera_names: tuple[str, ...] | None = None
    image_size: tuple[int, int] | None = None
    nheads: int = 8
    dilation: bool = False


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
    side = _read_side_config(folder / CONFIG_NAME)
    state = _read_state_dict(folder / name)
    config = _sizes(folder / name, state, side)
    weights = _select_weights(folder / name, state, config)
    statistics = _read_statistics(folder / STATS_NAME, config)
    return Checkpoint(folder / name, config, weights, statistics, side)


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors, without the `model.` of their keys."""
    if not path.is_file():
        found = sorted(p.name for p in path.parent.glob('*.ckpt'))
        hint = f'; the folder has {", ".join(found)} (set ckpt_name)' if found else ''
        raise CheckpointError(f'no checkpoint {str(path)!r}{hint}')
    try:
        with path.open('rb') as file:
            beginning = file.read(40)
        if not beginning.startswith(_TORCH_FILES):
            raise CheckpointError(
                f'{path} is no checkpoint, it begins with {shorten(beginning)}: expected a file '
                f'as torch.save writes it (perhaps `git lfs pull` brings it)'
            )
        # No mmap: weights must not change or vanish when the file is written anew.
        state = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f'{path} holds more than weights and is not opened: expected a state_dict as '
            f'torch.save writes it (readable with weights_only=True)'
        ) from None
    except CheckpointError:
        raise
    except Exception as error:  # whatever a reader stumbles over in bytes that are no checkpoint
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f'{path} is not a readable checkpoint: {reason}') from None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f'{path} holds a {type(state).__name__}, expected a state_dict')
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f'{path}: {shorten(key)} is a {type(value).__name__}; expected a state_dict '
                f'of tensors'
            )
        if not key.startswith(PREFIX):
            raise CheckpointError(
                f'{path}: unknown key {shorten(key)}; every key of an ACT checkpoint begins '
                f'with {PREFIX!r}'
            )
    return {key.removeprefix(PREFIX): value for key, value in state.items()}


def _sizes(path: Path, state: dict[str, torch.Tensor], side: SideConfig) -> ACTConfig:
    """What the network is, read from the shapes of its weights."""

    def shape(key: str, dims: int) -> torch.Size:
        if key not in state:
            raise CheckpointError(f'{path}: missing key {PREFIX + key!r}')
        if state[key].dim() != dims:
            raise CheckpointError(
                f'{path}: {PREFIX + key!r} has shape {tuple(state[key].shape)}, '
                f'expected {dims} dimensions'
            )
        return state[key].shape

    def count(pattern: str) -> int:
        found = {int(m[1]) for key in state if (m := re.match(pattern, key))}
        return max(found, default=-1) + 1

    for key in state:
        if _LEARNED_POSITION.fullmatch(key):
            raise CheckpointError(
                f'{path}: {PREFIX + key!r} belongs to a learned position embedding; only the '
                f'sine embedding is supported'
            )
    latent = shape('latent_out_proj.weight', 2)[1]
    if latent != LATENT_DIM:
        raise CheckpointError(
            f"{path}: '{PREFIX}latent_out_proj.weight' takes {latent} numbers, expected "
            f'{LATENT_DIM}: a VQ variant, which needs a second model, is not supported'
        )
    chunk_size, hidden = shape('query_embed.weight', 2)
    if hidden % side.nheads or hidden % 4:
        raise CheckpointError(
            f'{path}: hidden size {hidden} does not divide into {side.nheads} heads; '
            f'set nheads in {side.path}'
        )
    body = 'backbones.0.0.body.'
    shape(f'{body}conv1.weight', 4)
    kind = 'bottleneck' if f'{body}layer1.0.conv3.weight' in state else 'basic'
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
        dilation=side.dilation,
        pre_norm='transformer.encoder.norm.weight' in state,
    )


def _select_weights(
    path: Path, state: dict[str, torch.Tensor], config: ACTConfig
) -> dict[str, torch.Tensor]:
    """The weights that the network uses, checked against its shapes."""
    with torch.device('meta'):
        expected = {key: value.shape for key, value in DETRVAE(config).state_dict().items()}
    for key, wanted in expected.items():
        if key not in state:
            raise CheckpointError(f'{path}: missing key {PREFIX + key!r}')
        if state[key].shape != wanted:
            raise CheckpointError(
                f'{path}: {PREFIX + key!r} has shape {tuple(state[key].shape)}, '
                f'expected {tuple(wanted)}'
            )
        if not state[key].is_floating_point() or not torch.isfinite(state[key]).all():
            raise CheckpointError(f'{path}: {PREFIX + key!r} is not finite floating point')
    for key in state:
        if key not in expected and not _UNUSED.fullmatch(key):
            raise CheckpointError(f'{path}: unknown key {PREFIX + key!r}')
    return {key: state[key].float() for key in expected}


def _read_statistics(path: Path, config: ACTConfig) -> Statistics:
    if not path.is_file():
        raise CheckpointError(
            f'no statistics {str(path)!r}; training writes them beside the checkpoint'
        )
    try:
        content = plain_pickle.loads(path.read_bytes())
    except plain_pickle.UnsafePickleError as error:
        raise CheckpointError(f'{path} is not a dict of plain arrays: {error}') from None
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, expected a dict')
    sizes = {'qpos': config.state_dim, 'action': config.action_dim}
    values = {}
    for key in ('qpos_mean', 'qpos_std', 'action_mean', 'action_std'):
        size = sizes[key.split('_')[0]]
        array = content.get(key)
        if not isinstance(array, np.ndarray) or array.dtype.kind != 'f':
            found = 'nothing' if array is None else f'a {type(array).__name__}'
            raise CheckpointError(f'{path}: {key!r} is {found}, expected a float array')
        if array.size != size:
            raise CheckpointError(
                f'{path}: {key!r} has shape {array.shape}, the weights need ({size},)'
            )
        # A copy: the array read is a view of the file's bytes.
        values[key] = np.array(array.reshape(size), dtype=np.float32)
        if not np.isfinite(values[key]).all():
            raise CheckpointError(f'{path}: {key!r} has an entry that is not finite')
        if key.endswith('std') and (values[key] <= 0).any():
            raise CheckpointError(f'{path}: {key!r} has an entry that is not positive')
    return Statistics(**values)


def _read_side_config(path: Path) -> SideConfig:
    if not path.exists():
        log.info('no %s: assuming nheads 8 and dilation false', path)
        return SideConfig(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(f'cannot read {path}: {" ".join(str(error).split())}') from None
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, expected a mapping')

    def is_names(value: object) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)

    def is_size(value: object) -> bool:
        return (
            isinstance(value, list)
            and len(value) == 2
            and all(type(v) is int and v > 0 for v in value)
        )

    known = {
        'task': (lambda v: isinstance(v, str), 'the name of a task or the path of its YAML'),
        'camera_names': (is_names, 'a list of camera names'),
        'image_size': (is_size, '[height, width] in pixels'),
        'nheads': (lambda v: type(v) is int and v > 0, 'a positive whole number'),
        'dilation': (lambda v: type(v) is bool, 'true or false'),
    }
    for key, value in content.items():
        if key not in known:
            raise CheckpointError(
                f'{path}: unknown key {shorten(key)}; expected {", ".join(known)}'
            )
        fits, wanted = known[key]
        if not fits(value):
            raise CheckpointError(f'{path}: {key} is {shorten(value)}, expected {wanted}')
    for key, default in (('nheads', 8), ('dilation', False)):
        if key not in content:
            log.info('%s does not say %s: assuming %s', path, key, str(default).lower())
    lists = {key: tuple(content[key]) for key in ('camera_names', 'image_size') if key in content}
    return SideConfig(path, **{**content, **lists})
