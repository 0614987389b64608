"""Errors for several offsets at once; of raw chunks against how far they look ahead."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Sums = TypeVar('Sums', bound='ErrorSums')

FIRST = 10  # entries of a chunk that tell which offset fits


class ErrorSums:
    """Sums of errors by offset, row and action entry.

    With offset d, what is said of tick t is compared with the recorded action of tick t - d.

    :param offsets: d, in rising order.
    :param rows: errors that are told apart.
    :param action_dim: numbers in an action.
    :ivar absolute: (offsets, rows, action_dim) sums of absolute errors.
    :ivar square: the same of squared errors.
    :ivar count: how many there are of each.
    """

    def __init__(self, offsets: Sequence[int], rows: int, action_dim: int) -> None:
        self.offsets = list(offsets)
        shape = (len(self.offsets), rows, action_dim)
        self.absolute, self.square = np.zeros(shape), np.zeros(shape)
        self.count = np.zeros(shape, dtype=np.int64)

    def add(self, error: np.ndarray) -> None:
        """Add an error each, (offsets, rows, action_dim); NaN where it is not known."""
        known = np.isfinite(error)
        error = np.abs(np.where(known, error, 0.0))
        self.absolute += error
        self.square += error * error
        self.count += known

    @classmethod
    def total(cls: type[Sums], sums: Sequence[Sums]) -> Sums:
        """Sums of several together, of at least one."""
        total = cls(sums[0].offsets, *sums[0].count.shape[1:])
        for each in sums:
            total.absolute += each.absolute
            total.square += each.square
            total.count += each.count
        return total

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays."""
        return {
            'offsets': np.array(self.offsets),
            'absolute': self.absolute,
            'square': self.square,
            'count': self.count,
        }

    @classmethod
    def from_arrays(cls: type[Sums], arrays: Mapping[str, np.ndarray]) -> Sums:
        """Read what `arrays` has given."""
        sums = cls(arrays['offsets'].tolist(), *arrays['count'].shape[1:])
        sums.absolute, sums.square = arrays['absolute'], arrays['square']
        sums.count = arrays['count']
        return sums


class HorizonSums(ErrorSums):
    """Errors of chunks, a row an entry: how far it looks ahead.

    With offset d, entry i of the chunk predicted at tick k is compared with the recorded
    action of tick k + i - d.
    """

    @property
    def before(self) -> int:
        """Ticks before a chunk's own whose recorded actions are compared."""
        return max(self.offsets)

    @property
    def after(self) -> int:
        """Ticks from a chunk's own on whose recorded actions are compared."""
        return self.count.shape[1] - min(self.offsets)

    def compare(self, chunk: np.ndarray, recorded: np.ndarray) -> None:
        """Compare a chunk.

        :param chunk: (chunk_size, action_dim), robot units.
        :param recorded: (before + after, action_dim) from `before` ticks before its own on;
            NaN where nothing was recorded.
        """
        starts = [self.before - offset for offset in self.offsets]
        self.add(chunk - np.stack([recorded[i : i + len(chunk)] for i in starts]))

    def scan(self, std: np.ndarray) -> dict[int, float]:
        """Root mean square error of the chunks' first entries by offset, in units of `std`.

        :param std: (action_dim,) robot units.
        """
        square = self.square[:, :FIRST] / std**2
        with np.errstate(invalid='ignore'):
            error = np.sqrt(square.sum(axis=(1, 2)) / self.count[:, :FIRST].sum(axis=(1, 2)))
        return dict(zip(self.offsets, error.tolist(), strict=True))

    def best(self, std: np.ndarray) -> int:
        """The offset with the least error in `scan`; of equal ones the smallest, 0 without any."""
        scan = {d: error for d, error in self.scan(std).items() if np.isfinite(error)}
        return min(scan, key=lambda d: (scan[d], abs(d)), default=0)
