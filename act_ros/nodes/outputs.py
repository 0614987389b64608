"""The topics that commands are published on."""

from collections.abc import Sequence

from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from act_ros.commands import OutputSpec
from act_ros.errors import ParameterError, shorten
from act_ros.interfaces import read_outputs
from act_ros.task import Task


def parse_outputs(texts: Sequence[str], task: Task) -> list[OutputSpec]:
    """Read the parameter `outputs`, and see that ROS knows such topics.

    :raises ActError: one line that names the text and what is wrong with it.
    """
    outputs = read_outputs(texts, task)
    for text, spec in zip(texts, outputs, strict=True):
        _check_topic(text, spec.topic)
    return outputs


def _check_topic(text: str, topic: str) -> None:
    try:
        # Under any node's name: what is wrong with the topic does not depend on it.
        validate_topic_name(topic)
        validate_full_topic_name(expand_topic_name(topic, 'node', '/'))
    except (NameValidationException, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise ParameterError(f'output {shorten(text)}: {reason}') from None
