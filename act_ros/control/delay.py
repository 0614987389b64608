"""Inference that takes its time, where time is an argument: without a thread or a network."""

from collections.abc import Iterator
from dataclasses import dataclass

from act_ros.control.exchange import Request


@dataclass
class InferenceDelay:
    """The inference thread of the robot, as it would be busy: one pass at a time, newest wins.

    Passes are back to back. One that ends at a tick is followed at once, by that of the newest
    observation there is: of the tick before.
    """

    latency: int  # of a pass [ns]
    running: tuple[Request, int] | None = None  # and when it is done
    mail: Request | None = None

    def submit(self, request: Request, now: int) -> None:
        """Hand over what to infer; it replaces what is not begun yet.

        :param now: [ns].
        """
        if self.running is None:
            self.running = request, now + self.latency
        else:
            self.mail = request

    def arrivals(self, now: int) -> Iterator[Request]:
        """Give the requests whose passes have ended.

        :param now: [ns].
        """
        while self.running is not None and self.running[1] <= now:
            request, done = self.running
            self.running = None
            if self.mail is not None:
                self.running, self.mail = (self.mail, done + self.latency), None
            yield request
