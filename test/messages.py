"""Stand-ins with the fields of ROS messages, for tests without ROS."""

import math
from types import SimpleNamespace

import numpy as np

TURN = (0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4))  # 90 degrees to the left


def header(stamp: int) -> SimpleNamespace:
    """A std_msgs/Header with that stamp [ns]."""
    sec, nanosec = divmod(stamp, 1_000_000_000)
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id='')


def image(pixels: np.ndarray, encoding: str = 'rgb8', *, stamp: int = 1, pad: int = 0):
    """A sensor_msgs/Image of bytes as they lie in memory, each row padded."""
    height, row = pixels.shape[0], pixels[0].size
    padded = np.zeros((height, row + pad), np.uint8)
    padded[:, :row] = pixels.reshape(height, row)
    return SimpleNamespace(
        header=header(stamp), height=height, width=pixels.shape[1], encoding=encoding,
        step=row + pad, is_bigendian=0, data=padded.tobytes(),
    )  # fmt: skip


def joints(names, positions, velocities=None, *, stamp: int = 1):
    """A sensor_msgs/JointState."""
    velocities = [0.0] * len(names) if velocities is None else velocities
    return SimpleNamespace(
        header=header(stamp), name=list(names), position=list(positions),
        velocity=list(velocities), effort=[],
    )  # fmt: skip


def odometry(orientation=TURN, linear=(1.0, 2.0, 3.0), angular=(0.1, 0.2, 0.3), *, stamp: int = 1):
    """A nav_msgs/Odometry of base_link, at (4, 5, 6) in world."""

    def vector(values):
        return SimpleNamespace(**dict(zip('xyzw', values, strict=False)))

    message = SimpleNamespace(
        header=header(stamp), child_frame_id='base_link',
        pose=SimpleNamespace(pose=SimpleNamespace(
            position=vector((4.0, 5.0, 6.0)), orientation=vector(orientation))),
        twist=SimpleNamespace(twist=SimpleNamespace(
            linear=vector(linear), angular=vector(angular))),
    )  # fmt: skip
    message.header.frame_id = 'world'
    return message
