"""The network in torch, run as it is written."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from act_ros.errors import one_line
from act_ros.task import Task
from detr import DETRVAE
from detr.inference import Actions, Vision


class TorchEngine:
    """Runs `Vision` and `Actions` on the CPU.

    :param network: the loaded network; it stays as it is.
    :param task: its cameras and image size.
    :param precision: 'float32', 'bfloat16' or 'float16'.
    :param bgr: the network was trained on frames of that channel order.
    """

    parameter = 'torch'
    deviation: float | None = None
    # One frame after the other costs a CPU no more than all at once, and less memory.
    frames_at_once = 1

    def __init__(
        self,
        network: DETRVAE,
        task: Task,
        device: torch.device,
        precision: str = 'float32',
        bgr: bool = False,
    ) -> None:
        self.name = f'torch {precision}'
        self.device = device
        dtype = getattr(torch, precision)
        self.vision = [
            Vision(network, i, bgr).place(device, dtype) for i in range(len(network.backbones))
        ]
        actions = make_actions(network, task)
        if (device.type, dtype) != ('cpu', torch.float32):
            # What is moved or cast must not be the network's own.
            actions = copy.deepcopy(actions).to(device, dtype)
        self.actions = actions

    def encode(self, frames: Sequence[np.ndarray], cameras: Sequence[int]) -> list[Tensor]:
        """Tokens of each frame, (h * w, hidden)."""
        with torch.inference_mode():
            return [
                self.backbone(camera)(torch.from_numpy(frame)[None])[0]
                for frame, camera in zip(frames, cameras, strict=True)
            ]

    def decode(self, qpos: np.ndarray, tokens: Sequence[Sequence[Tensor]]) -> np.ndarray:
        """Chunks of normalised actions."""
        with torch.inference_mode():
            joined = torch.stack([torch.cat(list(each)) for each in tokens])
            return self.actions(torch.from_numpy(qpos).to(self.device), joined).cpu().numpy()

    def backbone(self, camera: int) -> Vision:
        """The camera's own, or the one that all share."""
        return self.vision[camera if len(self.vision) > 1 else 0]


def make_actions(network: DETRVAE, task: Task) -> Actions:
    """The transformer for the task's cameras.

    :returns: float32; most of its weights are the network's.
    """
    height, width = task.image_size
    stride = 16 if network.config.dilation else 32
    grid = -(-height // stride), -(-width // stride)
    return Actions(network, grid, len(task.cameras))


def plain_text(error: RuntimeError) -> str:
    """What a library says, in one line, without CUDA's advice to programmers."""
    text = one_line(error)
    for advice in (' Search for `cuda', ' CUDA kernel errors might'):
        text = text.partition(advice)[0]
    return text[:200]
