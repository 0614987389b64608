"""Polling with a deadline: the only way in which a test waits."""

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object], timeout: float, what: str | Callable[[], str]
) -> object:
    """Poll until a condition gives something true, and return that.

    :param what: is waited for; a function is called only when it did not come.
    """
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f'not within {timeout:g} s: {what() if callable(what) else what}')
        time.sleep(0.005)
    return found
