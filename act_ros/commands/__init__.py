"""The messages that carry commands: one table of what they can be, made and read in one place."""

from act_ros.commands.decoding import (
    ArrayDecoder,
    Decoder,
    JointStateDecoder,
    Setpoints,
    TrajectoryDecoder,
)
from act_ros.commands.encoding import (
    ArrayEncoder,
    Encoder,
    JointStateEncoder,
    MessageLibrary,
    TrajectoryEncoder,
)
from act_ros.commands.spec import OutputSpec, OutputType

__all__ = [
    'OUTPUT_TYPES', 'Decoder', 'Encoder', 'MessageLibrary', 'OutputSpec', 'OutputType',
    'Setpoints',
]  # fmt: skip

# By the name that the parameter `outputs` has for it.
OUTPUT_TYPES = {
    'JointState': OutputType(
        'sensor_msgs/msg/JointState', JointStateEncoder, JointStateDecoder
    ),
    'JointTrajectory': OutputType(
        'trajectory_msgs/msg/JointTrajectory', TrajectoryEncoder, TrajectoryDecoder,
        trajectory=True,
    ),
    'JointTrajectoryHorizon': OutputType(
        'trajectory_msgs/msg/JointTrajectory', TrajectoryEncoder, TrajectoryDecoder,
        trajectory=True, horizon=True,
    ),
    'Float64MultiArray': OutputType(
        'std_msgs/msg/Float64MultiArray', ArrayEncoder, ArrayDecoder, named=False
    ),
}  # fmt: skip
