"""One activation: the tick's thread around the control loop, from first to last command."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock

from act_ros.control import Arrival, ClockWatch, Command, ControlLoop, State
from act_ros.nodes.faults import FaultLog
from act_ros.nodes.inference import InferenceThread
from act_ros.nodes.messages import chunk_message, tick_message
from act_ros.nodes.ticker import SimTicker, SteadyTicker
from act_ros.nodes.wiring import Wiring
from act_ros.observation import Snapshot
from act_ros.parameters import Settings
from act_ros.policy import SharedPolicy
from act_ros.safety import Limits

log = logging.getLogger(__name__)


class Controller:
    """Runs the control loop on a ticker; lives from activation to deactivation.

    :param settings: the node's parameters.
    :param limits: on every command.
    :param clock: the node's clock: stamps, and the ticks of simulated time.
    :param simulated: whether that clock is simulated time.
    :param policy: the model, shared with the ZMQ endpoint.
    :param wiring: the store that the subscriptions fill, and the way out.
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
        policy: SharedPolicy,
        wiring: Wiring,
    ) -> None:
        rate = settings.control_rate
        self._synchronous = settings.inference == 'synchronous'
        self._simulated = simulated
        # Lock-step simulation may take as long as it likes: there, ages are ROS time.
        self._lock_step = simulated and self._synchronous
        self._clock = clock
        self._task = policy.policy.task
        self._wiring = wiring
        self.loop = ControlLoop.from_settings(
            settings,
            self._task,
            policy.policy.chunk_size,
            limits,
            horizon=wiring.needs_horizon,
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
        self._wait = None if self._lock_step else 1 / rate
        self._clock_watch = None if simulated else ClockWatch()
        self._patience = settings.command_timeout
        self.faults = FaultLog()
        self._inference_faults = FaultLog()
        self._tick_faults = FaultLog()
        self.ticks = 0
        self.published = 0
        self.depth = 0
        self.jitter: deque[float] = deque(maxlen=1500)
        # Whoever stops the controller takes this lock: a tick that comes back late from a
        # long pass finds it stopped and stays off the wire.
        self._wire = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Begin ticking."""
        self.inference.start()
        self.ticker.start()

    def stop(self, timeout: float) -> None:
        """Send the stop policy's message, and nothing after it; a running pass is abandoned.

        :param timeout: longest wait for the tick's thread to end [s].
        """
        try:
            with self._wire:
                stopped, self._stopped = self._stopped, True
                if not stopped and (message := self.loop.stop_message()) is not None:
                    self._wiring.send(message.values, self._clock.now().to_msg())
        finally:
            self.inference.close()
            self.ticker.stop(timeout)

    def clock_jumped(self, text: str | None) -> None:
        """Simulated time has moved.

        :param text: what to say of a jump back, which begins a new episode; None for the rest.
        """
        if text is not None:
            self.loop.clock_jumped(text)
        self.ticker.jumped(text is not None)

    def _guarded(self, work: Callable) -> Callable:
        """No command comes of a failure; the next tick is another chance."""

        def run(*args: int) -> None:
            try:
                work(*args)
            except Exception as error:
                self._tick_faults.failed('the control tick', error)
            else:
                self._tick_faults.failed('the control tick', None)

        return run

    def _tick(self, now: int) -> None:
        self.ticks += 1
        deadman, store = self._wiring.deadman, self._wiring.store
        veto = None if deadman is None else deadman.veto()
        self._notice_clock()
        self.loop.begin_tick(now, now if self._lock_step else time.monotonic_ns(), veto)
        measured, _ = store.measured(self._clock.now().nanoseconds)
        arrived = self._take_arrivals()
        if self._synchronous:
            snapshot = self._look()
            free = not self.inference.busy
            if self._ask(snapshot) and free:
                self.inference.wait(self._wait)
                arrived += self._take_arrivals()
        command = self.loop.command(measured)
        self._send(command, now)
        # Everything that follows may take its time.
        if not self._synchronous:
            snapshot = self._look()
            self._ask(snapshot)
        for arrival in arrived:
            self._show_chunk(arrival)
        if self._wiring.tick is not None:
            stamps = snapshot.stamps if snapshot is not None else {}
            stamp = self._clock.now().to_msg()
            message = tick_message(self.loop.step, self.loop.episode, stamps, command, stamp)
            self._on_wire(lambda: self._wiring.tick.publish(message))

    def _idle(self) -> None:
        """While the clock stands still, commands end in steady time."""
        command = self.loop.idle(time.monotonic_ns())
        if command is not None:
            self._on_wire(lambda: self._wiring.send(command.values, self._clock.now().to_msg()))

    def _look(self) -> Snapshot | None:
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
            self._inference_faults.failed('inference', failure)
            if self.loop.accept(arrival):
                useful.append(arrival)
        return useful

    def _show_chunk(self, arrival: Arrival) -> None:
        if self._wiring.chunk is not None:
            stamp = arrival.request.snapshot.taken
            message = chunk_message(self._task, arrival.chunk, stamp)
            self._on_wire(lambda: self._wiring.chunk.publish(message))

    def _notice_clock(self) -> None:
        """After the system's clock was set, ages mean nothing: every input must come anew."""
        if self._clock_watch is None:
            return
        before, now = time.monotonic_ns(), self._clock.now().nanoseconds
        moved = self._clock_watch.moved(before, now, time.monotonic_ns())
        if moved:
            self._wiring.store.clear()
            log.warning("the system's clock was set by %+.3f s: new inputs count", moved / 1e9)

    def _send(self, command: Command | None, due: int) -> None:
        if command is None:
            return
        self.ticker.keep_until(due)
        stamp = self._clock.now().to_msg()
        if not self._on_wire(
            lambda: self._wiring.send(command.values, stamp, command.horizon)
        ):
            return
        if command.action is not None:
            self.published += 1
            self.depth = len(command.chunk_steps)
        if not self._simulated:
            self.jitter.append((time.monotonic_ns() - due) / 1e9)

    def _on_wire(self, publish: Callable[[], None]) -> bool:
        """Publish, unless the controller has been stopped meanwhile."""
        with self._wire:
            if not self._stopped:
                publish()
            return not self._stopped

    def conditions(self) -> list[tuple[bytes, str]]:
        """What is wrong now: level and one line each."""
        loop, found = self.loop, []
        reason = loop.status.reason
        if loop.state is State.LATCHED:
            found.append((DiagnosticStatus.ERROR, f'{reason}; only ~/reset starts again'))
        elif reason:
            found.append((DiagnosticStatus.WARN, reason))
        busy = self.inference.busy
        if busy > self._patience or (busy > self._patience / 2 and reason):
            doing = self.inference.doing
            found.append((DiagnosticStatus.WARN, f'inference has been {doing} for {busy:.2f} s'))
        logs = (self.faults, self._inference_faults, self._tick_faults)
        found += [(DiagnosticStatus.WARN, text) for log in logs for text in log.current.values()]
        return found
