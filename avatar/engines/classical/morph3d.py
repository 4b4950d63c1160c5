"""Engine ``morph3d``: a morph of vertices and of a texture in (u, v), after Pighin et al. ("Synthesizing realistic
facial expressions from photographs", 1998).

Each picture gives a 3D face (MediaPipe's 468 points) and, unrolled onto the mean face's plane, a texture. Faces in
correspondence are blended vertex by vertex and texel by texel, and the pose apart from both::

    V(t) = (1 - t) V_A + t V_B        T(t) = (1 - t) T_A + t T_B        picture = draw(R(t) V(t), T(t))

In (u, v) the textures of one person differ only where skin folds, shades or uncovers something, so a dissolve has no
ghosts where a feature merely moved, and a head that turns does so on its arc, not on the chord between two pictures.

Live, the expressions are the keys of :mod:`.keys`: vertices move by the state's shapes, the texture by each key's
share. Around the face the photo follows as in engine ``map``.

Limits: 468 points make a coarse relief whose depth is a network's guess; hair and ears are not on it; a vertex moves
on a straight line between its keys; texels are those of the photo, so what turns into view is stretched.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import INDEX
from avatar.core.types import F32, U8, FaceState, Gaze, Ns
from avatar.engines import raster
from avatar.engines.base import Engine
from avatar.engines.classical.flat import MAP_FILE
from avatar.engines.classical.keys import draw_keys, shares
from avatar.engines.classical.plane import arrays, frame_between, triangulation
from avatar.engines.head import shape_weights
from avatar.engines.head_folds import FRAME
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.fit import INNER_LIPS, LANDMARKS, LEFT_EYE, RIGHT_EYE

ATLAS = 3
"""Texels a side in a pixel of the mean face's frame."""
ROWS, COLUMNS = (FRAME[0] + 20) * ATLAS, FRAME[1] * ATLAS
"""Of the texture: the chin hangs lower, for it is unrolled with an open mouth, or its inside would have no place."""
_HOLES = (INNER_LIPS, RIGHT_EYE, LEFT_EYE)
"""Contours of what opens and shuts: a shut one shows nothing of its inside."""
_FEATHER = 0.04
"""Fade of the face into its surroundings, in distances between the outer corners of the eyes."""


class Surface:
    """The mesh of faces in correspondence, and how it is unrolled and drawn.

    :param known: the arrays of ``map.npz``. :param size: of the pictures that are drawn.
    """

    def __init__(self, known: dict[str, np.ndarray], size: int) -> None:
        mean, opened = known["mean"], 0.5 * known["shapes"][INDEX["jawOpen"]].astype(np.float32)
        triangles = triangulation(mean, opened)
        frame = known["frame"] + opened[:, :2] * (np.ptp(known["frame"][:, 0]) / np.ptp(mean[:, 0]))
        self._triangles = np.ascontiguousarray(triangles[(triangles < LANDMARKS).all(1)], np.int32)
        self._kinds = np.full(len(self._triangles), raster.SKIN, np.uint8)
        self._uv = np.c_[frame * ATLAS, np.zeros(LANDMARKS)].astype(np.float32)
        self._size = size
        self.holes = [self._hole(contour) for contour in _HOLES]
        """(rows, columns) each: 1 inside the lips, the right and the left eye."""

    def _hole(self, contour: tuple[int, ...]) -> F32:
        mask = np.zeros((ROWS, COLUMNS), np.float32)
        cv2.fillPoly(mask, [np.round(self._uv[list(contour), :2]).astype(np.int32)], 1.0)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.0))

    def unrolled(self, picture: U8, points: F32) -> U8:
        """The texture (:data:`ROWS`, :data:`COLUMNS`, 3) of a ``picture`` with landmarks (468, 2 or 3)."""
        at = np.c_[points[:LANDMARKS, :2], np.zeros(LANDMARKS)].astype(np.float32)
        source, _ = self._draw(self._uv, at, (ROWS, COLUMNS))
        return np.asarray(cv2.remap(picture, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def draw(self, vertices: F32, texture: U8, around: U8) -> U8:
        """The face with ``vertices`` (468, 3; z away from the viewer) in pixels over a picture (s, s, 3), a new one."""
        source, shown = self._draw(vertices * np.array((1, 1, -1), np.float32), self._uv, around.shape[:2])
        face = cv2.remap(texture, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        unit = float(np.hypot(*(vertices[33, :2] - vertices[263, :2])))
        feather = max(1.0, _FEATHER * unit)
        low = np.clip(np.floor(vertices[:, :2].min(0)).astype(int) - 2, 0, self._size)
        high = np.clip(np.ceil(vertices[:, :2].max(0)).astype(int) + 3, 0, self._size)
        box = slice(low[1], high[1]), slice(low[0], high[0])
        depth = cv2.distanceTransform(np.pad((shown[box] > 0).astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        share = np.clip((depth - 1) / (2 * feather), 0, 1)[..., None]
        made = around.copy()
        made[box] = np.clip(made[box] + share * (face[box].astype(np.float32) - made[box]) + 0.5, 0, 255)
        return made

    def _draw(self, points: F32, attributes: F32, shape: tuple[int, int]) -> tuple[F32, U8]:
        depth, values = np.empty(shape, np.float32), np.zeros((*shape, 3), np.float32)
        shown = np.empty(shape, np.uint8)
        raster.rasterize(
            np.ascontiguousarray(points, np.float32), attributes, self._triangles, self._kinds, len(self._triangles),
            depth, values, shown,
        )  # fmt: skip
        return np.ascontiguousarray(values[..., :2]), shown


def face_triangles(known: dict[str, np.ndarray]) -> NDArray[np.int32]:
    """(t, 3) between the landmarks of the shipped mean face (``map.npz``)."""
    found = triangulation(known["mean"], 0.5 * known["shapes"][INDEX["jawOpen"]].astype(np.float32))
    return np.asarray(found[(found < LANDMARKS).all(1)], np.int32)


def vertices_between(first: F32, second: F32, t: float) -> F32:
    """(468, 3): landmarks of two pictures (468, 3) at ``t``: shape on a straight line, pose on its arc."""
    same = frame_between(second, first)
    shape = (1 - t) * first + t * (second @ (same.scale * same.rotation).T + same.shift)
    back = frame_between(first, second)
    turn, _ = cv2.Rodrigues(back.rotation)
    part, _ = cv2.Rodrigues(turn * t)
    middle = first.mean(0)
    target = back.scale * back.rotation @ middle + back.shift
    moved = (shape - middle) @ (back.scale**t * part).T + (1 - t) * middle + t * target
    return np.asarray(moved, np.float32)


def _opening(points: F32, contour: tuple[int, ...]) -> float:
    """Area inside a contour."""
    return float(cv2.contourArea(np.ascontiguousarray(points[list(contour), :2], np.float32)))


def between(mesh: Surface, first: U8, second: U8, points: F32, other: F32, t: float) -> U8:
    """The morph at ``t`` of two pictures (s, s, 3) of one person with landmarks (468 or more, 3). Around the face they
    are dissolved."""
    points, other = points[:LANDMARKS], other[:LANDMARKS]
    a, b = mesh.unrolled(first, points), mesh.unrolled(second, other)
    share = np.full((ROWS, COLUMNS), t, np.float32)
    for hole, contour in zip(mesh.holes, _HOLES, strict=True):
        open_a, open_b = (1 - t) * _opening(points, contour), t * _opening(other, contour)
        share += hole * (open_b / max(1e-6, open_a + open_b) - share)
    texture = np.asarray(a + share[..., None] * (b.astype(np.float32) - a) + 0.5, np.uint8)
    around = np.asarray(cv2.addWeighted(first, 1 - t, second, t, 0), np.uint8)
    return mesh.draw(vertices_between(points, other, t), texture, around)


class Morph3dEngine(Engine):
    """Vertices and texture of a photo's relief, blended towards key expressions. Sizes 256 to 1024."""

    name = "morph3d"

    def __init__(self, bundle: AvatarBundle, size: int, weights: Path) -> None:
        super().__init__(bundle, size, weights)
        engine, keys = draw_keys(bundle, size, weights)
        self._engine, self._plane = engine, engine.plane
        self._surface = Surface(arrays(weights / MAP_FILE), size)
        face = self._plane.face
        rest = self._surface.unrolled(self._plane.portrait, face)
        self._rest = rest.astype(np.float32)
        self._tones = []
        for key in keys:
            change = self._surface.unrolled(key.picture, face + key.displacement).astype(np.float32) - self._rest
            # Resampling twice is no change of the skin.
            change[np.abs(change).max(-1) < 3] = 0
            change = cv2.GaussianBlur(change, (0, 0), 1.0)
            # Lids cover eyes, and the mouth's inside is laid under the lips: no texture of theirs is blended.
            self._tones.append(change * (1 - np.maximum.reduce(self._surface.holes))[..., None])
        self.render(FaceState(Ns(0), np.full(52, 0.3, np.float32)))

    def render(self, state: FaceState) -> U8:
        weights, yaw, pitch = shape_weights(state)
        share = shares(weights)
        moves = self._plane.displaced(weights)
        gaze = Gaze(yaw, pitch)
        if not share.any():
            return self._plane.draw(moves, state.head, gaze)
        around = self._plane.draw(moves, state.head)
        texture = self._rest.copy()
        for i in np.flatnonzero(share):
            texture += share[i] * self._tones[i]
        texture = np.clip(texture + 0.5, 0, 255).astype(np.uint8)
        picture = self._surface.draw(self._plane.moved, texture, around)
        self._plane.look(picture, gaze)
        self._engine.interior.lay(picture, self._plane.moved)
        return picture
