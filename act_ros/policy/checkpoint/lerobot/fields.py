"""JSON files whose fields are checked one by one."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from act_ros.errors import CheckpointError, one_line, shorten

T = TypeVar('T')

LARGEST = 1_000_000  # bytes; real ones have some thousand
_KINDS = {
    bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text', list: 'a list',
    dict: 'an object',
}  # fmt: skip
_REQUIRED = object()


@dataclass
class Fields:
    """An object of a JSON file.

    :ivar path: of the file, and where in it the object is, for messages.
    :ivar asked: the fields that somebody has asked for.
    """

    path: str
    values: Mapping[str, Any]
    asked: set[str] = field(default_factory=set)

    def find(self, name: str, kind: type[T]) -> T | None:
        """A field's value, None where it is not there.

        :raises CheckpointError: it is of another kind.
        """
        self.asked.add(name)
        return None if self.values.get(name) is None else self.get(name, kind)

    def get(self, name: str, kind: type[T], default: Any = _REQUIRED) -> T:
        """A field's value. A whole number is a number too; null is what is not there.

        :raises CheckpointError: it is not there and has no default, or is of another kind.
        """
        self.asked.add(name)
        value: Any = self.values.get(name)
        if value is None:
            if default is not _REQUIRED:
                return default
            raise CheckpointError(f'{self.path}: {name} is missing, expected {_KINDS[kind]}')
        if kind is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
            raise CheckpointError(
                f'{self.path}: {name} is {shorten(value)}, expected {_KINDS[kind]}'
            )
        return value

    def object(self, name: str) -> 'Fields':
        """A field that is an object; an empty one where it is not there."""
        return Fields(f'{self.path}: {name}', self.get(name, dict, {}))

    @property
    def unknown(self) -> list[str]:
        """Fields that nobody has asked for and that are set."""
        given = [name for name, value in self.values.items() if value is not None]
        return [name for name in given if name not in self.asked]


def read_json(path: Path) -> Fields:
    """Read a file that holds an object.

    :raises CheckpointError: one line that names the file, and what is wrong with it.
    """
    try:
        with path.open('rb') as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise CheckpointError(f'{path} has more than {LARGEST} bytes, which no such file has')
        values = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f'cannot read {path}: {one_line(error)}') from None
    if not isinstance(values, dict):
        raise CheckpointError(f'{path} holds a {type(values).__name__}, expected an object')
    return Fields(str(path), values)
