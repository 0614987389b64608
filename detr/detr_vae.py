"""ACT's network at inference (Zhao et al. 2023, arXiv:2304.13705).

The CVAE encoder is trained beside it (`detr.training`) and unused here: at inference the latent
is zero, so only the bias of its projection counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from detr.backbone import Backbone, ResNet
from detr.position_encoding import sine_position_embedding
from detr.transformer import LayerConfig, Transformer

LATENT_DIM = 32  # of the public code


@dataclass(frozen=True)
class ImageStatistics:
    """What the colours of an image are normalised by, of values from 0 to 1; red first."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = ImageStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class ACTConfig:
    """What the network is.

    :ivar decoder_layers: that count; of the public code's only the first does.
    :ivar image_statistics: of every camera, or one for all of them.
    """

    state_dim: int
    action_dim: int
    chunk_size: int
    hidden_dim: int
    feedforward_dim: int
    encoder_layers: int
    heads: int
    backbone: str  # a key of detr.backbone.RESNETS
    num_backbones: int  # 1: shared by all cameras; else one per camera
    width: int = 64  # channels of the backbone's first convolution
    dilation: bool = False
    pre_norm: bool = False
    decoder_layers: int = 1
    activation: str = 'relu'
    latent_dim: int = LATENT_DIM
    image_statistics: tuple[ImageStatistics, ...] = (IMAGENET,)

    @property
    def layer(self) -> LayerConfig:
        """Of the transformer."""
        return LayerConfig(
            self.hidden_dim, self.heads, self.feedforward_dim, self.activation, self.pre_norm
        )


def embedding(rows: int, columns: int) -> nn.Embedding:
    """Learnt vectors, normally distributed.

    Where a network is built on the meta device they stay undrawn: that would import all of
    torch's compiler, which takes a second or two.
    """
    vectors = torch.empty(rows, columns)
    if not vectors.is_meta:
        vectors.normal_()
    return nn.Embedding.from_pretrained(vectors, freeze=False)


class DETRVAE(nn.Module):
    """Cameras and joint states in, a chunk of future actions out."""

    def __init__(self, config: ACTConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_dim
        # The Sequential gives the keys their public form `backbones.i.0.body`.
        self.backbones = nn.ModuleList(
            nn.Sequential(Backbone(config.backbone, config.width, config.dilation))
            for _ in range(config.num_backbones)
        )
        self.input_proj = nn.Conv2d(self.resnet(0).channels, hidden, 1)
        self.input_proj_robot_state = nn.Linear(config.state_dim, hidden)
        self.latent_out_proj = nn.Linear(config.latent_dim, hidden)
        self.additional_pos_embed = embedding(2, hidden)  # latent, proprioception
        self.query_embed = embedding(config.chunk_size, hidden)
        self.transformer = Transformer(
            config.encoder_layers, config.decoder_layers, config.layer
        )
        self.action_head = nn.Linear(hidden, config.action_dim)

    def resnet(self, index: int) -> ResNet:
        """The body of a backbone."""
        return cast(Backbone, cast(nn.Sequential, self.backbones[index])[0]).body

    def forward(self, qpos: Tensor, images: Tensor) -> Tensor:
        """Predict a chunk of normalised actions.

        :param qpos: (B, state_dim) normalised joint states.
        :param images: (B, cameras, 3, H, W) uint8 RGB.
        :returns: (B, chunk_size, action_dim) normalised actions.
        """
        return self.chunk(qpos, images, self.latent_out_proj.bias.expand(len(qpos), -1))

    def chunk(self, qpos: Tensor, images: Tensor, latent: Tensor) -> Tensor:
        """`forward` with the token of any latent, (B, hidden)."""
        features = self.image_features(normalise_images(images, self.config.image_statistics))
        state = self.input_proj_robot_state(qpos)

        tokens = torch.cat((torch.stack((latent, state), dim=1), to_tokens(features)), dim=1)
        position = torch.cat(
            (self.additional_pos_embed.weight, self.image_positions(features, images.shape[1]))
        )
        return self.action_head(self.transformer(tokens, position, self.query_embed.weight))

    def image_features(self, images: Tensor) -> Tensor:
        """(B, cameras, 3, H, W) to (B, hidden, h, cameras * w): cameras joined by width."""
        cameras = images.shape[1]
        if len(self.backbones) == 1:
            features = self.backbones[0](images.flatten(0, 1))
        else:
            each = [backbone(images[:, i]) for i, backbone in enumerate(self.backbones)]
            features = torch.stack(each, dim=1).flatten(0, 1)
        features = self.input_proj(features).unflatten(0, (-1, cameras))
        return features.permute(0, 2, 3, 1, 4).flatten(3)

    def image_positions(self, features: Tensor, cameras: int) -> Tensor:
        """Position of each image token, (h * cameras * w, hidden): every camera's alike."""
        _, hidden, height, width = features.shape
        one = sine_position_embedding(height, width // cameras, hidden, device=features.device)
        return to_tokens(one.repeat(1, 1, cameras)[None])[0]


def normalise_images(
    images: Tensor, statistics: Sequence[ImageStatistics] = (IMAGENET,)
) -> Tensor:
    """(..., cameras, 3, H, W) uint8 RGB to float32.

    :param statistics: of every camera, or one for all of them.
    """
    mean = torch.tensor([s.mean for s in statistics], device=images.device)[..., None, None]
    std = torch.tensor([s.std for s in statistics], device=images.device)[..., None, None]
    # Division, not multiplication by 1/255: the two differ in the last bit.
    return (images / 255.0).sub_(mean).div_(std)


def to_tokens(features: Tensor) -> Tensor:
    """(B, hidden, h, w) to (B, h * w, hidden), row-major."""
    return features.flatten(2).transpose(1, 2)
