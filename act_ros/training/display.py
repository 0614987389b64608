"""How far a long piece of work is: a bar, or lines where there is no terminal."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 15.0  # where there is no terminal [s]


class Display:
    """Shows how far it is until it is closed.

    :param title: of the work.
    :param total: of what is counted.
    :param quiet: nothing is shown.
    """

    def __init__(self, title: str, total: int, *, quiet: bool = False) -> None:
        self._title, self._total = title, total
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn('{task.description}'), BarColumn(bar_width=16), MofNCompleteColumn(),
            TextColumn('{task.fields[text]}'), TimeElapsedColumn(), TimeRemainingColumn(),
            console=self._console, disable=quiet or not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task(title, total=total, text='')
        self._parts: dict[int, int] = {}
        self._begun = self._told = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> 'Display':
        self._bar.start()
        return self

    def __exit__(
        self, error_type: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, number: int, done: int) -> bool:
        """Take in how much of a part is done."""
        if number >= 0:
            self._parts[number] = done
            self.show(sum(self._parts.values()))
        return True

    def show(self, done: int, text: str = '') -> None:
        """Show how much is done in all, and a text."""
        self._bar.update(self._task, completed=done, text=text)
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        if not self._console.is_terminal and now - self._told >= LINE_EVERY:
            self._told = now
            per_s = (done - self._first) / (now - self._begun)
            left = f', {(self._total - done) / per_s:.0f} s left' if per_s else ''
            self.say(f'{self._title}: {done} of {self._total}{left}{text and ", "}{text}')

    def say(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        say(text, self._console)


def say(text: str, where: Console | None = None) -> None:
    """Print a line."""
    (where or Console(stderr=True)).print(text, markup=False, highlight=False, soft_wrap=True)
