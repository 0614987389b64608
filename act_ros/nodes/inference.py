"""Inference beside the tick: a thread with a one-place mailbox, and turns at the model."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from act_ros.control import Arrival, Request
from act_ros.errors import PolicyError
from act_ros.policy import PolicyProcess
from act_ros.task import Task


class SharedPolicy:
    """One loaded model for the robot and its guests: one pass at a time, in turns.

    An asynchronous robot always wants the next pass, so a guest who waited during one of them
    goes before the next: neither starves, and the robot waits for one pass at most. Of two who
    wait for a free model the one who was not served last is first.
    """

    def __init__(self, policy: PolicyProcess) -> None:
        self.policy = policy
        self._free = threading.Condition()
        self._busy = False
        self._waiting = {True: 0, False: 0}  # the robot, the guests
        self._last_was_robot = False

    def predict(
        self,
        qpos: np.ndarray,
        images: Mapping[str, np.ndarray],
        *,
        robot: bool = True,
        wanted: Callable[[], bool] = lambda: True,
    ) -> np.ndarray:
        """`PolicyProcess.predict` for the robot, or for a guest.

        :param wanted: whether the answer is still wanted, asked until it is one's turn.
        :raises PolicyError: it is not.
        """
        with self._turn(robot, wanted):
            return self.policy.predict(qpos, images)

    def ask_again(self) -> None:
        """Let those who wait ask whether they are still wanted."""
        with self._free:
            self._free.notify_all()

    def guest(self) -> 'GuestPolicy':
        """The same model for someone who takes turns with the robot."""
        return GuestPolicy(self)

    @contextlib.contextmanager
    def _turn(self, robot: bool, wanted: Callable[[], bool]) -> Iterator[None]:
        with self._free:
            self._waiting[robot] += 1
            self._free.wait_for(
                lambda: not wanted() or (not self._busy and self._is_next(robot))
            )
            self._waiting[robot] -= 1
            if not wanted():
                self._free.notify_all()
                raise PolicyError('the answer is no longer wanted')
            self._busy, self._last_was_robot = True, robot
        try:
            yield
        finally:
            with self._free:
                self._busy = False
                self._free.notify_all()

    def _is_next(self, robot: bool) -> bool:
        if not self._waiting[not robot]:
            return True
        return robot != self._last_was_robot


class GuestPolicy:
    """What `act_ros.policy.Rollout` needs of a policy, at a shared model."""

    def __init__(self, shared: SharedPolicy) -> None:
        self._shared = shared
        self.task: Task = shared.policy.task
        self.chunk_size = shared.policy.chunk_size

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """`PolicyProcess.predict`, when it is a guest's turn."""
        return self._shared.predict(qpos, images, robot=False)


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
