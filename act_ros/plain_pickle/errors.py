"""The one error of the reader, and the check that raises it."""

ONLY = 'only plain data and numeric NumPy arrays are read'


class UnsafePickleError(ValueError):
    """The message is not a pickle of plain data; the text is one short printable line."""

    def __init__(self, message: str) -> None:
        super().__init__(message[:200].encode('unicode_escape').decode()[:200])


def need(condition: object, message: str) -> None:
    """Refuse the message unless the condition holds.

    :raises UnsafePickleError: with the message.
    """
    if not condition:
        raise UnsafePickleError(message)
