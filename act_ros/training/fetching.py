"""Batches are assembled beside the network's work on those before them."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from act_ros.training.batch import Batch

Key = TypeVar('Key')


class Waiting:
    """How long the network waited for batches [s]."""

    seconds = 0.0


def fetched(
    fetch: Callable[[Key], Batch], keys: Iterable[Key], workers: int, waiting: Waiting
) -> Generator[Batch, None, None]:
    """The batch of each key, in their order.

    :param fetch: assembles one; from any thread.
    :param workers: threads that do; 0: nobody works ahead.
    :param waiting: is added to.
    """
    if not workers:
        for key in keys:
            begin = time.monotonic()
            batch = fetch(key)
            waiting.seconds += time.monotonic() - begin
            yield batch
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix='samples')
    try:
        ahead: deque[Future[Batch]] = deque()
        for key in keys:
            ahead.append(pool.submit(fetch, key))
            if len(ahead) > workers:
                yield _result(ahead.popleft(), waiting)
        while ahead:
            yield _result(ahead.popleft(), waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: 'Future[Batch]', waiting: Waiting) -> Batch:
    begin = time.monotonic()
    batch = future.result()
    waiting.seconds += time.monotonic() - begin
    return batch
