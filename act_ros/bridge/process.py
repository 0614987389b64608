"""The node's ZMQ endpoint in a process of its own: whatever reaches the port, the tick goes on."""

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from act_ros.errors import one_line
from act_ros.helper_process import EndedError, HelperProcess
from act_ros.parameters import Settings
from act_ros.policy.guest import GuestPlace

log = logging.getLogger(__name__)

DRAIN = 1.2  # for the replies to all who wait, from `close` on [s]
SHORTEST, LONGEST = 2.0, 60.0  # before a process that has ended is started again [s]
# Its arithmetic is small. A thread a core would have a stack each, in a memory that is bounded.
ENVIRONMENT = dict.fromkeys(
    ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'OPENCV_FOR_THREADS_NUM'), '1'
)


@dataclass(frozen=True)
class Setup:
    """Where the process is to serve, and how."""

    settings: Settings
    endpoint: str


class EndpointProcess:
    """Serves ZMQ clients from `begin` to `close`, and again where its process ends.

    Until then they are told that the model loads.

    :param settings: of the node.
    :ivar endpoint: where it listens, with the port's number.
    :ivar fault: why it does not now; '' while it does.
    :ivar counts: of the server, a second old at most.
    :ivar restarts: how often its process was started again.
    :raises ActError: the endpoint cannot be bound.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.endpoint = settings.zmq_endpoint
        self.fault = ''
        self.counts: dict[str, int] = {}
        self.restarts = 0
        self._ending = threading.Event()
        # Held while the process is exchanged for another one, and by whoever sends it something.
        self._lock = threading.Lock()
        self._helper: HelperProcess | None = None
        self._watcher: threading.Thread | None = None
        self._start()

    def begin(self, admit: Callable[[], GuestPlace]) -> None:
        """Serve the model from here on.

        :param admit: makes a place at it, for each process anew.
        :raises ActError: the settings do not fit the model.
        """
        self._admit = admit
        try:
            self._give_place()
        except EndedError as error:  # while the model was being loaded
            self._lose(error)
        self._watcher = threading.Thread(target=self._watch, name='zmq', daemon=True)
        self._watcher.start()

    def set_decay(self, decay: float) -> None:
        """Take another decay at once."""
        with self._lock:
            self._settings = replace(self._settings, decay=decay)
            self._send('decay', decay)

    def stop(self) -> None:
        """Answer no more requests: all who wait are told so. Returns at once."""
        self._ending.set()
        with self._lock:
            self._send('stop')

    def close(self) -> None:
        """Stop, and wait until the address is free; a second or so at most."""
        self.stop()
        helper = self._helper
        if helper is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                helper.child.wait(DRAIN)
            helper.end()
        if self._watcher is not None:
            self._watcher.join(DRAIN)
        if helper is not None:
            helper.release()

    def _send(self, what: str, detail: object = None) -> None:
        if self._helper is not None:
            with contextlib.suppress(EndedError):  # the watcher sees it, too
                self._helper.send(what, detail)

    def _start(self) -> None:
        """Start the process and wait until it listens."""
        with self._lock:
            if self._ending.is_set():
                raise EndedError('the ZMQ endpoint was ended')
            helper = self._helper = HelperProcess(
                'the ZMQ endpoint', 'act_ros.bridge.child', environment=ENVIRONMENT
            )
            helper.send('serve', Setup(self._settings, self.endpoint))
        try:
            self.endpoint = helper.answer()
        except BaseException:
            self._drop()
            raise

    def _give_place(self) -> None:
        """Give the process a place at the model and wait until it serves."""
        helper = self._helper
        assert helper is not None  # it was started
        try:
            with contextlib.closing(self._admit()) as place, self._lock:
                helper.send('begin', place, place.files)
            helper.answer()
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.end()
            helper.release()

    def _watch(self) -> None:
        """Take the counts; start the process again where it ends, at a bounded rate."""
        pause = SHORTEST
        while True:
            began = time.monotonic()
            if not self.fault:
                self._take_counts()
            if time.monotonic() - began > LONGEST:
                pause = SHORTEST
            while self.fault:
                if self._ending.wait(pause):
                    return
                pause = min(2 * pause, LONGEST)
                self._restart()
            if self._ending.is_set():
                return

    def _take_counts(self) -> None:
        """Until the process ends, which is a fault unless it was told to."""
        helper = self._helper
        assert helper is not None  # it was started
        try:
            while True:
                _, self.counts = helper.receive()
        except EndedError as error:
            if not self._ending.is_set():
                self._drop()
                self._lose(error)

    def _restart(self) -> None:
        try:
            self._start()
            self._give_place()
        except Exception as error:  # no memory, say: the next try may find some
            self._lose(error)
        else:
            self.fault = ''
            self.restarts += 1
            log.info('serving ZMQ on %s again', self.endpoint)

    def _lose(self, error: Exception) -> None:
        fault = f'{self.endpoint} is not served ({one_line(error)}); it is tried again'
        if fault != self.fault and not self._ending.is_set():
            log.warning('%s', fault)
        self.fault = fault
