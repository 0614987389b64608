"""A checkpoint in its folder, whoever trained it: the public ACT code, or LeRobot."""

from pathlib import Path

from act_ros.errors import CheckpointError
from act_ros.policy.checkpoint.content import Checkpoint
from act_ros.policy.checkpoint.lerobot import CONFIG_JSON, find_lerobot, read_lerobot
from act_ros.policy.checkpoint.public import CONFIG_NAME, STATS_NAME, read_public

__all__ = ['CONFIG_NAME', 'STATS_NAME', 'Checkpoint', 'checkpoint_files', 'read_checkpoint']


def read_checkpoint(folder: str | Path, name: str = 'policy_best.ckpt') -> Checkpoint:
    """Read the checkpoint in a folder.

    A folder with a `config.json`, and without a file of that name, is LeRobot's.

    :param folder: holds the checkpoint, `dataset_stats.pkl` and perhaps `config.yaml`; or what
        LeRobot writes to `pretrained_model`.
    :param name: file name of the checkpoint.
    :raises CheckpointError: one line that names the file or key, and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f'no checkpoint folder {str(folder)!r}; it holds {name} and {STATS_NAME}, or '
            f'{CONFIG_JSON} of LeRobot (set --ckpt-dir or the parameter ckpt_dir)'
        )
    path = folder / name
    if path.is_file() and path.suffix != '.safetensors':
        return read_public(path)
    if (folder / CONFIG_JSON).is_file():
        return read_lerobot(folder)
    found = sorted(p.name for p in folder.glob('*.ckpt'))
    hint = f'; the folder has {", ".join(found)} (set ckpt_name)' if found else ''
    if not found and (lerobot := find_lerobot(folder)) is not None:
        hint = f'; LeRobot has written one to {str(lerobot)!r}: set ckpt_dir to that'
    raise CheckpointError(f'no checkpoint {str(path)!r}{hint}')


def checkpoint_files(folder: str | Path, name: str) -> list[Path]:
    """The files that a checkpoint is read from, whether they exist or not.

    :param name: as `read_checkpoint` has it.
    """
    folder = Path(folder)
    files = [folder / name, folder / STATS_NAME, folder / CONFIG_NAME]
    if not files[0].is_file():  # LeRobot's, or none
        files += sorted(p for kind in ('*.json', '*.safetensors') for p in folder.glob(kind))
    return files
