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
        self._cause = ''  # of the waiting
        self._since: int | None = None  # there have been no commands
        # Until when an observation must be made for commands to begin by themselves.
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
        before = self.reason or self._cause
        self._count(reason, now, moving)
        self.latched = True
        self.reason = self.last = f'{before}; {reason}' if before else reason
        log.error('no commands until ~/reset: %s', self.reason)

    def wait(self, now: int) -> None:
        """There is no command yet."""
        if self._since is None:
            self.wait_anew(now)

    def wait_anew(self, now: int) -> None:
        """Somebody is there, or the clock means something else: nothing waited before now.

        Whatever the window, there is time for a plan.
        """
        self._since, self._return_by = now, now + max(self._window, self._patience)

    def resume(self) -> None:
        """A new episode is on; until its first command the waiting goes on."""
        self.reason = ''

    def lift(self) -> None:
        """A person has asked for a new episode."""
        self.latched, self.reason = False, ''
        self.over()

    def over(self) -> bool:
        """There is a command; whether it ends a waiting."""
        waited = self._since is not None
        self._since = self._return_by = None
        self._cause = ''
        return waited

    def lasts_too_long(self, now: int) -> bool:
        """Whether it is too late for it to end by itself."""
        waited = 0 if self._since is None else now - self._since
        return waited > self._window + self._patience

    def may_end_with(self, made: int) -> bool:
        """Whether an observation made then is in time for commands to begin."""
        return self._return_by is None or made <= self._return_by

    def _count(self, reason: str, now: int, moving: bool) -> None:
        self.last = reason
        self.count += moving
        if self._since is None:
            self._since, self._return_by = now, now + self._window
            self._cause = reason
