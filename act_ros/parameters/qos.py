"""Overrides of a topic's QoS, which rclpy declares by itself and refuses without their name."""

from collections.abc import Mapping

from act_ros.errors import ParameterError, shorten

OVERRIDES = 'qos_overrides.'
RCLPY = ('/clock', '/parameter_events')  # topics of its own, declared when it likes
_WORDS = {
    'history': ('keep_last', 'keep_all', 'system_default'),
    'reliability': ('reliable', 'best_effort', 'system_default', 'best_available'),
}


def topic_of(name: str) -> str:
    """The topic of `qos_overrides.TOPIC.publisher.reliability`."""
    return name.removeprefix(OVERRIDES).rpartition('.')[0].rpartition('.')[0]


def check_overrides(values: Mapping[str, object]) -> None:
    """Refuse overrides with values that there are not.

    :param values: all parameters by name; others than overrides are passed over.
    :raises ParameterError: naming the parameter, what was found and what is expected.
    """
    for name, value in values.items():
        if not name.startswith(OVERRIDES):
            continue
        *_, end, policy = name.split('.')
        known = end in ('publisher', 'subscription') and policy in (*_WORDS, 'depth')
        if not known and topic_of(name) not in RCLPY:
            raise ParameterError(
                f'unknown parameter {name!r}; expected {OVERRIDES}TOPIC.publisher or '
                f'.subscription and history, depth or reliability, TOPIC fully resolved'
            )
        if policy == 'depth' and (type(value) is not int or value < 0):
            raise ParameterError(
                f'parameter {name!r} is {shorten(value)}; expected a whole number of messages'
            )
        words = _WORDS.get(policy, ())
        if words and (not isinstance(value, str) or value.lower() not in words):
            raise ParameterError(
                f'parameter {name!r} is {shorten(value)}; expected one of {", ".join(words)}'
            )
