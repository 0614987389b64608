"""How far a command line is: a bar, or lines where there is no terminal; and the wish to stop."""

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

from act_ros.cli import stop_signals

LINE_EVERY = 15.0  # where there is no terminal for a bar [s]


class ProgressBar:
    """What is done of all that is planned, with rate and time left.

    :param what: is counted.
    :param totals: how much of it each job has.
    :param quiet: nothing is shown.
    :ivar stopped: somebody wants to end.
    """

    def __init__(self, what: str, totals: Mapping[int, int], *, quiet: bool = False) -> None:
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
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn('{task.description}'), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn('{task.fields[text]}'), TimeRemainingColumn(),
            console=self._console, disable=quiet or not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(what, total=sum(totals.values()), text='')
        self._told = time.monotonic()

    def __call__(self, job: int, count: int) -> bool:
        """Take in how much of a job is done; whether to go on.

        :param job: its number; below 0 there is no news.
        """
        if job >= 0:
            self._done[job] = count
            speed = self._bar.tasks[0].speed
            self.show(sum(self._done.values()), f'{speed:.1f}/s' if speed else '')
        return not self.stopped

    def show(self, done: int, text: str) -> None:
        """Show how much of all is done, and a text beside it."""
        with self._at_best():
            self._bar.start()
        self._bar.update(self._task, completed=done, text=text)
        now = time.monotonic()
        if self._console.is_terminal or now - self._told < LINE_EVERY:
            return
        self._told, task = now, self._bar.tasks[0]
        left = '' if task.time_remaining is None else f'{task.time_remaining:.0f} s left'
        parts = (f'{task.description}: {done} of {task.total:.0f}', text, left)
        self.note(', '.join(filter(None, parts)))

    def say(self, text: str) -> None:
        """Name what is counted anew."""
        self._bar.update(self._task, description=text)

    def note(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        with self._at_best():
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """What is shown ends with this."""
        try:
            yield
        finally:
            with self._at_best():
                self._bar.stop()

    @contextlib.contextmanager
    def _at_best(self) -> Iterator[None]:
        """What is shown fails no work: a terminal may be gone, and a pipe's reader too."""
        try:
            yield
        except OSError:
            self._console.quiet = True

    @contextlib.contextmanager
    def until_stopped(self, again: Any = signal.SIG_DFL) -> Iterator[None]:
        """A first signal is the wish to stop, a second one ends at once; the bar ends with it.

        A hangup comes more than once, from the terminal and from the shell: that is one wish.

        :param again: handles a second one instead.
        """
        numbers = stop_signals()

        def stop(*_: object) -> None:
            self.stopped = True
            for number in numbers:
                signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else again)

        for number in numbers:
            signal.signal(number, stop)
        with self.shown():
            yield
