"""The network that a recipe asks for, as it begins."""

import re
from pathlib import Path

import torch

from act_ros.errors import CheckpointError
from act_ros.policy.checkpoint.pickled_file import StoredTensor, open_pickled, readable
from act_ros.task import Task
from act_ros.training.order import seed_weights
from act_ros.training.recipe import Recipe
from detr import ACTConfig
from detr.backbone import ResNet
from detr.training import TrainingACT, smooth_queries

# Of torchvision's networks: the classifier, and how many batches a norm has seen.
_UNUSED = re.compile(r'fc\..*|.*\.num_batches_tracked')


def make_network(recipe: Recipe, task: Task) -> TrainingACT:
    """Draw the weights of a new network, and read those of its backbones where they are given.

    :raises CheckpointError: the file of the backbones is no such file.
    """
    config = ACTConfig(
        state_dim=task.state_dim,
        action_dim=task.action_dim,
        chunk_size=recipe.chunk_size,
        hidden_dim=recipe.hidden_dim,
        feedforward_dim=recipe.feedforward_dim,
        encoder_layers=recipe.encoder_layers,
        heads=recipe.heads,
        backbone=recipe.backbone,
        num_backbones=len(task.cameras) if recipe.backbone_per_camera else 1,
        width=recipe.backbone_width,
        dilation=recipe.dilation,
        pre_norm=recipe.pre_norm,
    )
    seed_weights(recipe.seed)
    network = TrainingACT(
        config,
        decoder_layers=recipe.decoder_layers,
        cvae=recipe.cvae,
        dropout=recipe.dropout,
        batch_norm=not recipe.norm_is_frozen,
    )
    if recipe.smooth_queries:
        queries = smooth_queries(recipe.chunk_size, recipe.hidden_dim)
        with torch.no_grad():
            network.query_embed.weight.copy_(queries)
    if recipe.backbone_weights:
        for i in range(config.num_backbones):
            load_resnet(network.resnet(i), Path(recipe.backbone_weights))
    return network


def load_resnet(network: ResNet, path: Path) -> None:
    """Give a backbone the weights of a file in torchvision's layout.

    :raises CheckpointError: one line that names the file or key, and what was expected.
    """
    if not path.is_file():
        raise CheckpointError(f'no backbone_weights {str(path)!r}')
    what = "ResNet's state_dict in torchvision's layout"
    with open_pickled(path, what) as content:
        if not isinstance(content, dict):
            raise CheckpointError(f'{path} holds a {type(content).__name__}, expected a {what}')
        found = {key: value for key, value in content.items()
                 if isinstance(value, StoredTensor) and not _UNUSED.fullmatch(key)}  # fmt: skip
        expected = network.state_dict()
        for key in (*expected, *found):
            if key not in found or key not in expected:
                say = 'missing' if key not in found else 'unknown'
                raise CheckpointError(f'{path}: {say} key {key!r}, expected a {what}')
            if found[key].shape != tuple(expected[key].shape):
                raise CheckpointError(
                    f'{path}: {key!r} has shape {found[key].shape}, expected '
                    f'{tuple(expected[key].shape)} (set backbone and backbone_width)'
                )
        with readable(path, what):
            network.load_state_dict({key: value.load() for key, value in found.items()})
