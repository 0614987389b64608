"""Conditions in the log: once when one begins, once when it ends."""

import logging
import time
from collections.abc import Mapping

from act_ros.errors import ActError

log = logging.getLogger(__name__)

# A condition that comes and goes within this time is one condition.
CALM = 1.0  # [s]


class FaultLog:
    """Logs each condition once when it begins and once when it has ended.

    :ivar current: what is wrong now, by what it is about.
    """

    def __init__(self) -> None:
        self.current: dict[str, str] = {}
        self._last_seen: dict[str, float] = {}

    @property
    def begun(self) -> set[str]:
        """What has been logged as wrong and not yet as ended."""
        return set(self._last_seen)

    def failed(self, name: str, error: BaseException | None) -> None:
        """Take the outcome of something that may fail, with the traceback where it is a fault.

        A user's mistake explains itself in one line.
        """
        if error is None:
            self.update({})
            return
        if name not in self._last_seen and not isinstance(error, ActError):
            log.error('%s failed', name, exc_info=error)
        self.update({name: f'{name}: {describe(error)}'})

    def update(self, faults: Mapping[str, str]) -> None:
        """Take the conditions of now."""
        if not faults and not self._last_seen:
            return
        now = time.monotonic()
        for name, text in faults.items():
            if name not in self._last_seen:
                log.warning('%s', text)
            self._last_seen[name] = now
        for name in [n for n, seen in self._last_seen.items() if now - seen > CALM]:
            log.info('%s is fine again', name)
            del self._last_seen[name]
        self.current = dict(faults)


def describe(error: BaseException) -> str:
    """An error in one line; the name of its type where it says nothing, or cannot."""
    try:
        text = ' '.join(str(error)[:500].split())
    except Exception:
        text = ''
    if isinstance(error, ActError) and text:
        return text
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
