"""What a check finds, a line each."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from act_ros.errors import ActError

Verdict = Literal['fits', 'doubt', 'WRONG', 'open']
ASSUMING = 'assuming'  # in what is logged where something is not known


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    :ivar verdict: 'fits'; 'doubt', what may be meant so; 'WRONG'; 'open', what was not seen.
    :ivar about: what it is of, in a word or two.
    """

    verdict: Verdict
    about: str
    text: str


class Findings:
    """All that was found so far.

    :param tell: is told each at once.
    """

    def __init__(self, tell: Callable[[Finding], None] = lambda finding: None) -> None:
        self._tell = tell
        self.all: list[Finding] = []
        self._begun = 0

    def fits(self, about: str, text: str) -> None:
        self._add('fits', about, text)

    def doubt(self, about: str, text: str) -> None:
        self._add('doubt', about, text)

    def wrong(self, about: str, text: str) -> None:
        self._add('WRONG', about, text)

    def open(self, about: str, text: str) -> None:
        self._add('open', about, text)

    def begin(self, about: str, text: str) -> None:
        """Another thing is looked at: what is found of it is told, though it was of others."""
        self._begun = len(self.all)
        self.fits(about, text)

    @property
    def any_wrong(self) -> bool:
        """Whether anything is."""
        return any(finding.verdict == 'WRONG' for finding in self.all)

    def count(self, verdict: Verdict) -> int:
        """How many there are of a kind."""
        return sum(finding.verdict == verdict for finding in self.all)

    @contextmanager
    def of(self, about: str) -> Iterator[None]:
        """What is done inside is looked at: an ActError is wrong, a warning a doubt.

        Nothing is raised: what stands behind it goes on.
        """
        package = logging.getLogger('act_ros')
        handler, propagates = _ToFindings(self, about), package.propagate
        package.addHandler(handler)
        package.propagate = False
        try:
            yield
        except ActError as error:
            self.wrong(about, str(error))
        finally:
            package.removeHandler(handler)
            package.propagate = propagates

    def _add(self, verdict: Verdict, about: str, text: str) -> None:
        finding = Finding(verdict, about, text)
        if finding not in self.all[self._begun :]:
            self.all.append(finding)
            self._tell(finding)


class _ToFindings(logging.Handler):
    """What is logged, as findings."""

    def __init__(self, findings: Findings, about: str) -> None:
        super().__init__(logging.INFO)
        self._findings, self._about = findings, about

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._findings.doubt(self._about, record.getMessage())
        elif ASSUMING in record.getMessage():
            self._findings.open(self._about, record.getMessage())
