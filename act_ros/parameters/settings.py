"""Every parameter once: name, type, default, range, unit, text, live or fixed.

`Settings` is the table: a field a parameter. The node declares its ROS parameters from it;
programs without ROS read the same YAML files through it. A name that is not here is refused,
so that a typo is never silently inert.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from act_ros.errors import ParameterError
from act_ros.parameters.joint_limits import (
    LIMITED,
    PREFIX,
    JointLimits,
    is_joint_limit,
    limit_row,
    read_joint_limits,
)
from act_ros.parameters.qos import OVERRIDES, check_overrides
from act_ros.parameters.table import Parameter, check_values, row, rows

# Declared by rclpy itself.
FOREIGN = ('use_sim_time', 'start_type_description_service')

FASTEST = 1000.0  # commands a second

Strings = tuple[str, ...]
Integers = tuple[int, ...]


@dataclass(frozen=True)
class Blending:
    """What becomes of chunks: see the parameters of these names."""

    temporal_aggregation: bool = True
    query_every: int = 0
    decay: float = 0.01


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The value of every parameter, each in its type and range.

    :ivar joint_limits: by the name of a joint, or SOURCE/JOINT: the parameters
        `joint_limits.JOINT.LIMIT`, in the robot's units.
    :raises ParameterError: a value does not fit.
    """

    task_name: str = row('', 'name of the task, for logs and reports')
    task_cameras: Strings = row((), "cameras in the policy's order")
    task_image_size: Integers = row(
        (480, 640), 'height and width of every camera, or those of each in turn', unit='px',
        range=(1, 8192),
    )
    task_state: Strings = row(
        (), 'entries of qpos, source/joint/position|velocity [scale=S] [offset=O]',
    )
    task_action: Strings = row((), 'entries of the action, of the same form')
    control_rate: float = row(
        50.0, "the policy's steps a second, each a command", unit='Hz', range=(1.0, 500.0),
    )
    command_rate: float = row(
        0.0,
        'commands a second: a whole multiple of control_rate, between whose steps the plan is '
        'interpolated; 0 = control_rate',
        unit='Hz',
        range=(0.0, FASTEST),
    )
    ckpt_dir: str = row('./ckpt', 'folder of the checkpoint and dataset_stats.pkl')
    policy_endpoint: str = row(
        '', "ask a policy server instead, e.g. 'tcp://gpu-server:5555': no checkpoint, no torch",
    )
    policy_jpeg_quality: int = row(
        0, 'of the images on their way there, as JPEG; 0 = as they are', range=(0, 100),
    )
    policy_curve_dir: str = row(
        '', 'folder with the keys for a policy server that asks for them; empty: it does not',
    )
    ckpt_name: str = row('policy_best.ckpt', 'file name of the checkpoint')
    device: str = row('auto', 'auto, cpu, cuda or cuda:N')
    engine: str = row(
        'torch',
        'what runs the network: torch, openvino, onnx, tensorrt, or auto, the fastest by '
        'measurement',
        choices=('auto', 'torch', 'openvino', 'onnx', 'tensorrt'),
    )
    precision: str = row(
        'float32',
        'that the network computes in; float16 needs CUDA',
        choices=('float32', 'bfloat16', 'float16'),
    )
    max_deviation: float = row(
        0.02,
        'largest difference from float32 of a normalised action; more is refused',
        range=(0.0, 1000.0),
    )
    colour_order: str = row(
        'rgb', 'channel order that the policy was trained with', choices=('rgb', 'bgr'),
    )
    torch_threads: int = row(
        0, "CPU threads of the network; 0 = torch's own choice, one a core", range=(0, 1024),
    )
    temporal_aggregation: bool | None = row(
        None,
        'blend every chunk that covers a step; false plays one chunk after the other; '
        "default: the checkpoint's own, else true",
    )
    query_every: int | None = row(
        None,
        'steps between chunks with aggregation off; 0 = the chunk size; '
        "default: the checkpoint's own, else 0",
        unit='steps',
        range=(0, 100000),
    )
    decay: float | None = row(
        None,
        'aggregation weight exp(-decay * i), i = 0 the oldest; below 0 exp(decay * steps of age); '
        "default: the checkpoint's own, else 0.01",
        range=(-10.0, 10.0),
        live=True,
    )
    fade: float = row(
        0.4,
        'a chunk that comes late is faded in for as long; at most half a chunk counts',
        unit='s',
        range=(0.0, 10.0),
        live=True,
    )
    follow_newest: Strings = row(
        (),
        'entries of the action that follow the newest chunk instead of the mean of all, such as '
        'a gripper that a mean would close too weakly',
    )
    inference: str = row(
        'asynchronous',
        'asynchronous: beside the tick; synchronous: inside it',
        choices=('asynchronous', 'synchronous'),
    )
    # Observations.
    stamp_source: str = row(
        'header', "an input's age by its header or its receipt", choices=('header', 'receipt'),
    )
    max_age: float = row(
        0.1, 'oldest input an observation may have', unit='s', range=(0.001, 60.0),
    )
    max_skew: float = row(
        0.05, 'largest difference between camera stamps', unit='s', range=(0.0, 60.0),
    )
    frozen_timeout: float = row(
        0.0,
        'a camera that sends the same bytes for longer is frozen; 0 = not looked at',
        unit='s',
        range=(0.0, 3600.0),
    )
    camera_topics: Strings = row((), 'one image topic a camera; default: CAMERA/image_raw')
    camera_types: Strings = row(
        (),
        'Image or CompressedImage for each camera; default: Image',
        choices=('Image', 'CompressedImage'),
    )
    camera_rotations: Integers = row(
        (), 'degrees clockwise that the frames of each camera are turned by; default: 0',
        range=(0, 270),
    )  # fmt: skip
    camera_crops: Strings = row(
        (),
        "what is kept of each camera's turned frame, 'TOP LEFT HEIGHT WIDTH' [px]; '' = all",
    )
    image_resize: str = row(
        'off',
        'to the size that the policy needs: off refuses other frames; stretch; fit keeps the '
        'aspect, with black on both sides',
        choices=('off', 'stretch', 'fit'),
    )
    state_topics: Strings = row((), 'one topic a source of qpos; default: SOURCE/joint_states')
    state_types: Strings = row(
        (),
        'JointState, Odometry, PoseStamped, TwistStamped, JointTrajectory or Float64MultiArray '
        'for each source of qpos; default: JointState',
        choices=(
            'JointState', 'Odometry', 'PoseStamped', 'TwistStamped', 'JointTrajectory',
            'Float64MultiArray',
        ),
    )
    twist_frame: str = row(
        '',
        'frame in which the policy wants the velocity of an Odometry source: its '
        'frame_id or its child_frame_id',
    )
    # What stops the commands, and what starts them again.
    command_timeout: float = row(
        0.5,
        'commands end when the newest observation behind them is older',
        unit='s',
        range=(0.01, 60.0),
    )
    stop_policy: str = row(
        'hold',
        'hold: brake, then repeat the last position at rest; silent: publish nothing',
        choices=('hold', 'silent'),
    )
    recovery_window: float = row(
        5.0, 'a stop that lasts longer is ended by ~/reset only', unit='s', range=(0.0, 3600.0),
    )
    enable_topic: str = row(
        '', 'deadman (std_msgs/Bool): commands only while it is true, said within 0.2 s',
    )
    autostart: bool = row(False, 'configure and activate by itself, again each second', live=True)
    # Limits; those of single joints are in `joint_limits`.
    unlimited: Strings = row(
        (), 'entries of the action that may have no limits: infinite, or not given',
    )
    continuous: Strings = row(
        (),
        'positions of the action that are measured the same a turn (2 pi) further: joints whose '
        'encoder wraps. One with a range begins only where that holds one turn of what is '
        'measured; one without (-.inf, .inf) turns for ever, and its driver takes commands a '
        'turn further as the same',
    )
    range_tolerance: float = row(
        0.01,
        'a joint measured further outside its range refuses activation; at most its '
        'max_step counts',
        range=(0.0, 10.0),
        live=True,
    )
    ramp_time: float = row(
        1.0,
        'from the pose there is to what the policy says',
        unit='s',
        range=(0.0, 60.0),
        live=True,
    )
    start_pose: Strings = row(
        (),
        "where ~/return_to_start goes, 'source/joint/position VALUE' for each position of the "
        'action; default: where the robot stood at the first activation',
    )
    # What goes out.
    outputs: Strings = row(
        ('joint_commands JointState',),
        'TOPIC TYPE [OPTION=VALUE ...] [PATTERN ...]: where commands go; TYPE is JointState, '
        'JointTrajectory, JointTrajectoryHorizon, Float64MultiArray, Twist, TwistStamped, '
        'GripperCommand or GripperCommandAction, PATTERN selects entries of the action',
    )
    dry_run: bool = row(False, 'everything runs, commands go to ~/dry_run/TOPIC only')
    publish_tick: bool = row(False, 'publish ~/tick: what each command was made from')
    publish_chunk: bool = row(False, 'publish ~/chunk: the newest plan')
    zmq_endpoint: str = row('', "serve the ZMQ protocol too, e.g. 'tcp://127.0.0.1:5555'")
    zmq_max_sessions: int = row(
        64, 'ZMQ clients with an episode at once; the one idle for longest makes room',
        range=(1, 10000),
    )  # fmt: skip
    zmq_session_timeout: float = row(
        600.0, 'the episode of a ZMQ client that is silent for longer ends', unit='s',
        range=(1.0, 1e7),
    )  # fmt: skip
    zmq_max_batch: int = row(
        8, 'requests of ZMQ clients that go through the network in one pass', range=(1, 256),
    )  # fmt: skip
    zmq_curve_dir: str = row(
        '', 'folder of keys: only ZMQ clients whose key is there are let in, and all is encrypted',
    )  # fmt: skip
    zmq_insecure: bool = row(
        False, 'serve ZMQ clients, and metrics, beyond this machine without keys',
    )  # fmt: skip
    zmq_metrics_port: int = row(
        0, 'tell Prometheus at this port how the ZMQ server is doing; 0 = do not',
        range=(0, 65535),
    )  # fmt: skip
    realtime_priority: int = row(
        0,
        'SCHED_FIFO priority of the control tick, where the system permits it; 0 = none',
        range=(0, 98),
    )

    joint_limits: Mapping[str, JointLimits] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_values(self, PARAMETERS)
        if self.command_rate and not math.isclose(self.command_rate, self.tick_rate):
            raise ParameterError(self._say_multiples())

    @property
    def blending(self) -> Blending:
        """What becomes of chunks; what is not set is as in the public evaluation loop."""
        given = {each.name: getattr(self, each.name) for each in fields(Blending)}
        return Blending(**{name: value for name, value in given.items() if value is not None})

    @property
    def ticks_per_step(self) -> int:
        """Ticks of the control loop in one of the policy's steps, each with a command."""
        return max(1, round(self.command_rate / self.control_rate))

    @property
    def tick_rate(self) -> float:
        """Ticks a second, and so commands [Hz]."""
        return self.control_rate * self.ticks_per_step

    def once_a_step(self) -> 'Settings':
        """The same robot, commanded once in each of the policy's steps."""
        ticks = self.ticks_per_step
        limits = {name: each.scaled(ticks) for name, each in self.joint_limits.items()}
        return replace(self, command_rate=0.0, joint_limits=limits)

    def limits_of(self, source: str, joint: str) -> JointLimits:
        """What is said of a joint of the action; nothing of one that is not mentioned."""
        named = (self.joint_limits.get(name) for name in (f'{source}/{joint}', joint))
        return next((limits for limits in named if limits is not None), JointLimits())

    def step_of(self, source: str, joint: str) -> float:
        """The furthest that a joint may be sent in one of the policy's steps; may be infinite."""
        return self.limits_of(source, joint).furthest(self.tick_rate) * self.ticks_per_step

    def _say_multiples(self) -> str:
        below = max(1, math.floor(self.command_rate / self.control_rate)) * self.control_rate
        near = [f'{rate:g}' for rate in (below, below + self.control_rate) if rate <= FASTEST]
        return (
            f"parameter 'command_rate' is {self.command_rate:g} Hz, no whole multiple of "
            f'control_rate {self.control_rate:g} Hz; the nearest: {" or ".join(near)} '
            f'(0 = control_rate)'
        )

    @classmethod
    def from_parameters(cls, values: Mapping[str, object]) -> 'Settings':
        """Check names and values as ROS has them; what is absent has its default.

        :raises ParameterError: naming the parameter.
        """
        check_names(values)
        check_overrides(values)
        fitting: dict[str, Any] = {
            PARAMETERS[name].attribute: v for name, v in values.items() if name in PARAMETERS
        }
        # Which checks their types.
        return cls(**fitting, joint_limits=read_joint_limits(values))

    def parameters(self) -> dict[str, Any]:
        """The values by their names in ROS; what is not set is absent."""
        values = {name: getattr(self, it.attribute) for name, it in PARAMETERS.items()}
        for joint, limits in self.joint_limits.items():
            values |= limits.parameters(joint)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None and value != ()
        }


PARAMETERS = rows(Settings)


def find_row(name: str) -> Parameter | None:
    """The row of a parameter, also of a joint's limit; None of what the table does not hold."""
    return limit_row(name) if is_joint_limit(name) else PARAMETERS.get(name)


def check_names(names: Iterable[str], known: Iterable[str] = PARAMETERS) -> None:
    """Refuse names that the table does not hold.

    :raises ParameterError: naming the first unknown one and the nearest known.
    """
    for name in names:
        if name in (*known, *FOREIGN) or name.startswith(OVERRIDES):
            continue
        if known is PARAMETERS and is_joint_limit(name):
            limit_row(name)
            continue
        # `position_max`, whose words are those of `max_position`, is not near `min_position`.
        near = [limit for limit in LIMITED if sorted(limit.split('_')) == sorted(name.split('_'))]
        near = near or difflib.get_close_matches(name, [*known, *LIMITED], n=1)
        meant = f'{PREFIX}JOINT.{near[0]}' if near and near[0] in LIMITED else ''.join(near)
        hint = f'; did you mean {meant!r}?' if meant else ''
        raise ParameterError(f'unknown parameter {name!r}{hint}')
