"""Bags as a robot would have recorded them, with answers that are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from act_ros.bags.typestore import typestore
from act_ros.config import load_task, task_file
from act_ros.parameter_file import read_parameter_file

TASK = load_task()
SETTINGS = read_parameter_file(task_file('astrobench_dual_arm'))
JOINTS = TASK.joints
SIZE = (48, 64)
START = 1_700_000_000_000_000_000
MS = 1_000_000
TICK = 20 * MS
BASE = ['x', 'y', 'z', 'roll', 'pitch', 'yaw']
TOPICS = {
    'rgb_main': '/rgb_main/image_raw',
    'rgb_left': '/rgb_left/image_raw',
    'rgb_under': '/rgb_under/image_raw',
    'base': '/base/joint_states',
    'arm': '/arm/joint_states',
    'command': '/arm/joint_commands',
}
KINDS = typestore().types


def commanded(n: np.ndarray | int) -> np.ndarray:
    """The recorded action of command number n: (..., 16)."""
    n = np.asarray(n, dtype=np.float64)[..., None]
    phase = np.arange(8) * 0.7
    positions = 0.3 + 0.2 * np.sin(0.06 * n + phase)
    velocities = 0.2 * 0.06 * 50 * np.cos(0.06 * n + phase)
    return np.concatenate((positions, velocities), axis=-1)


@dataclass
class Message:
    time: int  # [ns] since the start
    what: str
    content: object


def stamp(time: int):
    sec, nanosec = divmod(START + time, 1_000_000_000)
    return KINDS['std_msgs/msg/Header'](
        KINDS['builtin_interfaces/msg/Time'](sec, nanosec), ''
    )


def image(time: int, pixels: np.ndarray):
    height, width, _ = pixels.shape
    return KINDS['sensor_msgs/msg/Image'](
        stamp(time), height, width, 'rgb8', 0, 3 * width, pixels.reshape(-1)
    )


def joints(time: int, names, positions, velocities=None):
    none = np.empty(0)
    velocities = none if velocities is None else np.asarray(velocities, dtype=np.float64)
    return KINDS['sensor_msgs/msg/JointState'](
        stamp(time), list(names), np.asarray(positions, dtype=np.float64), velocities, none
    )


def run(seconds: float, size=SIZE, *, seed: int = 0) -> Iterator[Message]:
    """Three cameras at 30 Hz, states at 100 Hz, commands at 50 Hz, in the order of their time.

    The position of the base in x says how many seconds have passed.
    """
    noise = np.random.default_rng(seed)
    shift, rate = [0, 11 * MS, 22 * MS], 33_333_333
    messages = []
    for camera, late in zip(TASK.cameras, shift, strict=True):
        for k in range(int(seconds * 1e9 / rate)):
            messages.append((k * rate + late, camera))
    for k in range(int(seconds * 100)):
        messages += [(k * 10 * MS, 'base'), (k * 10 * MS, 'arm')]
    for k in range(int(seconds * 50)):
        messages.append((k * TICK, 'command'))
    for time, what in sorted(messages):
        n = time // TICK
        if what == 'base':
            content = joints(time, BASE, [time / 1e9, *[0.1] * 5], [0.0] * 6)
        elif what == 'arm':
            content = joints(time, JOINTS, commanded(max(n - 1, 0))[:8], [0.0] * 8)
        elif what == 'command':
            content = joints(time, JOINTS, commanded(n)[:8], commanded(n)[8:])
        else:
            content = image(time, noise.integers(0, 256, (*size, 3), dtype=np.uint8))
        yield Message(time, what, content)


def write(
    path: Path, messages, *, storage: str = 'mcap', compression: str | None = None
) -> Path:
    """Write messages as a bag."""
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression is not None:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        ends = {}
        for message in messages:
            kind = message.content.__msgtype__
            topic = TOPICS.get(message.what, message.what)
            if (topic, kind) not in ends:
                ends[topic, kind] = writer.add_connection(topic, kind, typestore=typestore())
            raw = typestore().serialize_cdr(message.content, kind)
            writer.write(ends[topic, kind], START + message.time, raw)
    return path


def write_mcap(path: Path, messages, **options) -> Path:
    """Write messages as an MCAP file alone.

    :param options: of the writer: chunks, compression, index.
    """
    with path.open('wb') as file:
        writer = McapWriter(file, **options)
        writer.start('ros2', 'test')
        ends = {}
        for message in messages:
            kind = message.content.__msgtype__
            topic = TOPICS.get(message.what, message.what)
            if (topic, kind) not in ends:
                schema = writer.register_schema(kind, 'ros2msg', b'')
                ends[topic, kind] = writer.register_channel(topic, 'cdr', schema)
            raw, time = typestore().serialize_cdr(message.content, kind), START + message.time
            writer.add_message(ends[topic, kind], time, bytes(raw), time)
        writer.finish()
    return path
