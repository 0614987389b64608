"""Read a checkpoint of the public ACT code: weights, statistics, and what config.yaml adds.

Sizes come from the weights; what they cannot tell comes from `config.yaml` beside them, and
each value assumed for want of it is one log line.
"""

import logging
from pathlib import Path
from typing import Literal

from act_ros.errors import CheckpointError
from act_ros.policy.checkpoint.content import Checkpoint
from act_ros.policy.checkpoint.network import Unseen, load_weights, read_sizes
from act_ros.policy.checkpoint.pickled_file import open_pickled
from act_ros.policy.checkpoint.side_config import SideConfig, read_side_config
from act_ros.policy.checkpoint.statistics import read_statistics
from act_ros.policy.checkpoint.weights import Joined, StateDict, find_weights
from detr import ACTConfig

STATS_NAME = 'dataset_stats.pkl'
CONFIG_NAME = 'config.yaml'

# A fork has the positions of latent and joint states in two embeddings, and the tokens in
# another order, for which attention does not care.
_POSITIONS = 'additional_pos_embed.weight'
_FORKED_POSITIONS = ('latent_pos.weight', 'robot_state_pos.weight')

log = logging.getLogger(__name__)


def read_public(path: Path) -> Checkpoint:
    """Read a checkpoint, the statistics beside it, and perhaps `config.yaml` there.

    :raises CheckpointError: one line that names the file or key, and what was expected.
    """
    folder = path.parent
    side = read_side_config(folder / CONFIG_NAME)
    with open_pickled(path) as content:
        state = find_weights(path, content, side.weights)
        forked = _join_positions(path, state)
        config = read_sizes(path, state, Unseen(side.path, side.nheads, side.dilation))
        weights = load_weights(path, state, config)
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
                f'{path}: {state.name(key)!r} has shape {tuple(part.shape)}, expected '
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
