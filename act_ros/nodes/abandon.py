"""Long work that the end of the process does not wait for."""

import threading
from collections.abc import Callable
from typing import TypeVar

from act_ros.errors import ActError

T = TypeVar('T')


class AbandonedError(ActError):
    """The process ends; what was running is left behind."""


def abandonable(work: Callable[[], T], ending: threading.Event) -> T:
    """Run something long, unless the process is told to end meanwhile.

    :param ending: set when it is.
    :raises AbandonedError: it was.
    """
    result: list[T] = []
    failure: list[Exception] = []
    done = threading.Event()

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:
            failure.append(error)
        done.set()

    threading.Thread(target=run, name='load', daemon=True).start()
    while not done.wait(0.02):
        if ending.is_set():
            raise AbandonedError('the process ends')
    if failure:
        raise failure[0]
    return result[0]
