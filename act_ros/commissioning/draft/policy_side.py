"""What a checkpoint and its dataset say of the robot that they were made with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from act_ros.commissioning.draft.dataset_info import DatasetInfo
from act_ros.config import load_task
from act_ros.errors import ActError
from act_ros.task import Task


@dataclass(frozen=True)
class PolicySide:
    """What is known of a policy's interface; None and empty where nobody says it.

    :ivar ckpt_dir: folder of the checkpoint.
    :ivar cameras: name to height and width [px], None where the size is not known.
    :ivar task: that its `config.yaml` names, if that can be read here.
    """

    ckpt_dir: str = ''
    state_dim: int | None = None
    action_dim: int | None = None
    cameras: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    task: Task | None = None
    dataset: DatasetInfo | None = None

    @property
    def rate(self) -> float | None:
        """Steps a second [Hz]."""
        if self.dataset is not None:
            return self.dataset.rate
        return None if self.task is None else self.task.rate


def read_policy_side(ckpt_dir: str, ckpt_name: str, dataset: DatasetInfo | None) -> PolicySide:
    """Read what there is.

    :param ckpt_dir: '' where there is no checkpoint.
    :raises ActError: it cannot be read.
    """
    known = {} if dataset is None else dict(dataset.cameras)
    if not ckpt_dir:
        return PolicySide(cameras=known, dataset=dataset)
    from act_ros.policy.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(ckpt_dir, ckpt_name)
    config, side = checkpoint.config, checkpoint.side
    task = _named_task(side.task, Path(side.path).parent) if side.task else None
    names = side.camera_names or tuple(known) or (() if task is None else task.cameras)
    cameras: dict[str, tuple[int, int] | None] = dict.fromkeys(names)
    if side.image_size is not None:
        sides = side.image_size * (len(names) if len(side.image_size) == 2 else 1)
        cameras = dict(zip(names, zip(sides[::2], sides[1::2], strict=True), strict=False))
    elif known.keys() >= cameras.keys():
        cameras = {name: known[name] for name in cameras}
    return PolicySide(ckpt_dir, config.state_dim, config.action_dim, cameras, task, dataset)


def _named_task(name: str, folder: Path) -> Task | None:
    """The task that is named beside the weights; None where there is no more than the name."""
    try:
        return load_task(str(folder / name) if name.endswith(('.yaml', '.yml')) else name)
    except ActError:
        return None
