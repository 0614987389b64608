"""The error of raw chunks against how far they look ahead, for several offsets at once."""

from collections.abc import Sequence

import numpy as np

FIRST = 10  # entries of a chunk that tell which offset fits


class HorizonSums:
    """Sums of errors by offset, look-ahead and action entry.

    With offset d, entry i of the chunk predicted at tick k is compared with the recorded
    action of tick k + i - d.

    :param offsets: d, in rising order.
    :param chunk_size: entries of a chunk.
    :param action_dim: numbers in an action.
    :ivar absolute: (offsets, chunk_size, action_dim) sums of absolute errors.
    :ivar square: the same of squared errors.
    :ivar count: how many there are of each.
    """

    def __init__(self, offsets: Sequence[int], chunk_size: int, action_dim: int) -> None:
        self.offsets = list(offsets)
        shape = (len(self.offsets), chunk_size, action_dim)
        self.absolute, self.square = np.zeros(shape), np.zeros(shape)
        self.count = np.zeros(shape, dtype=np.int64)

    @property
    def before(self) -> int:
        """Ticks before a chunk's own whose recorded actions are compared."""
        return max(self.offsets)

    @property
    def after(self) -> int:
        """Ticks from a chunk's own on whose recorded actions are compared."""
        return self.count.shape[1] - min(self.offsets)

    def add(self, chunk: np.ndarray, recorded: np.ndarray) -> None:
        """Compare a chunk.

        :param chunk: (chunk_size, action_dim), robot units.
        :param recorded: (before + after, action_dim) from `before` ticks before its own on;
            NaN where nothing was recorded.
        """
        size = len(chunk)
        for i, offset in enumerate(self.offsets):
            start = self.before - offset
            error = np.abs(chunk - recorded[start : start + size])
            known = np.isfinite(error)
            error[~known] = 0.0
            self.absolute[i] += error
            self.square[i] += error * error
            self.count[i] += known

    @classmethod
    def total(cls, sums: Sequence['HorizonSums']) -> 'HorizonSums':
        """Sums of several together, of at least one."""
        total = cls(sums[0].offsets, *sums[0].count.shape[1:])
        for each in sums:
            total.absolute += each.absolute
            total.square += each.square
            total.count += each.count
        return total

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
