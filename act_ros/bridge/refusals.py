"""What is logged of refused requests: every kind of mistake, and no kind without end."""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

PERIOD = 60.0  # [s] in which a kind of refusal is told of once
MAX_KINDS = 10

# What differs between refusals of one kind: quoted text, what stands in brackets, numbers.
_DETAIL = re.compile(r"""'[^']*'|"[^"]*"|\([^)]*\)|[-+]?\d[\w.+-]*""")


@dataclass
class _Kind:
    """Refusals of one kind that have not been told of.

    :ivar text: of the latest.
    """

    text: str
    count: int = 0


class Refusals:
    """Logs the first refusal of each kind at once, and once a period how many have followed.

    A client repeats its mistake at 50 Hz, several clients take turns with theirs, and an attacker
    words each request differently: whatever they do, a period has some twenty lines at most.

    :param clock: steady time [s].
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._others = _Kind('')  # those of further kinds
        self._since = 0.0  # when the period began

    def add(self, text: str, fault: Exception | None = None) -> None:
        """Take note of a refusal.

        :param text: one line, as the client is told.
        :param fault: where it is no mistake of the client's: logged with its traceback.
        """
        if not self._kinds:
            self._since = self._clock()
        name = _DETAIL.sub('_', text)
        kind = self._kinds.get(name)
        if kind is None and len(self._kinds) < MAX_KINDS:
            self._kinds[name] = _Kind(text)
            level = logging.WARNING if fault is None else logging.ERROR
            log.log(level, 'refused: %s', text, exc_info=fault)
            return
        kind = kind or self._others
        kind.count += 1
        kind.text = text
        log.debug('refused: %s', text)

    def tell_when_due(self) -> float | None:
        """Tell where a period is over.

        :returns: how long the next one lasts [s]; None where nothing was refused.
        """
        if not self._kinds:
            return None
        left = self._since + PERIOD - self._clock()
        if left > 0:
            return left
        self.tell()
        return PERIOD if self._kinds else None

    def tell(self) -> None:
        """Log the numbers of this period, and begin the next one."""
        seconds = self._clock() - self._since
        for kind in [*self._kinds.values(), self._others]:
            if kind.count:
                log.warning(
                    'refused: %d more in %.0f s %s: %s', kind.count, seconds,
                    'in other ways, the latest' if kind is self._others else 'like this one',
                    kind.text,
                )  # fmt: skip
        # A kind that did not come again is news when it does.
        self._kinds = {name: _Kind('') for name, kind in self._kinds.items() if kind.count}
        self._others = _Kind('')
        self._since = self._clock()
