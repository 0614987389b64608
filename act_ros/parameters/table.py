"""Tables of parameters: a dataclass of `row`s is one, and its instances hold checked values."""

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, get_args, get_origin

from act_ros.errors import ParameterError, shorten


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


def _parameter(place: Field) -> Parameter:
    is_list = get_origin(place.type) is tuple
    name = place.name
    if name.startswith('task_'):
        name = name.replace('_', '.', 1)
    # Of a list, its elements' type; of a value that may be not set, the value's.
    value_type: Any = next(iter(get_args(place.type)), place.type)
    return Parameter(name, value_type, is_list, place.default, **place.metadata)


def rows(table: Any) -> dict[str, Parameter]:
    """The rows of a dataclass of `row`s, by name; its other fields are none."""
    found = [_parameter(place) for place in fields(table) if place.metadata]
    return {parameter.name: parameter for parameter in found}


def check_values(values: object, parameters: Mapping[str, Parameter]) -> None:
    """Give each field of a frozen table its type.

    :raises ParameterError: a value does not fit.
    """
    for parameter in parameters.values():
        value = parameter.check(getattr(values, parameter.attribute))
        object.__setattr__(values, parameter.attribute, value)
