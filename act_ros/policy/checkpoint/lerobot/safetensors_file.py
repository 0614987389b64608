"""A file of safetensors: names, shapes, numbers, nothing that runs."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from act_ros.errors import CheckpointError
from act_ros.policy.checkpoint.pickled_file import readable


@dataclass(frozen=True)
class SafeTensor:
    """A tensor in a file: what is known of it before its numbers are read."""

    file: Any
    name: str
    shape: tuple[int, ...]

    def load(self) -> torch.Tensor:
        """The tensor itself; only while the file is open."""
        return self.file.get_tensor(self.name)


@contextlib.contextmanager
def open_safetensors(path: Path) -> Iterator[dict[str, SafeTensor]]:
    """The tensors of a file by name; they can be loaded until the block is left.

    :raises CheckpointError: one line that names the file and what is wrong with it.
    """
    if not path.is_file():
        raise CheckpointError(f'no file {str(path)!r}, which LeRobot writes beside config.json')
    with contextlib.ExitStack() as stack:
        with readable(path, 'file of safetensors'):
            file = stack.enter_context(safe_open(str(path), framework='pt'))
            tensors = {
                name: SafeTensor(file, name, tuple(file.get_slice(name).get_shape()))
                for name in list(file.keys())
            }
        yield tensors
