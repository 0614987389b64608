"""What the simulated robot says of its task, as a message and back, and a moment to be drawn."""

from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from act_ros.nodes.messages import key_values
from act_ros.observation import stamp_ns
from act_ros.sim.world import World

STATUS = ': task'  # how the status is called, behind the name of the node


@dataclass(frozen=True)
class Account:
    """How far the arm has come with its task.

    :ivar seed: of the scene.
    :ivar distance: of the gripper from the handle [m].
    :ivar grasped: the handle is held.
    :ivar succeeded: it has been for long enough to count.
    :ivar time_to_grasp: from the scene's first command [s]; None before, and without one.
    :ivar unit: where the unit with the handle is in the world, rotation and place, (3, 4).
    :ivar stamp: when [s].
    """

    seed: int
    distance: float
    grasped: bool
    succeeded: bool
    time_to_grasp: float | None
    unit: np.ndarray
    stamp: float = 0.0

    @classmethod
    def of(cls, world: World, seed: int, set_out: float | None) -> 'Account':
        """The account of now.

        :param set_out: when the scene's first command came, in the world's time [s].
        """
        grasped = world.grasped_at
        time = None if grasped is None or set_out is None else grasped - set_out
        return cls(
            seed, world.distance, grasped is not None, world.succeeded, time,
            world.objects[1].copy(),
        )  # fmt: skip

    def message(self, node: str, stamp: Time) -> DiagnosticArray:
        """As a message.

        :param node: full name of the one that says it.
        """
        text = 'succeeded' if self.succeeded else 'grasped' if self.grasped else 'not grasped'
        values = {
            'seed': self.seed,
            'distance_m': self.distance,
            'grasped': self.grasped,
            'succeeded': self.succeeded,
            'time_to_grasp_s': 'none' if self.time_to_grasp is None else self.time_to_grasp,
            'unit': ' '.join(f'{x:.6g}' for x in self.unit.flat),
        }
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK, name=node + STATUS, message=text,
            hardware_id='sim_robot', values=key_values(values),
        )  # fmt: skip
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp
        return message

    @classmethod
    def read(cls, message: DiagnosticArray, node: str) -> 'Account | None':
        """What a message says; None where it is of something else."""
        for status in message.status:
            if status.name == node + STATUS:
                values = {pair.key: pair.value for pair in status.values}
                time = values['time_to_grasp_s']
                return cls(
                    seed=int(values['seed']),
                    distance=float(values['distance_m']),
                    grasped=values['grasped'] == 'True',
                    succeeded=values['succeeded'] == 'True',
                    time_to_grasp=None if time == 'none' else float(time),
                    unit=np.array(values['unit'].split(), dtype=float).reshape(3, 4),
                    stamp=stamp_ns(message) / 1e9,
                )
        return None


@dataclass(frozen=True)
class Moment:
    """What there is to see at one time, for the renderer.

    :ivar positions: of the arm's joints and the gripper, (8,) [rad; 0..1].
    :ivar base_position: (3,) [m].
    :ivar base_orientation: roll, pitch, yaw (3,) [rad].
    :ivar objects: poses of plate and unit, (2, 3, 4).
    """

    positions: np.ndarray
    base_position: np.ndarray
    base_orientation: np.ndarray
    objects: np.ndarray

    @classmethod
    def of(cls, world: World) -> 'Moment':
        """The one that a world is in."""
        return cls(
            world.positions, world.base_position, world.base_orientation, world.objects.copy()
        )
