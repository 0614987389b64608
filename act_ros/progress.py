"""How far a command line's jobs are, on the terminal; and the wish to stop them."""

import contextlib
import signal
from collections.abc import Iterator, Mapping

STOPS = (signal.SIGINT, signal.SIGTERM)


class ProgressBar:
    """What is done of all that is planned, with rate and time left.

    :param what: is counted.
    :param totals: how much of it each job has.
    :ivar stopped: somebody wants to end.
    """

    def __init__(self, what: str, totals: Mapping[int, int]) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.stopped = False
        self._done: dict[int, int] = {}
        self._bar = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TextColumn('{task.fields[rate]}'), TimeRemainingColumn(),
            console=Console(stderr=True),
        )  # fmt: skip
        self._task = self._bar.add_task(what, total=sum(totals.values()), rate='')

    def __call__(self, job: int, count: int) -> bool:
        """Take in how much of a job is done; whether to go on.

        :param job: its number; below 0 there is no news.
        """
        if job >= 0:
            self._bar.start()
            self._done[job] = count
            speed = self._bar.tasks[0].speed
            rate = f'{speed:.1f}/s' if speed else ''
            self._bar.update(self._task, completed=sum(self._done.values()), rate=rate)
        return not self.stopped

    def say(self, text: str) -> None:
        """Name what is counted anew."""
        self._bar.update(self._task, description=text)

    @contextlib.contextmanager
    def until_stopped(self) -> Iterator[None]:
        """A first signal is the wish to stop, a second one ends at once; the bar ends with it."""
        for number in STOPS:
            signal.signal(number, self._stop)
        try:
            yield
        finally:
            self._bar.stop()

    def _stop(self, *_: object) -> None:
        self.stopped = True
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
