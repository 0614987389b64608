"""Do jobs one after the other, or in several processes of this machine; the results are the same.

The work is a function of a module, so that every process finds it: it takes a job and what is to
be told how far it is, and returns the result.
"""

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, Protocol, TypeVar

from act_ros.child import end_with_parent
from act_ros.errors import PolicyError

# How often workers may be lost before it is taken for the work's own fault.
RETRIES = 3


class Named(Protocol):
    """A job; it goes to another process by pickle."""

    @property
    def name(self) -> str:
        """For people."""
        ...


J = TypeVar('J', bound=Named)
R = TypeVar('R')

Tell = Callable[[int], bool]  # how much of the job is done -> whether to go on
Work = Callable[[J, Tell], R]
Progress = Callable[[int, int], bool]  # job, how much of it is done -> whether to go on


def run_here(
    work: Work[J, R], jobs: Mapping[int, J], done: Callable[[int, R], None], progress: Progress
) -> None:
    """Do jobs one after the other, until `progress` says not to go on.

    :param jobs: by number.
    :param done: is given each result.
    """
    for number, job in jobs.items():
        if not progress(number, 0):
            return
        done(number, work(job, partial(progress, number)))


def run_in_processes(
    work: Work[J, R],
    jobs: Mapping[int, J],
    workers: int,
    done: Callable[[int, R], None],
    progress: Progress,
) -> None:
    """Do jobs in processes of this machine; a lost process costs a retry of its job.

    :raises PolicyError: processes are lost again and again.
    """
    left, lost = dict(jobs), 0
    while left:
        context = multiprocessing.get_context('spawn')
        news, ended = context.SimpleQueue(), threading.Event()
        listener = threading.Thread(target=_listen, args=(news, progress, ended), daemon=True)
        listener.start()
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(news,))
        before = len(left)
        try:
            with _interrupts_ignored():  # the processes begin here, and inherit it
                futures = {pool.submit(_work, work, n, job): n for n, job in left.items()}
            if not _collect(futures, left, done, progress):
                return
        except BrokenProcessPool:
            lost = lost + 1 if len(left) == before else 1
            if lost > RETRIES:
                names = ', '.join(job.name for job in list(left.values())[:3])
                raise PolicyError(
                    f'processes were lost {lost} times, last at one of: {names}; run fewer at '
                    f'once if memory is short'
                ) from None
        finally:
            _end(pool)
            ended.set()
            listener.join(timeout=1.0)


def _collect(
    futures: dict[Future[R], int],
    left: dict[int, J],
    done: Callable[[int, R], None],
    progress: Progress,
) -> bool:
    """Take results as they come; whether all came."""
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in finished:
            result = future.result()
            del left[futures[future]]
            done(futures[future], result)
        if not progress(-1, 0):
            return False
    return True


def no_result(number: int, result: None) -> None:
    """Take the result of work that leaves what it made elsewhere."""


# --- in a worker ---------------------------------------------------------------------------


_news: Any = None


def _begin(news: Any) -> None:
    global _news
    _news = news
    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None  # this is a worker
    end_with_parent(parent.pid)  # else it would work for nobody


def _work(work: Work[J, R], number: int, job: J) -> R:
    def tell(count: int) -> bool:
        _news.put((number, count))
        return True

    return work(job, tell)


def _listen(news: Any, progress: Progress, ended: threading.Event) -> None:
    while not ended.is_set():
        if news.empty():
            ended.wait(0.05)
        else:
            progress(*news.get())


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Both come to all of a terminal's processes; this one ends the others.
    numbers = (signal.SIGINT, signal.SIGHUP)
    usual = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, usual, strict=True):
            signal.signal(number, handler)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers at once, also those that are at work."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
