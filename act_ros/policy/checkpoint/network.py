"""What a network is, read from its weights; and these, checked against it."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from act_ros.errors import CheckpointError
from act_ros.policy.checkpoint.pickled_file import readable
from act_ros.policy.checkpoint.weights import StateDict
from detr import DETRVAE, ACTConfig
from detr.backbone import RESNETS
from detr.detr_vae import IMAGENET, LATENT_DIM, ImageStatistics

# Trained beside the network, used by nothing at inference; which of them exist depends on the
# dialect. latent_out_proj.weight multiplies a zero latent.
_UNUSED = re.compile(
    r'(encoder\.|cls_embed\.|encoder_action_proj\.|encoder_joint_proj\.|latent_proj\.|'
    r'is_pad_head\.|transformer\.decoder\.layers\.[1-9]\d*\.).*|pos_table|.*\.num_batches_tracked'
)
_LEARNED_POSITION = re.compile(r'backbones\.\d+\.1\..*')

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unseen:
    """What weights do not tell of their network.

    :ivar path: the file that says it, for messages.
    :ivar decoder_layers: that count.
    :ivar vae: the latent is the public code's, of 32 numbers; otherwise it may be any.
    """

    path: Path
    heads: int
    dilation: bool
    decoder_layers: int = 1
    activation: str = 'relu'
    vae: bool = True
    image_statistics: tuple[ImageStatistics, ...] = (IMAGENET,)


def read_sizes(path: Path, state: StateDict, unseen: Unseen) -> ACTConfig:
    """What the network is, read from the shapes of its weights.

    :param path: of the weights.
    :raises CheckpointError: one line that names the key, and what was expected.
    """
    weights = state.weights

    def shape(key: str, dims: int) -> tuple[int, ...]:
        if key not in weights:
            raise CheckpointError(f'{path}: {state.lacking(key)}')
        if len(weights[key].shape) != dims:
            raise CheckpointError(
                f'{path}: {state.name(key)!r} has shape {tuple(weights[key].shape)}, '
                f'expected {dims} dimensions'
            )
        return weights[key].shape

    def count(pattern: str) -> int:
        found = {int(m[1]) for key in weights if (m := re.match(pattern, key))}
        return max(found, default=-1) + 1

    for key in weights:
        if _LEARNED_POSITION.fullmatch(key):
            raise CheckpointError(
                f'{path}: {state.name(key)!r} belongs to a learned position embedding; only the '
                f'sine embedding is supported'
            )
    latent = shape('latent_out_proj.weight', 2)[1]
    if unseen.vae and latent != LATENT_DIM:
        raise CheckpointError(
            f"{path}: '{state.name('latent_out_proj.weight')}' takes {latent} numbers, expected "
            f'{LATENT_DIM}: a VQ variant, which needs a second model, is not supported'
        )
    chunk_size, hidden = shape('query_embed.weight', 2)
    if hidden % unseen.heads or hidden % 4:
        raise CheckpointError(
            f'{path}: hidden size {hidden} does not divide into {unseen.heads} heads; '
            f'set nheads in {unseen.path}'
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
    if unseen.dilation and kind == 'basic':
        raise CheckpointError(
            f'{unseen.path}: dilation is true, but the checkpoint has a {backbone}, which has '
            f'none; only resnet50 and up can be dilated'
        )
    return ACTConfig(
        state_dim=shape('input_proj_robot_state.weight', 2)[1],
        action_dim=shape('action_head.weight', 2)[0],
        chunk_size=chunk_size,
        hidden_dim=hidden,
        feedforward_dim=shape('transformer.decoder.layers.0.linear1.weight', 2)[0],
        encoder_layers=count(r'transformer\.encoder\.layers\.(\d+)\.'),
        heads=unseen.heads,
        backbone=backbone,
        num_backbones=count(r'backbones\.(\d+)\.'),
        width=width,
        dilation=unseen.dilation,
        pre_norm='transformer.encoder.norm.weight' in weights,
        decoder_layers=unseen.decoder_layers,
        activation=unseen.activation,
        latent_dim=latent,
        image_statistics=unseen.image_statistics,
    )


def load_weights(path: Path, state: StateDict, config: ACTConfig) -> dict[str, torch.Tensor]:
    """The weights that the network uses, checked against its shapes; float32.

    :param path: of the weights, whose file is open.
    :raises CheckpointError: one line that names the key, and what was expected.
    """
    weights = state.weights
    with torch.device('meta'):
        expected = {key: value.shape for key, value in DETRVAE(config).state_dict().items()}
    missing = [key for key in expected if key not in weights]
    unknown = [key for key in weights if key not in expected and not _UNUSED.fullmatch(key)]
    if missing or unknown:
        wrong = [state.lacking(key) for key in missing[:1]]
        wrong += [f'unknown key {state.name(key)!r}' for key in unknown[:1]]
        raise CheckpointError(f'{path}: {", ".join(wrong)}')
    for key, wanted in expected.items():
        found = weights[key]
        if tuple(found.shape) != tuple(wanted):
            raise CheckpointError(
                f'{path}: {state.name(key)!r} has shape {tuple(found.shape)}, '
                f'expected {tuple(wanted)}'
            )
    with readable(path):
        loaded = {key: weights[key].load() for key in expected}
        later = weights.get(f'transformer.decoder.layers.{config.decoder_layers}.norm1.weight')
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
            raise CheckpointError(f'{path}: {state.name(key)!r} is not finite floating point')
    return cast
