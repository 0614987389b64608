"""Make the loaded network cheaper without changing what it computes."""

import torch
from torch import nn

from detr import DETRVAE
from detr.backbone import FrozenBatchNorm2d

# A convolution and the frozen norm after it, as the modules of detr.backbone name them.
_PAIRS = (('conv1', 'bn1'), ('conv2', 'bn2'), ('conv3', 'bn3'), ('0', '1'))


def fold_batch_norm(network: DETRVAE) -> DETRVAE:
    """Fold each frozen batch norm of the backbones into its convolution, in place.

    conv(x) * scale + shift is a convolution of its own; on a CPU the norms otherwise cost a
    quarter of a pass, since they read and write every feature map again.
    """
    for module in list(network.backbones.modules()):
        for conv_name, norm_name in _PAIRS:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                setattr(module, conv_name, _folded(conv, norm))
                setattr(module, norm_name, nn.Identity())
    # The layout that the CPU's and the GPU's convolutions compute in.
    network.backbones.to(memory_format=torch.channels_last)
    return network


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> nn.Conv2d:
    # In double precision: the fold itself shall not add rounding.
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    folded = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
        conv.dilation, bias=True, device='meta',
    )  # fmt: skip
    weight = conv.weight.double() * scale[:, None, None, None]
    folded.weight = nn.Parameter(weight.float(), requires_grad=False)
    folded.bias = nn.Parameter(shift.float(), requires_grad=False)
    return folded
