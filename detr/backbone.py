"""ResNet backbones with frozen batch norm (He et al. 2015, arXiv:1512.03385).

Module names give the state_dict keys of the public ACT checkpoints: `conv1`, `bn1`,
`layer1.0.conv1`, `layer2.0.downsample.0` ...
"""

import torch
from torch import Tensor, nn

# name -> (block kind, blocks per stage)
RESNETS = {
    'resnet18': ('basic', (2, 2, 2, 2)),
    'resnet34': ('basic', (3, 4, 6, 3)),
    'resnet50': ('bottleneck', (3, 4, 6, 3)),
    'resnet101': ('bottleneck', (3, 4, 23, 3)),
    'resnet152': ('bottleneck', (3, 8, 36, 3)),
}
STAGES = (1, 2, 4, 8)  # their channels, in widths of the network


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine parameters are constants."""

    eps = 1e-5
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer('weight', torch.ones(channels))
        self.register_buffer('bias', torch.zeros(channels))
        self.register_buffer('running_mean', torch.zeros(channels))
        self.register_buffer('running_var', torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * _along(scale, x) + _along(shift, x)


def _along(numbers: Tensor, x: Tensor) -> Tensor:
    """One number a channel, to be taken with (..., channels, H, W) in its precision."""
    return numbers.to(x.dtype)[:, None, None]


def _conv3x3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The projection of a shortcut, needed where the block changes the shape."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), FrozenBatchNorm2d(outputs)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        if dilation != 1:
            raise ValueError('dilation exists only from ResNet-50 on, not for ResNet-18 and 34')
        self.conv1 = _conv3x3(inputs, width, stride)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2 = _conv3x3(width, width)
        self.bn2 = FrozenBatchNorm2d(width)
        self.downsample = _downsample(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x))
        return (x + shortcut).relu()


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (ResNet-50 and up); the stride is in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride, dilation)
        self.bn2 = FrozenBatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = FrozenBatchNorm2d(outputs)
        self.downsample = _downsample(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.bn3(self.conv3(x))
        return (x + shortcut).relu()


class ResNet(nn.Module):
    """A ResNet without its classifier: images to the features of `layer4`.

    :param name: a key of `RESNETS`.
    :param width: channels of the first convolution and stage; each later stage doubles them.
    :param dilation: the last stage keeps its resolution and dilates instead of striding, so
        its features are twice as fine (from ResNet-50 on).
    :raises ValueError: for a dilated ResNet-18 or 34.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, name: str, width: int = 64, dilation: bool = False) -> None:
        super().__init__()
        kind, depths = RESNETS[name]
        block = BasicBlock if kind == 'basic' else Bottleneck
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        channels = width
        for i, (times, depth) in enumerate(zip(STAGES, depths, strict=True)):
            dilate = dilation and i == 3
            stride = 1 if i == 0 or dilate else 2
            blocks = []
            for j in range(depth):
                # The first block of a dilated stage still has dilation 1, as in torchvision.
                inner = times * width
                blocks.append(
                    block(channels, inner, stride if j == 0 else 1, 2 if dilate and j else 1)
                )
                channels = inner * block.expansion
            self.add_module(f'layer{i + 1}', nn.Sequential(*blocks))
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, channels, H/32, W/32) features."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Backbone(nn.Module):
    """A ResNet under the name `body`, the key layout of the public checkpoints."""

    def __init__(self, name: str, width: int, dilation: bool) -> None:
        super().__init__()
        self.body = ResNet(name, width, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
