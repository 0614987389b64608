"""The parameter table as ROS parameters."""

import contextlib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from act_ros.errors import ParameterError, TaskError
from act_ros.parameters import PARAMETERS, Parameter, Settings, find_row, limit_names
from act_ros.parameters.joint_limits import PREFIX, is_joint_limit, limit_row, unused_limits
from act_ros.task import Entry

log = logging.getLogger(__name__)


def declare_parameters(node: Node, also: Collection[str] = ()) -> None:
    """Declare every parameter of the table.

    :param also: parameters of this node alone, which it declares itself.
    :raises ParameterError: a value set from outside is unknown or does not fit.
    """
    # rclpy keeps overrides that nobody declares without a word: a typo would be inert.
    overrides = {name: _value(p) for name, p in node._parameter_overrides.items()}
    Settings.from_parameters(
        _given({name: value for name, value in overrides.items() if name not in also})
    )
    for row in PARAMETERS.values():
        if row.default in ((), None):
            node.declare_parameter(row.name, descriptor=_descriptor(row))
        else:
            default = list(row.default) if isinstance(row.default, tuple) else row.default
            node.declare_parameter(row.name, default, _descriptor(row))
    _declare_limits(node, filter(is_joint_limit, overrides))
    if unused := unused_limits(overrides):
        log.info('not used: %s', ', '.join(unused))
    with contextlib.suppress(TaskError):  # configuring says it
        action = [Entry.parse(text) for text in read_parameters(node).task_action]
        declare_limits(node, action)


def declare_limits(node: Node, action: Iterable[Entry]) -> None:
    """Declare the limits of all joints of an action that are not yet."""
    _declare_limits(node, limit_names((entry.source, entry.name) for entry in action))


def _declare_limits(node: Node, names: Iterable[str]) -> None:
    for name in names:
        if not node.has_parameter(name):
            node.declare_parameter(name, descriptor=_descriptor(limit_row(name)))


def read_parameters(node: Node, new: Mapping[str, object] | None = None) -> Settings:
    """The values in force.

    :param new: values that count over those of the node.
    :raises ParameterError: naming the parameter that does not fit.
    """
    values = {
        name: _value(node.get_parameter(name))
        for name in PARAMETERS
        if node.has_parameter(name)  # not yet, while they are being declared
    }
    limits = node.get_parameters_by_prefix(PREFIX.rstrip('.'))
    values |= {f'{PREFIX}{name}': _value(parameter) for name, parameter in limits.items()}
    values |= {name: v for name, v in (new or {}).items() if find_row(name) is not None}
    return Settings.from_parameters(_given(values))


def read_live_parameters(node: Node, settings: Settings) -> Settings:
    """Settings with what may be set while the node is active as it is set now."""
    now = read_parameters(node)
    live = [row.attribute for row in PARAMETERS.values() if row.live]
    return replace(
        settings, joint_limits=now.joint_limits, **{name: getattr(now, name) for name in live}
    )


def check_changes(node: Node, changes: list[RosParameter], configured: bool) -> Settings:
    """Whether new values may be set, all of them or none.

    :returns: the values that will be in force.
    :raises ParameterError: naming the parameter that does not fit, or is fixed now.
    """
    new = {change.name: _value(change) for change in changes}
    for name, value in new.items():
        row = find_row(name)
        if row is not None:
            row.check(value)
        if configured and (name == 'use_sim_time' or (row is not None and not row.live)):
            raise ParameterError(f'parameter {name!r} is fixed while configured: clean up first')
    return read_parameters(node, new)


def _given(values: Mapping[str, object]) -> dict[str, object]:
    """Those that are set. An empty list in a file has no type, and comes as no value.

    :raises ParameterError: what cannot be empty comes as no value.
    """
    for name, value in values.items():
        if value is None and name in PARAMETERS and PARAMETERS[name].default not in ((), None):
            raise ParameterError(f'parameter {name!r} is an empty list; expected a value')
    return {name: value for name, value in values.items() if value is not None}


def _value(parameter: RosParameter) -> object:
    """A parameter's value; arrays, which rclpy gives as array.array, as lists."""
    value = parameter.value
    return value if isinstance(value, bool | int | float | str | None) else list(value)


def _descriptor(row: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=row.name,
        description=f'{row.text} [{row.unit}]' if row.unit else row.text,
        additional_constraints=', '.join(row.choices),
        # Types are checked by the table, which takes 50 for 50.0 and says what it expected.
        dynamic_typing=True,
    )
    if row.range and row.type is float and not row.is_list:
        low, high = row.range
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif row.range and row.type is int and not row.is_list:
        low, high = map(int, row.range)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor
