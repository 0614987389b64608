"""Why there are no commands, since when, and what may end that."""

import logging

log = logging.getLogger(__name__)


class Stop:
    """The stop that is in force, and the waiting for commands that follows it.

    All times are on the clock of steps [ns].

    :param window: a stop that lasts longer does not end by itself [ns].
    :param patience: how long a plan may take to come after the window [ns].
    :ivar reason: why commands have ended; '' where they have not, or a new episode is on.
    :ivar latched: only a person ends it.
    :ivar last: why commands ended the last time.
    :ivar count: how often commands ended.
    """

    def __init__(self, window: int, patience: int) -> None:
        self._window = window
        self._patience = patience
        self.reason = ''
        self.latched = False
        self.last = ''
        self.count = 0
        self._since: int | None = None  # there have been no commands
        # Until when an observation must be made to end the stop; None where a person asked
        # for commands.
        self._return_by: int | None = None

    def end(self, reason: str, now: int, *, moving: bool, heard: bool = True) -> None:
        """Commands end; what had ended them for good stays the reason.

        :param moving: there were commands until now.
        :param heard: worth a line in the log.
        """
        if self.latched:
            return
        if not self.reason:
            if heard:
                log.warning('no commands: %s', reason)
            self._count(reason, now, moving)
        self.reason = reason

    def latch(self, reason: str, now: int, *, moving: bool) -> None:
        """Commands end until a person asks for a new episode."""
        reason = f'{self.reason}; {reason}' if self.reason else reason
        self._count(reason, now, moving)
        self.latched, self.reason = True, reason
        log.error('no commands until ~/reset: %s', reason)

    def wait(self, now: int) -> None:
        """There is no command yet."""
        if self._since is None:
            self._since = now

    def attend(self, now: int) -> None:
        """Somebody is there, and will say when to go on: the waiting begins anew."""
        self._since, self._return_by = now, None

    def resume(self) -> None:
        """A new episode is on; until its first command the waiting goes on."""
        self.reason = ''

    def lift(self) -> None:
        """A person has asked for a new episode."""
        self.latched, self.reason = False, ''
        self._since = self._return_by = None

    def rebase(self, now: int) -> None:
        """The clock means something else: what is counted on it begins anew."""
        self._since, self._return_by = now, now + self._window

    def over(self) -> bool:
        """There is a command; whether it ends a waiting."""
        waited = self._since is not None
        self._since = self._return_by = None
        return waited

    def lasts_too_long(self, now: int) -> bool:
        """Whether it is too late for it to end by itself."""
        waited = 0 if self._since is None else now - self._since
        return waited > self._window + self._patience

    def may_end_with(self, made: int) -> bool:
        """Whether an observation made then is in time to end the stop."""
        return self._return_by is None or made <= self._return_by

    def _count(self, reason: str, now: int, moving: bool) -> None:
        self.last = reason
        self.count += moving
        if self._since is None:
            self._since, self._return_by = now, now + self._window
