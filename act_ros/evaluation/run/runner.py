"""Do jobs: here, in several processes, or on a Ray cluster; the results are the same."""

import contextlib
import importlib.util
import multiprocessing
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from act_ros.child import end_with_parent
from act_ros.errors import ActError, PolicyError
from act_ros.evaluation.run.episode import run_episode
from act_ros.evaluation.run.plan import Job
from act_ros.evaluation.run.policies import loaded
from act_ros.evaluation.run.result import EpisodeResult

# How often workers may be lost before it is taken for the work's own fault.
RETRIES = 3

Progress = Callable[[int, int], bool]  # job, its ticks that are done -> whether to go on
Done = Callable[[int, EpisodeResult], None]


def run_here(jobs: Mapping[int, Job], done: Done, progress: Progress) -> None:
    """Do jobs one after the other; one that ends early is the last.

    :param jobs: by number.
    :param done: is given each result.
    """
    for number, job in jobs.items():
        if not progress(number, 0):
            return
        policy = loaded(job.settings, job.load)
        result = run_episode(job, policy, partial(progress, number))
        done(number, result)
        if result.about['interrupted']:
            return


def run_in_processes(
    jobs: Mapping[int, Job], workers: int, done: Done, progress: Progress
) -> None:
    """Do jobs in processes of this machine; a lost process costs a retry of its job."""
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
                futures = {pool.submit(_work, n, job): n for n, job in left.items()}
            if not _collect(futures, left, done, progress):
                return
        except BrokenProcessPool:
            lost = lost + 1 if len(left) == before else 1
            if lost > RETRIES:
                names = ', '.join(job.name for job in list(left.values())[:3])
                raise PolicyError(
                    f'workers were lost {lost} times, last at one of: {names}; use fewer '
                    f'--workers if memory is short'
                ) from None
        finally:
            _end(pool)
            ended.set()
            listener.join(timeout=1.0)


def _collect(
    futures: dict[Future, int], left: dict[int, Job], done: Done, progress: Progress
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


def run_on_ray(jobs: Mapping[int, Job], address: str, done: Done, progress: Progress) -> None:
    """Do jobs on a Ray cluster; Ray runs those of a lost worker again.

    :param address: of the cluster; 'local' starts one on this machine.
    """
    import ray

    try:
        ray.init(address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise ActError(f'no Ray cluster at {address!r}: {reason}') from None
    try:
        remote = ray.remote(max_retries=RETRIES)(_work_alone)
        waiting = {remote.remote(job): number for number, job in jobs.items()}
        while waiting:
            finished, _ = ray.wait(list(waiting), timeout=0.2)
            for reference in finished:
                number = waiting.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, 'cause', None)
                    if isinstance(cause, ActError):
                        raise cause from None
                    text = ' '.join(str(error).split())[:200]
                    raise PolicyError(f'{jobs[number].name}: {text}') from None
                done(number, result)
                progress(number, result.about['grid'])
            if not progress(-1, 0):
                return
    finally:
        ray.shutdown()


def reach(address: str) -> None:
    """Fail soon where Ray is not installed or nobody listens: it would try for minutes.

    :raises ActError: saying which.
    """
    if importlib.util.find_spec('ray') is None:
        raise ActError("--ray needs Ray, which is not installed: pip install 'act_ros[ray]'")
    host, colon, port = address.removeprefix('ray://').rpartition(':')
    if not (colon and port.isdigit()):  # local or auto
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ActError(f'no Ray cluster at {address}: {error.strerror or error}') from None


# --- in a worker ---------------------------------------------------------------------------


_news: Any = None


def _begin(news: Any) -> None:
    global _news
    _news = news
    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None  # this is a worker
    end_with_parent(parent.pid)  # else it would work for nobody


def _work(number: int, job: Job) -> EpisodeResult:
    def tell(ticks: int) -> bool:
        _news.put((number, ticks))
        return True

    return run_episode(job, loaded(job.settings, job.load), tell)


def _work_alone(job: Job) -> EpisodeResult:
    return run_episode(job, loaded(job.settings, job.load))


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
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers at once, also those that are at work."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
