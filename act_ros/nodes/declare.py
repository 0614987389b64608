"""The parameter table as ROS parameters."""

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
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
    check_values(overrides)
    for row in PARAMETERS.values():
        if row.default is None:
            node.declare_parameter(row.name, descriptor=_descriptor(row))
        else:
            node.declare_parameter(row.name, row.default, _descriptor(row))


def read_parameters(node: Node) -> dict[str, object]:
    """The values in force; parameters that are not set are absent.

    :raises ParameterError: naming the parameter that does not fit.
    """
    values = {name: _value(node.get_parameter(name)) for name in PARAMETERS}
    return check_values({name: value for name, value in values.items() if value is not None})


def check_change(changes: list[RosParameter], configured: bool) -> SetParametersResult:
    """Whether new values may be set: all of them, or none."""
    for change in changes:
        row = PARAMETERS.get(change.name)
        if row is None:
            if configured and change.name == 'use_sim_time':
                reason = "parameter 'use_sim_time' is fixed while configured: clean up first"
                return SetParametersResult(successful=False, reason=reason)
            continue
        try:
            row.check(_value(change))
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if configured and not row.live:
            reason = f'parameter {row.name!r} is fixed while configured: clean up first'
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


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
