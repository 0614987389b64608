"""From the messages of an output to what they command, read by name."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from act_ros.commands.encoding import POINT_FIELDS
from act_ros.commands.spec import OutputSpec
from act_ros.errors import CommandError, listed
from act_ros.task import QUANTITIES

_ENTRY = re.compile(rf'.+/.+/({"|".join(QUANTITIES)})')


@dataclass(frozen=True)
class Setpoints:
    """What one message commands: one point, or those of a trajectory.

    :ivar after: (n,) when each is to be reached, from the command's start [ns]; rising.
    :ivar values: (n, action_dim) robot units; NaN where the message says nothing of an entry.
    :ivar slopes: (n, joints) velocity of each joint's position; NaN where it is not given.
    :ivar fault: which values were left out since they are no numbers; None if none was.
    """

    after: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    fault: CommandError | None = None


class Decoder(ABC):
    """Reads the messages of one output, whichever library's message classes they are.

    :param spec: which part of the action, and as what.
    :param action_dim: entries of the whole action.
    """

    def __init__(self, spec: OutputSpec, action_dim: int) -> None:
        self._spec, self._size = spec, action_dim

    @abstractmethod
    def decode(self, message: Any) -> Setpoints:
        """What a message commands.

        :raises CommandError: it commands nothing.
        """

    def _match(
        self, names: Sequence[str], expected: Sequence[str]
    ) -> tuple[list[int], list[int]]:
        """Which of the expected names a message has, and where in it they stand."""
        if not names:
            raise CommandError('no names', f'name no joint; expected {listed(expected)}')
        where = {name: i for i, name in enumerate(names)}
        ours = [i for i, name in enumerate(expected) if name in where]
        if len(where) < len(names):
            twice = [expected[i] for i in ours if list(names).count(expected[i]) > 1]
            if twice:
                raise CommandError('twice', f'name {listed(twice)} twice')
        if not ours:
            raise CommandError('names', f'name {listed(names)}; expected {listed(expected)}')
        return ours, [where[expected[i]] for i in ours]

    def _setpoint(self, columns: np.ndarray, numbers: np.ndarray) -> Setpoints:
        """One point that says some entries, by their places in the action."""
        values, said = np.full((1, self._size), np.nan), np.zeros((1, self._size), dtype=bool)
        values[0, columns], said[0, columns] = numbers, True
        return self._setpoints(values, said)

    def _setpoints(
        self,
        values: np.ndarray,
        said: np.ndarray,
        after: Sequence[int] = (0,),
        slopes: np.ndarray | None = None,
    ) -> Setpoints:
        """Leave out what is no number.

        :param values: (n, action_dim).
        :param said: what of them the message says, in the same shape.
        """
        wrong = said & ~np.isfinite(values)
        fault = None
        if wrong.any():
            row, place = np.argwhere(wrong)[0]
            entry = self._spec.entries[self._spec.columns.index(place)]
            fault = CommandError('numbers', f'hold {values[row, place]} for {entry}')
            values = np.where(wrong, np.nan, values)
            if np.isnan(values).all():
                raise fault
        if slopes is None:
            slopes = np.full((len(values), len(self._spec.joints)), np.nan)
        return Setpoints(np.array(after, dtype=np.int64), values, slopes, fault)


class JointStateDecoder(Decoder):
    """Positions and velocities by joint name; some joints, or one of both, may be left out."""

    def decode(self, message: Any) -> Setpoints:
        """See `Decoder.decode`."""
        spec = self._spec
        ours, theirs = self._match(message.name, spec.joints)
        values, said = np.full((1, self._size), np.nan), np.zeros((1, self._size), dtype=bool)
        for quantity, places in spec.places.items():
            numbers = np.asarray(getattr(message, quantity), dtype=np.float64)
            if not len(numbers):
                continue
            _check_length(numbers, message.name, quantity)
            values[0, places[ours]], said[0, places[ours]] = numbers[theirs], True
        if not said.any():
            held = [name for name in (*QUANTITIES, 'effort') if len(getattr(message, name))]
            raise CommandError(
                'values', f'hold no {" or ".join(spec.places)} ({", ".join(held) or "nothing"})'
            )
        return self._setpoints(values, said)


class TrajectoryDecoder(Decoder):
    """Points in time by joint name; some joints may be left out."""

    def decode(self, message: Any) -> Setpoints:
        """See `Decoder.decode`."""
        spec, names, points = self._spec, message.joint_names, message.points
        ours, theirs = self._match(names, spec.joints)
        if not points:
            raise CommandError('points', 'hold no point')
        after = [p.time_from_start.sec * 1_000_000_000 + p.time_from_start.nanosec for p in points]
        for earlier, later in zip([-1, *after], after, strict=False):
            if later <= earlier:
                raise CommandError(
                    'times', f'hold points out of the order of time: time_from_start '
                    f'{later / 1e9:g} s after {max(earlier, 0) / 1e9:g} s',
                )  # fmt: skip
        values = np.full((len(points), self._size), np.nan)
        said = np.zeros(values.shape, dtype=bool)
        slopes = np.full((len(points), len(spec.joints)), np.nan)
        for quantity, field in POINT_FIELDS.items():
            rows, given = self._rows(points, field, names)
            if quantity == 'position' and not given.all():
                raise CommandError('values', 'hold a point without positions')
            if quantity == 'velocity':
                slopes[:, ours] = rows[:, theirs]
            if quantity in spec.places:
                columns = spec.places[quantity][ours]
                values[:, columns], said[:, columns] = rows[:, theirs], given[:, np.newaxis]
        return self._setpoints(values, said, after, slopes)

    def _rows(
        self, points: Sequence[Any], field: str, names: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A field of all points, (n, names), and (n,) whether a point has it; NaN where not."""
        rows = np.full((len(points), len(names)), np.nan)
        given = np.zeros(len(points), dtype=bool)
        for i, point in enumerate(points):
            numbers = getattr(point, field)
            if len(numbers):
                _check_length(numbers, names, field)
                rows[i], given[i] = numbers, True
        return rows, given


class ArrayDecoder(Decoder):
    """Values in the order of the output, or in that which the layout's label gives."""

    def decode(self, message: Any) -> Setpoints:
        """See `Decoder.decode`."""
        spec, layout = self._spec, message.layout
        expected = [str(entry) for entry in spec.entries]
        numbers = np.asarray(message.data, dtype=np.float64)[layout.data_offset :]
        labels = layout.dim[0].label.split(',') if layout.dim else []
        # Perhaps another order, or other entries, than the output has now.
        named = len(labels) == len(numbers) > 0 and all(map(_ENTRY.fullmatch, labels))
        if not named and len(numbers) != len(expected):
            padding = f' after a data_offset of {layout.data_offset}' * bool(layout.data_offset)
            raise CommandError(
                'length', f'hold {len(numbers)} values{padding}; expected {len(expected)}: '
                f'{listed(expected)}',
            )  # fmt: skip
        ours, theirs = self._match(labels if named else expected, expected)
        return self._setpoint(np.array(spec.columns)[ours], numbers[theirs])


def _check_length(numbers: Sized, names: Sequence[str], field: str) -> None:
    if len(numbers) != len(names):
        raise CommandError(
            'length', f'hold {len(names)} joint names but {len(numbers)} values in {field}'
        )
