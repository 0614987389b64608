"""Inference beside the tick: a thread with a one-place mailbox."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from act_ros.control import Arrival, Request
from act_ros.policy import SharedPolicy


def infer(
    policy: SharedPolicy, request: Request, wanted: Callable[[], bool] = lambda: True
) -> tuple[Arrival, Exception | None]:
    """Answer a request; a failed one has no chunk, and the reason: the loop outlives it."""
    snapshot = request.snapshot
    try:
        chunk = policy.predict(snapshot.qpos, snapshot.images(), wanted=wanted)
        return Arrival(request, chunk), None
    except Exception as error:
        return Arrival(request, None), error


class InferenceThread:
    """Answers the newest request; one that is not begun yet is replaced by a newer one.

    The tick calls `submit` and `arrivals`; neither waits for the network. Where the tick is to
    have the answer at once it calls `wait` between them.
    """

    def __init__(self, policy: SharedPolicy) -> None:
        self._policy = policy
        self._mail: Request | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._done: deque[tuple[Arrival, Exception | None]] = deque()
        self.durations: deque[float] = deque(maxlen=512)  # [s]
        self.count = 0  # passes that gave a chunk, as in `durations`
        self._since: float | None = None  # when the pass that is running began
        self._thread = threading.Thread(target=self._run, name='inference', daemon=True)

    def start(self) -> None:
        """Begin answering."""
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Put a request into the mailbox."""
        with self._changed:
            self._mail = request
            self._changed.notify_all()

    def wait(self, timeout: float | None) -> None:
        """Wait until there is an answer, or the thread is closed.

        :param timeout: the longest [s]; None = as long as it takes.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._closed, timeout)

    def arrivals(self) -> Iterator[tuple[Arrival, Exception | None]]:
        """What has been answered since the last call."""
        while self._done:
            yield self._done.popleft()

    @property
    def busy(self) -> float:
        """For how long the pass that is running has been running [s]; 0 where none is."""
        since = self._since
        return 0.0 if since is None else time.perf_counter() - since

    def close(self, timeout: float = 0.0) -> None:
        """End the thread; a pass that takes longer than the time-out [s] is abandoned."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._policy.ask_again()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._mail is not None)
                if self._closed:
                    return
                request, self._mail = self._mail, None
            self._since = started = time.perf_counter()
            answer = infer(self._policy, request, lambda: not self._closed)
            self._since = None
            if answer[1] is None:
                self.durations.append(time.perf_counter() - started)
                self.count += 1
            with self._changed:
                self._done.append(answer)
                self._changed.notify_all()
