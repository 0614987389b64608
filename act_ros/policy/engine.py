"""What runs the network: one small interface, several engines, and the choice among them."""

import contextlib
import importlib.util
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from act_ros.errors import ActError, ParameterError, PolicyError
from act_ros.policy.torch_engine import TorchEngine, plain_text
from act_ros.task import Task
from detr import DETRVAE

log = logging.getLogger(__name__)

ENGINES = ('auto', 'torch', 'openvino', 'onnx', 'tensorrt')
PRECISIONS = ('float32', 'bfloat16', 'float16')
TRIALS = 3  # passes of an engine when they are compared


class Engine(Protocol):
    """The network on some device, in some precision.

    :ivar name: of the engine and its precision, for logs.
    :ivar parameter: the engine, as the parameter `engine` has it.
    :ivar frames_at_once: most frames that `encode` is best given.
    :ivar deviation: of a normalised action from plain float32; None where it is that.
    """

    name: str
    parameter: str
    deviation: float | None
    frames_at_once: int

    def encode(self, frames: Sequence[np.ndarray], cameras: Sequence[int]) -> list[Any]:
        """Each frame's tokens, in whatever form `decode` takes them.

        :param frames: (H, W, 3) uint8 RGB each, contiguous.
        :param cameras: the place in the task of the camera of each.
        """
        ...

    def decode(self, qpos: np.ndarray, tokens: Sequence[Sequence[Any]]) -> np.ndarray:
        """Chunks of normalised actions, (B, chunk_size, action_dim) float32.

        :param qpos: (B, state_dim) float32, normalised.
        :param tokens: for each observation those of every camera, in the task's order.
        """
        ...


def make_engine(
    network: DETRVAE,
    task: Task,
    *,
    device: torch.device,
    precision: str = 'float32',
    engine: str = 'torch',
    max_deviation: float = 0.02,
    bgr: bool = False,
) -> Engine:
    """Make the engine that is asked for, or the fastest.

    One that does not compute in plain float32 is compared with that on a built-in observation.

    :param network: the loaded network, float32 on the CPU.
    :param task: its cameras and image size.
    :param max_deviation: largest difference of a normalised action.
    :param bgr: the network was trained on frames of that channel order.
    :raises ActError: there is no such engine here, or it deviates by more.
    """
    if engine not in ENGINES:
        raise ParameterError(f'engine is {engine!r}, expected one of {", ".join(ENGINES)}')
    if precision not in PRECISIONS:
        raise ParameterError(
            f'precision is {precision!r}, expected one of {", ".join(PRECISIONS)}'
        )
    if precision == 'float16' and device.type != 'cuda':
        raise ParameterError('precision is float16, which needs a CUDA device; use bfloat16')
    if engine == 'openvino' and device.type != 'cpu':
        raise ParameterError(f'engine is openvino, which runs on the CPU, not on {device}')

    def torch_engine(precision: str) -> Engine:
        if device.type == 'cuda':
            from act_ros.policy.cuda_engine import CudaEngine

            with _said_by(str(device)):
                return CudaEngine(network, task, device, precision, bgr)
        return TorchEngine(network, task, device, precision, bgr)

    def openvino_engine(precision: str) -> Engine:
        from act_ros.policy.openvino_engine import OpenVinoEngine

        with _said_by('openvino'):
            return OpenVinoEngine(network, task, precision, bgr)

    def onnx_engine(precision: str) -> Engine:
        from act_ros.policy.onnx_engine import OnnxEngine

        named = 'onnx' if engine == 'auto' else engine
        return OnnxEngine(network, task, device, named, precision, bgr)

    makers: list[Callable[[str], Engine]] = []
    if engine in ('auto', 'torch'):
        makers.append(torch_engine)
    tried = engine == 'auto' and device.type == 'cpu'
    if engine == 'openvino' or (tried and _installed('openvino')):
        makers.append(openvino_engine)
    if engine in ('onnx', 'tensorrt') or (tried and _installed('onnxruntime', 'onnxscript')):
        makers.append(onnx_engine)
    if makers == [torch_engine] and precision == 'float32':
        return torch_engine(precision)
    # On the CPU: beside a second engine the device's memory may be short.
    exact = TorchEngine(network, task, torch.device('cpu'), 'float32', bgr)
    expected = _probe(exact, task, network)
    made: list[Engine] = []
    for make in makers:
        try:
            candidate = make(precision)
            with _said_by(candidate.name):
                candidate.deviation = _check(
                    candidate, expected, task, network, max_deviation
                )
            made.append(candidate)
        except ActError as error:
            # Of several, those that cannot do it drop out.
            if make is makers[-1] and not made:
                raise
            log.info('not used: %s', error)
    return made[0] if len(made) == 1 else _fastest(made, task, network)


def _installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in packages)


@contextlib.contextmanager
def _said_by(name: str) -> Iterator[None]:
    """Make one line of what a driver or a library says: out of memory, no such kernel ..."""
    try:
        yield
    except RuntimeError as error:
        raise PolicyError(f'{name}: {plain_text(error)}') from None


def _probe(engine: Engine, task: Task, network: DETRVAE) -> np.ndarray:
    """The chunk of an observation that is always the same."""
    rng = np.random.default_rng(0)
    frames = []
    for height, width in task.image_sizes.values():
        # Coarse, so that convolutions find more than noise.
        coarse = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
        fine = coarse.repeat(16, axis=0).repeat(16, axis=1)
        frames.append(np.ascontiguousarray(fine[:height, :width]))
    qpos = rng.normal(size=(1, network.config.state_dim)).astype(np.float32)
    tokens = engine.encode(frames, range(len(frames)))
    return engine.decode(qpos, [tokens])[0]


def _check(
    engine: Engine, expected: np.ndarray, task: Task, network: DETRVAE, max_deviation: float
) -> float:
    """The deviation of an engine.

    :raises PolicyError: it is too large.
    """
    deviation = float(np.abs(_probe(engine, task, network) - expected).max())
    log.info('%s deviates from float32 by %.2g of a normalised action', engine.name, deviation)
    if not deviation <= max_deviation:
        raise PolicyError(
            f'{engine.name} deviates from float32 by {deviation:.3g} of a normalised action, more '
            f'than max_deviation {max_deviation:g}; use another precision, or raise it'
        )
    return deviation


def _fastest(engines: Sequence[Engine], task: Task, network: DETRVAE) -> Engine:
    """Measured in turns, so that a machine that is busy for a while is fair."""
    took: dict[str, list[float]] = {engine.name: [] for engine in engines}
    for _ in range(TRIALS):
        for engine in engines:
            started = time.perf_counter()
            _probe(engine, task, network)
            took[engine.name].append(time.perf_counter() - started)
    best = min(engines, key=lambda engine: min(took[engine.name]))
    log.info(
        'engine auto: %s (%s)', best.name,
        ', '.join(f'{name} {min(times) * 1e3:.0f} ms' for name, times in took.items()),
    )  # fmt: skip
    return best
