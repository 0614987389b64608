"""What a policy takes and gives, without its network: nothing here imports torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from act_ros.errors import ObservationError, ParameterError, PolicyError, kind_of, shorten
from act_ros.parameters import Settings
from act_ros.task import Task

# qpos and, by camera name, the images.
Observation = tuple[np.ndarray, Mapping[str, np.ndarray]]


# Parameters that say how a checkpoint is loaded, by the names of `load_policy`.
LOAD_OPTIONS = ('device', 'precision', 'engine', 'max_deviation', 'ckpt_name', 'colour_order')


# Likewise those of a policy on a server, by the names of `load_remote`.
REMOTE_OPTIONS = {'jpeg_quality': 'policy_jpeg_quality', 'curve_dir': 'policy_curve_dir'}


def load_options(settings: Settings) -> dict[str, Any]:
    """The keywords of `load_policy` that parameters give."""
    return {name: getattr(settings, name) for name in LOAD_OPTIONS}


def remote_options(settings: Settings) -> dict[str, Any]:
    """The keywords of `load_remote` that parameters give."""
    return {name: getattr(settings, parameter) for name, parameter in REMOTE_OPTIONS.items()}


# Standard deviations from the mean of training, beyond which a value is of another kind.
FAR = 5.0
_STATE_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
# Standard deviations of the training data. No robot is further away from what it was trained on;
# 1e300 sent in place of a measurement is.
_ABSURD = 1e3


class Predictor(Protocol):
    """A policy, wherever its network is: `Policy`, `PolicyProcess`, or a stand-in of a test.

    :ivar task: cameras and entries, in the policy's order.
    :ivar chunk_size: actions in a chunk.
    """

    task: Task
    chunk_size: int

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """Predict a chunk of actions, (chunk_size, action_dim) float32, from one observation."""
        ...


class SharedPredictor(Predictor, Protocol):
    """A policy that the robot shares with others, or has at the end of a line."""

    def reset(self) -> None:
        """A new episode begins; what is predicted from here on is of that."""
        ...

    def predict_newest(self, observe: Callable[[], Observation]) -> np.ndarray:
        """As `predict`, from what `observe` gives when it is the robot's turn; not before."""
        ...


@dataclass(frozen=True)
class Statistics:
    """Means and deviations of the training data, float32, as stored."""

    qpos_mean: np.ndarray
    qpos_std: np.ndarray
    action_mean: np.ndarray
    action_std: np.ndarray


@dataclass(frozen=True)
class About:
    """Where a policy comes from, and what runs it: for people, and for whoever compares two.

    :ivar checkpoint: name of its file.
    :ivar sha256: of that file.
    :ivar engine: what runs the network, with its precision.
    :ivar deviation: of a normalised action from plain float32, as measured; None = it is that.
    :ivar own_settings: values of parameters as it was trained for; the user's own win.
    :ivar knows_sizes: it says at which image sizes it was trained.
    """

    checkpoint: str
    sha256: str
    engine: str
    precision: str
    device: str
    deviation: float | None = None
    own_settings: Mapping[str, Any] = field(default_factory=dict)
    knows_sizes: bool = True


class BatchPredictor(Predictor, Protocol):
    """A policy in this process, asked for many observations at once.

    :ivar engine_name: what runs the network, as the parameter `engine` has it.
    :ivar about: where it comes from.
    """

    statistics: Statistics
    engine_name: str
    about: About

    def predict_batch(self, observations: Sequence[Observation]) -> np.ndarray:
        """A chunk for each observation, (B, chunk_size, action_dim) float32."""
        ...


class HostedPolicy(Predictor, Protocol):
    """A policy that a process of its own can give turns at.

    :ivar statistics: None where they are not known.
    :ivar held: its chunks are an action each, repeated.
    """

    statistics: Statistics | None
    about: About
    held: bool
    state_dim: int
    action_dim: int

    def forward(
        self, observations: Sequence[Observation], sources: Sequence[int] | None = None
    ) -> np.ndarray:
        """A chunk for each observation, without a look at what is given or comes of it."""
        ...

    def reset(self) -> None:
        """A new episode begins; of use to one whose chunks are `held`."""
        ...


def blank_observation(task: Task, statistics: Statistics | None, shade: int) -> Observation:
    """The mean of training, and frames that show nothing: no robot is to do what comes of it.

    :param statistics: None where they are not known; then it is nobody's qpos either.
    :param shade: of the frames; another one than before, or they are known already.
    """
    qpos = np.zeros(task.state_dim, np.float32) if statistics is None else statistics.qpos_mean
    return qpos, {
        name: np.full((*size, 3), shade % 256, dtype=np.uint8)
        for name, size in task.image_sizes.items()
    }


def check_observation(task: Task, qpos: object, images: object) -> None:
    """Refuse an observation that the policy was not trained for.

    :raises ObservationError: naming the input, what was found and what was expected.
    """
    if not isinstance(qpos, np.ndarray) or qpos.dtype.newbyteorder('=') not in _STATE_DTYPES:
        found = kind_of(qpos)
        if isinstance(qpos, np.ndarray | np.generic):
            found = f'{qpos.dtype} {"array" if isinstance(qpos, np.ndarray) else "scalar"}'
        raise ObservationError(f'qpos is a {found}, expected a float32 or float64 array')
    if qpos.shape != (task.state_dim,):
        raise ObservationError(f'qpos has shape {qpos.shape}, expected ({task.state_dim},)')
    finite = np.abs(qpos) <= np.finfo(np.float32).max  # the network's numbers; not so for NaN
    if not finite.all():
        i = int(np.argmin(finite))
        raise ObservationError(
            f'qpos[{i}] ({task.state[i]}) is {qpos[i]:g}, expected a number that float32 can hold'
        )
    if not isinstance(images, Mapping):
        raise ObservationError(f'images is a {kind_of(images)}, expected a dict')
    for name in images:
        if name not in task.cameras:
            raise ObservationError(
                f'unknown camera {shorten(name)}; expected {", ".join(task.cameras)}'
            )
    for name, size in task.image_sizes.items():
        image, expected = images.get(name), (*size, 3)
        if image is None:
            raise ObservationError(f'camera {name!r} is missing')
        if not isinstance(image, np.ndarray):
            raise ObservationError(
                f'camera {name!r} is a {kind_of(image)}, expected an array'
            )
        if image.shape != expected or image.dtype != np.uint8:
            raise ObservationError(
                f'camera {name!r} is {image.shape} {image.dtype}, expected {expected} uint8 RGB'
            )


def check_finite(task: Task, chunk: np.ndarray) -> None:
    """Refuse a chunk of which any value is not finite.

    :raises PolicyError: naming the first such entry.
    """
    finite = np.isfinite(chunk).all(axis=0)
    if not finite.all():
        entry = task.action[int(np.argmin(finite))]
        raise PolicyError(f"the policy's output is not finite at action entry {entry}")


def check_chunk(
    task: Task, chunk: np.ndarray, qpos: np.ndarray, statistics: Statistics | None
) -> None:
    """As `check_finite`, but an absurd observation is to blame for what the policy makes of it.

    :param qpos: that the chunk was predicted from.
    :param statistics: None where they are not known.
    :raises ObservationError: naming the entry of qpos furthest from the training data.
    """
    if statistics is None or np.isfinite(chunk).all():
        check_finite(task, chunk)
        return
    deviations = np.abs(qpos.astype(float) - statistics.qpos_mean) / statistics.qpos_std
    i = int(np.argmax(deviations))
    if deviations[i] > _ABSURD:
        raise ObservationError(
            f'qpos[{i}] ({task.state[i]}) is {qpos[i]:g}, {deviations[i]:.3g} standard deviations '
            f'from the training data: the policy has no action for it'
        )
    check_finite(task, chunk)


def check_task(robot: Task, policy: Task) -> None:
    """As `check_cameras`, with the cameras of the policy's own task."""
    check_cameras(robot, policy.cameras, policy.image_size)


def check_cameras(robot: Task, cameras: Sequence[str], image_size: Sequence[int]) -> None:
    """The robot's cameras must be those that the network was trained with.

    :param cameras: of the network, in its order.
    :param image_size: of its frames, as `Task` has it.
    :raises ParameterError: naming what differs.
    """
    for parameter, here, there in (
        ('task.cameras', robot.cameras, cameras),
        ('task.image_size', robot.image_size, image_size),
    ):
        found, expected = list(here), list(there)
        if found != expected:
            raise ParameterError(
                f'parameter {parameter!r} is {found}, but the checkpoint was trained with '
                f'{expected}'
            )
