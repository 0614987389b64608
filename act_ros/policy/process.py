"""A policy in a process of its own, used as if it were here.

Beside a control loop the network costs twice when it shares the process: its threads hold the
interpreter while the tick waits for it, and what crashes it takes the controller along. So it
is loaded in a child. The frames go through anonymous shared memory, the rest are small messages.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from act_ros.errors import PolicyError
from act_ros.helper_process import END_TIMEOUT, EndedError, HelperProcess
from act_ros.policy.buffers import PolicyInfo, SharedBuffers, make_memory
from act_ros.policy.guest import GuestPlace
from act_ros.policy.interface import Observation, blank_observation, check_observation

LOAD = 'act_ros.policy:load_policy'
# By its name: policies know nothing of the bridge.
REMOTE = 'act_ros.bridge.remote:load_remote'


class PolicyProcess:
    """The interface of `Policy`, at the end of a socket.

    Calls may come from any thread, `close` also while another one is being answered.

    :param load: 'module:function' that loads the policy in the child.
    :param torch_threads: CPU threads of the network; 0 = torch's own choice, None = there is no
        network, nor any need of torch.
    """

    def __init__(self, load: str = LOAD, *, torch_threads: int | None = 0) -> None:
        self._exchange = threading.Lock()  # whose observation is in the buffers, and its answer
        self._closed = False
        self._buffers: SharedBuffers | None = None
        self._shade = 0  # of the frames of the last warm-up
        try:
            self._helper = HelperProcess(
                'the inference process', 'act_ros.policy.worker', load,
                '' if torch_threads is None else str(torch_threads),
            )
        except EndedError as error:
            raise PolicyError(str(error)) from None

    def load(self, *arguments: object, **options: object) -> None:
        """Load the policy.

        :raises ActError: as `load_policy`.
        """
        with self._exchange:
            self._info: PolicyInfo = self._ask('load', (arguments, options))
            memory = make_memory(self._info, 1)
            try:
                self._ask('share', files=(memory,))
                self._buffers = SharedBuffers(memory, self._info, 1)
            finally:
                os.close(memory)
        info = self._info
        self.task = info.task
        self.chunk_size = info.chunk_size
        self.state_dim, self.action_dim = info.state_dim, info.action_dim
        self.statistics = info.statistics
        self.about, self.held = info.about, info.held

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """As `Policy.predict`.

        :raises PolicyError: the child has ended, too.
        """
        return self.predict_newest(lambda: (qpos, images))

    def predict_newest(self, observe: Callable[[], Observation]) -> np.ndarray:
        """As `predict`, from what there is when it is the robot's turn at the model.

        :param observe: gives the observation, once it is. What it raises is raised.
        """
        with self._exchange:
            self._ask('turn')
            try:
                qpos, images = observe()
                check_observation(self.task, qpos, images)
                buffers = self._buffers
                assert buffers is not None  # else there is nobody to give turns
                buffers.put(0, qpos, images)
            except BaseException:
                self._ask('pass')
                raise
            self._ask('predict')
            return buffers.chunks[0].copy()

    def reset(self) -> None:
        """A new episode begins; of use to a policy that keeps one.

        :raises PolicyError: as `predict`.
        """
        if self.held:  # no other one keeps any; and the model may be a guest's just now
            with self._exchange:
                self._ask('reset')

    def warm_up(self) -> None:
        """One pass on frames that were not there before: what a pass takes at most."""
        self._shade += 1
        self.predict(*blank_observation(self.task, self.statistics, self._shade))

    def admit(self, count: int) -> GuestPlace:
        """Make a place for a guest, in another process perhaps; one before it has to leave.

        :param count: observations that go through in one pass of its at most.
        :returns: for `GuestPolicy`; its files are to be closed here once that process has them.
        """
        # Messages come whole or not at all: a guest that is cut off keeps nobody waiting.
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            place = GuestPlace(self._info, count, theirs.detach(), make_memory(self._info, count))
            try:
                with self._exchange:
                    self._ask('admit', count, (ours.fileno(), place.memory))
            except BaseException:
                place.close()
                raise
        return place

    def close(self) -> None:
        """End the child, whatever it is doing; a call that waits for it fails at once.

        Returns within a few seconds, also where the kernel cannot end the child.
        """
        self._closed = True
        self._helper.end()
        # Free at once, for there is nobody left to wait for; but its observation may take time.
        if self._exchange.acquire(timeout=END_TIMEOUT):
            self._buffers = None
            self._helper.release()
            self._exchange.release()

    def _ask(self, what: str, detail: object = None, files: tuple[int, ...] = ()) -> Any:
        """Send a request and wait for what comes of it."""
        try:
            return self._helper.ask(what, detail, files)
        except EndedError as error:
            hint = '' if self._closed else '; clean up and configure again'
            raise PolicyError(f'{error}{hint}') from None
