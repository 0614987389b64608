"""Inference that takes its time, where time is an argument: without a thread or a network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from act_ros.control.exchange import Request

# What becomes of a pass that begins at a time: when it is over [ns], and whether it gave a chunk.
Course = Callable[[int], tuple[int, bool]]


def takes(seconds: float) -> Course:
    """Every pass takes as long, and gives a chunk."""
    latency = round(seconds * 1e9)
    return lambda begun: (begun + latency, True)


@dataclass
class _Pass:
    request: Request
    done: int
    gives: bool


class InferenceDelay:
    """The inference thread of the robot, as it would be busy: one pass at a time, newest wins.

    Passes are back to back. One that ends at a tick is followed at once, by that of the newest
    observation there is: of the tick before.

    :param course: of each pass.
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._running: _Pass | None = None
        self._mail: Request | None = None

    def submit(self, request: Request, now: int) -> None:
        """Hand over what to infer; it replaces what is not begun yet.

        :param now: [ns].
        """
        if self._running is None:
            self._running = _Pass(request, *self._course(now))
        else:
            self._mail = request

    def arrivals(self, now: int) -> Iterator[tuple[Request, bool]]:
        """Give the requests whose passes have ended, and whether there is a chunk of each.

        :param now: [ns].
        """
        while (over := self._running) is not None and over.done <= now:
            self._running = None
            if self._mail is not None:
                self._running, self._mail = _Pass(self._mail, *self._course(over.done)), None
            yield over.request, over.gives
