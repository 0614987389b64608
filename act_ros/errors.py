"""Errors a user can mend: one line that says what was found, what was expected, what to do."""

from collections.abc import Sequence


class ActError(Exception):
    """Base of every error that is the input's fault and is shown without a traceback."""


class CheckpointError(ActError):
    """A checkpoint, its statistics or its config.yaml cannot be used."""


class TaskError(ActError):
    """The task's cameras, entries or sizes do not fit."""


class ParameterError(ActError):
    """A parameter is unknown, or its value is out of range or of the wrong type."""


class LimitError(ActError):
    """Limits are missing or contradict each other, or a joint stands outside them.

    :ivar joints: the entries that lack something, or stand outside their range.
    :ivar lacking: the limit that nothing says; '' where something else is wrong.
    """

    def __init__(self, text: str, joints: Sequence[str] = (), *, lacking: str = '') -> None:
        super().__init__(text)
        self.joints, self.lacking = tuple(joints), lacking


class ObservationError(ActError):
    """An input is missing, stale, malformed or not finite."""


class PolicyError(ActError):
    """The policy was run, and what it gave is no action."""


class LinkError(PolicyError):
    """The policy is on a server that cannot be reached, or gives no answer for the time being."""


class UncoveredStepError(ActError, LookupError):
    """No chunk covers the step whose action was asked for."""


class BagError(ActError):
    """A recorded bag cannot be read, or does not hold what is needed."""


class TrainingError(ActError):
    """A training cannot go on, or not be taken up again."""


class CommandError(ActError):
    """A message of an output holds no command for it, wholly or in part.

    The text is what such messages do: 'hold 7 values, expected 8'.

    :ivar cause: one word, the same for messages with the same fault.
    """

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def one_line(error: BaseException) -> str:
    """What an error says, in one line; the name of its type where it says nothing."""
    return ' '.join(str(error).split()) or type(error).__name__


def shorten(value: object, limit: int = 80) -> str:
    """`repr` of a value from outside, cut so that an error stays one readable line."""
    # Cut first: the repr of a message's 60 MB string would take a second.
    if isinstance(value, memoryview):
        value = bytes(value[:limit])
    text = repr(value[:limit] if isinstance(value, str | bytes) else value)
    return text if len(text) <= limit else text[: limit - 3] + '...'


def kind_of(value: object) -> str:
    """The name of a value's type, as whoever sent it knows it: views of a message are bytes."""
    return 'bytes' if isinstance(value, memoryview) else type(value).__name__


def listed(names: Sequence[str], limit: int = 4) -> str:
    """The first of some names, and how many there are where there are more; one line."""
    more = f', ... ({len(names)})' if len(names) > limit else ''
    shown = (name if name.isprintable() and 0 < len(name) <= 80 else shorten(name)
             for name in names[:limit])  # fmt: skip
    return ', '.join(shown) + more
