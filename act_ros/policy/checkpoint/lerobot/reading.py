"""From a folder of LeRobot's to a checkpoint."""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from act_ros.errors import CheckpointError, shorten
from act_ros.policy.checkpoint.content import Checkpoint
from act_ros.policy.checkpoint.lerobot.config import CONFIG_JSON, LeRobotConfig, read_config
from act_ros.policy.checkpoint.lerobot.keys import PREFIX, is_statistic, is_unused, rename, spell
from act_ros.policy.checkpoint.lerobot.normalisation import (
    PREPROCESSOR,
    read_buffers,
    read_processors,
)
from act_ros.policy.checkpoint.lerobot.safetensors_file import SafeTensor, open_safetensors
from act_ros.policy.checkpoint.network import Unseen, load_weights, read_sizes
from act_ros.policy.checkpoint.side_config import SideConfig, read_side_config
from act_ros.policy.checkpoint.weights import StateDict
from detr import ACTConfig

WEIGHTS = 'model.safetensors'
SIDE = 'config.yaml'
_HYDRA = {'policy', 'training', 'env', 'dataset_repo_id'}  # of what LeRobot itself wrote there
_PLACES = ('pretrained_model', 'checkpoints/last/pretrained_model', 'last/pretrained_model')

log = logging.getLogger(__name__)


def find_lerobot(folder: Path) -> Path | None:
    """Where LeRobot has put a checkpoint below the folder of a training, if it has."""
    return next((p for name in _PLACES if ((p := folder / name) / CONFIG_JSON).is_file()), None)


def read_lerobot(folder: Path) -> Checkpoint:
    """Read what LeRobot calls a pretrained model.

    Beside it `config.yaml` may name the task; all else is in its own files.

    :raises CheckpointError: one line that names the file, key or step, and what was expected.
    """
    config = read_config(folder / CONFIG_JSON)
    side = _side(folder, config)
    path = folder / WEIGHTS
    with open_safetensors(path) as tensors:
        state, among = _state_dict(path, tensors)
        if among and not (folder / PREPROCESSOR).exists():
            statistics, images = read_buffers(path, config, among)
        else:
            statistics, images = read_processors(folder, config)
        _check_layers(path, state, config)
        sizes = read_sizes(
            path, state,
            Unseen(
                config.path, config.heads, config.dilation, config.decoder_layers,
                config.activation, vae=False, image_statistics=images,
            ),
        )  # fmt: skip
        _check_sizes(path, sizes, config)
        weights = load_weights(path, state, sizes)
    log.info(
        '%s: LeRobot knows neither rate nor joints of its robot: control_rate has to be the fps '
        'of its dataset, and task.state and task.action its order', config.path,
    )  # fmt: skip
    return Checkpoint(path, sizes, weights, statistics, side, config.own_settings)


class _LeRobotWeights(StateDict):
    """Weights by the network's keys, whose names in the file are LeRobot's."""

    def name(self, key: str) -> str:
        return spell(key)


def _state_dict(
    path: Path, tensors: Mapping[str, SafeTensor]
) -> tuple[StateDict, dict[str, SafeTensor]]:
    """The weights, and the statistics among them."""
    state, statistics = _LeRobotWeights('', PREFIX, ((), PREFIX)), {}
    for name, tensor in tensors.items():
        if is_statistic(name):
            statistics[name] = tensor
        elif not is_unused(name):
            key = rename(name)
            if key is None or key in state.weights:
                raise CheckpointError(f'{path}: unknown key {shorten(name)}')
            state.weights[key] = tensor
    return state, statistics


def _check_layers(path: Path, state: StateDict, config: LeRobotConfig) -> None:
    """Layers of which the configuration does not know would be left out."""
    for which, said in (('encoder', config.encoder_layers), ('decoder', config.decoder_layers)):
        pattern = re.compile(rf'transformer\.{which}\.layers\.(\d+)\.')
        found = {int(m[1]) for key in state.weights if (m := pattern.match(key))}
        if found != set(range(said)):
            raise CheckpointError(
                f'{path} has the {which} layers {sorted(found)}, but n_{which}_layers of '
                f'{config.path} is {said}'
            )


def _check_sizes(path: Path, sizes: ACTConfig, config: LeRobotConfig) -> None:
    """What both tell is the same, or one of the two files is another checkpoint's."""
    for what, found, said in (
        ('dim_model', sizes.hidden_dim, config.hidden),
        ('chunk_size', sizes.chunk_size, config.chunk_size),
        ('pre_norm', sizes.pre_norm, config.pre_norm),
        ('vision_backbone', sizes.backbone, config.backbone),
        ('observation.state', sizes.state_dim, config.state.shape[0]),
        ('action', sizes.action_dim, config.action.shape[0]),
    ):
        if found != said:
            raise CheckpointError(
                f'{config.path}: {what} is {said}, but {path.name} has {found}: they belong to '
                f'two checkpoints'
            )


def _side(folder: Path, config: LeRobotConfig) -> SideConfig:
    """The robot: of LeRobot's own the cameras, and the task where `config.yaml` names one."""
    path = folder / SIDE
    side = SideConfig(path)
    if path.exists() and not _is_hydra(path):
        side = read_side_config(path)
        given = replace(side, path=path, task=None)
        if given != SideConfig(path):
            raise CheckpointError(
                f'{path}: beside a LeRobot checkpoint only task is expected; all else is in '
                f'{CONFIG_JSON}'
            )
    sizes = [side for camera in config.cameras for side in camera.shape[1:]]
    return replace(
        side, camera_names=tuple(camera.camera for camera in config.cameras),
        image_size=tuple(sizes),
    )  # fmt: skip


def _is_hydra(path: Path) -> bool:
    """Whether it is what LeRobot wrote of its training before 2025."""
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False  # whoever reads it says what is wrong
    return isinstance(content, dict) and not _HYDRA.isdisjoint(content)
