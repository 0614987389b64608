"""Several processes that train one network together, as `torchrun` starts them.

Each takes its share of every batch; the gradients are those of the whole batch, so what comes of
it does not depend on how many they are, but for rounding and for what dropout leaves out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from act_ros.errors import ParameterError, TrainingError, one_line

# Until they meet: one may decode bags for hours while the others wait for it.
PATIENCE = timedelta(days=2)
# How the two backends say that another process is gone, each by its own transport alone; they
# have no type for it.
LOSSES = ('gloo/transport/', 'ncclRemoteError')


@dataclass(frozen=True)
class Team:
    """A process and the others; the first one writes and speaks for all.

    :ivar rank: number of this one, 0 for the first.
    :ivar size: how many there are.
    :ivar local: number of this one on its machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """The part of a batch that this one has.

        :raises ParameterError: it cannot be divided.
        """
        if batch_size % self.size:
            raise ParameterError(
                f"parameter 'batch_size' is {batch_size}; expected a multiple of the "
                f'{self.size} processes that share it'
            )
        part = batch_size // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def agree(self, number: int) -> int:
        """What the first one says."""
        if self.size == 1:
            return number
        said = torch.tensor(number)
        dist.broadcast(said, 0)
        return int(said)

    def add(self, numbers: Tensor) -> Tensor:
        """The sum of what each has, of a tensor on the CPU."""
        if self.size > 1:
            numbers = numbers.clone()
            dist.all_reduce(numbers)
        return numbers


def is_loss_of_another(error: BaseException) -> bool:
    """Whether an error says that another process of the team is gone."""
    return any(each in str(error) for each in LOSSES)


def size_of_all() -> int:
    """How many the environment tells of."""
    return int(os.environ.get('WORLD_SIZE', '1'))


def is_first() -> bool:
    """Whether this one is the first, as the environment tells before they meet."""
    return size_of_all() == 1 or os.environ.get('RANK', '0') == '0'


@contextmanager
def joined(*, cuda: bool) -> Iterator[Team]:
    """Meet the others that the environment tells of; without any, be alone.

    :param cuda: it is trained on GPUs.
    :raises TrainingError: they do not meet.
    """
    size = size_of_all()
    if size == 1:
        yield Team()
        return
    try:
        dist.init_process_group('cpu:gloo,cuda:nccl' if cuda else 'gloo', timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f'the {size} processes do not meet, which torchrun starts: {one_line(error)}'
        ) from error
    try:
        yield Team(dist.get_rank(), size, int(os.environ.get('LOCAL_RANK', '0')))
    finally:
        dist.destroy_process_group()
