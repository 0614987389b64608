"""Every parameter once: name, type, default, range, unit, text, live or fixed.

`Settings` is the table: a field a parameter. The node declares its ROS parameters from it;
programs without ROS read the same YAML files through it. A name that is not here is refused,
so that a typo is never silently inert.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, get_args, get_origin

from act_ros.errors import ParameterError, shorten

# Declared by rclpy itself.
FOREIGN = ('use_sim_time', 'start_type_description_service')
FOREIGN_PREFIXES = ('qos_overrides.',)

FASTEST = 1000.0  # commands a second

Strings = tuple[str, ...]
Integers = tuple[int, ...]
Floats = tuple[float, ...]


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    :ivar name: as ROS has it: `task.name` of the field `task_name`.
    :ivar type: bool, int, float or str, of each element where it is a list.
    :ivar default: an empty tuple means that a list is not set, None that a value is not.
    :ivar live: settable while the node is active.
    """

    name: str
    type: type
    is_list: bool
    default: object
    text: str
    unit: str = ''
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def attribute(self) -> str:
        """Its field of `Settings`."""
        return self.name.replace('.', '_')

    def check(self, value: object) -> object:
        """Return the value in this parameter's type; a list as a tuple.

        :raises ParameterError: one line with the name, what was found and what is expected.
        """
        if value is None and self.default is None:
            return None
        if not self.is_list:
            return self._scalar(value)
        if not isinstance(value, list | tuple):
            raise self._error(value, f'a list of {_NAMES[self.type]}')
        return tuple(self._scalar(item) for item in value)

    def _scalar(self, value: object) -> object:
        if self.type is float and isinstance(value, int | float) and type(value) is not bool:
            value = float(value)
        if type(value) is not self.type:
            raise self._error(value, _NAMES[self.type])
        if self.choices and value not in self.choices:
            raise self._error(value, 'one of ' + ', '.join(self.choices))
        if self.range is not None and isinstance(value, int | float):
            low, high = self.range
            if not (math.isfinite(value) and low <= value <= high):
                raise self._error(value, f'{low:g} to {high:g} {self.unit}'.rstrip())
        return value

    def _error(self, value: object, expected: str) -> ParameterError:
        return ParameterError(
            f'parameter {self.name!r} is {shorten(value)}; expected {expected} ({self.text})'
        )


_NAMES = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text'}


def row(default: object, text: str, **rest: Any) -> Any:
    """A field of a table: its type and name are those of its place there."""
    return field(default=default, metadata={'text': text, **rest})


@dataclass(frozen=True)
class Blending:
    """What becomes of chunks: see the parameters of these names."""

    temporal_aggregation: bool = True
    query_every: int = 0
    decay: float = 0.01


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The value of every parameter, each in its type and range.

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
    state_topics: Strings = row((), 'one topic a source of qpos; default: SOURCE/joint_states')
    state_types: Strings = row(
        (),
        'JointState or Odometry for each source of qpos; default: JointState',
        choices=('JointState', 'Odometry'),
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
    # Limits, in the robot's units; one value a joint, in the order in which the action first
    # names them.
    position_min: Floats = row((), 'lowest position of each joint of the action', live=True)
    position_max: Floats = row((), 'highest position of each joint of the action', live=True)
    max_step: Floats = row((), 'furthest that each joint may be sent in one command', live=True)
    max_velocity: Floats = row((), 'largest speed of each joint of the action', live=True)
    max_acceleration: Floats = row(
        (), 'how much the speed of each joint may change in a second', live=True,
    )
    max_tracking_error: Floats = row(
        (),
        'a joint further from its command than this for 0.2 s stops the commands; .inf for one '
        'that may stop short of it, as a gripper does on an object',
        live=True,
    )
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
    # What goes out.
    outputs: Strings = row(
        ('joint_commands JointState',),
        'TOPIC TYPE [PATTERN ...]: where commands go; TYPE is JointState, JointTrajectory, '
        'JointTrajectoryHorizon or Float64MultiArray, PATTERN selects entries of the action',
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
        return replace(
            self, command_rate=0.0, max_step=tuple(step * ticks for step in self.max_step)
        )

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
        fitting: dict[str, Any] = {
            PARAMETERS[name].attribute: v for name, v in values.items() if name in PARAMETERS
        }
        return cls(**fitting)  # which checks their types

    def parameters(self) -> dict[str, Any]:
        """The values by their names in ROS; what is not set is absent."""
        values = {name: getattr(self, it.attribute) for name, it in PARAMETERS.items()}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None and value != ()
        }


def _parameter(place: Field) -> Parameter:
    is_list = get_origin(place.type) is tuple
    name = place.name
    if name.startswith('task_'):
        name = name.replace('_', '.', 1)
    # Of a list, its elements' type; of a value that may be not set, the value's.
    value_type: Any = next(iter(get_args(place.type)), place.type)
    return Parameter(name, value_type, is_list, place.default, **place.metadata)


def rows(table: Any) -> dict[str, Parameter]:
    """The rows of a dataclass of `row`s, by name."""
    return {parameter.name: parameter for parameter in map(_parameter, fields(table))}


PARAMETERS = rows(Settings)


def check_values(values: object, parameters: Mapping[str, Parameter]) -> None:
    """Give each field of a frozen table its type.

    :raises ParameterError: a value does not fit.
    """
    for parameter in parameters.values():
        value = parameter.check(getattr(values, parameter.attribute))
        object.__setattr__(values, parameter.attribute, value)


def check_names(names: Iterable[str], known: Iterable[str] = PARAMETERS) -> None:
    """Refuse names that the table does not hold.

    :raises ParameterError: naming the first unknown one and the nearest known.
    """
    for name in names:
        if name in (*known, *FOREIGN) or name.startswith(FOREIGN_PREFIXES):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise ParameterError(f'unknown parameter {name!r}{hint}')
