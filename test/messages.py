"""Stand-ins with the fields of ROS messages, for tests without ROS."""

from types import SimpleNamespace

import numpy as np


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
