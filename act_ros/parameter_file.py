"""ROS 2 parameter files, read without ROS as rcl reads them.

rcl does not resolve scalars as YAML does: `1e2`, `0x10` and `+.5` are numbers to it, `y` and
`off` are booleans, a date and `1_000` are text. A file shall mean the same to every program,
so its rules stand here (rcl_yaml_param_parser, `get_value` and `parse_file_events`).
"""

import contextlib
import logging
import math
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import yaml

from act_ros.errors import ParameterError, shorten
from act_ros.parameters import Settings
from act_ros.parameters.joint_limits import unused_limits
from act_ros.robot_limits import UNITS, is_of_robot, limits_said, of_the_action

log = logging.getLogger(__name__)

FLAG = '--params-file'
EVERY_NODE = '/**'
PARAMETERS_KEY = 'ros__parameters'
TRUE = ('Y', 'y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON')
FALSE = ('N', 'n', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF')
INFINITY = ('.inf', '.Inf', '.INF')
NAN = ('.nan', '.NaN', '.NAN')
STRING_TAG = 'tag:yaml.org,2002:str'
# What C's strtoll (base 0) and strtod take whole.
_INTEGER = re.compile(r'[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)')
_DECIMAL = re.compile(r'[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?')
_HEXADECIMAL = re.compile(
    r'[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?'
)
_PLAIN = re.compile(r'[A-Za-z_/~]([\w/.~*= -]*[\w/.~*])?')  # nothing of YAML's own
_WORD = re.compile(r'[+-]?(?:inf|infinity|nan(?:\([0-9a-zA-Z_]*\))?)', re.IGNORECASE)

class _Loader(yaml.SafeLoader):
    """Leaves scalars as they are written: only a tag that is written is one."""

    yaml_implicit_resolvers: ClassVar[dict] = {}  # type: ignore[misc]  # shadows on purpose
    DEFAULT_SCALAR_TAG = ''  # type: ignore[misc]


class _QuotedText(yaml.SafeDumper):
    """Text is quoted: what is plain, rcl reads by rules of its own."""


_QuotedText.add_representer(
    str, lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', text, style='"')
)

Scalar = bool | int | float | str
Value = Scalar | list[Scalar]


def read_parameter_file(*paths: str | Path) -> Settings:
    """Read ROS 2 parameter files without ROS, later ones over earlier ones.

    Sections of every node (`/**`, `/*`) and of a node named `act` count, the latter over the
    former.

    :param paths: YAML files of the form `/**: {ros__parameters: {...}}`, or MoveIt's
        `joint_limits.yaml`, of which the joints of the action count.
    :returns: the checked values, the table's defaults where the files are silent.
    :raises ParameterError: naming the file and what is wrong with it.
    """
    values: dict[str, Value] = {}
    settings = Settings()
    for path, new in _contents(paths):
        values |= new
        if unused := unused_limits(new):
            log.info('%s: not used: %s', path, ', '.join(unused))
        try:
            settings = Settings.from_parameters(values)
        except ParameterError as error:
            raise ParameterError(f'{path}: {error}') from None
    return settings


def read_raw_parameters(*paths: str | Path) -> dict[str, Value]:
    """What files say of a node named `act`, later ones over earlier ones: QoS overrides, too.

    :returns: flat names to values, unchecked and without defaults.
    :raises ParameterError: naming the file that cannot be read.
    """
    return {name: value for _, new in _contents(paths) for name, value in new.items()}


def write_parameter_file(values: Mapping[str, object], path: Path) -> None:
    """Write parameters for any node.

    :param values: flat names to values.
    """
    path.write_text(_document(values), encoding='utf-8')


def quoted(text: str) -> str:
    """A text as it stands in a parameter file: without quotes where it is plainly one."""
    if _PLAIN.fullmatch(text) and isinstance(resolve(text), str):
        return text
    return yaml.dump(text, Dumper=_QuotedText, width=10_000).strip()


def read_robot_limits(path: Path) -> dict[str, Value]:
    """The limits in MoveIt's `joint_limits.yaml`, of all joints of a robot, by parameter.

    :raises ParameterError: naming the file and what is wrong with it.
    """
    limits = _robot_limits(path)
    if limits is None:
        raise ParameterError(f"{path} has no 'joint_limits:' at its top, as MoveIt's file has")
    return limits


def as_one_file(*paths: Path) -> str:
    """The text of a file that says what these do; of a single one its own, comments included.

    :raises ParameterError: naming the file that cannot be read.
    """
    if len(paths) == 1:
        return paths[0].read_text(encoding='utf-8')
    return _document(read_raw_parameters(*paths))


def _document(values: Mapping[str, object]) -> str:
    document = {EVERY_NODE: {PARAMETERS_KEY: dict(values)}}
    return yaml.dump(document, Dumper=_QuotedText, width=10_000)


def parse_parameter_file(path: Path) -> dict[str, dict[str, Value]]:
    """A parameter file as rcl reads it.

    :returns: name of a node, with wildcards, to flat parameter names and values.
    :raises ParameterError: naming the file, the line and the remedy.
    """
    with _readable(path):
        return _parse(path.read_text(encoding='utf-8'))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of a file what is wrong with it."""
    try:
        yield
    except FileNotFoundError:
        raise ParameterError(f'no parameter file {str(path)!r}') from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError, ParameterError) as error:
        reason = ' '.join(str(error).split())
        raise ParameterError(f'cannot read parameter file {str(path)!r}: {reason}') from None


def read_flat(path: Path) -> dict[str, Value]:
    """A file of `name: value` alone, its values resolved as those of parameters are.

    :raises ParameterError: naming the file, the line and the remedy.
    """
    with _readable(path):
        root = yaml.compose(path.read_text(encoding='utf-8'), Loader=_Loader)
        if not isinstance(root, yaml.MappingNode):
            raise ParameterError('it has no lines of the form NAME: VALUE')
        values: dict[str, Value] = {}
        _collect(root, '', values)
        return values


def named_in(argv: Sequence[str]) -> list[Path]:
    """The parameter files that a node's command line names."""
    return [Path(value) for flag, value in pairwise(argv) if flag == FLAG]


@contextlib.contextmanager
def as_rcl_reads(argv: Sequence[str]) -> Iterator[list[str]]:
    """A node's command line with MoveIt's files as parameter files, which alone rcl takes.

    :raises ParameterError: naming the file that cannot be read, and more of why than rcl does.
    """
    words = list(argv)
    places = [at for at, flag in enumerate(argv[:-1], 1) if flag == FLAG]
    with tempfile.TemporaryDirectory(prefix='act_ros_') as folder:
        for at, file in zip(places, _read_all(named_in(argv)), strict=True):
            if file.of_robot:
                words[at] = f'{folder}/{at}.yaml'
                write_parameter_file(file.sections[EVERY_NODE], Path(words[at]))
        yield words


@dataclass
class _File:
    """A parameter file, by the nodes that it names; or MoveIt's, for every node."""

    path: Path
    sections: dict[str, dict[str, Value]]
    of_robot: bool = False


def _read_all(paths: Sequence[Path]) -> list[_File]:
    """Read files; of a robot's limits those of the action count that the others say."""
    files = []
    for path in paths:
        limits = _robot_limits(path)
        if limits is None:
            files.append(_File(path, parse_parameter_file(path)))
        else:
            files.append(_File(path, {EVERY_NODE: limits}, of_robot=True))
    every = [values for file in files for values in file.sections.values()]
    action = next((v['task.action'] for v in reversed(every) if 'task.action' in v), None)
    for file in files:
        if file.of_robot and isinstance(action, list):
            limits = file.sections[EVERY_NODE]
            file.sections[EVERY_NODE] = of_the_action(limits, list(map(str, action)), file.path)
    return files


def _robot_limits(path: Path) -> dict[str, Value] | None:
    """The limits in a file of MoveIt's; None: it is another."""
    with _readable(path):
        root = yaml.compose(path.read_text(encoding='utf-8'), Loader=_Loader)
        if not isinstance(root, yaml.MappingNode):
            return None
        if not is_of_robot([k.value for k, v in root.value if isinstance(v, yaml.MappingNode)]):
            return None
        values: dict[str, Value] = {}
        _convert(root)
        _collect(root, '', values)
        return limits_said(values)


def _convert(node: yaml.Node) -> None:
    """Bring what is marked with a unit into ours."""
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _convert(value)
    elif node.tag in UNITS:
        node.value, node.tag = repr(UNITS[node.tag](float(node.value))), ''


def _contents(paths: Iterable[str | Path]) -> list[tuple[Path, dict[str, Value]]]:
    """What each file says of a node named `act`, unchecked."""
    return [(file.path, _of_the_node(file)) for file in _read_all([*map(Path, paths)])]


def _of_the_node(file: _File) -> dict[str, Value]:
    mine = [name for name in file.sections if name.split('/')[-1] in ('**', '*', 'act')]
    values: dict[str, Value] = {}
    for name in sorted(mine, key=lambda name: name.endswith('act')):
        values |= file.sections[name]
    if not values:
        raise ParameterError(
            f"parameter file {str(file.path)!r} has no parameters under "
            f"'/**: {PARAMETERS_KEY}:'"
        )
    return values


def _parse(text: str) -> dict[str, dict[str, Value]]:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _error(event, f'*{event.anchor} refers to another place; ROS 2 parameter files '
                                f'know no aliases: write it out')  # fmt: skip
    root = yaml.compose(text, Loader=_Loader)
    if not isinstance(root, yaml.MappingNode):
        raise ParameterError(f"it has no '/**: {PARAMETERS_KEY}:'")
    sections: dict[str, dict[str, Value]] = {}
    for name, parameters in _sections(root, ''):
        _collect(parameters, f' below {shorten(name)}', sections.setdefault(name, {}))
    return sections


def _collect(node: yaml.MappingNode, where: str, values: dict[str, Value]) -> None:
    """Add what a mapping says to the values."""
    for name, at, value in _parameters(node, ''):
        # rcl takes the last, or where their types differ the one that it looks for first.
        if name in values:
            raise _error(at, f'{shorten(name)} is set twice{where}')
        values[name] = value


def _sections(node: yaml.MappingNode, name: str) -> Iterator[tuple[str, yaml.MappingNode]]:
    """The nodes below a namespace, with their parameters."""
    for key, value in node.value:
        text = _key(key)
        if not isinstance(value, yaml.MappingNode):
            raise _error(key, f"{shorten(text)} stands before '{PARAMETERS_KEY}:'")
        if text != PARAMETERS_KEY:
            yield from _sections(value, f'{name}/{text}' if name else text)
        elif name:
            yield name, value
        else:
            raise _error(key, f"{PARAMETERS_KEY!r} stands below no node; put it under '/**:'")


def _parameters(
    node: yaml.MappingNode, prefix: str
) -> Iterator[tuple[str, yaml.Node, Value]]:
    """{'task': {'name': 'x'}} as 'task.name', where it stands, and 'x'."""
    for key, value in node.value:
        name = f'{prefix}{_key(key)}'
        if isinstance(value, yaml.MappingNode):
            yield from _parameters(value, f'{name}.')
        elif isinstance(value, yaml.SequenceNode):
            yield name, key, _list(name, value)
        else:
            yield name, key, _scalar(name, value)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise _error(node, 'a name is expected here')
    return node.value


def _list(name: str, node: yaml.SequenceNode) -> list[Scalar]:
    """All of one type: rcl refuses the others."""
    items = []
    for item in node.value:
        if not isinstance(item, yaml.ScalarNode):
            raise _error(item, f'{name!r} is a list in a list; ROS 2 knows only flat ones')
        items.append(_scalar(name, item))
    types = {type(item) for item in items}
    if types == {int, float}:
        whole = next(n.value for n, item in zip(node.value, items, strict=True)
                     if type(item) is int)  # fmt: skip
        raise _error(node, f'{name!r} mixes whole numbers with others, which ROS 2 refuses: write '
                           f'all with a point ({whole} as {whole}.0)')  # fmt: skip
    if len(types) > 1:
        names = ' and '.join(sorted('text' if t is str else t.__name__ for t in types))
        raise _error(node, f'{name!r} mixes {names}, which ROS 2 refuses: quote what is text, or '
                           f'leave out what does not belong')  # fmt: skip
    return items


def _scalar(name: str, node: yaml.ScalarNode) -> Scalar:
    if node.tag in UNITS:
        raise _error(node, f'{name!r} is marked {node.tag}, which ROS 2 passes over: write it in '
                           f'radians, without a mark')  # fmt: skip
    if node.tag == STRING_TAG or node.style in ("'", '"'):
        return node.value
    if not node.value:
        raise _error(node, f"{name!r} has no value; write '' for empty text")
    return resolve(node.value)


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar, as rcl has it."""
    if text in TRUE or text in FALSE:
        return text in TRUE
    if _INTEGER.fullmatch(text):
        digits = text.lstrip('+-')
        base = 16 if digits[:2] in ('0x', '0X') else 8 if digits.startswith('0') else 10
        value = int(text, base)
        if -(2**63) <= value < 2**63:
            return value
    sign = -1.0 if text.startswith('-') else 1.0
    if text.lstrip('+-') in INFINITY and len(text) <= 5:
        return sign * math.inf
    if text in NAN:
        return math.nan
    if _WORD.fullmatch(text):
        return float(text.split('(')[0])
    number = None
    if _DECIMAL.fullmatch(text):
        number = float(text)
    elif _HEXADECIMAL.fullmatch(text):
        with contextlib.suppress(OverflowError):
            number = float.fromhex(text)
    # What is too large for a float, or too small, has no value to C; it is text.
    if number is None or math.isinf(number):
        return text
    vanished = abs(number) < sys.float_info.min and re.match(r'[^eEpP]*[1-9a-dA-D]', text)
    return text if vanished else number


def _error(at: yaml.Node | yaml.Event, what: str) -> ParameterError:
    line = 0 if at.start_mark is None else at.start_mark.line
    return ParameterError(f'line {line + 1}: {what}')
