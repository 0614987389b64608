"""One activation: the tick's thread around the control loop, from first to last command."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from sensor_msgs.msg import JointState

from act_ros.control import Arrival, Command, ControlLoop
from act_ros.nodes.faults import FaultLog
from act_ros.nodes.inference import InferenceThread, SharedPolicy, infer
from act_ros.nodes.messages import JointCommandBuilder, tick_message
from act_ros.nodes.ticker import SimTicker, SteadyTicker
from act_ros.observation import ObservationStore, Snapshot


class Controller:
    """Runs the control loop on a ticker; lives from activation to deactivation.

    :param settings: the node's parameters.
    :param clock: the node's clock: stamps, and the ticks of simulated time.
    :param simulated: whether that clock is simulated time.
    :param policy: the model, shared with the ZMQ endpoint.
    :param store: what the subscriptions fill.
    :param commands: builds the command messages.
    :param publish: sends a command.
    :param publish_tick: sends `~/tick`; None leaves it out.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        clock: Clock,
        simulated: bool,
        policy: SharedPolicy,
        store: ObservationStore,
        commands: JointCommandBuilder,
        publish: Callable[[JointState], None],
        publish_tick: Callable[[DiagnosticArray], None] | None,
    ) -> None:
        rate = settings['control_rate']
        self._synchronous = settings['inference'] == 'synchronous'
        self._clock = clock
        self._simulated = simulated
        self._policy = policy
        self._store = store
        self._commands = commands
        self._publish = publish
        self._publish_tick = publish_tick
        self.loop = ControlLoop(
            policy.policy.chunk_size,
            policy.policy.task.action_dim,
            rate=rate,
            command_timeout=settings['command_timeout'],
            temporal_aggregation=settings['temporal_aggregation'],
            query_every=settings['query_every'],
            decay=settings['decay'],
        )
        self.ticker = (
            SimTicker(clock, rate, self._guarded_tick)
            if simulated
            else SteadyTicker(rate, self._guarded_tick)
        )
        self.inference = None if self._synchronous else InferenceThread(policy)
        self.faults = FaultLog()
        self._inference_faults = FaultLog()
        self._tick_faults = FaultLog()
        self.ticks = 0
        self.published = 0
        self.jitter: deque[float] = deque(maxlen=1500)  # publishing against the grid [s]
        # Whoever stops the controller takes this lock: a tick that comes back late from a
        # long pass finds it stopped and stays off the wire.
        self._wire = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Begin ticking."""
        self.ticker.start()

    def stop(self, timeout: float) -> None:
        """No command leaves after this; a pass still running is abandoned.

        :param timeout: longest wait for the tick's thread to end [s].
        """
        with self._wire:
            self._stopped = True
        self.ticker.stop(timeout)
        if self.inference is not None:
            self.inference.close()

    def clock_jumped(self, backward: bool) -> None:
        """Simulated time has moved; a jump back begins a new episode."""
        if backward:
            self.loop.new_episode()
        self.ticker.jumped(backward)

    def _guarded_tick(self, now: int) -> None:
        try:
            self._tick(now)
        except Exception as error:  # no command comes of it; the next tick is another chance
            self._tick_faults.failed('the control tick', error)
        else:
            self._tick_faults.failed('the control tick', None)

    def _tick(self, now: int) -> None:
        steady = time.monotonic_ns()
        # Lock-step simulation may take as long as it likes: there, ages are ROS time.
        lock_step = self._simulated and self._synchronous
        self.ticks += 1
        self.loop.begin_tick(now, now if lock_step else steady)
        if self._synchronous:
            snapshot = self._look()
            request = self.loop.request(snapshot)
            if request is not None:
                self._accept(*infer(self._policy, request))
            command = self.loop.command()
            self._send(command, now)
        else:
            for answer in self.inference.arrivals():
                self._accept(*answer)
            command = self.loop.command()
            self._send(command, now)
            snapshot = self._look()
            request = self.loop.request(snapshot)
            if request is not None:
                self.inference.submit(request)
        if self._publish_tick is not None:
            stamps = snapshot.stamps if snapshot is not None else {}
            stamp = self._clock.now().to_msg()
            message = tick_message(self.loop.step, self.loop.episode, stamps, command, stamp)
            self._put_on_wire(self._publish_tick, message)

    def _look(self) -> Snapshot | None:
        snapshot, faults = self._store.snapshot(self._clock.now().nanoseconds)
        self.faults.update(faults)
        return snapshot

    def _accept(self, arrival: Arrival, failure: Exception | None) -> None:
        self._inference_faults.failed('inference', failure)
        self.loop.accept(arrival)

    def _send(self, command: Command | None, due: int) -> None:
        if command is None:
            return
        message = self._commands.build(command.action, self._clock.now().to_msg())
        if not self._put_on_wire(self._publish, message):
            return
        self.published += 1
        if not self._simulated:
            self.jitter.append((time.monotonic_ns() - due) / 1e9)

    def _put_on_wire(self, publish: Callable[[Any], None], message: object) -> bool:
        """Publish, unless the controller has been stopped meanwhile."""
        with self._wire:
            if not self._stopped:
                publish(message)
            return not self._stopped

    @property
    def conditions(self) -> list[str]:
        """What is wrong now, one line each."""
        logs = (self.faults, self._inference_faults, self._tick_faults)
        return [text for log in logs for text in log.current.values()]
