"""Do jobs on a Ray cluster; the results are the same as here."""

import importlib.util
import socket
from collections.abc import Callable, Mapping

from act_ros.errors import ActError, PolicyError
from act_ros.evaluation.run.episode import do_job
from act_ros.evaluation.run.plan import Job
from act_ros.evaluation.run.result import EpisodeResult
from act_ros.workers import RETRIES, Progress


def run_on_ray(
    jobs: Mapping[int, Job],
    address: str,
    done: Callable[[int, EpisodeResult], None],
    progress: Progress,
) -> None:
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
        remote = ray.remote(max_retries=RETRIES)(do_job)
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
