"""The network's own names for LeRobot's weights."""

import re

PREFIX = 'model.'
_COMPILED = '_orig_mod.'  # torch.compile stands around the model
# Trained beside the network and used by nothing at inference.
_UNUSED = 'vae_encoder'
# LeRobot's beginning of a name, and ours.
_RENAMED = {
    'backbone.': 'backbones.0.0.body.',
    'encoder_img_feat_input_proj.': 'input_proj.',
    'encoder_robot_state_input_proj.': 'input_proj_robot_state.',
    'encoder_latent_input_proj.': 'latent_out_proj.',
    'encoder_1d_feature_pos_embed.': 'additional_pos_embed.',
    'decoder_pos_embed.': 'query_embed.',
    'encoder.': 'transformer.encoder.',
    'decoder.': 'transformer.decoder.',
    'action_head.': 'action_head.',
}
# Of 2024 alone.
_ALIASES = {'encoder_robot_and_latent_pos_embed.': 'encoder_1d_feature_pos_embed.'}
_STATISTICS = re.compile(r'(normalize_inputs|normalize_targets|unnormalize_outputs)\.buffer_.+')


def is_statistic(name: str) -> bool:
    """Whether a tensor in the file of the weights is one of the old layouts' statistics."""
    return _STATISTICS.fullmatch(name) is not None


def is_unused(name: str) -> bool:
    """Whether nothing at inference needs a weight."""
    return _bare(name).startswith(_UNUSED)


def rename(name: str) -> str | None:
    """The network's name of a weight; None where LeRobot has no such weight."""
    if not name.startswith(PREFIX):
        return None
    bare = _bare(name)
    for beginning, ours in _RENAMED.items():
        if bare.startswith(beginning):
            return ours + bare.removeprefix(beginning)
    return None


def spell(name: str) -> str:
    """LeRobot's name of one of the network's weights, for messages."""
    for theirs, ours in _RENAMED.items():
        if name.startswith(ours):
            return PREFIX + theirs + name.removeprefix(ours)
    return PREFIX + name


def _bare(name: str) -> str:
    bare = name.removeprefix(PREFIX).replace(_COMPILED, '')
    for old, new in _ALIASES.items():
        if bare.startswith(old):
            return new + bare.removeprefix(old)
    return bare
