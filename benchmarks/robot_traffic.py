"""What a robot publishes, as cheaply as possible: three cameras at 30 Hz, joints at 200 Hz."""

import array
import os
import signal
import threading
import time

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from act_ros.config import DEFAULT_TASK, load_task, task_file
from act_ros.nodes.dds import use_profile
from act_ros.nodes.topics import camera_inputs, state_inputs
from act_ros.parameters import read_parameter_file
from act_ros.sim.robot import HOME

CAMERA_RATE, STATE_RATE = 30.0, 200.0  # [Hz]
BASE_AXES = ['x', 'y', 'z', 'roll', 'pitch', 'yaw']


def main() -> None:
    """Publish until SIGINT or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    use_profile()
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node('robot_traffic')
    task, settings = load_task(), read_parameter_file(task_file(DEFAULT_TASK))
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

    height, width = task.image_size
    random = np.random.default_rng(0)
    jobs = []
    for i, (topic, _) in enumerate(camera_inputs(settings, task).values()):
        pixels = random.integers(0, 256, height * width * 3, dtype=np.uint8)
        message = Image(
            height=height, width=width, encoding='rgb8', step=3 * width,
            data=array.array('B', pixels.tobytes()),
        )  # fmt: skip
        jobs.append((1 / CAMERA_RATE, i / 90, node.create_publisher(Image, topic, qos), message))
    poses = {
        task.action[0].source: JointState(name=task.joints, position=HOME, velocity=0 * HOME)
    }
    for source, (topic, _) in state_inputs(settings, task).items():
        base = JointState(name=BASE_AXES, position=[0.0] * 6, velocity=[0.0] * 6)
        message = poses.get(source, base)
        publisher = node.create_publisher(JointState, topic, qos)
        jobs.append((1 / STATE_RATE, 0.0, publisher, message))

    start, clock = time.monotonic(), node.get_clock()
    due = [start + offset for _, offset, _, _ in jobs]
    while not ended.is_set():
        ended.wait(max(0.0, min(due) - time.monotonic()))
        now = time.monotonic()
        for i, (period, _, publisher, message) in enumerate(jobs):
            if now >= due[i]:
                message.header.stamp = clock.now().to_msg()
                publisher.publish(message)
                due[i] += period * ((now - due[i]) // period + 1)
    node.destroy_node()
    rclpy.try_shutdown()
    os._exit(0)


if __name__ == '__main__':
    main()
