"""Inference beside the tick: a thread with a one-place mailbox."""

import threading
import time
from collections import deque
from collections.abc import Iterator

from act_ros.control import Arrival, Request
from act_ros.errors import PolicyError
from act_ros.policy.interface import Observation, SharedPredictor


class InferenceThread:
    """Answers the newest request; one that is not begun yet is replaced by a newer one.

    The request is taken when it is the robot's turn at the model, not before: while a guest has
    the model, newer observations come. Then its frames are decoded; a chunk is never predicted
    from an older observation than the one there was when its pass began.

    The tick calls `submit` and `arrivals`; neither waits for the network. Where the tick is to
    have the answer at once it calls `wait` between them.
    """

    def __init__(self, policy: SharedPredictor) -> None:
        self._policy = policy
        self._mail: Request | None = None
        self._episode = 0  # that the policy knows of
        self._changed = threading.Condition()
        self._closed = False
        self._done: deque[tuple[Arrival, BaseException | None]] = deque()
        self.durations: deque[float] = deque(maxlen=512)  # [s]
        self.count = 0  # passes that gave a chunk, as in `durations`
        self._since: float | None = None  # when it began to wait for its turn at a pass
        self._running = False  # it is its turn
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

    def arrivals(self) -> Iterator[tuple[Arrival, BaseException | None]]:
        """What has been answered since the last call."""
        while self._done:
            yield self._done.popleft()

    @property
    def busy(self) -> float:
        """For how long an answer has been coming [s]; 0 where none is."""
        since = self._since
        return 0.0 if since is None else time.perf_counter() - since

    @property
    def doing(self) -> str:
        """What an answer is waiting for, in words."""
        return 'running' if self._running else 'waiting for its turn at the model'

    @property
    def alive(self) -> bool:
        """Whether the thread answers requests."""
        return self._thread.is_alive()

    def close(self, timeout: float = 0.0) -> None:
        """End the thread; a pass that takes longer than the time-out [s] is abandoned."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._mail is not None)
                if self._closed:
                    return
            self._since = time.perf_counter()
            answer = self._answer()
            self._since = None
            if answer is not None:
                with self._changed:
                    self._done.append(answer)
                    self._changed.notify_all()

    def _answer(self) -> tuple[Arrival, BaseException | None] | None:
        """The answer to the newest request, and why it has no chunk; None for nobody."""
        request: Request | None = None
        started = 0.0

        def observe() -> Observation:
            nonlocal request, started
            self._running, started = True, time.perf_counter()
            request = self._take()
            if request is None or request.episode != self._episode:
                raise PolicyError('the pass is no longer wanted')
            return request.snapshot.qpos, request.snapshot.images()

        try:
            self._tell_of_the_episode()
            chunk = self._policy.predict_newest(observe)
            assert request is not None  # it was asked for
            self.durations.append(time.perf_counter() - started)
            self.count += 1
            return Arrival(request, chunk), None
        except BaseException as error:  # whatever it is: the next request is another chance
            request = request or self._take()  # no turn comes where the model is gone
            return None if request is None else (Arrival(request, None), error)
        finally:
            self._running = False

    def _tell_of_the_episode(self) -> None:
        with self._changed:
            episode = self._mail.episode if self._mail is not None else self._episode
        if episode != self._episode:
            self._policy.reset()
            self._episode = episode

    def _take(self) -> Request | None:
        """The newest request, out of the mailbox; None where the thread is closed."""
        with self._changed:
            request, self._mail = self._mail, None
            return None if self._closed else request
