"""Software renderer of the simulated world: painter's algorithm on numpy and OpenCV."""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from act_ros.sim import bodies, scene

FloatArray = NDArray[np.float64]
Image = NDArray[np.uint8]


class Posed(Protocol):
    """What the renderer reads from the world, e.g. a ``World``."""

    @property
    def positions(self) -> FloatArray:
        """Seven joint angles [rad] and the gripper opening 0..1, shape (8,)."""

    @property
    def base_position(self) -> FloatArray:
        """Position of the base in the world, shape (3,) [m]."""

    @property
    def base_orientation(self) -> FloatArray:
        """Roll, pitch and yaw of the base, shape (3,) [rad]."""

    @property
    def objects(self) -> FloatArray:
        """Poses of the task object's plate and unit in the world, shape (2, 3, 4)."""


def _unit(vector: tuple[float, float, float]) -> FloatArray:
    """:return: the vector scaled to length one, shape (3,)."""
    return np.array(vector) / math.hypot(*vector)


# Directions in the world, from the scene to the light.
_TO_SUN = _unit((-0.62, 0.40, 0.62))
_TO_EARTH = _unit((0.50, -0.80, -0.42))
_EARTH_RADIUS = math.radians(36.0)
# RGB strength of the ambient light, the sun, the Earth and a lamp on the camera.
_LIGHTS = np.array([
    [0.24, 0.25, 0.29],
    [0.80, 0.77, 0.71],
    [0.06, 0.12, 0.20],
    [0.46, 0.46, 0.46],
])

# Fixed-point bits of the vertex coordinates: edges move by sixteenths of a pixel, not by jumps.
_SHIFT = 4
_NEAR = 0.05
# Vertices beside the camera project arbitrarily far away; OpenCV's coordinates are integers.
_FARTHEST_PIXEL = 30000.0
# The sky moves with the attitude of the base up to this angle [rad].
_SKY_MARGIN = 0.10
_STAR_COUNT = 7000
# What a shadow takes from the colours of the panel.
_SHADOW = 54


class _Mesh:
    """The solids of the scene as arrays, so that a frame takes a few numpy calls.

    ``points`` stacks homogeneous vertices, face centroids, face normals (weight 0: they only
    turn) and solid centres of each frame, so one product per frame transforms them all.
    """

    def __init__(self, solids: list[bodies.Solid]) -> None:
        self.solid_count = len(solids)
        vertex_counts = np.array([len(solid.vertices) for solid in solids])
        face_counts = np.array([len(solid.faces) for solid in solids])
        vertex_starts = np.concatenate(([0], np.cumsum(vertex_counts)))
        face_solid = np.repeat(np.arange(len(solids)), face_counts)
        corners = [vertex_starts[i] + np.array(face)
                   for i, solid in enumerate(solids) for face in solid.faces]
        vertices = np.vstack([solid.vertices for solid in solids])
        centroids = np.array([vertices[corner].mean(axis=0) for corner in corners])
        normals = np.array([_normal(vertices[corner]) for corner in corners])
        self.radius = np.array([np.linalg.norm(vertices[corner] - centroid, axis=1).max()
                                for corner, centroid in zip(corners, centroids, strict=True)])
        centres = np.array([solid.vertices.mean(axis=0) for solid in solids])
        solid_frame = np.array([solid.frame for solid in solids])

        frames = np.concatenate((np.repeat(solid_frame, vertex_counts), solid_frame[face_solid],
                                 solid_frame[face_solid], solid_frame))
        points = np.hstack((np.vstack((vertices, centroids, normals, centres)),
                            np.ones((len(frames), 1))))
        sizes = np.cumsum([len(vertices), len(centroids), len(normals)])
        points[sizes[0] + len(centroids):sizes[2], 3] = 0.0
        by_frame = np.argsort(frames, kind='stable')
        self.points = points[by_frame]
        self.frame_starts = np.searchsorted(frames[by_frame], np.arange(scene.FRAME_COUNT + 1))
        # Row of ``points`` that holds each vertex, centroid, normal, centre.
        rows = np.empty(len(by_frame), dtype=np.intp)
        rows[by_frame] = np.arange(len(by_frame))
        self.vertex_rows, self.centroid_rows, self.normal_rows, self.centre_rows = np.split(
            rows, sizes)

        self.corners = np.concatenate(corners)
        self.corner_starts = np.concatenate(([0], np.cumsum([len(corner) for corner in corners])))
        self.face_solid = face_solid
        self.layer = np.array([solid.layer for solid in solids])
        self.bias = np.array([solid.bias for solid in solids])
        materials = [solids[i].material for i in face_solid]
        self.colour = np.array([material.colour for material in materials])
        self.shine = np.array([material.shine for material in materials])
        self.gloss = np.array([material.gloss for material in materials])
        # What is painted over its neighbour lies in the shadow of that anyway, and the shadow of
        # the base falls below the panel.
        casting = (self.layer == bodies.OBJECT_LAYER) & (self.bias <= 0.0)
        casting &= solid_frame != scene.BASE
        self.casters = [(int(vertex_starts[i]), int(vertex_starts[i + 1]))
                        for i in np.flatnonzero(casting)]
        self.caster_vertices = np.flatnonzero(np.repeat(casting, vertex_counts))
        # The first ring of the panel slab is its front.
        panel = int(vertex_starts[np.argmax(self.layer == bodies.PANEL_LAYER)])
        self.panel_front = slice(panel, panel + 4)

    def transformed(self, poses: FloatArray) -> FloatArray:
        """Move all points by the poses of their frames.

        :param poses: rotation and translation of each frame, shape (F, 3, 4).
        :return: points, shape (N, 3) [m].
        """
        moved = np.empty((len(self.points), 3))
        for i, pose in enumerate(poses):
            rows = slice(self.frame_starts[i], self.frame_starts[i + 1])
            np.matmul(self.points[rows], pose.T, out=moved[rows])
        return moved


class Renderer:
    """Draws what one camera of a robot sees.

    :param camera: the camera.
    :param height: image height [px].
    :param width: image width [px].
    """

    def __init__(self, camera: scene.Camera, height: int = 480, width: int = 640) -> None:
        if height < 1 or width < 1:
            raise ValueError(f'image size is {height}x{width}, expected at least 1x1 [px]')
        self.camera = camera
        self.height = height
        self.width = width
        self._focal = camera.focal_length(height)
        self._centre = np.array([0.5 * (width - 1), 0.5 * (height - 1)])
        self._margin = math.ceil(self._focal * math.tan(_SKY_MARGIN))
        self._sky = _paint_sky(camera.rotation, self._focal, height + 2 * self._margin,
                               width + 2 * self._margin)
        self._mesh = _Mesh(bodies.solids())
        # Normals of the planes through the eye and the image sides, pointing out of the view.
        sides = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        slopes = 0.5 * np.array([width, width, height, height]) / self._focal
        self._image_sides = (np.column_stack((sides, -slopes)) / np.hypot(1.0, slopes)[:, None]).T
        self._camera_beyond = _beyond_sides(camera.position[None])

    def render(self, world: Posed, out: Image | None = None) -> Image:
        """Draw the robot and the world around it.

        :param world: joint positions, base pose and task object to draw.
        :param out: image to draw into, contiguous, shape (height, width, 3); a new one if None.
        :return: RGB image, contiguous, shape (height, width, 3), uint8.
        :raises ValueError: ``out`` has another shape or type, or is not contiguous.
        """
        image = self._canvas(out)
        poses = scene.frame_poses(
            world.base_position, world.base_orientation, world.positions, world.objects)
        turn = (poses[scene.BASE, :, :3] @ self.camera.rotation).T
        eye = poses[scene.BASE, :, :3] @ self.camera.position + poses[scene.BASE, :, 3]
        poses[:, :, 3] -= eye
        self._draw_sky(image, turn)

        mesh = self._mesh
        points = mesh.transformed(turn @ poses)
        vertices = points[mesh.vertex_rows]
        normals = points[mesh.normal_rows]
        centroids = points[mesh.centroid_rows]
        pixels = self._project(vertices)
        outlines = pixels[mesh.corners]
        visible = np.flatnonzero(self._in_view(vertices[:, 2][mesh.corners], centroids)
                                 & (np.einsum('ij,ij->i', normals, centroids) < 0.0))
        ordered = self._far_to_near(visible, points[mesh.centre_rows])
        colours = self._shade(ordered, normals[ordered], centroids[ordered], turn)

        on_panel = np.count_nonzero(mesh.layer[mesh.face_solid[ordered]] <= bodies.DECAL_LAYER)
        # Edges are not smoothed: that would double the time of filling, and cost more than it
        # shows beside a network that waits for the processor.
        self._fill(image, ordered[:on_panel], colours[:on_panel], outlines)
        self._draw_shadow(image, vertices, pixels, turn)
        self._fill(image, ordered[on_panel:], colours[on_panel:], outlines)
        return image

    def _canvas(self, out: Image | None) -> Image:
        shape = (self.height, self.width, 3)
        if out is None:
            return np.empty(shape, dtype=np.uint8)
        if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f'out is {out.dtype} {out.shape}, expected contiguous uint8 {shape}')
        return out

    def _draw_sky(self, image: Image, turn: FloatArray) -> None:
        """Copy the part of the sky that the camera points at; ``turn``: camera from world."""
        right, down, ahead = self.camera.rotation.T @ turn[2]
        left, top = (min(max(self._margin + round(self._focal * aside / ahead), 0),
                         2 * self._margin) for aside in (right, down))
        np.copyto(image, self._sky[top:top + self.height, left:left + self.width])

    def _project(self, points: FloatArray) -> NDArray[np.int32]:
        """:return: pixel coordinates in fixed point, shape (N, 2), from camera coordinates."""
        depth = np.maximum(points[:, 2:], _NEAR)
        pixels = points[:, :2] / depth * self._focal + self._centre
        np.clip(pixels, -_FARTHEST_PIXEL, _FARTHEST_PIXEL, out=pixels)
        return np.rint(pixels * (1 << _SHIFT)).astype(np.int32)

    def _in_view(self, depths: FloatArray, centroids: FloatArray) -> NDArray[np.bool_]:
        """:return: which faces are ahead of the camera and may touch the image, shape (F,)."""
        shown = np.minimum.reduceat(depths, self._mesh.corner_starts[:-1]) > _NEAR
        outside = centroids @ self._image_sides > self._mesh.radius[:, None]
        return shown & ~outside.any(axis=1)

    def _far_to_near(self, faces: NDArray[np.intp], centres: FloatArray) -> NDArray[np.intp]:
        """:return: the faces in painting order: by layer, then by distance of their solids."""
        mesh = self._mesh
        # A plane along a side of the body, with the camera and a solid both beyond it, keeps the
        # body from hiding the solid; without such a plane, the solid cannot hide the body.
        beyond = _beyond_sides(centres @ self.camera.rotation.T + self.camera.position)
        in_front = np.any(beyond & self._camera_beyond, axis=1)
        layer = np.where(in_front & (mesh.layer == bodies.OBJECT_LAYER), bodies.FRONT_LAYER,
                         mesh.layer)
        distance = np.sqrt(np.einsum('ij,ij->i', centres, centres)) - mesh.bias
        rank = np.empty(mesh.solid_count, dtype=np.intp)
        rank[np.lexsort((-distance, layer))] = np.arange(mesh.solid_count)
        return faces[np.argsort(rank[mesh.face_solid[faces]], kind='stable')]

    def _shade(self, faces: NDArray[np.intp], normals: FloatArray, centroids: FloatArray,
               turn: FloatArray) -> FloatArray:
        """Light faces by sun, Earth and a lamp on the camera, with highlights.

        :param faces: indices of the faces, shape (N,).
        :param normals: their unit normals in the camera frame, shape (N, 3).
        :param centroids: their centroids in the camera frame, shape (N, 3) [m].
        :param turn: camera from world rotation, shape (3, 3).
        :return: RGB colours, shape (N, 3), 0..255.
        """
        mesh = self._mesh
        to_sun = turn @ _TO_SUN
        distance = np.sqrt(np.einsum('ij,ij->i', centroids, centroids))[:, None]
        to_eye = centroids / -distance
        facing_eye = np.einsum('ij,ij->i', normals, to_eye)[:, None]
        shares = np.ones((len(faces), 4))
        shares[:, 1] = np.maximum(normals @ to_sun, 0.0)
        shares[:, 2] = 0.5 + 0.5 * (normals @ (turn @ _TO_EARTH))
        shares[:, 3:] = facing_eye / (0.5 + 0.25 * distance * distance)
        light = shares @ _LIGHTS
        mirrored = 2.0 * facing_eye * normals - to_eye
        glint = np.maximum(mirrored @ to_sun, 0.0) ** mesh.gloss[faces]
        glint += 0.25 * facing_eye[:, 0] ** (2.0 * mesh.gloss[faces])
        colours = mesh.colour[faces] * light + (200.0 * mesh.shine[faces] * glint)[:, None]
        # A soft shoulder keeps shades apart where much light adds up.
        return colours / np.sqrt(np.sqrt(1.0 + np.square(np.square(colours / 262.0))))

    def _fill(self, image: Image, faces: NDArray[np.intp], colours: FloatArray,
              outlines: NDArray[np.int32]) -> None:
        """Paint faces in the order given; colours (N, 3), outlines of all faces in a row."""
        starts = self._mesh.corner_starts[faces].tolist()
        ends = self._mesh.corner_starts[faces + 1].tolist()
        for start, end, colour in zip(starts, ends, colours.tolist(), strict=True):
            cv2.fillConvexPoly(image, outlines[start:end], colour, cv2.LINE_8, _SHIFT)

    def _draw_shadow(self, image: Image, vertices: FloatArray, pixels: NDArray[np.int32],
                     turn: FloatArray) -> None:
        """Darken the panel where the sun is blocked; vertices (V, 3) in the camera frame."""
        mesh = self._mesh
        panel = vertices[mesh.panel_front]
        if panel[:, 2].min() < _NEAR:
            return
        normal, to_sun = turn @ (-1.0, 0.0, 0.0), turn @ _TO_SUN
        height = (vertices - panel[0]) @ normal
        shadows = self._project(vertices - np.outer(height / (normal @ to_sun), to_sun))
        outline = pixels[mesh.panel_front]
        cast = shadows[mesh.caster_vertices]
        low = np.maximum(cast.min(axis=0), outline.min(axis=0)) >> _SHIFT
        high = (np.minimum(cast.max(axis=0), outline.max(axis=0)) >> _SHIFT) + 1
        low, high = np.maximum(low, 0), np.minimum(high, (self.width, self.height))
        if np.any(high <= low):
            return

        # To subtract looks much like to multiply on the greys of the panel, and is cheaper.
        region = image[low[1]:high[1], low[0]:high[0]]
        origin = low << _SHIFT
        shadows -= origin
        dark: np.ndarray = np.zeros(region.shape[:2], dtype=np.uint8)
        for start, end in mesh.casters:
            hull = cv2.convexHull(shadows[start:end])
            cv2.fillConvexPoly(dark, hull, _SHADOW, cv2.LINE_8, _SHIFT)
        on_panel = np.zeros_like(dark)
        cv2.fillConvexPoly(on_panel, outline - origin, 255, cv2.LINE_8, _SHIFT)
        dark = cv2.min(dark, on_panel)
        cv2.subtract(region, cv2.merge((dark, dark, dark)), dst=region)


def _beyond_sides(points: FloatArray) -> NDArray[np.bool_]:
    """:return: for points (N, 3) in the base frame: beyond which sides of the body, (N, 6)."""
    return np.hstack((points < scene.BODY_BOX[0], points > scene.BODY_BOX[1]))


def _normal(corners: FloatArray) -> FloatArray:
    """:return: unit normal of a flat polygon, outwards if it is anticlockwise, shape (3,)."""
    normal = np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0)
    return normal / np.linalg.norm(normal)


def _paint_sky(rotation: FloatArray, focal: float, height: int, width: int) -> Image:
    """Draw stars and the Earth as a camera sees them from an upright base.

    :param rotation: world from camera, shape (3, 3).
    :param focal: focal length [px].
    :param height: image height [px].
    :param width: image width [px].
    :return: RGB image, shape (height, width, 3).
    """
    right, down = np.meshgrid((np.arange(width) - 0.5 * (width - 1)) / focal,
                              (np.arange(height) - 0.5 * (height - 1)) / focal)
    rays = np.stack((right, down, np.ones_like(right)), axis=-1) @ rotation.T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    sky = np.array([7.0, 9.0, 18.0]) + 10.0 * _noise(rays, 2.0, 3)[..., None] * (0.6, 0.5, 1.0)
    image = np.clip(sky, 0.0, 255.0).astype(np.uint8)
    _draw_stars(image, rotation, focal)
    angle = np.arccos(np.clip(rays @ _TO_EARTH, -1.0, 1.0))
    near = angle < _EARTH_RADIUS + 0.12
    image[near] = _add_earth(image[near], rays[near], angle[near], 1.0 / focal)
    return image


def _draw_stars(image: Image, rotation: FloatArray, focal: float) -> None:
    """Scatter stars; few are bright, and small images show fewer."""
    height, width = image.shape[:2]
    random = np.random.default_rng(7)
    stars = random.normal(size=(_STAR_COUNT, 3)) @ rotation
    brightness = 0.25 + 0.75 * random.random(_STAR_COUNT) ** 6
    tint = 1.0 - 0.25 * random.random((_STAR_COUNT, 3)) * (1.0, 0.5, 0.6)
    shown = (stars[:, 2] > 0.0) & (np.arange(_STAR_COUNT) < _STAR_COUNT * min(1.0, focal / 460.0))
    stars, brightness, tint = stars[shown], brightness[shown], tint[shown]
    pixels = stars[:, :2] / stars[:, 2:] * focal + 0.5 * np.array([width - 1, height - 1])
    inside = np.all((pixels > 0) & (pixels < (width - 1, height - 1)), axis=1)
    colours = (255.0 * brightness[:, None] * tint)[inside].tolist()
    radii = (0.4 + 0.9 * brightness[inside] ** 3) * max(0.5, focal / 460.0)
    scale = 1 << _SHIFT
    centres = np.rint(pixels[inside] * scale).astype(int).tolist()
    for centre, radius, colour in zip(centres, radii.tolist(), colours, strict=True):
        cv2.circle(image, centre, round(radius * scale), colour, -1, cv2.LINE_AA, _SHIFT)


def _add_earth(image: Image, rays: FloatArray, angle: FloatArray, pixel: float) -> Image:
    """Put the Earth with clouds and its atmosphere in front of the stars.

    :param image: RGB pixels with stars, shape (N, 3).
    :param rays: unit viewing directions in the world, shape (N, 3).
    :param angle: angles between these and the centre of the Earth, shape (N,) [rad].
    :param pixel: angle that a pixel covers [rad].
    :return: RGB pixels, shape (N, 3).
    """
    radius = math.sin(_EARTH_RADIUS)
    # Where the ray meets a unit sphere scaled to the apparent radius, seen from far away.
    cosine = np.cos(angle)
    depth = cosine - np.sqrt(np.maximum(cosine ** 2 - 1.0 + radius ** 2, 0.0))
    ground = (rays * depth[..., None] - _TO_EARTH) / radius
    ground /= np.linalg.norm(ground, axis=-1, keepdims=True)
    land = np.clip(5.0 * _noise(ground, 5.0, 11) - 0.3, 0.0, 1.0)[..., None]
    clouds = np.clip(1.5 * _noise(ground * (1.0, 1.0, 1.4), 8.0, 5) - 0.15, 0.0, 1.0)[..., None]
    surface = (1.0 - land) * (16.0, 62.0, 132.0) + land * (74.0, 92.0, 62.0)
    surface = (1.0 - 0.85 * clouds) * surface + 0.85 * clouds * (232.0, 238.0, 244.0)
    daylight = np.clip(0.12 + 0.95 * (ground @ _unit((-0.55, 0.1, 0.85))), 0.03, 1.0)[..., None]
    haze = np.exp(-(_EARTH_RADIUS - angle) / 0.05)[..., None]
    surface = surface * daylight + haze * daylight * (34.0, 70.0, 120.0)

    glow = np.exp(-np.maximum(angle - _EARTH_RADIUS, 0.0) / 0.012)[..., None]
    space = image + glow * daylight * (90.0, 150.0, 235.0)
    inside = np.clip((_EARTH_RADIUS - angle) / pixel + 0.5, 0.0, 1.0)[..., None]
    return np.clip(inside * surface + (1.0 - inside) * space, 0.0, 255.0).astype(np.uint8)


def _noise(points: FloatArray, frequency: float, seed: int) -> FloatArray:
    """Sum of plane waves with falling amplitudes: a cloudy pattern on directions.

    :param points: where to evaluate it, shape (..., 3).
    :param frequency: lowest spatial frequency [rad per unit].
    :param seed: seed of the pattern.
    :return: values around zero, mostly within +-1, shape (...).
    """
    random = np.random.default_rng(seed)
    total = np.zeros(points.shape[:-1])
    for octave in range(5):
        waves = random.normal(size=(5, 3)) * frequency * 2.0 ** octave
        phases = random.uniform(0.0, 2.0 * math.pi, 5)
        # Bending each octave by the ones before it breaks up the regular wave crests.
        for wave, phase in zip(waves, phases, strict=True):
            total += 0.30 / 1.9 ** octave * np.sin(points @ wave + phase + 1.2 * total)
    return total
