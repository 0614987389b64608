"""What the simulated robot publishes, as messages in simulated time, without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from act_ros.bags.bag import Recorded
from act_ros.bags.typestore import typestore
from act_ros.errors import ParameterError
from act_ros.interfaces import camera_inputs, state_inputs
from act_ros.parameters import Settings
from act_ros.sim.renderer import Renderer
from act_ros.sim.robot import BASE_AXES, CAMERA_RATE, STATE_RATE
from act_ros.sim.scene import default_cameras
from act_ros.sim.world import World
from act_ros.task import Task


class Feed:
    """The cameras and joint states of a world, on the topics that the parameters name.

    The cameras take turns, a third of a frame apart, so that the load is even.

    :param world: it is moved on as messages are made.
    :param settings: parameters of the task file: the topics.
    :param start: receipt of what is published at time 0 of the world [ns].
    :raises ParameterError: the robot has no such cameras or sources.
    """

    def __init__(self, world: World, task: Task, settings: Settings, start: int) -> None:
        self._world, self._start, self._joints = world, start, list(task.joints)
        try:
            cameras = default_cameras(task.cameras)
        except ValueError as error:
            raise ParameterError(f'no simulated robot for task {task.name!r}: {error}') from None
        inputs = camera_inputs(settings, task)
        states = state_inputs(settings, task)
        for (topic, kind), made in (
            *((each, 'Image') for each in inputs.values()),
            *((each, 'JointState') for each in states.values()),
        ):
            if kind != made:
                raise ParameterError(
                    f'the simulated robot publishes {topic} as {made}, not {kind}'
                )
        self._views = {
            '/' + inputs[name][0].lstrip('/'): Renderer(camera, *task.image_size)
            for name, camera in cameras.items()
        }
        arm = task.action[0].source
        self._states = {
            '/' + topic.lstrip('/'): source == arm for source, (topic, _) in states.items()
        }
        self._kinds = typestore().types
        self.begin()

    def begin(self) -> None:
        """Start anew, with a world that begins."""
        apart = 1e9 / CAMERA_RATE / max(1, len(self._views))
        self._due = {topic: round(i * apart) for i, topic in enumerate(self._views)}
        self._due |= dict.fromkeys(self._states, 0)

    def until(self, elapsed: int) -> Iterator[Recorded]:
        """Move the world on, and give what it has published by then, then included.

        :param elapsed: since the start [ns].
        """
        while True:
            topic = min(self._due, key=self._due.__getitem__)
            time = self._due[topic]
            if time > elapsed:
                break
            rate = CAMERA_RATE if topic in self._views else STATE_RATE
            self._due[topic] = time + round(1e9 / rate)
            self._world.advance(time / 1e9)
            make = self._image if topic in self._views else self._joint_state
            yield Recorded(topic, self._start + time, make(topic, self._start + time))
        self._world.advance(elapsed / 1e9)

    def joint_state(
        self, stamp: int, names: list[str], positions: np.ndarray, velocities: np.ndarray
    ) -> Any:
        """A sensor_msgs/JointState.

        :param stamp: [ns].
        :param positions: (names,) [rad; 0..1].
        :param velocities: (names,) [rad/s; 1/s].
        """
        message = self._kinds['sensor_msgs/msg/JointState']
        return message(self._header(stamp), names, positions, velocities, np.empty(0))

    def _joint_state(self, topic: str, stamp: int) -> Any:
        robot = self._world.robot
        if self._states[topic]:
            return self.joint_state(stamp, self._joints, robot.positions, robot.velocities)
        return self.joint_state(
            stamp,
            BASE_AXES,
            np.concatenate((robot.base_position, robot.base_orientation)),
            np.concatenate((robot.base_linear_velocity, robot.base_angular_velocity)),
        )

    def _image(self, topic: str, stamp: int) -> Any:
        pixels = self._views[topic].render(self._world)
        height, width, _ = pixels.shape
        return self._kinds['sensor_msgs/msg/Image'](
            self._header(stamp), height, width, 'rgb8', 0, 3 * width, pixels.reshape(-1)
        )

    def _header(self, stamp: int) -> Any:
        time = self._kinds['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000))
        return self._kinds['std_msgs/msg/Header'](time, '')
