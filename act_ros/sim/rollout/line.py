"""A line between the robot and its policy that delays messages and loses some."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from act_ros.bridge.patience import Patience
from act_ros.cli import check_several
from act_ros.errors import ParameterError

LONGEST_WAIT = 2.0  # for an answer [s]: what `policy_endpoint` has
WARM = 5  # answers that have come before the first tick, as at the node's configuration
FORM = 'delay=MS,jitter=MS,loss=PERCENT,outage=START+SECONDS, each of them left out where it is 0'
MOST = {'delay': 10_000, 'jitter': 10_000, 'loss': 100}


@dataclass(frozen=True)
class Line:
    """What it does to each message, on the way there and on the way back.

    :ivar delay: of each [s].
    :ivar jitter: as much more at most, evenly [s].
    :ivar loss: the share of them that never arrives.
    :ivar outage: from when on, since the attempt's beginning, and for how long none does [s].
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    outage: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def parse(cls, text: str) -> 'Line':
        """One that the command line tells of.

        :raises ParameterError: naming what is wrong in it.
        """
        found: dict[str, float] = {}
        outage = (0.0, 0.0)
        for part in text.split(','):
            name, _, value = part.strip().partition('=')
            numbers = [_number(each) for each in value.split('+')]
            if name == 'outage' and len(numbers) == 2 and all(0 <= n <= 3600 for n in numbers):
                outage = numbers[0], numbers[1]
            elif name in MOST and len(numbers) == 1 and 0 <= numbers[0] <= MOST[name]:
                found[name] = numbers[0] / (100 if name == 'loss' else 1000)
            else:
                raise ParameterError(f'--line has {part!r}, expected {FORM}')
        return cls(**found, outage=outage)

    @property
    def name(self) -> str:
        """For people."""
        delay = f'{1e3 * self.delay:g}'
        if self.jitter:
            delay += f' to {1e3 * (self.delay + self.jitter):g}'
        parts = [f'line {delay} ms']
        if self.loss:
            parts.append(f'{100 * self.loss:g} % lost')
        if self.outage[1]:
            parts.append(f'out for {self.outage[1]:g} s at {self.outage[0]:g} s')
        return ', '.join(parts)

    @property
    def longest(self) -> float:
        """There and back [s]."""
        return 2 * (self.delay + self.jitter)


class Questions:
    """A question after the other over a line, each given up when its answer takes too long.

    :param latency: of a forward pass [s].
    :param begin: of the attempt [ns].
    :param seed: of what the line does.
    """

    def __init__(self, line: Line, latency: float, begin: int, seed: int) -> None:
        self._line, self._latency, self._begin = line, latency, begin
        self._random = np.random.default_rng(seed)
        self._patience = Patience(LONGEST_WAIT)
        for _ in range(WARM):
            self._patience.answered(self._trip() + latency + self._trip())

    def __call__(self, asked: int) -> tuple[int, bool]:
        """When a question is over that is asked at a time [ns], and whether by its answer."""
        took = self._trip() + self._latency
        lost = self._loses(asked)
        back = asked + round(took * 1e9)
        lost |= self._loses(back)
        took += self._trip()
        patience = self._patience.seconds
        in_time = not lost and took <= patience
        if not in_time:
            self._patience.lost()
        if not lost:
            self._patience.answered(took)
        return asked + round((took if in_time else patience) * 1e9), in_time

    def _trip(self) -> float:
        return self._line.delay + self._random.uniform(0, self._line.jitter)

    def _loses(self, sent: int) -> bool:
        """Whether a message never arrives that is sent at a time [ns]."""
        start, lasts = self._line.outage
        out = start <= (sent - self._begin) / 1e9 < start + lasts
        return bool(self._random.random() < self._line.loss) or out


def parse_lines(texts: Sequence[str]) -> list[Line]:
    """Those that the command line tells of, to compare.

    :raises ParameterError: naming what is wrong with one.
    """
    lines = [Line.parse(text) for text in texts]
    check_several('--line', lines, texts)
    return lines


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # which is within no bounds
