"""Every parameter once: name, type, default, range, unit, text, live or fixed.

The node declares its ROS parameters from this table; programs without ROS read the same YAML
files through it. A name that is not here is refused, so that a typo is never silently inert.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from act_ros.errors import ParameterError, shorten

# Declared by rclpy itself.
FOREIGN = ('use_sim_time', 'start_type_description_service')
FOREIGN_PREFIXES = ('qos_overrides.',)


@dataclass(frozen=True)
class Parameter:
    """One row of the table. A default of None means: not set unless the user sets it."""

    name: str
    type: type  # bool, int, float, str, or list
    default: object
    text: str
    unit: str = ''
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    element: type = str  # of a list
    live: bool = False  # settable while the node is active

    def check(self, value: object) -> object:
        """Return the value in this parameter's type.

        :raises ParameterError: one line with the name, what was found and what is expected.
        """
        if self.type is list:
            if not isinstance(value, list | tuple):
                raise self._error(value, f'a list of {self.element.__name__}')
            return [self._scalar(item, self.element) for item in value]
        return self._scalar(value, self.type)

    def _scalar(self, value: object, wanted: type) -> object:
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise self._error(value, {str: 'text'}.get(wanted, wanted.__name__))
        if self.choices and value not in self.choices:
            raise self._error(value, 'one of ' + ', '.join(self.choices))
        if self.range is not None:
            low, high = self.range
            if not (math.isfinite(value) and low <= value <= high):
                raise self._error(value, f'{low:g} to {high:g} {self.unit}'.rstrip())
        return value

    def _error(self, value: object, expected: str) -> ParameterError:
        return ParameterError(
            f'parameter {self.name!r} is {shorten(value)}; expected {expected} ({self.text})'
        )


PARAMETERS = {
    row.name: row
    for row in (
        Parameter('task.name', str, '', 'name of the task, for logs and reports'),
        Parameter('task.cameras', list, None, "cameras in the policy's order"),
        Parameter('task.image_size', list, [480, 640], 'height and width of every camera',
                  unit='px', range=(1, 8192), element=int),
        Parameter('task.state', list, None,
                  'entries of qpos, source/joint/position|velocity [scale=S] [offset=O]'),
        Parameter('task.action', list, None, 'entries of the action, of the same form'),
        Parameter('control_rate', float, 50.0, 'commands a second; one policy step is its inverse',
                  unit='Hz', range=(1.0, 500.0)),
        Parameter('ckpt_dir', str, './ckpt', 'folder of the checkpoint and dataset_stats.pkl'),
        Parameter('ckpt_name', str, 'policy_best.ckpt', 'file name of the checkpoint'),
        Parameter('device', str, 'auto', 'auto, cpu, cuda or cuda:N'),
        Parameter('engine', str, 'torch',
                  'what runs the network: torch, openvino, or auto, the faster by measurement',
                  choices=('auto', 'torch', 'openvino')),
        Parameter('precision', str, 'float32',
                  'that the network computes in; float16 needs CUDA',
                  choices=('float32', 'bfloat16', 'float16')),
        Parameter('max_deviation', float, 0.02,
                  'largest difference from float32 of a normalised action; more is refused',
                  range=(0.0, 1000.0)),
        Parameter('colour_order', str, 'rgb', 'channel order that the policy was trained with',
                  choices=('rgb', 'bgr')),
        Parameter('torch_threads', int, 0,
                  "CPU threads of the network; 0 = torch's own choice, one a core",
                  range=(0, 1024)),
        Parameter('temporal_aggregation', bool, True,
                  'blend every chunk that covers a step; false plays one chunk after the other'),
        Parameter('query_every', int, 0,
                  'steps between chunks with aggregation off; 0 = the chunk size',
                  unit='steps', range=(0, 100_000)),
        Parameter('decay', float, 0.01, 'aggregation weight exp(-decay * i), i = 0 the oldest',
                  range=(0.0, 10.0), live=True),
        Parameter('inference', str, 'asynchronous',
                  'asynchronous: beside the tick; synchronous: inside it',
                  choices=('asynchronous', 'synchronous')),
        # Observations.
        Parameter('stamp_source', str, 'header', "an input's age by its header or its receipt",
                  choices=('header', 'receipt')),
        Parameter('max_age', float, 0.1, 'oldest input an observation may have',
                  unit='s', range=(0.001, 60.0)),
        Parameter('max_skew', float, 0.05, 'largest difference between camera stamps',
                  unit='s', range=(0.0, 60.0)),
        Parameter('frozen_timeout', float, 0.0,
                  'a camera that sends the same bytes for longer is frozen; 0 = not looked at',
                  unit='s', range=(0.0, 3600.0)),
        Parameter('camera_topics', list, None,
                  'one image topic a camera; default: CAMERA/image_raw'),
        Parameter('camera_types', list, None,
                  'Image or CompressedImage for each camera; default: Image',
                  choices=('Image', 'CompressedImage')),
        Parameter('state_topics', list, None,
                  'one topic a source of qpos; default: SOURCE/joint_states'),
        Parameter('state_types', list, None,
                  'JointState or Odometry for each source of qpos; default: JointState',
                  choices=('JointState', 'Odometry')),
        Parameter('twist_frame', str, '',
                  'frame in which the policy wants the velocity of an Odometry source: its '
                  'frame_id or its child_frame_id'),
        # What stops the commands, and what starts them again.
        Parameter('command_timeout', float, 0.5,
                  'commands end when the newest observation behind them is older',
                  unit='s', range=(0.01, 60.0)),
        Parameter('stop_policy', str, 'hold',
                  'hold: repeat the last command with zero velocity; silent: publish nothing',
                  choices=('hold', 'silent')),
        Parameter('recovery_window', float, 5.0,
                  'a stop that lasts longer is ended by ~/reset only',
                  unit='s', range=(0.0, 3600.0)),
        Parameter('enable_topic', str, '',
                  'deadman (std_msgs/Bool): commands only while it is true, said within 0.2 s'),
        Parameter('autostart', bool, False, 'configure and activate by itself, again each second',
                  live=True),
        # Limits, in the robot's units; one value a joint, in the order in which the action first
        # names them.
        Parameter('position_min', list, None, 'lowest position of each joint of the action',
                  element=float, live=True),
        Parameter('position_max', list, None, 'highest position of each joint of the action',
                  element=float, live=True),
        Parameter('max_step', list, None, 'furthest that each joint may be sent in one tick',
                  element=float, live=True),
        Parameter('max_velocity', list, None, 'largest speed of each joint of the action',
                  element=float, live=True),
        Parameter('max_tracking_error', list, None,
                  'a joint further from its command than this for 0.2 s stops the commands',
                  element=float, live=True),
        Parameter('unlimited', list, [],
                  'entries of the action that may have no limits: infinite, or not given'),
        Parameter('range_tolerance', float, 0.01,
                  'a joint measured further outside its range refuses activation; at most its '
                  'max_step counts', range=(0.0, 10.0), live=True),
        Parameter('ramp_time', float, 1.0, 'from the pose there is to what the policy says',
                  unit='s', range=(0.0, 60.0), live=True),
        # What goes out.
        Parameter('outputs', list, ['joint_commands JointState'],
                  'TOPIC TYPE [PATTERN ...]: where commands go; TYPE is JointState, '
                  'JointTrajectory, JointTrajectoryHorizon or Float64MultiArray, PATTERN selects '
                  'entries of the action'),
        Parameter('dry_run', bool, False, 'everything runs, commands go to ~/dry_run/TOPIC only'),
        Parameter('publish_tick', bool, False, 'publish ~/tick: what each command was made from'),
        Parameter('publish_chunk', bool, False, 'publish ~/chunk: the newest plan'),
        Parameter('zmq_endpoint', str, '', "serve the ZMQ protocol too, e.g. 'tcp://127.0.0.1:5555'"),
        Parameter('realtime_priority', int, 0,
                  'SCHED_FIFO priority of the control tick, where the system permits it; 0 = none',
                  range=(0, 98)),
    )
}  # fmt: skip


def check_names(names: object) -> None:
    """Refuse names that the table does not hold.

    :raises ParameterError: naming the first unknown one and the nearest known.
    """
    for name in names:
        if name in (*PARAMETERS, *FOREIGN) or name.startswith(FOREIGN_PREFIXES):
            continue
        near = difflib.get_close_matches(name, PARAMETERS, n=1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise ParameterError(f'unknown parameter {name!r}{hint}')


def read_parameter_file(*paths: str | Path) -> dict[str, object]:
    """Read ROS 2 parameter files without ROS, later ones over earlier ones.

    Sections `/**` and those of a node named `act` count, the latter over the former.

    :param paths: YAML files of the form `/**: {ros__parameters: {...}}`.
    :returns: flat names to checked values, the table's defaults where the files are silent;
        parameters without a default are absent.
    :raises ParameterError: naming the file and what is wrong with it.
    """
    values: dict[str, object] = {}
    for path in paths:
        values |= _read(Path(path))
        try:
            checked = check_values(values)
        except ParameterError as error:
            raise ParameterError(f'{path}: {error}') from None
    return checked


def _read(path: Path) -> dict[str, object]:
    """What a file says, unchecked."""
    try:
        document = yaml.safe_load(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise ParameterError(f'no parameter file {str(path)!r}') from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise ParameterError(f'cannot read parameter file {str(path)!r}: {reason}') from None
    if not isinstance(document, Mapping):
        raise ParameterError(f"parameter file {str(path)!r} has no '/**: ros__parameters:'")

    values: dict[str, object] = {}
    sections = [name for name in document if str(name).split('/')[-1] in ('**', '*', 'act')]
    for section in sorted(sections, key=lambda name: str(name).endswith('act')):
        content = document[section]
        if not isinstance(content, Mapping) or not isinstance(
            content.get('ros__parameters'), Mapping
        ):
            raise ParameterError(
                f"parameter file {str(path)!r}: {section!r} has no 'ros__parameters:'"
            )
        try:
            values.update(_flatten(content['ros__parameters']))
        except RecursionError:
            raise ParameterError(f'parameter file {str(path)!r} refers to itself') from None
    if not values:
        raise ParameterError(
            f"parameter file {str(path)!r} has no parameters under '/**: ros__parameters:'"
        )
    return values


def check_values(values: Mapping[str, object]) -> dict[str, object]:
    """Check names and values and fill in the defaults.

    :raises ParameterError: naming the parameter.
    """
    check_names(values)
    result = {name: row.default for name, row in PARAMETERS.items() if row.default is not None}
    result.update(
        (name, PARAMETERS[name].check(value))
        for name, value in values.items()
        if name in PARAMETERS
    )
    return result


def _flatten(tree: Mapping, prefix: str = '') -> dict[str, object]:
    """{'task': {'name': 'x'}} to {'task.name': 'x'}, as rcl does."""
    flat = {}
    for key, value in tree.items():
        name = f'{prefix}{key}'
        flat.update(
            _flatten(value, f'{name}.') if isinstance(value, Mapping) else {name: value}
        )
    return flat
