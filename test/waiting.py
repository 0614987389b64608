"""Polling with a deadline: the only way in which a test waits."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout: float, what: str) -> object:
    """Poll until a condition gives something true, and return that."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f'not within {timeout:g} s: {what}'
        time.sleep(0.005)
    return found
