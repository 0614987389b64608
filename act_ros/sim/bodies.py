"""How the simulated world looks, apart from the sky: convex solids, each rigid in one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from act_ros.sim.scene import (
    BASE,
    FIRST_JOINT,
    GRIPPER,
    HANDLE,
    HANDLE_RADIUS,
    JOINT_OFFSETS,
    LEFT_FINGER,
    PANEL_X,
    PLATE,
    RIGHT_FINGER,
    UNIT,
    WORLD,
    FloatArray,
)

Faces = list[tuple[int, ...]]

# Layers are painted one after the other, solids within a layer from far to near.  Objects that the
# body cannot hide come after it, in a layer of their own.
PANEL_LAYER, TILE_LAYER, DECAL_LAYER, OBJECT_LAYER, BODY_LAYER, FRONT_LAYER = range(6)

_PANEL_Y = (-1.25, 1.45)
_PANEL_Z = (-1.10, 0.88)
_TILE_COLUMNS, _TILE_ROWS, _GAP = 7, 5, 0.008
_FOIL_TILES = ((1, 4), (2, 4), (3, 2))

# Ends of a tube that are closed.
_OPEN, _FIRST, _LAST = (False, False), (True, False), (False, True)


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    :param colour: RGB at full light, 0..255.
    :param shine: strength of the highlight, 0..1.
    :param gloss: exponent of the highlight; the larger, the smaller the highlight.
    """

    colour: tuple[float, float, float]
    shine: float = 0.15
    gloss: float = 12.0


ALUMINIUM = Material((196, 202, 210), 0.55, 14.0)
WHITE = Material((228, 228, 224), 0.25, 10.0)
GRAPHITE = Material((52, 56, 64), 0.45, 16.0)
ORANGE = Material((238, 112, 28), 0.40, 18.0)
GOLD_FOIL = Material((204, 150, 62), 0.60, 8.0)
RAIL_YELLOW = Material((240, 196, 48), 0.35, 20.0)
TASK_GREEN = Material((38, 168, 118), 0.30, 14.0)
TASK_RED = Material((214, 48, 48), 0.35, 14.0)
SOLAR_BLUE = Material((34, 58, 128), 0.80, 10.0)
RUBBER = Material((34, 34, 38), 0.10, 6.0)
TILE_FOIL = Material((176, 136, 70), 0.35, 8.0)
TILE_GREYS = [Material((grey - 14, grey - 4, grey + 10), 0.20, 8.0)
              for grey in (142, 155, 126, 168)]


@dataclass(frozen=True)
class Solid:
    """A convex body, or a single flat face, with one material.

    :param frame: frame that it is rigid in.
    :param layer: layer that it is painted in.
    :param material: its surface.
    :param vertices: corners in its frame, shape (V, 3) [m].
    :param faces: corner indices of each face, anticlockwise seen from outside.
    :param bias: how much nearer than its centre it counts when solids are sorted [m].
    """

    frame: int
    layer: int
    material: Material
    vertices: FloatArray
    faces: Faces
    bias: float = 0.0


def solids() -> list[Solid]:
    """List everything there is to see apart from the sky.

    :return: solids in any order.
    """
    return _panel() + _panel_fittings() + _task_object() + _body() + _arm() + _gripper()


def _loft(frame: int, layer: int, material: Material, first: FloatArray, last: FloatArray,
          caps: tuple[bool, bool] = (True, True), bias: float = 0.0) -> Solid:
    """Join two flat rings of corners to a solid.

    :param first: corners, anticlockwise about the direction to the other ring, shape (N, 3) [m].
    :param last: as many corners, in the same order, shape (N, 3) [m].
    :param caps: whether to close the first and the last end; an end that always sits against
        another solid may stay open, which saves time.
    """
    count = len(first)
    faces: Faces = [(i, (i + 1) % count, count + (i + 1) % count, count + i)
                    for i in range(count)]
    ends = tuple(reversed(range(count))), tuple(range(count, 2 * count))
    faces += [end for end, closed in zip(ends, caps, strict=True) if closed]
    return Solid(frame, layer, material, np.vstack((first, last)), faces, bias)


def _ring(axis: str, along: float, centre: tuple[float, float], radii: tuple[float, float],
          sides: int) -> FloatArray:
    """Place corners on an ellipse, or with four sides on a rectangle of these half widths.

    :param axis: axis that the ring goes around.
    :param along: coordinate on that axis [m].
    :param centre: coordinates on the next two axes in cyclic order [m].
    :param radii: half axes along those two [m].
    :return: corners, shape (sides, 3) [m].
    """
    angles = (np.arange(sides) + 0.5) * (2.0 * math.pi / sides)
    stretch = math.sqrt(2.0) if sides == 4 else 1.0
    ring = np.empty((sides, 3))
    first = 'xyz'.index(axis)
    ring[:, first] = along
    ring[:, (first + 1) % 3] = centre[0] + stretch * radii[0] * np.cos(angles)
    ring[:, (first + 2) % 3] = centre[1] + stretch * radii[1] * np.sin(angles)
    return ring


def _tube(frame: int, material: Material, axis: str, span: tuple[float, float],
          radii: tuple[float, float], centre: tuple[float, float] = (0.0, 0.0),
          caps: tuple[bool, bool] = (True, True), sides: int = 10, bias: float = 0.0) -> Solid:
    """:return: a cylinder or cone frustum along an axis, with a radius for either end."""
    return _loft(
        frame, OBJECT_LAYER, material,
        _ring(axis, span[0], centre, (radii[0], radii[0]), sides),
        _ring(axis, span[1], centre, (radii[1], radii[1]), sides), caps, bias)


def _box(frame: int, material: Material, low: tuple[float, float, float],
         high: tuple[float, float, float], layer: int = OBJECT_LAYER, bias: float = 0.0) -> Solid:
    """:return: a box between two opposite corners."""
    centre = (0.5 * (low[1] + high[1]), 0.5 * (low[2] + high[2]))
    radii = (0.5 * (high[1] - low[1]), 0.5 * (high[2] - low[2]))
    return _loft(frame, layer, material, _ring('x', low[0], centre, radii, 4),
                 _ring('x', high[0], centre, radii, 4), bias=bias)


def _plate(frame: int, layer: int, material: Material, x: float, y: tuple[float, float],
           z: tuple[float, float], bias: float = 0.0) -> Solid:
    """:return: a rectangle that faces the robot (-x)."""
    corners = [(x, y[0], z[0]), (x, y[0], z[1]), (x, y[1], z[1]), (x, y[1], z[0])]
    return Solid(frame, layer, material, np.array(corners), [(0, 1, 2, 3)], bias)


def _panel() -> list[Solid]:
    """:return: the wall of the station: a slab, its tiles and an alignment target."""
    parts = [_box(WORLD, GRAPHITE, (PANEL_X, _PANEL_Y[0], _PANEL_Z[0]),
                  (PANEL_X + 0.10, _PANEL_Y[1], _PANEL_Z[1]), PANEL_LAYER)]
    y = np.linspace(_PANEL_Y[0] + 0.02, _PANEL_Y[1] - 0.02, _TILE_COLUMNS + 1)
    z = np.linspace(_PANEL_Z[0] + 0.02, _PANEL_Z[1] - 0.02, _TILE_ROWS + 1)
    y = np.delete(y, 1)  # the solar cells in the first column are twice as wide
    for row in range(_TILE_ROWS):
        for column in range(_TILE_COLUMNS - 1):
            material = TILE_GREYS[(5 * row + 3 * column + row * column) % len(TILE_GREYS)]
            if column == 0:
                material = SOLAR_BLUE
            elif (row, column) in _FOIL_TILES:
                material = TILE_FOIL
            parts.append(_plate(
                WORLD, TILE_LAYER, material, PANEL_X,
                (y[column] + _GAP, y[column + 1] - _GAP), (z[row] + _GAP, z[row + 1] - _GAP)))
    for material, half in ((WHITE, 0.085), (RUBBER, 0.062), (WHITE, 0.036), (TASK_RED, 0.014)):
        parts.append(_plate(WORLD, DECAL_LAYER, material, PANEL_X, (-0.31 - half, -0.31 + half),
                            (0.40 - half, 0.40 + half), bias=0.1 - half))
    return parts


def _panel_fittings() -> list[Solid]:
    """:return: what is mounted on the panel for good: handrails and boxes."""
    x = PANEL_X
    parts = []
    for height, left, right in ((0.66, 0.95, -0.30), (-0.42, 0.80, -0.55)):
        parts.append(_tube(
            WORLD, RAIL_YELLOW, 'y', (right, left), (0.018, 0.018), (height, x - 0.10), sides=8))
        for y in (right + 0.05, 0.5 * (left + right), left - 0.05):
            parts.append(_box(WORLD, ALUMINIUM, (x - 0.10, y - 0.015, height - 0.012),
                              (x, y + 0.015, height + 0.012)))
    return [
        *parts,
        _box(WORLD, WHITE, (x - 0.16, -0.62, -0.22), (x, -0.36, 0.12)),
        _plate(WORLD, OBJECT_LAYER, GRAPHITE, x - 0.16, (-0.58, -0.40), (-0.06, 0.08), 0.09),
        _tube(WORLD, GRAPHITE, 'x', (x - 0.16, x), (0.10, 0.12), (0.98, 0.12), _FIRST, 10),
        _tube(WORLD, ALUMINIUM, 'x', (x - 0.20, x - 0.16), (0.05, 0.10), (0.98, 0.12), _FIRST, 10),
    ]


def _task_object() -> list[Solid]:
    """:return: a replaceable unit with a grapple bar in front, and the plate it sits on."""
    return [
        _box(PLATE, GRAPHITE, (-0.04, -0.22, -0.20), (0.0, 0.22, 0.20)),
        _box(UNIT, TASK_GREEN, (-0.17, -0.17, -0.15), (-0.04, 0.17, 0.15)),
        *(_plate(UNIT, OBJECT_LAYER, WHITE, -0.17, (-0.14, 0.14), z, 0.08)
          for z in ((0.095, 0.12), (-0.12, -0.095))),
        *(_box(UNIT, ALUMINIUM, (-0.24, -0.012, z), (-0.17, 0.012, z + 0.024))
          for z in (-0.077, 0.053)),
        _tube(UNIT, TASK_RED, 'z', (-0.085, 0.085), (HANDLE_RADIUS, HANDLE_RADIUS),
              (HANDLE[0], HANDLE[1]), bias=0.03),
    ]


def _body() -> list[Solid]:
    """:return: the bus of the robot: a hull in foil, white ends, thrusters and a deck."""
    parts = []
    for material, low, low_radius, high, high_radius in (
            (WHITE, -0.42, 0.24, -0.30, 0.34), (GOLD_FOIL, -0.30, 0.34, -0.02, 0.34),
            (RUBBER, -0.02, 0.34, 0.01, 0.34), (WHITE, 0.01, 0.34, 0.11, 0.27)):
        first, last = (_ring('z', z, (-0.06, 0.0), (radius, 1.3 * radius), 12)
                       for z, radius in ((low, low_radius), (high, high_radius)))
        parts.append(_loft(BASE, BODY_LAYER, material, first, last))
    return [
        *parts,
        _box(BASE, SOLAR_BLUE, (-0.20, -0.24, 0.11), (0.06, -0.04, 0.12)),
        _tube(BASE, GRAPHITE, 'z', (0.11, 0.15), (0.050, 0.042), (-0.20, 0.14), _LAST, 8),
        _tube(BASE, ALUMINIUM, 'x', (-0.50, -0.38), (0.052, 0.022), (0.0, -0.16), sides=8),
        _tube(BASE, ALUMINIUM, 'y', (0.39, 0.49), (0.022, 0.050), (-0.16, -0.06), sides=10),
    ]


def _arm() -> list[Solid]:
    """:return: links in aluminium, joint housings in orange, on the shoulder bracket."""
    j1, j2, j3, j4, j5, j6 = range(FIRST_JOINT, FIRST_JOINT + 6)
    shoulder = JOINT_OFFSETS[0][:2]
    return [
        _tube(BASE, GRAPHITE, 'z', (0.09, 0.13), (0.13, 0.11), shoulder, _LAST, 12),
        _tube(BASE, ORANGE, 'z', (0.13, 0.20), (0.092, 0.092), shoulder, _LAST, 12),
        _tube(j1, ALUMINIUM, 'z', (0.02, 0.09), (0.085, 0.075), (0.0, 0.0), _OPEN, 12),
        _tube(j1, ORANGE, 'y', (-0.085, 0.075), (0.082, 0.082), (0.14, 0.0), _FIRST, 12),
        _tube(j1, GRAPHITE, 'y', (-0.10, -0.085), (0.064, 0.070), (0.14, 0.0), _FIRST, 12),
        _tube(j2, ALUMINIUM, 'y', (0.075, 0.185), (0.080, 0.072), (0.0, 0.0), _LAST, 12),
        _tube(j2, ALUMINIUM, 'x', (0.05, 0.15), (0.060, 0.055), (0.13, 0.0), _OPEN),
        _tube(j2, ORANGE, 'x', (0.13, 0.19), (0.061, 0.061), (0.13, 0.0), _OPEN, bias=0.01),
        _tube(j3, ALUMINIUM, 'x', (0.02, 0.20), (0.054, 0.048), (0.0, 0.0), _OPEN),
        _box(j3, GRAPHITE, (0.06, -0.022, 0.040), (0.17, 0.022, 0.066), bias=0.02),
        _tube(j3, ORANGE, 'y', (-0.065, 0.070), (0.070, 0.070), (0.0, 0.25), _LAST, 12),
        _tube(j3, GRAPHITE, 'y', (0.070, 0.084), (0.058, 0.050), (0.0, 0.25), _LAST),
        _tube(j4, ALUMINIUM, 'y', (-0.175, -0.065), (0.060, 0.068), (0.0, 0.0), _FIRST),
        _tube(j4, ALUMINIUM, 'x', (0.04, 0.13), (0.050, 0.047), (-0.13, 0.0), _OPEN),
        _tube(j4, ORANGE, 'x', (0.11, 0.165), (0.052, 0.052), (-0.13, 0.0), _OPEN, bias=0.01),
        _tube(j5, ALUMINIUM, 'x', (0.015, 0.15), (0.046, 0.040), (0.0, 0.0), _OPEN),
        _box(j5, GRAPHITE, (0.04, -0.018, 0.032), (0.13, 0.018, 0.054), bias=0.02),
        _tube(j5, ORANGE, 'y', (-0.055, 0.055), (0.054, 0.054), (0.0, 0.20)),
        _tube(j6, ALUMINIUM, 'x', (0.045, 0.11), (0.044, 0.042), (0.0, 0.0), _OPEN),
        _tube(j6, ORANGE, 'x', (0.11, 0.14), (0.046, 0.046), (0.0, 0.0), _LAST, bias=0.01),
    ]


def _gripper() -> list[Solid]:
    """:return: palm with a wrist camera, and two fingers that slide along y."""
    palm = GRIPPER
    parts = [
        _tube(palm, ALUMINIUM, 'x', (0.01, 0.045), (0.042, 0.036), (0.0, 0.0), _OPEN),
        _box(palm, GRAPHITE, (0.045, -0.092, -0.030), (0.095, 0.092, 0.030)),
        _box(palm, WHITE, (0.035, -0.022, 0.030), (0.085, 0.022, 0.060), bias=0.02),
    ]
    for frame, inner, outer in ((LEFT_FINGER, 0.0, 0.024), (RIGHT_FINGER, -0.024, 0.0)):
        parts += [
            _box(frame, ALUMINIUM, (0.0, inner, -0.024), (0.075, outer, 0.024)),
            _box(frame, ORANGE, (0.075, inner, -0.020), (0.140, outer, 0.020)),
        ]
    return parts
