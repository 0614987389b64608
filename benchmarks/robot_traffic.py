"""What a robot publishes, as cheaply as possible: three cameras at 30 Hz, joints at 200 Hz.

The robot stands still in its home pose and follows nothing. Every message is made once; only
its stamp changes. The cameras' frames are fixed noise, a third of a frame apart in time. A part
of `benchmarks.control_loop`, which gives it a namespace in a graph of its own.
"""

import array
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState

from act_ros import cli
from act_ros.config import DEFAULT_TASK, load_task, task_file
from act_ros.demo.robot_node import FRAMES_QOS
from act_ros.interfaces import camera_inputs, state_inputs
from act_ros.parameter_file import read_parameter_file
from act_ros.parameters import Settings
from act_ros.sim.robot import BASE_AXES, HOME
from act_ros.task import Task

CAMERA_RATE, STATE_RATE = 30.0, 200.0  # [Hz]


@dataclass
class Stream:
    """One message, again and again.

    :ivar period: [s].
    :ivar due: when it is to be published next [s, steady].
    """

    publisher: Publisher
    message: Image | JointState
    period: float
    due: float


def main() -> int:
    """Publish until SIGINT or SIGTERM."""
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node('robot_traffic', start_parameter_services=False, enable_rosout=False)
    if node.get_namespace() == '/':
        print('robot_traffic: error: run python -m benchmarks.control_loop', file=sys.stderr)
        return cli.USER_ERROR
    task, settings = load_task(), read_parameter_file(task_file(DEFAULT_TASK))
    streams = [*cameras(node, settings, task), *joints(node, settings, task)]
    clock = node.get_clock()
    while not ended:
        time.sleep(max(0.0, min(stream.due for stream in streams) - time.monotonic()))
        now = time.monotonic()
        for stream in streams:
            if now >= stream.due:
                stream.message.header.stamp = clock.now().to_msg()
                stream.publisher.publish(stream.message)
                # What is late is left out; the grid stays.
                stream.due += stream.period * ((now - stream.due) // stream.period + 1)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def cameras(node: Node, settings: Settings, task: Task) -> Iterator[Stream]:
    """One stream a camera, evenly staggered."""
    height, width = task.image_size
    topics = [topic for topic, _ in camera_inputs(settings, task).values()]
    noise, start = np.random.default_rng(0), time.monotonic()
    for i, topic in enumerate(topics):
        pixels = noise.integers(0, 256, height * width * 3, dtype=np.uint8)
        message = Image(
            height=height, width=width, encoding='rgb8', step=3 * width,
            data=array.array('B', pixels.tobytes()),
        )  # fmt: skip
        period = 1 / CAMERA_RATE
        due = start + i / len(topics) * period
        yield Stream(node.create_publisher(Image, topic, FRAMES_QOS), message, period, due)


def joints(node: Node, settings: Settings, task: Task) -> Iterator[Stream]:
    """The arm in its home pose, and the base at rest."""
    arm = task.action[0].source
    start = time.monotonic()
    for source, (topic, _) in state_inputs(settings, task).items():
        names, pose = (task.joints, HOME.tolist()) if source == arm else (BASE_AXES, [0.0] * 6)
        message = JointState(name=names, position=pose, velocity=[0.0] * len(pose))
        publisher = node.create_publisher(JointState, topic, FRAMES_QOS)
        yield Stream(publisher, message, 1 / STATE_RATE, start)


if __name__ == '__main__':
    sys.exit(main())
