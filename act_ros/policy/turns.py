"""Turns at one loaded model: the robot's passes and its guests'."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from act_ros.errors import PolicyError
from act_ros.policy.process import PolicyProcess
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

    def ask_again(self) -> None:
        """Let those who wait ask whether they are still wanted."""
        with self._free:
            self._free.notify_all()

    def guest(self) -> 'GuestPolicy':
        """The same model for someone who takes turns with the robot."""
        return GuestPolicy(self)

    @contextlib.contextmanager
    def turn(
        self, *, robot: bool, wanted: Callable[[], bool] = lambda: True
    ) -> Iterator[PolicyProcess]:
        """Wait for a turn and have the model for one pass.

        :param robot: or a guest.
        :param wanted: whether the pass is still wanted, asked until it is one's turn.
        :raises PolicyError: it is not.
        """
        with self._free:
            self._waiting[robot] += 1
            self._free.wait_for(
                lambda: not wanted() or (not self._busy and self._is_next(robot))
            )
            self._waiting[robot] -= 1
            if not wanted():
                self._free.notify_all()
                raise PolicyError('the pass is no longer wanted')
            self._busy, self._last_was_robot = True, robot
        try:
            yield self.policy
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
        with self._shared.turn(robot=False) as policy:
            return policy.predict(qpos, images)
