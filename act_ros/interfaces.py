"""The topics of a robot as the parameters give them: inputs, and what commands are sent as."""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from act_ros.commands import OUTPUT_TYPES, OutputSpec
from act_ros.errors import ParameterError, shorten
from act_ros.parameters import Settings
from act_ros.task import Task

T = TypeVar('T')

CAMERA_TYPES = {
    'Image': 'sensor_msgs/msg/Image',
    'CompressedImage': 'sensor_msgs/msg/CompressedImage',
}
STATE_TYPES = {
    'JointState': 'sensor_msgs/msg/JointState',
    'Odometry': 'nav_msgs/msg/Odometry',
    'PoseStamped': 'geometry_msgs/msg/PoseStamped',
    'TwistStamped': 'geometry_msgs/msg/TwistStamped',
    'JointTrajectory': 'trajectory_msgs/msg/JointTrajectory',
    'Float64MultiArray': 'std_msgs/msg/Float64MultiArray',
}
INPUT_TYPES = CAMERA_TYPES | STATE_TYPES
_WORD = r'(?:[A-Za-z_]|\{[a-z]+\})(?:\w|\{[a-z]+\})*'
_TOPIC = re.compile(rf'(?:~?/)?{_WORD}(?:/{_WORD})*', re.ASCII)


def camera_inputs(settings: Settings, task: Task) -> dict[str, tuple[str, str]]:
    """Camera name to image topic and type.

    :raises ParameterError: a list has another length than there are cameras.
    """
    given = settings.camera_topics or [f'{name}/image_raw' for name in task.cameras]
    topics = one_each('camera_topics', given, task.cameras, '')
    types = one_each('camera_types', settings.camera_types, task.cameras, 'Image')
    return {name: (topics[name], types[name]) for name in task.cameras}


def state_inputs(settings: Settings, task: Task) -> dict[str, tuple[str, str]]:
    """Source of qpos to topic and type.

    :raises ParameterError: a list has another length than there are sources.
    """
    given = settings.state_topics or [f'{name}/joint_states' for name in task.sources]
    topics = one_each('state_topics', given, task.sources, '')
    types = one_each('state_types', settings.state_types, task.sources, 'JointState')
    return {name: (topics[name], types[name]) for name in task.sources}


def check_shared(inputs: Mapping[str, tuple[str, str]]) -> None:
    """Refuse a topic that is read as two types.

    :param inputs: name to full topic and type.
    :raises ParameterError: naming it and both inputs.
    """
    readers: dict[str, str] = {}
    for name, (topic, input_type) in inputs.items():
        other = readers.setdefault(topic, name)
        if inputs[other][1] != input_type:
            raise ParameterError(
                f'{topic} is read as {inputs[other][1]} for {other} and as {input_type} for '
                f'{name}; a topic has one type: correct camera_types, state_types or the topics'
            )


def absolute(topic: str, namespace: str = '') -> str:
    """A topic as a bag names it, of a node `act` in a namespace."""
    root = '/' + namespace.strip('/') + '/' if namespace.strip('/') else '/'
    if topic.startswith('~'):
        return f'{root}act/{topic[1:].lstrip("/")}'
    return topic if topic.startswith('/') else root + topic


def check_topics(topics: Mapping[str, str]) -> None:
    """Refuse what ROS does not take as a topic's name.

    :param topics: by what they are of.
    :raises ParameterError: naming the first.
    """
    for what, topic in topics.items():
        if not _TOPIC.fullmatch(topic):
            raise ParameterError(
                f'the topic of {what} is {shorten(topic)}, which is none of ROS: words of '
                f'letters, digits and _ between slashes, none beginning with a digit'
            )


def one_each(
    parameter: str, given: Sequence[T], names: Sequence[str], default: T
) -> dict[str, T]:
    """A list with one entry for each of several names.

    :param default: of each, where the list is not set.
    :raises ParameterError: it has another length.
    """
    values = given or [default] * len(names)
    if len(values) != len(names):
        what = parameter.split('_')[1]
        raise ParameterError(
            f'parameter {parameter!r} lists {len(values)} {what}, expected {len(names)}, '
            f'one each for {", ".join(names)}'
        )
    return dict(zip(names, values, strict=True))


def parse_output(text: str, task: Task) -> OutputSpec:
    """Read one text of the parameter `outputs`: `TOPIC TYPE [OPTION=VALUE ...] [PATTERN ...]`.

    A pattern with a space in it stands in quotes. Without a pattern the whole action is sent.

    :raises ActError: one line that names the text and what is wrong with it.
    """
    words = _words(text)
    if len(words) < 2:
        raise ParameterError(
            f'output {shorten(text)} is not of the form TOPIC TYPE [PATTERN ...]'
        )
    topic, name, *rest = words
    if name not in OUTPUT_TYPES:
        raise ParameterError(
            f'output {shorten(text)} has the type {name!r}; expected one of '
            f'{", ".join(OUTPUT_TYPES)} (nearest: {_nearest(name, OUTPUT_TYPES)})'
        )
    output_type = OUTPUT_TYPES[name]
    options, patterns = _split_options(text, rest, output_type.options)
    names = [str(entry) for entry in task.action]
    columns: dict[int, None] = {}
    for pattern in patterns or ['*']:
        found = _selected(names, pattern)
        if not found:
            near = _nearest(pattern, names)
            hint = '; a name with a space stands in quotes' if ' ' in near else ''
            raise ParameterError(
                f'output {shorten(text)}: {pattern!r} matches no entry of the action; '
                f'the nearest is {near!r}{hint}'
            )
        columns |= dict.fromkeys(found)
    return OutputSpec(text, topic, output_type, list(columns), task, options)


def read_outputs(texts: Sequence[str], task: Task) -> list[OutputSpec]:
    """Read the parameter `outputs`, as `parse_output` reads each text of it.

    :raises ActError: one line that names the text and what is wrong with it.
    """
    if not texts:
        raise ParameterError("parameter 'outputs' is empty; expected 'TOPIC TYPE [PATTERN ...]'")
    outputs = [parse_output(text, task) for text in texts]
    # As in a dry run: there `a` and `/a` are one topic too.
    topics = [dry_run_topic(output.topic) for output in outputs]
    for topic, output in zip(topics, outputs, strict=True):
        if topics.count(topic) > 1:
            raise ParameterError(f"parameter 'outputs' names the topic {output.topic!r} twice")
    return outputs


def unsent(outputs: Sequence[OutputSpec], task: Task) -> list[str]:
    """Entries of the action that no output carries."""
    sent = {column for output in outputs for column in output.columns}
    return [str(entry) for i, entry in enumerate(task.action) if i not in sent]


def dry_run_topic(topic: str) -> str:
    """Where a topic's commands go in a dry run."""
    return '~/dry_run/' + topic.removeprefix('~').lstrip('/')


def output_topic(text: str) -> str:
    """The topic of one text of the parameter `outputs`, whatever else is in it.

    :raises ParameterError: a quote without its end.
    """
    return next(iter(_words(text)), '')


def _split_options(
    text: str, words: Sequence[str], known: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """The words that are options of a type, and the patterns.

    :raises ParameterError: an option stands there twice.
    """
    options: dict[str, str] = {}
    patterns = []
    for word in words:
        name, equals, value = word.partition('=')
        if not (equals and name in known):
            patterns.append(word)
        elif name in options:
            raise ParameterError(f'output {shorten(text)} gives {name} twice')
        else:
            options[name] = value
    return options, patterns


def _words(text: str) -> list[str]:
    """The words of a text; quotes hold one together, and a backslash is a letter."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, '', ''
    try:
        return list(lexer)
    except ValueError:
        raise ParameterError(
            f'output {shorten(text)} has a quote without its end; a name with an apostrophe '
            f'stands in double quotes'
        ) from None


def _selected(names: Sequence[str], pattern: str) -> list[int]:
    """Places of the entries that a pattern means.

    It is compared with `source/joint/quantity`, and with `source/joint`, which means both
    quantities. An entry of that very name is meant before any that the pattern matches, and
    where it matches none, its brackets are taken as they stand: joints are called `joint[0]`.
    """
    literal = pattern.replace('[', '[[]')
    for means in (str.__eq__, fnmatchcase, lambda name, _: fnmatchcase(name, literal)):
        found = [
            i
            for i, name in enumerate(names)
            if means(name, pattern) or means(name.rpartition('/')[0], pattern)
        ]
        if found:
            return found
    return []


def _nearest(word: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
