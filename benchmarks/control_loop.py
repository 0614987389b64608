"""Jitter of the commands beside the deployed network on the CPU.

Three 480x640 cameras at 30 Hz, joint states at 200 Hz and the ACT node at 50 Hz, as processes
over DDS; the network of the deployed size takes every core it can get. Jitter is the stamp of a
command, made just before it is published, against the ideal grid of 20 ms. The grid lies where
the earliest commands are, so jitter is how late a command is.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import JointState

from act_ros.config import DEFAULT_TASK, load_task, task_file
from act_ros.nodes.dds import use_profile
from act_ros.observation import stamp_ns
from act_ros.parameters import read_parameter_file
from act_ros.sim.demo_checkpoint import write_demo_checkpoint
from act_ros.sim.robot_node import command_topic

PERIOD = 0.02  # of the control tick [s]
SETTLING = 5.0  # commands flow for as long before the measurement [s]
START_TIMEOUT = 120.0  # [s]


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog='benchmarks.control_loop', description=__doc__)
    parser.add_argument('--seconds', type=float, default=60.0, help='length of the measurement')
    parser.add_argument(
        '--realtime-priority', type=int, default=0, help='SCHED_FIFO priority to ask for'
    )
    parser.add_argument('--json', type=Path, help='where to write the figures')
    arguments = parser.parse_args()
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
    use_profile()
    try:
        figures = measure(arguments.seconds, arguments.realtime_priority)
    except RuntimeError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    table = Table('figure', 'value', title='control loop', title_justify='left')
    for key, value in figures.items():
        table.add_row(key, str(value))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


def measure(seconds: float, priority: int) -> dict[str, object]:
    """Run node and traffic and measure for some seconds.

    :raises RuntimeError: the node ended, or no commands came.
    """
    task = load_task()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        checkpoint = write_demo_checkpoint(Path(folder) / 'ckpt', task)
        extra = Path(folder) / 'benchmark.yaml'
        parameters = {
            # The robot stands still, and the passes are slow: neither is what is measured.
            'command_timeout': 30.0,
            'max_age': 1.0,
            'max_skew': 1.0,
            'max_tracking_error': [100.0] * len(task.joints),
            'autostart': True,
            'ckpt_dir': str(checkpoint),
            'realtime_priority': priority,
        }
        extra.write_text(yaml.safe_dump({'/**': {'ros__parameters': parameters}}))
        log = stack.enter_context((Path(folder) / 'node.log').open('w+'))
        files = ['--params-file', str(task_file(DEFAULT_TASK)), '--params-file', str(extra)]
        stack.enter_context(_process(['benchmarks.robot_traffic'], log))
        node = stack.enter_context(_process(['act_ros.nodes.main', '--ros-args', *files], log))
        stamps = stack.enter_context(_listening(command_topic(_settings(), task)))
        started = time.monotonic()
        while not stamps:
            if node.poll() is not None or time.monotonic() - started > START_TIMEOUT:
                log.seek(0)
                raise RuntimeError(f'no commands; the log says: {log.read()[-2000:]}')
            time.sleep(0.1)
        time.sleep(SETTLING)
        stamps.clear()
        cpu, rss = _usage(node.pid)
        realtime = _is_realtime(node.pid)
        time.sleep(seconds)
        cpu_after, rss_after = _usage(node.pid)
        times = np.array(stamps) / 1e9
    return {
        **_jitter(times),
        'cpu_percent': round(100 * (cpu_after - cpu) / seconds, 1),
        'rss_growth_mb': round(rss_after - rss, 2),
        'realtime': realtime,
        'seconds': seconds,
    }


def _settings() -> dict[str, object]:
    return read_parameter_file(task_file(DEFAULT_TASK))


def _jitter(times: np.ndarray) -> dict[str, object]:
    """How late each command is against the grid, and which places on it have none."""
    places = np.round((times - times[0]) / PERIOD).astype(int)
    late = times - times[0] - places * PERIOD
    # The clock of the stamps may be slewed against the grid's while this runs: a straight line
    # through the earliest command of each twentieth of the run takes that out.
    parts = [part for part in np.array_split(np.arange(len(times)), 20) if len(part)]
    earliest = [part[np.argmin(late[part])] for part in parts]
    slope, offset = np.polyfit(times[earliest] - times[0], late[earliest], 1)
    late = late - slope * (times - times[0]) - offset
    p50, p99 = np.percentile(late, (50, 99)) * 1e3
    return {
        'ticks_missed': int(places[-1] + 1 - len(np.unique(places))),
        'jitter_p50_ms': round(float(p50), 3),
        'jitter_p99_ms': round(float(p99), 3),
        'jitter_max_ms': round(float(late.max()) * 1e3, 3),
        'command_rate_hz': round((len(times) - 1) / (times[-1] - times[0]), 3),
    }


@contextlib.contextmanager
def _process(command: list[str], log: object) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, '-m', *command], stdout=log, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _listening(topic: str) -> Iterator[list[int]]:
    """The stamps of the commands [ns], as they come."""
    rclpy.init()
    node = rclpy.create_node('listener')
    stamps: list[int] = []
    node.create_subscription(
        JointState, topic, lambda m: stamps.append(stamp_ns(m)), QoSProfile(depth=1000)
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with contextlib.ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        stack.callback(node.destroy_node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        stack.callback(lambda: (executor.shutdown(), thread.join(5)))
        thread.start()
        yield stamps


def _tree(pid: int) -> list[int]:
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _usage(pid: int) -> tuple[float, float]:
    """CPU seconds and resident megabytes of a process and its children."""
    ticks, kilobytes = 0, 0
    for each in _tree(pid):
        fields = Path(f'/proc/{each}/stat').read_text().rsplit(')', 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
        for line in Path(f'/proc/{each}/status').read_text().splitlines():
            if line.startswith('VmRSS'):
                kilobytes += int(line.split()[1])
    return ticks / os.sysconf('SC_CLK_TCK'), kilobytes / 1024


def _is_realtime(pid: int) -> bool:
    """Whether any thread of the process has a real-time priority."""
    threads = [int(path.name) for path in Path(f'/proc/{pid}/task').iterdir()]
    return any(
        os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
        for thread in threads
    )


if __name__ == '__main__':
    sys.exit(main())
