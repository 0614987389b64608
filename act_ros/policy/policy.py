"""A loaded checkpoint as a function: one observation in, one chunk of actions out."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from act_ros.errors import CheckpointError, ParameterError, PolicyError
from act_ros.files import sha256
from act_ros.policy.checkpoint import Checkpoint, read_checkpoint
from act_ros.policy.engine import Engine, make_engine
from act_ros.policy.interface import (
    About,
    Observation,
    Statistics,
    blank_observation,
    check_chunk,
    check_observation,
)
from act_ros.policy.named_task import resolve_task
from act_ros.policy.token_cache import TokenCache
from act_ros.task import Task
from detr import ACTConfig

log = logging.getLogger(__name__)

_TORCH_THREADS = torch.get_num_threads()


class Policy:
    """A trained network with its normalisation.

    Calls may come from any thread, one at a time.

    :ivar task: cameras and entries, in the policy's order.
    :ivar chunk_size: actions in a chunk.
    :ivar engine_name: what runs the network, as the parameter `engine` has it.
    :ivar about: where it comes from.
    """

    held = False  # its chunks are what it predicts

    def __init__(
        self, config: ACTConfig, statistics: Statistics, task: Task, engine: Engine, about: About
    ) -> None:
        self.task, self.statistics, self.engine, self.about = task, statistics, engine, about
        self.chunk_size, self.engine_name = config.chunk_size, engine.parameter
        self.state_dim, self.action_dim = config.state_dim, config.action_dim
        self._cache = TokenCache(engine, task.cameras)

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """Predict a chunk of actions from one observation.

        :param qpos: (state_dim,) in the policy's units.
        :param images: camera name to (H, W, 3) uint8 RGB, exactly the task's cameras.
        :returns: (chunk_size, action_dim) float32, in the policy's physical units.
        :raises ObservationError: an input is missing, has another shape, or is no number that
            the network can take.
        :raises PolicyError: the output is not finite.
        """
        return self.predict_batch([(qpos, images)])[0]

    def predict_batch(self, observations: Sequence[Observation]) -> np.ndarray:
        """Predict a chunk for each of several observations in one pass, as `predict` does.

        A frame that equals the same camera's frame before it is encoded once.

        :param observations: in the order of their time.
        :returns: (B, chunk_size, action_dim) float32.
        """
        if not observations:
            return np.empty((0, self.chunk_size, self.action_dim), np.float32)
        for qpos, images in observations:
            check_observation(self.task, qpos, images)
        chunks = self.forward(observations)
        for (qpos, _), chunk in zip(observations, chunks, strict=True):
            check_chunk(self.task, chunk, qpos, self.statistics)
        return chunks

    def forward(
        self, observations: Sequence[Observation], sources: Sequence[Hashable] | None = None
    ) -> np.ndarray:
        """As `predict_batch`, without the checks: neither of what is given nor of what comes.

        For observations that are nothing to each other: one that leads to no number shall not
        cost the others their chunks.

        :param observations: each as `check_observation` accepts it, one or more.
        :param sources: whose cameras each is of, for frames that have not changed; by default
            all are of the same.
        """
        statistics = self.statistics
        states = np.array([qpos for qpos, _ in observations], dtype=np.float32)
        with np.errstate(over='ignore'):  # then the chunk is not finite
            normalised = (states - statistics.qpos_mean) / statistics.qpos_std
        try:
            tokens = self._cache.tokens([images for _, images in observations], sources)
            chunks = self.engine.decode(normalised, tokens)
        except torch.cuda.OutOfMemoryError:  # its name in every version
            raise PolicyError(
                f'the device has too little memory for a pass of {len(observations)} observations'
            ) from None
        return chunks * statistics.action_std + statistics.action_mean

    def warm_up(self) -> None:
        """Run on frames of its own, once with all of them new and once with all known."""
        for _ in range(2):
            self.predict(*blank_observation(self.task, self.statistics, 0))
        self.forget_frames()

    def forget_frames(self) -> None:
        """Encode every camera's next frame, also where it equals the last."""
        self._cache.clear()


def load_policy(
    ckpt_dir: str | Path,
    *,
    device: str = 'auto',
    precision: str = 'float32',
    ckpt_name: str = 'policy_best.ckpt',
    task: Task | None = None,
    colour_order: str = 'rgb',
    engine: str = 'torch',
    max_deviation: float = 0.02,
) -> Policy:
    """Load a checkpoint trained with the public ACT code, or with LeRobot.

    :param ckpt_dir: folder with the checkpoint, `dataset_stats.pkl` and perhaps `config.yaml`;
        or with what LeRobot writes.
    :param device: auto (CUDA where there is one), cpu, cuda or cuda:N.
    :param precision: float32, bfloat16, or, on CUDA, float16.
    :param ckpt_name: file name of the checkpoint.
    :param task: the robot's side of the interface; by default what `config.yaml` names. Where
        the checkpoint's files give cameras and image size, these are the network's and win.
    :param colour_order: 'rgb' or 'bgr': channels of the images that the policy was trained
        with. What is given to `predict` is RGB in either case.
    :param engine: torch, openvino, onnx, tensorrt, or auto: the fastest of those that are
        installed.
    :param max_deviation: of a normalised action from float32; more is refused.
    :raises ActError: one line that names the file, key or size at fault.
    """
    target = resolve_device(device)
    checkpoint, task = open_checkpoint(ckpt_dir, ckpt_name, task)
    return make_policy(
        checkpoint, task, target, precision=precision, colour_order=colour_order, engine=engine,
        max_deviation=max_deviation,
    )  # fmt: skip


def open_checkpoint(
    ckpt_dir: str | Path, ckpt_name: str, task: Task | None
) -> tuple[Checkpoint, Task]:
    """Read a checkpoint, and find the task it is for; as `load_policy`.

    :raises ActError: as there; or the two do not belong together.
    """
    checkpoint = read_checkpoint(ckpt_dir, ckpt_name)
    task = resolve_task(checkpoint.side, task)
    config = checkpoint.config
    for what, has, wants in (
        ('state', task.state_dim, config.state_dim),
        ('action', task.action_dim, config.action_dim),
    ):
        if has != wants:
            raise CheckpointError(
                f'{checkpoint.path} has {wants} {what} entries, task {task.name!r} lists {has}; '
                f'name the right task in {checkpoint.side.path} or with --task'
            )
    if config.num_backbones not in (1, len(task.cameras)):
        raise CheckpointError(
            f'{checkpoint.path} has {config.num_backbones} backbones for '
            f'{len(task.cameras)} cameras; expected one, or one per camera '
            f'(set camera_names in {checkpoint.side.path})'
        )
    return checkpoint, task


def make_policy(
    checkpoint: Checkpoint,
    task: Task,
    device: torch.device,
    *,
    precision: str = 'float32',
    colour_order: str = 'rgb',
    engine: str = 'torch',
    max_deviation: float = 0.02,
) -> Policy:
    """A policy from a checkpoint that is read; as `load_policy`.

    :param task: as `open_checkpoint` gives it.
    """
    if colour_order not in ('rgb', 'bgr'):
        raise ParameterError(f'colour_order is {colour_order!r}, expected rgb or bgr')
    config = checkpoint.config
    made = make_engine(
        checkpoint.network(), task, device=device, precision=precision,
        engine=engine, max_deviation=max_deviation, bgr=colour_order == 'bgr',
    )  # fmt: skip
    log.info(
        'loaded %s: %s, hidden %d, chunk %d, on %s by %s',
        checkpoint.path, config.backbone, config.hidden_dim, config.chunk_size, device, made.name,
    )  # fmt: skip
    about = About(
        checkpoint.path.name, sha256(checkpoint.path), made.name, precision, str(device),
        made.deviation, checkpoint.own_settings, checkpoint.side.image_size is not None,
    )  # fmt: skip
    return Policy(config, checkpoint.statistics, task, made, about)


def set_torch_threads(count: int) -> None:
    """Let torch compute with that many CPU threads; 0 = its own choice."""
    torch.set_num_threads(count or _TORCH_THREADS)


def resolve_device(name: str) -> torch.device:
    """The device that a parameter names.

    :raises ParameterError: there is no such device.
    """
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ('cpu', 'cuda'):
        raise ParameterError(f'device is {name!r}; expected auto, cpu, cuda or cuda:N')
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise ParameterError(
            f'device is {name!r}, but this machine has {torch.cuda.device_count()} CUDA devices; '
            f'use auto or cpu'
        )
    return device
