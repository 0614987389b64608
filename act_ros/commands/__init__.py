"""The messages that carry commands: one table of what they can be, made and read in one place."""

from act_ros.commands.decoding import (
    ArrayDecoder,
    Decoder,
    JointStateDecoder,
    Setpoints,
    TrajectoryDecoder,
)
from act_ros.commands.encoding import (
    Ahead,
    ArrayEncoder,
    Encoder,
    JointStateEncoder,
    MessageLibrary,
    TrajectoryEncoder,
)
from act_ros.commands.single import (
    GripperDecoder,
    GripperEncoder,
    TwistDecoder,
    TwistEncoder,
    TwistStampedEncoder,
)
from act_ros.commands.spec import OutputSpec, OutputType

__all__ = [
    'OUTPUT_TYPES', 'Ahead', 'Decoder', 'Encoder', 'MessageLibrary', 'OutputSpec', 'OutputType',
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
        'std_msgs/msg/Float64MultiArray', ArrayEncoder, ArrayDecoder, holds='values'
    ),
    'Twist': OutputType('geometry_msgs/msg/Twist', TwistEncoder, TwistDecoder, holds='twist'),
    'TwistStamped': OutputType(
        'geometry_msgs/msg/TwistStamped', TwistStampedEncoder, TwistDecoder, holds='twist',
        options={'frame_id': ''},
    ),
    'GripperCommand': OutputType(
        'control_msgs/msg/GripperCommand', GripperEncoder, GripperDecoder, holds='gripper',
        options={'max_effort': 0.0},
    ),
    # The goals of an action; in a dry run, and in what the evaluator writes, the messages.
    'GripperCommandAction': OutputType(
        'control_msgs/msg/GripperCommand', GripperEncoder, GripperDecoder, holds='gripper',
        options={'max_effort': 0.0, 'tolerance': 0.001},
        action='control_msgs/action/GripperCommand',
    ),
}  # fmt: skip
