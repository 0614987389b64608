"""One activation: the tick's thread around the control loop, from first to last command."""

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock

from act_ros.control import Arrival, ClockWatch, Command, ControlLoop, State
from act_ros.nodes.faults import FaultLog, describe
from act_ros.nodes.guard import TickGuard
from act_ros.nodes.inference import InferenceThread
from act_ros.nodes.messages import chunk_message, tick_message
from act_ros.nodes.ticker import SimTicker, SteadyTicker
from act_ros.nodes.wiring import Wiring
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.policy.interface import SharedPredictor
from act_ros.safety import Limits

log = logging.getLogger(__name__)

# A tick that was stuck in a publisher while its controller was stopped sends the stop message in
# its place, but no later than this after the stop [s].
LAST_WORD = 0.25
# At the end of an activation the robot brakes for no longer; what its limits would take longer
# for is braked as much harder [s].
BRAKING = 0.5
# The first message of that comes a tick after the last command, and no later [s].
FIRST_WORD = 0.08


class Controller:
    """Runs the control loop on a ticker; lives from activation to deactivation.

    :param settings: the node's parameters.
    :param limits: on every command.
    :param clock: the node's clock: stamps, and the ticks of simulated time.
    :param simulated: whether that clock is simulated time.
    :param policy: the model, shared with the ZMQ endpoint.
    :param wiring: the store that the subscriptions fill, and the way out.
    :param wire: whoever publishes has it: one lock for all activations of a node, none of which
        may begin while it is held. Messages are filled anew at each tick.
    :ivar rate: of the ticks, each with a command [Hz].
    :ivar faults: of the inputs.
    :ivar inference_faults: of the newest pass.
    :ivar guard: of the tick's thread.
    :ivar jitter: publishing against the grid [s].
    :ivar depth: chunks behind the last command.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        *,
        clock: Clock,
        simulated: bool,
        policy: SharedPredictor,
        wiring: Wiring,
        wire: threading.Lock,
    ) -> None:
        self.rate = rate = settings.tick_rate
        self._period = 1 / rate
        self._synchronous = settings.inference == 'synchronous'
        self._simulated = simulated
        # Lock-step simulation may take as long as it likes: there, ages are ROS time.
        self._lock_step = simulated and self._synchronous
        self._clock = clock
        self._task = policy.task
        self._wiring = wiring
        self.loop = ControlLoop(
            settings,
            self._task,
            policy.chunk_size,
            limits,
            horizon=wiring.horizon,
            follows=not settings.dry_run,
        )
        self.ticker = (
            SimTicker(
                clock, rate, self._guarded(self._tick),
                idle=None if self._lock_step else self._guarded(self._idle),
            )
            if simulated
            else SteadyTicker(rate, self._guarded(self._tick), settings.realtime_priority)
        )  # fmt: skip
        self.inference = InferenceThread(policy)
        # A synchronous pass is waited for; in real time no longer than for the next tick, so
        # that one that hangs ends the commands as it does asynchronously.
        self._wait = None if self._lock_step else self._period
        self._clock_watch = None if simulated else ClockWatch()
        self._patience = settings.command_timeout
        self.faults = FaultLog()
        self.inference_faults = FaultLog()
        self._tick_faults = FaultLog()
        self._stop_faults = FaultLog()
        self.ticks = 0
        self.published = 0
        self.depth = 0
        self.jitter: deque[float] = deque(maxlen=1500)
        self.guard = TickGuard(
            self.ticker, self._period, self.loop.interrupt, self._hold_for_a_stuck_tick
        )
        # Whoever has the wire works out what it sends, so that each command follows the one that
        # went out before it. A tick that comes late finds the controller stopped, or itself
        # interrupted, and stays off the wire; one that is stuck while it has the wire sends the
        # stop message itself when it comes back. When that is long after the end, it sends
        # nothing: the robot may be somebody else's.
        self._wire = wire
        self._sent = -math.inf  # when the last message was [s, steady]
        self._stopped = False
        self._last_moment = math.inf  # of the stop policy's message [s]
        self._given_up = False  # waiting for the wire
        self._interrupted = False  # the tick that is under way
        self._said_last = False

    def start(self) -> None:
        """Begin ticking."""
        self.inference.start()
        self.guard.start()
        self.ticker.start()

    def stop(self, timeout: float) -> None:
        """Brake, and send nothing after that; a running pass is abandoned.

        It is this thread that brakes: that of the ticks may be stuck, and this one may be what
        brings simulated time.

        :param timeout: longest wait for a tick that publishes, and for its thread to end [s].
        """
        self.guard.stop()
        self._last_moment = time.monotonic() + max(timeout, LAST_WORD)
        self._stopped = True
        self.ticker.stop(0)
        if self._take_wire(timeout):
            self._last_moment = math.inf  # who waits for this waits for all of it
            try:
                self._brake()
            finally:
                self._wire.release()
        self.inference.close()
        self.ticker.stop(timeout)

    def clock_jumped(self, text: str | None) -> None:
        """Simulated time has moved.

        :param text: what to say of a jump back, which begins a new episode; None for the rest.
        """
        if text is not None:
            self.loop.clock_jumped(text)
        self.ticker.jumped(text is not None)

    def _guarded(self, work: Callable[..., None]) -> Callable[..., None]:
        """The tick's work: whatever it raises ends the commands, and never the thread."""

        def run(*now: int) -> None:
            self._interrupted = False
            try:
                work(*now)
                self._tick_faults.failed('the control tick', None)
            except BaseException as error:
                self._fail(error, *now)

        return run

    def _fail(self, error: BaseException, now: int | None = None) -> None:
        """The stop policy's message first; then there is time to say why."""
        failure = None
        reason = f'the control tick failed: {describe(error)}'
        try:
            self._on_wire(lambda: self._send_stop(self.loop.fail(reason, now)))
        except BaseException as another:
            failure = another
        with contextlib.suppress(BaseException):  # no memory, say: the next tick tries again
            self._stop_faults.failed('the stop message', failure)
            self._tick_faults.failed('the control tick', error)

    def _tick(self, now: int) -> None:
        self.ticks += 1
        deadman, store = self._wiring.deadman, self._wiring.store
        veto = None if deadman is None else deadman.veto()
        self._notice_clock()
        self.loop.begin_tick(now, now if self._lock_step else time.monotonic_ns(), veto)
        measured, _ = store.measured(self._clock.now().nanoseconds)
        arrived = self._take_arrivals()
        snapshot = None
        if self._synchronous and self.loop.looks:
            snapshot = self._take_snapshot()
            free = not self.inference.busy
            if self._ask(snapshot) and free:
                self.inference.wait(self._wait)
                arrived += self._take_arrivals()
        command = self._command(measured, now)
        # Everything that follows may take its time.
        if not self._synchronous and self.loop.looks:
            snapshot = self._take_snapshot()
            self._ask(snapshot)
        for arrival in arrived:
            self._show_chunk(arrival)
        if self.loop.looks:
            self._show_tick(snapshot, command)

    def _idle(self) -> None:
        """While the clock stands still, commands end in steady time."""
        self._on_wire(lambda: self._send_stop(self.loop.idle(time.monotonic_ns())))

    @property
    def _time(self) -> int:
        """On the clock of steps [ns]."""
        return self._clock.now().nanoseconds if self._simulated else time.monotonic_ns()

    def _take_snapshot(self) -> Snapshot | None:
        snapshot, faults = self._wiring.store.snapshot(self._clock.now().nanoseconds)
        self.faults.update(faults)
        return snapshot

    def _ask(self, snapshot: Snapshot | None) -> bool:
        request = self.loop.request(snapshot)
        if request is not None:
            self.inference.submit(request)
        return request is not None

    def _take_arrivals(self) -> list[Arrival]:
        """Chunks that have arrived and are of use."""
        useful = []
        for arrival, failure in self.inference.arrivals():
            self.inference_faults.failed('inference', failure)
            if self.loop.accept(arrival):
                useful.append(arrival)
        return useful

    def _show_chunk(self, arrival: Arrival) -> None:
        publisher = self._wiring.chunk
        if publisher is not None and arrival.chunk is not None:
            message = chunk_message(self._task, arrival.chunk, arrival.request.snapshot.taken)
            self._on_wire(lambda: publisher.publish(message))

    def _show_tick(self, snapshot: Snapshot | None, command: Command | None) -> None:
        publisher = self._wiring.tick
        if publisher is not None:
            stamps = snapshot.stamps if snapshot is not None else {}
            stamp = self._clock.now().to_msg()
            message = tick_message(self.loop.step, self.loop.episode, stamps, command, stamp)
            self._on_wire(lambda: publisher.publish(message))

    def _notice_clock(self) -> None:
        """After the system's clock was set, ages mean nothing: every input must come anew."""
        if self._clock_watch is None:
            return
        before, now = time.monotonic_ns(), self._clock.now().nanoseconds
        moved = self._clock_watch.moved(before, now, time.monotonic_ns())
        if moved:
            self._wiring.store.clear()
            log.warning("the system's clock was set by %+.3f s: new inputs count", moved / 1e9)

    def _command(self, measured: np.ndarray | None, due: int) -> Command | None:
        """Work out the tick's command and send it when it is due."""
        command = None

        def send() -> None:
            nonlocal command
            command = self.loop.command(measured)
            if command is None:
                return
            self.ticker.keep_until(due)
            if command.action is None:
                self._send_stop(command)
            elif self._publish(command):
                self.published += 1
                self.depth = len(command.chunk_steps)
            if not self._simulated:
                self.jitter.append((time.monotonic_ns() - due) / 1e9)

        self._on_wire(send)
        return command

    def _publish(self, command: Command) -> bool:
        """Send a command of the plan; whether it has gone out."""
        sent = False
        try:
            stamp = self._clock.now().to_msg()
            sent = self._wiring.send(command.values, stamp, self._wanted, command.ahead)
        finally:
            self._sent = time.monotonic()
            if not sent:
                self.loop.take_back()
        return sent

    def _wanted(self) -> bool:
        """Whether the tick's command is still to go out."""
        return not (self._stopped or self._interrupted)

    def _in_time(self) -> bool:
        """Whether a stop message is still to go out."""
        return time.monotonic() <= self._last_moment

    def _send_stop(self, message: Command | None) -> None:
        """Send the stop policy's message, if there is any; for whoever has the wire."""
        if message is None:
            return
        self._sent = time.monotonic()
        stamp = self._clock.now().to_msg()
        self._wiring.send_stop(message.values, stamp, self._in_time, message.ahead)

    def _on_wire(self, send: Callable[[], None]) -> None:
        """Do what sends, unless the controller was stopped or the tick interrupted meanwhile."""
        try:
            with self._wire:
                if not self._wanted():
                    return
                try:
                    send()
                finally:
                    if self._interrupted and not self._stopped:
                        self._send_stop(self.loop.stop_message(now=self._time))
        finally:
            # Looked at without the wire: who gives up waiting for it says so and tries again.
            if self._given_up:
                self._say_last()

    def _take_wire(self, timeout: float) -> bool:
        """Get the wire, or leave the last word to the tick that has it."""
        if self._wire.acquire(timeout=timeout):
            return True
        self._given_up = True
        return self._wire.acquire(blocking=False)

    def _say_last(self) -> None:
        """The last message, of a tick that could not be waited for: at rest, at once."""
        with self._wire:
            if self._said_last:
                return
            self._said_last = True
            if self._in_time():
                self._send_stop(self.loop.stop_message(1, self._time))
            else:
                log.error(
                    'a publisher came back more than %g s after the end: what it held up has '
                    'gone out late, and no stop message follows it', LAST_WORD,
                )  # fmt: skip

    def _brake(self) -> None:
        """Stop messages, each in the time of a tick, the last of them at rest."""
        if self._said_last:
            return
        self._said_last = True
        wait = min(self._sent + self._period - time.monotonic(), FIRST_WORD)
        count = min(self.loop.messages_to_rest(self._time), max(1, int(BRAKING * self.rate)))
        for left in range(count, 0, -1):
            time.sleep(max(0.0, wait))
            try:
                self._send_stop(self.loop.stop_message(left, self._time))
            except Exception as error:  # the next may come through; everything else is to end
                self._stop_faults.failed('the stop message', error)
            wait = self._sent + self._period - time.monotonic()

    def _hold_for_a_stuck_tick(self) -> None:
        self._interrupted = True
        if self._wire.acquire(timeout=self._period):
            try:
                if not self._stopped:
                    self._send_stop(self.loop.stop_message(now=self._time))
            finally:
                self._wire.release()

    def conditions(self) -> list[tuple[bytes, str]]:
        """What is wrong now: level and one line each."""
        loop, found = self.loop, []
        reason = loop.status.reason
        if self.guard.trouble:
            found.append((DiagnosticStatus.ERROR, self.guard.trouble))
        if not self.guard.alive:
            found.append((DiagnosticStatus.ERROR, 'nobody watches the control tick any more'))
        if loop.state is State.LATCHED:
            found.append((DiagnosticStatus.ERROR, f'{reason}; only ~/reset starts again'))
        elif reason:
            found.append((DiagnosticStatus.WARN, reason))
        busy = self.inference.busy
        if busy > self._patience or (busy > self._patience / 2 and reason):
            doing = self.inference.doing
            found.append((DiagnosticStatus.WARN, f'inference has been {doing} for {busy:.2f} s'))
        # A tick that fails is the reason of a stop already.
        logs = (self.faults, self.inference_faults, self._stop_faults)
        found += [(DiagnosticStatus.WARN, text) for log in logs for text in log.current.values()]
        return found
