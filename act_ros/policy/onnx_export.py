"""The network as ONNX, for onnxruntime and whatever else runs that."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from act_ros.errors import ParameterError, one_line
from act_ros.policy.interface import BatchPredictor, Statistics
from act_ros.policy.torch_engine import Eyes, make_actions
from act_ros.task import Task
from detr import DETRVAE

OPSET = 18  # of the operators: what runtimes since 2023 know
MISSING = (
    "ONNX needs onnx and onnxscript, and to run it onnxruntime: pip install 'act_ros[onnx]'"
)


class WholePolicy(nn.Module):
    """Everything between an observation and its chunk, for a program that has no more than this.

    :param network: the loaded network; it stays as it is.
    :param task: its cameras and their image sizes.
    :param bgr: the network was trained on frames of that channel order.
    """

    qpos_mean: Tensor
    qpos_std: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(
        self, network: DETRVAE, task: Task, statistics: Statistics, bgr: bool = False
    ) -> None:
        super().__init__()
        eyes = Eyes(network, task, bgr)
        self.visions = nn.ModuleList(eyes.visions)
        self.of = [eyes.visions.index(eyes.vision(i)) for i in range(len(task.cameras))]
        self.actions = make_actions(network, task)
        for name, value in vars(statistics).items():
            self.register_buffer(name, torch.from_numpy(value))
        self.requires_grad_(False).eval()

    def forward(self, qpos: Tensor, *frames: Tensor) -> Tensor:
        """Predict a chunk.

        :param qpos: (1, state_dim) float32, in the policy's units.
        :param frames: of each camera, (1, H, W, 3) uint8 RGB.
        :returns: (1, chunk_size, action_dim) float32, in the policy's units.
        """
        state = (qpos - self.qpos_mean) / self.qpos_std
        tokens = [self.visions[i](frame) for i, frame in zip(self.of, frames, strict=True)]
        return self.actions(state, torch.cat(tokens, 1)) * self.action_std + self.action_mean


def to_onnx(
    module: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    output: str,
    *,
    open_batch: bool = False,
    metadata: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A module as ONNX.

    :param inputs: like those that it will be given.
    :param names: theirs.
    :param open_batch: the first dimension of inputs and output is open.
    :param metadata: is kept in it.
    :raises ParameterError: what it takes is not installed, or cannot do it.
    """
    if importlib.util.find_spec('onnxscript') is None:  # torch says so in many lines
        raise ParameterError(MISSING)
    shapes = None
    if open_batch:
        inputs = [x.expand(2, *x.shape[1:]) for x in inputs]  # one of 1 would be taken as fixed
        shapes = tuple({0: torch.export.Dim('batch')} for _ in inputs)
    try:
        with _silently(), torch.no_grad():
            program: Any = torch.onnx.export(
                module.eval(), tuple(inputs), dynamo=True, verbose=False, opset_version=OPSET,
                input_names=list(names), output_names=[output], dynamic_shapes=shapes,
            )  # fmt: skip
    except Exception as error:  # whatever this version of torch cannot
        raise ParameterError(
            f'torch {torch.__version__} does not export this network: {one_line(error)[:200]}'
        ) from None
    program.model.metadata_props.update(metadata)
    written = io.BytesIO()
    program.save(written)
    return written.getvalue()


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """Without what torch and its helpers remark of each step."""
    remarks = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [each.level for each in remarks]
    for each in remarks:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for each, level in zip(remarks, levels, strict=True):
            each.setLevel(level)


def blank_inputs(task: Task) -> list[Tensor]:
    """Like those of `WholePolicy`."""
    frames = [np.zeros((1, *size, 3), np.uint8) for size in task.image_sizes.values()]
    return [torch.zeros(1, task.state_dim), *map(torch.from_numpy, frames)]


def deviation(model: bytes, policy: BatchPredictor) -> float:
    """By how much onnxruntime and the policy differ, of a normalised action, on a few inputs.

    :param model: `WholePolicy` of the same checkpoint, exported.
    :raises ParameterError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ParameterError(MISSING) from None
    task, statistics = policy.task, policy.statistics
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    scale = np.where(statistics.action_std > 0, statistics.action_std, np.float32(1))
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(3):
        drawn = rng.normal(size=task.state_dim)
        qpos = (statistics.qpos_mean + statistics.qpos_std * drawn).astype(np.float32)
        images = {
            name: rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            for name, size in task.image_sizes.items()
        }
        frames = {name: image[np.newaxis] for name, image in images.items()}
        (chunk,) = session.run(None, {'qpos': qpos[np.newaxis], **frames})[0]
        difference = np.abs(chunk - policy.predict(qpos, images)) / scale
        worst = max(worst, float(difference.max()))
    return worst
