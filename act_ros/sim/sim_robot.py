"""`sim_robot`: the simulated robot on ROS topics, named as the task file names them."""

import array
import sys
from itertools import cycle

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from act_ros.errors import ActError
from act_ros.nodes.dds import use_profile
from act_ros.nodes.declare import declare_parameters, read_parameters
from act_ros.nodes.exit import run_node
from act_ros.nodes.logs import log_to_ros
from act_ros.nodes.topics import camera_topics, state_topics
from act_ros.sim.renderer import Renderer
from act_ros.sim.robot import SimulatedRobot
from act_ros.sim.scene import default_cameras
from act_ros.task import Task

CAMERA_RATE = 30.0  # frames a second of each camera [Hz]
STATE_RATE = 100.0  # joint states a second [Hz]
BASE_AXES = ['x', 'y', 'z', 'roll', 'pitch', 'yaw']

FRAMES_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class SimRobot(Node):
    """Publishes three rendered cameras and base and arm states; follows joint commands."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__('sim_robot', **kwargs)
        declare_parameters(self)
        settings = read_parameters(self)
        task = Task.from_parameters(settings)
        joints = list(dict.fromkeys(entry.name for entry in task.action))
        try:
            self._robot = SimulatedRobot(joints)
            cameras = default_cameras(task.cameras)
        except ValueError as error:
            raise ActError(f'no simulated robot for task {task.name!r}: {error}') from None

        height, width = task.image_size
        topics = camera_topics(settings, task)
        self._views = cycle(
            [
                (
                    self.create_publisher(Image, topics[name], FRAMES_QOS),
                    Renderer(camera, height, width),
                    f'{name}_optical_frame',
                )
                for name, camera in cameras.items()
            ]
        )
        arm = task.action[0].source
        self._states = {
            source: self.create_publisher(JointState, topic, 1)
            for source, topic in state_topics(settings, task).items()
        }
        base = next((source for source in self._states if source != arm), None)
        self._arm, self._base = self._states.get(arm), self._states.get(base)
        self._complained = False
        self.create_subscription(JointState, settings['command_topic'], self._on_command, 1)

        self._steady = steady = Clock(clock_type=ClockType.STEADY_TIME)
        # One camera at a time: their stamps differ by a third of a frame, the load does not.
        self.create_timer(1 / (CAMERA_RATE * len(cameras)), self._on_frame, clock=steady)
        self.create_timer(1 / STATE_RATE, self._on_state, clock=steady)

    def _now(self) -> float:
        """Steady time, so that an adjusted system clock does not move the robot [s]."""
        return self._steady.now().nanoseconds / 1e9

    def _on_command(self, message: JointState) -> None:
        try:
            places = [message.name.index(joint) for joint in self._robot.joint_names]
            positions, velocities = np.array(message.position), np.array(message.velocity)
            self._robot.command(self._now(), positions[places], velocities[places])
        except (ValueError, IndexError) as error:
            if not self._complained:
                self._complained = True
                self.get_logger().warning(f'command not taken: {error}')

    def _on_frame(self) -> None:
        publisher, renderer, frame_id = next(self._views)
        pixels = renderer.render(self._robot)
        height, width, _ = pixels.shape
        data = array.array('B')
        data.frombytes(pixels)  # an array of bytes is taken as it is; bytes would be looped over
        message = Image(height=height, width=width, encoding='rgb8', step=width * 3, data=data)
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = frame_id
        publisher.publish(message)

    def _on_state(self) -> None:
        robot = self._robot
        robot.advance(self._now())
        stamp = self.get_clock().now().to_msg()
        states = (
            (self._arm, robot.joint_names, robot.positions, robot.velocities),
            (
                self._base,
                BASE_AXES,
                np.concatenate((robot.base_position, robot.base_orientation)),
                np.concatenate((robot.base_linear_velocity, robot.base_angular_velocity)),
            ),
        )
        for publisher, names, positions, velocities in states:
            if publisher is not None:
                message = JointState(name=names, position=positions, velocity=velocities)
                message.header.stamp = stamp
                publisher.publish(message)


def main() -> int:
    """Run the simulated robot until a signal."""
    use_profile()
    log_to_ros('sim_robot')
    return run_node(SimRobot, lambda node: None)


if __name__ == '__main__':
    sys.exit(main())
