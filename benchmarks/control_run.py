"""One run of the ACT node beside a robot's traffic, and what is seen of it from outside."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

from act_ros.child import module
from act_ros.config import DEFAULT_TASK, load_task, task_file
from act_ros.demo.topics import Topics
from act_ros.nodes.isolation import OwnGraph
from act_ros.observation import stamp_ns
from act_ros.parameter_file import read_parameter_file, read_raw_parameters
from act_ros.task import Task
from benchmarks.grid import grid_figures
from benchmarks.processes import (
    BenchmarkError,
    Running,
    cpu_seconds,
    has_realtime_thread,
    resident_mb,
    running,
)
from benchmarks.untrained import write_checkpoint
from detr import ACTConfig

PROGRAMS = {'traffic': 'benchmarks.robot_traffic', 'node': 'act_ros.nodes.main'}
START_TIMEOUT = 180.0  # loading and warming up may take as long on a busy machine [s]
SETTLING = 5.0  # commands flow for as long before the measurement [s]
MEMORY_WINDOW = 5.0  # at the beginning and the end of the measurement [s]
NETWORK = ACTConfig(
    state_dim=17, action_dim=16, chunk_size=250, hidden_dim=64, feedforward_dim=256,
    encoder_layers=2, heads=8, backbone='resnet18', num_backbones=1,
)  # fmt: skip
SILENCE = 5.0  # without a command or a report for as long, the run is over [s]


def measure(
    graph: OwnGraph, seconds: float, priority: int | None, rate: float = 0.0, zmq: bool = False
) -> dict[str, object]:
    """Start node and traffic, measure, and end both.

    :param graph: where they meet.
    :param seconds: length of the measurement.
    :param priority: the node's `realtime_priority`; None leaves it at its default.
    :param rate: its `command_rate` [Hz]; 0 = that of the policy.
    :param zmq: whether its ZMQ endpoint is kept busy meanwhile.
    :raises ActError: a process ended, or commands did not come or were stopped.
    """
    task, file = load_task(), task_file(DEFAULT_TASK)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_checkpoint(folder, task, NETWORK)
        values = read_raw_parameters(file) | _parameters(folder, task, priority)
        values['command_rate'] = rate
        values['zmq_endpoint'] = endpoint = f'ipc://{folder}/zmq' if zmq else ''
        arguments = graph.arguments(values, folder / 'parameters.yaml')
        traffic, node = (
            stack.enter_context(running(name, module(program, *arguments), folder))
            for name, program in PROGRAMS.items()
        )
        topic = Topics.of(read_parameter_file(file), task).commands
        processes = [traffic, node]
        if zmq:
            load = module('benchmarks.zmq_load', endpoint)
            processes.append(stack.enter_context(running('zmq_load', load, folder)))
        listener = stack.enter_context(listening(graph, topic, processes))
        listener.wait_for(
            lambda: listener.stamps, START_TIMEOUT,
            lambda: f'no command within {START_TIMEOUT:g} s; the node says: {node.last_line()}',
        )  # fmt: skip
        listener.spin(min(SETTLING, seconds))
        return _window(listener, node, seconds, round(1e9 / (rate or task.rate)))


def _parameters(checkpoint: Path, task: Task, priority: int | None) -> dict[str, object]:
    """What differs from the task file."""
    parameters = {
        'ckpt_dir': str(checkpoint),
        'autostart': True,
        'torch_threads': 0,
        # Passes are slow on a CPU, and the arm does not follow: neither shall end commands.
        'command_timeout': 10.0,
        **{f'joint_limits.{joint}.max_tracking_error': 1e6 for joint in task.joints},
    }
    if priority is not None:
        parameters['realtime_priority'] = priority
    return parameters


def _window(listener: 'Listener', node: Running, seconds: float, period: int) -> dict[str, object]:
    """Everything is measured over the same time."""

    def ceased() -> str:
        return f'no command or no diagnostics for {SILENCE:g} s; the node says: {node.last_line()}'

    listener.wait_for(lambda: listener.report, SILENCE, ceased)
    before, clocks = dict(listener.report), _clock_offset()
    listener.stamps.clear()
    started, cpu = time.monotonic(), cpu_seconds(node.pid)
    window = min(MEMORY_WINDOW, seconds / 2)
    memory = _least_memory(listener, node, window)
    listener.spin(seconds - 2 * window)
    memory_after = _least_memory(listener, node, window)
    lasted, cpu_after = time.monotonic() - started, cpu_seconds(node.pid)
    realtime = has_realtime_thread(node.pid)
    # The first command and report after the end show that there is no gap before it.
    end, reports = time.time_ns(), listener.reports
    listener.wait_for(
        lambda: listener.stamps and listener.stamps[-1] >= end and listener.reports > reports,
        SILENCE,
        ceased,
    )
    if abs(_clock_offset() - clocks) > 1_000_000:
        raise BenchmarkError('the system clock was set during the measurement; run it again')
    after = listener.report
    if after['control'] != 'running' or after['episode'] != before['episode']:
        raise BenchmarkError(
            f'the node stopped the arm during the measurement: {after["last_stop"]}; '
            'end other programs and run it again'
        )
    inferences = int(after['inferences']) - int(before['inferences'])
    if inferences < 1:
        raise BenchmarkError(
            f'no forward pass within {lasted:.0f} s, so nothing kept the cores busy; '
            f'measure for longer with --seconds, or see what the node says: {node.last_line()}'
        )
    return {
        **grid_figures(listener.stamps, period),
        'cpu_percent': round(100 * (cpu_after - cpu) / lasted, 1),
        'rss_growth_mb': round(memory_after - memory, 2),
        'realtime': realtime,
        'seconds': round(lasted, 2),
        'inferences': inferences,
        'node_overruns': int(after['tick_overruns']) - int(before['tick_overruns']),
        'zmq_requests': int(after.get('zmq_requests', 0)) - int(before.get('zmq_requests', 0)),
    }


def _least_memory(listener: 'Listener', node: Running, seconds: float) -> float:
    """Resident memory while no forward pass has some in use [MB]: the least for some seconds."""
    samples = []
    for _ in range(20):
        listener.spin(seconds / 20)
        samples.append(resident_mb(node.pid))
    return min(samples)


def _clock_offset() -> int:
    """System time against steady time [ns]; whoever is interrupted between them reads more."""
    return min(-time.monotonic_ns() + time.time_ns() for _ in range(20))


class Listener:
    """Takes the commands and the node's diagnostics, and does next to nothing else.

    :param graph: where they are.
    :param topic: of the commands.
    :param processes: that must not end meanwhile.
    :ivar stamps: of the commands [ns].
    :ivar report: the newest diagnostics, by key.
    :ivar reports: how many came.
    """

    def __init__(self, graph: OwnGraph, topic: str, processes: list[Running]) -> None:
        self.stamps: list[int] = []
        self.report: dict[str, str] = {}
        self.reports = 0
        self._processes = processes
        self.node = Node(
            'listener', namespace=graph.namespace,
            start_parameter_services=False, enable_rosout=False,
        )  # fmt: skip
        for kind, name, callback, depth in (
            (JointState, topic, self._on_command, 1000),
            (DiagnosticArray, 'diagnostics', self._on_report, 10),
        ):
            self.node.create_subscription(kind, graph.inside(name), callback, depth)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def spin(self, seconds: float) -> None:
        """Listen for some time.

        :raises BenchmarkError: one of the processes ended.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.2))
            for process in self._processes:
                process.check()

    def wait_for(
        self, condition: Callable[[], object], timeout: float, failure: Callable[[], str]
    ) -> None:
        """Listen until a condition holds.

        :param failure: says what is wrong where it does not within the time-out [s].
        """
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise BenchmarkError(failure())
            self.spin(0.05)

    def _on_command(self, message: JointState) -> None:
        self.stamps.append(stamp_ns(message))

    def _on_report(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        if 'inferences' in values:  # an active node's
            self.report = values
            self.reports += 1


@contextlib.contextmanager
def listening(graph: OwnGraph, topic: str, processes: list[Running]) -> Iterator[Listener]:
    """A listener in a ROS context that is ended with it."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        listener = Listener(graph, topic, processes)
        try:
            yield listener
        finally:
            listener.node.destroy_node()
    finally:
        rclpy.try_shutdown()
