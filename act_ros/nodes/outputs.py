"""The topics that commands are published on."""

from collections.abc import Sequence

from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from act_ros.commands import OutputSpec
from act_ros.errors import ParameterError, shorten
from act_ros.interfaces import parse_output
from act_ros.task import Task


def parse_outputs(texts: Sequence[str], task: Task) -> list[OutputSpec]:
    """Read the parameter `outputs`, as `parse_output` reads each text of it.

    :raises ActError: one line that names the text and what is wrong with it.
    """
    if not texts:
        raise ParameterError("parameter 'outputs' is empty; expected 'TOPIC TYPE [PATTERN ...]'")
    outputs = []
    for text in texts:
        spec = parse_output(text, task)
        _check_topic(text, spec.topic)
        outputs.append(spec)
    # As in a dry run: there `a` and `/a` are one topic too.
    topics = [dry_run_topic(output.topic) for output in outputs]
    for topic, output in zip(topics, outputs, strict=True):
        if topics.count(topic) > 1:
            raise ParameterError(f"parameter 'outputs' names the topic {output.topic!r} twice")
    return outputs


def _check_topic(text: str, topic: str) -> None:
    try:
        # Under any node's name: what is wrong with the topic does not depend on it.
        validate_topic_name(topic)
        validate_full_topic_name(expand_topic_name(topic, 'node', '/'))
    except (NameValidationException, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise ParameterError(f'output {shorten(text)}: {reason}') from None


def unsent(outputs: Sequence[OutputSpec], task: Task) -> list[str]:
    """Entries of the action that no output carries."""
    sent = {column for output in outputs for column in output.columns}
    return [str(entry) for i, entry in enumerate(task.action) if i not in sent]


def dry_run_topic(topic: str) -> str:
    """Where a topic's commands go in a dry run."""
    return '~/dry_run/' + topic.removeprefix('~').lstrip('/')
