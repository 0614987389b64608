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


class Eyes:
    """The backbones as a task's cameras see through them.

    Cameras with the same backbone, the same statistics and the same size share an eye.

    :param network: the loaded network; it stays as it is.
    :param task: its cameras and their image sizes.
    :param bgr: the network was trained on frames of that channel order.
    :ivar of: of each camera, the number of its eye.
    :ivar sizes: height and width of what each eye sees.
    :ivar visions: those that differ in more than the size.
    """

    def __init__(self, network: DETRVAE, task: Task, bgr: bool) -> None:
        backbones, statistics = len(network.backbones), network.config.image_statistics
        kinds = [
            (i if backbones > 1 else 0, statistics[i if len(statistics) > 1 else 0])
            for i in range(len(task.cameras))
        ]
        eyes = list(zip(kinds, task.image_sizes.values(), strict=True))
        distinct = list(dict.fromkeys(eyes))
        made = {kind: Vision(network, kind[0], bgr, kind[1]) for kind in dict.fromkeys(kinds)}
        self.of = [distinct.index(eye) for eye in eyes]
        self.sizes = [size for _, size in distinct]
        self.visions = list(made.values())
        self._visions = [made[kind] for kind, _ in distinct]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, eye: int) -> Vision:
        return self._visions[eye]

    def vision(self, camera: int) -> Vision:
        """What a camera's frames go through."""
        return self._visions[self.of[camera]]


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
        self.eyes = Eyes(network, task, bgr)
        for vision in self.eyes.visions:
            vision.place(device, dtype)
        actions = make_actions(network, task)
        if (device.type, dtype) != ('cpu', torch.float32):
            # What is moved or cast must not be the network's own.
            actions = copy.deepcopy(actions).to(device, dtype)
        self.actions = actions

    def encode(self, frames: Sequence[np.ndarray], cameras: Sequence[int]) -> list[Tensor]:
        """Tokens of each frame, (h * w, hidden)."""
        with torch.inference_mode():
            return [
                self.eyes.vision(camera)(torch.from_numpy(frame)[None])[0]
                for frame, camera in zip(frames, cameras, strict=True)
            ]

    def decode(self, qpos: np.ndarray, tokens: Sequence[Sequence[Tensor]]) -> np.ndarray:
        """Chunks of normalised actions."""
        with torch.inference_mode():
            joined = torch.stack([torch.cat(list(each)) for each in tokens])
            return self.actions(torch.from_numpy(qpos).to(self.device), joined).cpu().numpy()


def make_actions(network: DETRVAE, task: Task) -> Actions:
    """The transformer for the task's cameras.

    :returns: float32; most of its weights are the network's.
    """
    stride = 16 if network.config.dilation else 32
    sizes = task.image_sizes.values()
    return Actions(network, [(-(-h // stride), -(-w // stride)) for h, w in sizes])


def plain_text(error: RuntimeError) -> str:
    """What a library says, in one line, without CUDA's advice to programmers."""
    text = one_line(error)
    for advice in (' Search for `cuda', ' CUDA kernel errors might'):
        text = text.partition(advice)[0]
    return text[:200]
