"""How smooth the motion is that was sent: its jerk, and its seams where chunks change."""

from collections.abc import Sequence

import numpy as np

from act_ros.safety import TURN
from act_ros.task import Entry, Task

FARTHEST = 1e60  # of a position: the squares of what follows from it are still numbers


class MotionMeter:
    """Measures the positions of the messages sent, one a tick, in constant memory.

    Jerk is the third difference of four messages in a row. A seam is the change of a position
    in one tick, where the message is made from other chunks than the one of the tick before.
    Figures that nothing was measured for are nan.

    `look` and `pause` are for one thread, the figures for any.

    :param task: its action's positions are measured, in its order.
    :param rate: messages a second [Hz].
    :param continuous: names of positions that are the same a turn further.
    :ivar entries: of the action, those that are measured.
    :ivar arm: places of the arm's joints among them. A gripper has another unit and may snap:
        it counts only where there is nothing else.
    :ivar count: (positions,) of jerks measured.
    """

    def __init__(self, task: Task, rate: float, continuous: Sequence[str] = ()) -> None:
        self.entries = [entry for entry in task.action if entry.quantity == 'position']
        grippers = [entry.is_gripper for entry in self.entries]
        self.arm = [i for i, gripper in enumerate(grippers) if not gripper or all(grippers)]
        names = [str(entry) for entry in self.entries]
        self._turning = np.array([i for i, n in enumerate(names) if n in continuous], np.intp)
        self._rate = rate
        self.count = np.zeros(len(names), dtype=np.int64)
        self._squares = np.zeros(len(names))  # of third differences, their sum
        self._largest = np.full(len(names), np.nan)  # of their squares
        self._seam = np.full(len(names), np.nan)  # the largest change, squared
        self._row = 0  # messages in a row so far
        self._chunks = b''  # of the last one; the other three are its differences
        self._last = self._first = self._second = np.zeros(len(names))

    def look(self, positions: np.ndarray, chunk_steps: np.ndarray) -> None:
        """Take in the message of a tick, a stop policy's too.

        :param positions: (positions,) as sent, robot units; one that is nan was not, and begins
            anew.
        :param chunk_steps: (n,) steps of the chunks that it was made from, none for a stop.
        """
        last, before, earlier = self._last, self._first, self._second
        positions = np.minimum(np.maximum(positions, -FARTHEST), FARTHEST)
        first = positions - last
        if len(self._turning):
            angles = first[self._turning]
            first[self._turning] = angles - TURN * np.rint(angles / TURN)
        second = first - before
        chunks = chunk_steps.tobytes()
        if self._row and chunks != self._chunks:
            self._seam = np.fmax(self._seam, first * first)
        if self._row >= 3:
            third = second - earlier
            known = third == third
            third *= third
            np.add(self._squares, third, out=self._squares, where=known)
            self._largest = np.fmax(self._largest, third)
            self.count += known
        self._last, self._first, self._second = positions, first, second
        self._chunks = chunks
        self._row += 1

    def pause(self) -> None:
        """Nothing was sent at a tick: what follows begins anew."""
        self._row = 0

    @property
    def jerk_rms(self) -> np.ndarray:
        """(positions,) root of the mean square [rad/s^3, or the entry's unit]."""
        squares, count = np.where(self.count, self._squares, np.nan), np.maximum(self.count, 1)
        return np.sqrt(squares / count) * self._rate**3

    @property
    def jerk_max(self) -> np.ndarray:
        """(positions,) largest [rad/s^3, or the entry's unit]."""
        return np.sqrt(self._largest) * self._rate**3

    @property
    def seam(self) -> np.ndarray:
        """(positions,) largest change in one tick where the chunks change [rad, or its unit]."""
        return np.sqrt(self._seam)

    @property
    def arm_jerk_rms(self) -> float:
        """Over all joints of the arm [rad/s^3]."""
        return float(np.sqrt(np.mean(self.jerk_rms[self.arm] ** 2)))

    def worst(self) -> dict[str, tuple[float, Entry]]:
        """Of each figure that is known, the largest of the arm's joints, and which it is."""
        found = {}
        for name in ('jerk_rms', 'jerk_max', 'seam'):
            values = getattr(self, name)[self.arm]
            if len(values) and not np.isnan(values).all():
                place = int(np.nanargmax(values))
                found[name] = float(values[place]), self.entries[self.arm[place]]
        return found
