"""What the control loop is doing, and what leads from one state to another.

A tick without anything wrong changes nothing. What is wrong comes in two kinds. A fault may
pass: inputs or plans that are too old, a deadman that is not held, a clock that jumped or stands
still, a tick that failed. When good inputs are back in time, a new episode begins by itself. What
may not pass by itself latches: a joint that does not follow or stands outside its range, an
action that is not finite, a tick that fails again and again, and any wait for commands that
lasts longer than the recovery window. Then only a person begins a new episode.
"""

import logging
from enum import Enum

log = logging.getLogger(__name__)

# Ticks may fail so often before a person has to look. One may fail for a reason that is gone at
# the next (no memory, one odd message); each costs the episode. Three in a row, 60 ms at 50 Hz,
# are no chance, and the arm shall not be stopped and started again and again.
FAILURES = 3


class State(Enum):
    """What the loop is doing, in the words of `/diagnostics`."""

    WAITING = 'waiting for a plan'  # an episode is on; it has sent no command yet
    RUNNING = 'running'  # its commands go out
    STOPPED = 'stopped'  # good inputs begin a new episode
    LATCHED = 'stopped until reset'  # only a person does


class Event(Enum):
    """What leads from one state to another."""

    COMMAND = 'a command of the plan goes out'
    FAULT = 'something is wrong that may pass'
    LATCH = 'something is wrong that a person has to see'
    INPUTS = 'good inputs are there'
    RESET = 'a person wants a new episode'


# What is not listed cannot happen.
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.WAITING: {
        Event.COMMAND: State.RUNNING,
        Event.FAULT: State.STOPPED,
        Event.LATCH: State.LATCHED,
        Event.RESET: State.WAITING,
    },
    State.RUNNING: {
        Event.COMMAND: State.RUNNING,
        Event.FAULT: State.STOPPED,
        Event.LATCH: State.LATCHED,
        Event.RESET: State.WAITING,
    },
    State.STOPPED: {
        Event.INPUTS: State.WAITING,
        Event.FAULT: State.STOPPED,
        Event.LATCH: State.LATCHED,
        Event.RESET: State.WAITING,
    },
    State.LATCHED: {
        Event.FAULT: State.LATCHED,
        Event.LATCH: State.LATCHED,
        Event.RESET: State.WAITING,
    },
}


class StateMachine:
    """The state, why there are no commands, since when, and until when that may pass.

    All times are on the clock of steps [ns].

    :param window: a wait for commands that lasts longer does not end by itself [ns].
    :param patience: how long a plan may take to come after the window [ns].
    :param calm: ticks without a failure after which the failures are forgotten.
    :ivar commanded: this activation has sent a command.
    :ivar reason: why commands have ended, in STOPPED and LATCHED; else ''.
    :ivar last: why they ended the last time.
    :ivar count: how often they ended.
    """

    def __init__(self, window: int, patience: int, calm: int) -> None:
        self._window = window
        self._patience = patience
        self._calm = max(calm, FAILURES)
        self.state = State.WAITING
        self.commanded = False
        self.reason = ''
        self.last = ''
        self.count = 0
        # The wait for commands, over all states but RUNNING: since when, why it began, and until
        # when an observation must be made for commands to begin by themselves.
        self._since: int | None = None
        self._cause = ''
        self._return_by: int | None = None
        self._failures = 0  # of ticks, since there was a calm
        self._good_ticks = 0  # since the last of them

    # --- events ----------------------------------------------------------------------------

    def command(self) -> bool:
        """A command of the plan goes out; whether it is the first after others had ended."""
        again = self._since is not None and self.commanded
        self._take(Event.COMMAND)
        self.commanded = True
        self._end_wait()
        return again

    def fault(self, reason: str, now: int) -> None:
        """Commands end, for a reason that may pass. What latched stays the reason."""
        if self.state is State.LATCHED:
            return
        if self.state is not State.STOPPED:
            if self.commanded:
                log.warning('no commands: %s', reason)
            self._note_end(reason, now)
        self._take(Event.FAULT)
        self.reason = reason

    def latch(self, reason: str, now: int) -> None:
        """Commands end until a person asks for a new episode."""
        before = self.reason or self._cause
        self._note_end(reason, now)
        self._take(Event.LATCH)
        self.reason = self.last = f'{before}; {reason}' if before else reason
        log.error('no commands until ~/reset: %s', self.reason)

    def fail(self, reason: str, now: int) -> None:
        """A tick has failed: a fault, and after some of them no chance any more."""
        self._failures, self._good_ticks = self._failures + 1, 0
        self.fault(reason, now)
        if self._failures >= FAILURES and self.state is not State.LATCHED:
            self.latch(f'{self._failures} ticks have failed', now)

    def inputs(self) -> None:
        """Good inputs are back: an episode begins; until its first command the wait goes on."""
        self._take(Event.INPUTS)
        self.reason = ''

    def reset(self) -> None:
        """A person has asked for a new episode."""
        self._take(Event.RESET)
        self.reason = ''
        self._failures = 0
        self._end_wait()

    def _take(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state][event]

    # --- the wait for commands -------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Time goes on: failures are forgotten, and where there is no command it is waited for."""
        self._good_ticks += 1
        if self._good_ticks > self._calm:
            self._failures = 0
        if self.state is not State.RUNNING and self._since is None:
            self.wait_anew(now)

    def end_long_wait(self, now: int) -> None:
        """A wait that has lasted too long ends by a person's wish only."""
        waited = 0 if self._since is None else now - self._since
        if waited > self._window + self._patience and self.state is not State.LATCHED:
            self.latch('there were no commands for longer than recovery_window', now)

    def wait_anew(self, now: int) -> None:
        """Somebody is there, or the clock means something else: nothing waited before now.

        Whatever the window, there is time for a plan.
        """
        self._since, self._return_by = now, now + max(self._window, self._patience)

    def in_time(self, made: int) -> bool:
        """Whether commands may begin with an observation that was made then."""
        return self._return_by is None or made <= self._return_by

    def _note_end(self, reason: str, now: int) -> None:
        self.last = reason
        self.count += self.state is State.RUNNING
        if self._since is None:
            self._since, self._return_by = now, now + self._window
            self._cause = reason

    def _end_wait(self) -> None:
        self._since = self._return_by = None
        self._cause = ''
