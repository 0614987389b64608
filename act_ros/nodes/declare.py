"""The parameter table as ROS parameters."""

from collections.abc import Mapping

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from act_ros.errors import ParameterError
from act_ros.parameters import PARAMETERS, Parameter, check_values


def declare_parameters(node: Node) -> None:
    """Declare every parameter of the table.

    :raises ParameterError: a value set from outside is unknown or does not fit.
    """
    # rclpy keeps overrides that nobody declares without a word: a typo would be inert.
    overrides = {name: _value(p) for name, p in node._parameter_overrides.items()}
    # An empty list in a file has no type, and comes as no value.
    check_values({name: value for name, value in overrides.items() if value is not None})
    for row in PARAMETERS.values():
        if row.default is None:
            node.declare_parameter(row.name, descriptor=_descriptor(row))
        else:
            node.declare_parameter(row.name, row.default, _descriptor(row))


def read_parameters(node: Node, new: Mapping[str, object] | None = None) -> dict[str, object]:
    """The values in force; parameters that are not set are absent.

    :param new: values that count over those of the node.
    :raises ParameterError: naming the parameter that does not fit.
    """
    values = {
        name: _value(node.get_parameter(name))
        for name in PARAMETERS
        if node.has_parameter(name)  # not yet, while they are being declared
    }
    values |= {name: value for name, value in (new or {}).items() if name in PARAMETERS}
    return check_values({name: value for name, value in values.items() if value is not None})


def check_changes(
    node: Node, changes: list[RosParameter], configured: bool
) -> dict[str, object]:
    """Whether new values may be set, all of them or none.

    :returns: the values that will be in force.
    :raises ParameterError: naming the parameter that does not fit, or is fixed now.
    """
    new = {change.name: _value(change) for change in changes}
    for name, value in new.items():
        row = PARAMETERS.get(name)
        if row is not None:
            row.check(value)
        if configured and (name == 'use_sim_time' or (row is not None and not row.live)):
            raise ParameterError(f'parameter {name!r} is fixed while configured: clean up first')
    return read_parameters(node, new)


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
    if row.range and row.type is float:
        low, high = row.range
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif row.range and row.type is int:
        low, high = map(int, row.range)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor
