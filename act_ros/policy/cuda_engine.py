"""The network on a CUDA device, as graphs that are captured once and replayed.

A pass at batch 1 is hundreds of small kernels; launching each from Python takes longer than
the device needs for it. Graphs: one of the backbones for every number of frames up to the
number of cameras, and one of the transformer. Their inputs and outputs lie at fixed addresses,
fed from pinned memory.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from act_ros.errors import PolicyError
from act_ros.policy.torch_engine import TorchEngine, plain_text
from act_ros.task import Task
from detr import DETRVAE

WARM_UPS = 3  # passes before a capture: libraries choose their kernels in these

# Two captures at the same time spoil each other: each begins by waiting for the whole device.
_capturing = threading.Lock()


@dataclass
class _Graph:
    """A captured function of tensors at fixed addresses."""

    inputs: tuple[Tensor, ...]
    output: Tensor
    graph: torch.cuda.CUDAGraph


class CudaEngine(TorchEngine):
    """Runs `Vision` and `Actions` as captured graphs; larger batches as they are written.

    Everything is queued on one stream; `decode` waits for it. Other threads may use the device
    meanwhile, also while this is made.
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
        self._stream = torch.cuda.Stream(device)
        # Whoever waits for it sleeps: the processor's cores are the control loop's.
        self._reached = torch.cuda.Event(blocking=True)
        largest = max(height * width * 3 for height, width in self.eyes.sizes)
        self._staged = torch.empty(self.frames_at_once * largest, dtype=torch.uint8,
                                   pin_memory=True)  # fmt: skip
        self._state = torch.empty((1, network.config.state_dim), pin_memory=True)
        config = network.config
        self._chunk = torch.empty((1, config.chunk_size, config.action_dim), pin_memory=True)
        # One for all: they are replayed one after the other, and what one gives is copied
        # before the next begins.
        self._pool = torch.cuda.graph_pool_handle()
        self._views: dict[tuple[int, int], _Graph] = {}
        # Not inference mode: other captures of the process must be able to go on from here.
        with _capturing, torch.no_grad(), torch.cuda.stream(self._stream):
            for eye, size in enumerate(self.eyes.sizes):
                most = min(self.eyes.of.count(eye), self.frames_at_once)
                for count in range(1, most + 1):
                    frames = torch.zeros((count, *size, 3), dtype=torch.uint8, device=device)
                    self._views[eye, count] = self._capture(self.eyes[eye], frames)
            like = self._views[0, 1].output
            tokens = like.new_zeros((1, self.actions.tokens, like.shape[-1]))
            state = torch.zeros((1, network.config.state_dim), device=device)
            self._acting = self._capture(self.actions, state, tokens)

    def encode(self, frames: Sequence[np.ndarray], cameras: Sequence[int]) -> list[Tensor]:
        """Tokens of each frame, (h * w, hidden), on the device."""
        with self._queueing():
            self._wait()  # until nothing reads the pinned memory any more
            places: dict[int, list[int]] = {}
            for place, camera in enumerate(cameras):
                places.setdefault(self.eyes.of[camera], []).append(place)
            encoded: dict[int, Tensor] = {}
            begin = 0
            for eye, seen in places.items():
                shape = (len(seen), *self.eyes.sizes[eye], 3)
                end = begin + math.prod(shape)
                staged, begin = self._staged[begin:end].view(shape), end
                # By numpy: for a large copy torch wakes all threads, and they spin afterwards.
                for row, place in zip(staged.numpy(), seen, strict=True):
                    np.copyto(row, frames[place])
                tokens = self._encode(eye, staged)
                # Each by itself: the next replay writes there again, and some stay for long.
                encoded |= {place: tokens[i].clone() for i, place in enumerate(seen)}
            return [encoded[place] for place in range(len(frames))]

    def _encode(self, eye: int, staged: Tensor) -> Tensor:
        """Tokens of frames in the pinned memory, (N, h * w, hidden), until the next replay."""
        graph = self._views.get((eye, len(staged)))
        if graph is None:
            return self.eyes[eye](staged.to(self.device, non_blocking=True))
        graph.inputs[0].copy_(staged, non_blocking=True)
        graph.graph.replay()
        return graph.output

    def decode(self, qpos: np.ndarray, tokens: Sequence[Sequence[Tensor]]) -> np.ndarray:
        """Chunks of normalised actions."""
        with self._queueing():
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
            self._wait()
            return self._chunk.numpy().copy()

    @contextlib.contextmanager
    def _queueing(self) -> Iterator[None]:
        """What is done within is queued on the engine's stream.

        :raises PolicyError: the device can be used no more. After an illegal access, an error
            of its memory and the like, that is so until the process ends.
        """
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                yield
        except RuntimeError as error:
            if self._answers():
                raise
            raise PolicyError(
                f'{self.device}: {plain_text(error)}; this process cannot use the device any '
                f'more: clean up and configure the node again, or start the program again'
            ) from None

    def _answers(self) -> bool:
        """Whether the device does."""
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:
            return False
        return True

    def _wait(self) -> None:
        """Wait for all that has been queued."""
        self._reached.record(self._stream)
        self._reached.synchronize()

    def _capture(self, function: Callable[..., Tensor], *inputs: Tensor) -> _Graph:
        for _ in range(WARM_UPS):
            function(*inputs)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # By default, what another thread does with the device meanwhile fails, and this with it.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode='thread_local'
        ):
            output = function(*inputs)
        return _Graph(inputs, output, graph)
