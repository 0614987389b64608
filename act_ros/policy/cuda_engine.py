"""The network on a CUDA device, as graphs that are captured once and replayed.

A pass at batch 1 is hundreds of small kernels; launching each from Python takes longer than
the device needs for it. Graphs: one of the backbones for every number of frames up to the
number of cameras, and one of the transformer. Their inputs and outputs lie at fixed addresses,
fed from pinned memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from act_ros.policy.torch_engine import TorchEngine
from act_ros.task import Task
from detr import DETRVAE

WARM_UPS = 3  # passes before a capture: libraries choose their kernels in these


@dataclass
class _Graph:
    """A captured function of tensors at fixed addresses."""

    inputs: tuple[Tensor, ...]
    output: Tensor
    graph: torch.cuda.CUDAGraph


class CudaEngine(TorchEngine):
    """Runs `Vision` and `Actions` as captured graphs; larger batches as they are written.

    Everything is queued on one stream; `decode` waits for it.
    """

    parameter = 'torch'
    frames_at_once = 12

    def __init__(
        self, network: DETRVAE, task: Task, device: torch.device, precision: str, bgr: bool
    ) -> None:
        if precision == 'float32':
            # Ten bits of mantissa are not what float32 promises.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        super().__init__(network, task, device, precision, bgr)
        self.name = f'cuda graphs {precision}'
        cameras, size = len(task.cameras), (*task.image_size, 3)
        self._stream = torch.cuda.Stream(device)
        self._staged = torch.empty((cameras, *size), dtype=torch.uint8, pin_memory=True)
        self._state = torch.empty((1, network.config.state_dim), pin_memory=True)
        config = network.config
        self._chunk = torch.empty((1, config.chunk_size, config.action_dim), pin_memory=True)
        self._views: dict[tuple[int, int], _Graph] = {}
        # Not inference mode: other captures of the process must be able to go on from here.
        with torch.no_grad(), torch.cuda.stream(self._stream):
            for index, vision in enumerate(self.vision):
                # With a backbone for each camera, only its own frame comes to it.
                for count in range(1, cameras + 1 if len(self.vision) == 1 else 2):
                    frames = torch.zeros((count, *size), dtype=torch.uint8, device=device)
                    self._views[index, count] = self._capture(vision, frames)
            tokens = self._views[0, 1].output.repeat(1, cameras, 1)
            state = torch.zeros((1, network.config.state_dim), device=device)
            self._acting = self._capture(self.actions, state, tokens)

    def encode(self, frames: Sequence[np.ndarray], cameras: Sequence[int]) -> list[Tensor]:
        """Tokens of each frame, (h * w, hidden), on the device."""
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            if len(self.vision) > 1:
                return [self._encode(camera, [frame])[0]
                        for frame, camera in zip(frames, cameras, strict=True)]  # fmt: skip
            return self._encode(0, frames)

    def _encode(self, index: int, frames: Sequence[np.ndarray]) -> list[Tensor]:
        graph = self._views.get((index, len(frames)))
        if graph is None:
            block = torch.from_numpy(np.stack(frames)).pin_memory()
            tokens = self.vision[index](block.to(self.device, non_blocking=True))
        else:
            # The pinned memory is free again: whatever was read from it came before a chunk.
            self._stream.synchronize()
            for row, frame in zip(self._staged, frames, strict=False):
                row.copy_(torch.from_numpy(frame))
            graph.inputs[0].copy_(self._staged[: len(frames)], non_blocking=True)
            graph.graph.replay()
            tokens = graph.output.clone()  # the next replay writes there again
        return list(tokens)

    def decode(self, qpos: np.ndarray, tokens: Sequence[Sequence[Tensor]]) -> np.ndarray:
        """Chunks of normalised actions."""
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            if len(tokens) > 1:
                state = torch.from_numpy(qpos).to(self.device)
                joined = torch.stack([torch.cat(list(each)) for each in tokens])
                return self.actions(state, joined).cpu().numpy()
            self._state.copy_(torch.from_numpy(qpos))
            state, joined = self._acting.inputs
            state.copy_(self._state, non_blocking=True)
            torch.cat(list(tokens[0]), out=joined[0])
            self._acting.graph.replay()
            self._chunk.copy_(self._acting.output, non_blocking=True)
            self._stream.synchronize()
            return self._chunk.numpy().copy()

    def _capture(self, function: Callable[..., Tensor], *inputs: Tensor) -> _Graph:
        for _ in range(WARM_UPS):
            function(*inputs)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            output = function(*inputs)
        return _Graph(inputs, output, graph)
