"""What the flat methods share: a portrait on the triangles between its landmarks, moved by one remap.

The landmarks lie in a mesh whose rings outside the face carry less and less of its motion to the picture's border. Each
frame gives the landmarks new places; the triangles are drawn with each pixel's place in the photo, and one remap moves
the photo there (Wolberg 1990, piecewise affine warp). A state of zeros is the photo.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from avatar.core.facs import INDEX
from avatar.core.geometry import from_euler, to_matrix
from avatar.core.types import F32, U8, Gaze, Pose
from avatar.engines import raster
from avatar.engines.head import MAX_PITCH, MAX_ROLL, MAX_SHIFT, MAX_YAW, SEEN_PITCH, SEEN_YAW, soft_limit
from avatar.errors import ModelFileError
from avatar.portrait.fit import (
    FACE_OVAL,
    LANDMARKS,
    LEFT_EYE,
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    RIGHT_EYE,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
)

STABLE = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 10, 151, 9, 109, 338, 127, 356)
"""Landmarks that an expression moves little: a face's place, size and turn are read from them."""
RINGS = ((1.30, 0.70, 0.25), (1.62, 0.25, 0.0))
"""Around the face: size of the ring in ovals, and the shares of the head's and of the face's own motion it keeps."""
_BORDER = 5
"""Points along each side of the picture."""
_PIVOT_DEPTH = 1.0
"""Where the head turns, in distances between the outer eye corners behind the middle of the face."""
_EYEBALL = 0.13
"""Radius of an eyeball in the same unit."""
_VIEWING_DISTANCE, _EYES_MM = 600.0, 90.0
"""Millimetres: to the viewer, and between the outer corners of the eyes."""
_LIDS = (("Right", RIGHT_UPPER_LID, RIGHT_LOWER_LID), ("Left", LEFT_UPPER_LID, LEFT_LOWER_LID))
_EYES = ((RIGHT_EYE, 468), (LEFT_EYE, 473))

F64 = NDArray[np.float64]


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError) as error:
        raise ModelFileError(f"{path} is not readable: install the package again") from error


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of weights; read once a process, so they are not to be written to. Raises ModelFileError."""
    if not path.is_file():
        raise ModelFileError(f"{path} is missing: install the package again, or avatar train {path.stem} --data DIR")
    return _read(path, path.stat().st_mtime_ns)


@dataclass(frozen=True)
class Frame:
    """How a mean face lies in a picture: ``picture = scale * rotation @ mean + shift``."""

    scale: float
    rotation: F64
    """(3, 3)."""
    shift: F64
    """(3,)."""

    def directions(self, vectors: NDArray[np.floating]) -> F32:
        """(..., 3) displacements of the mean face to displacements in the picture: scaled and turned."""
        return np.asarray(vectors @ (self.scale * self.rotation).T, np.float32)

    def back(self, vectors: NDArray[np.floating]) -> F32:
        """The inverse of :meth:`directions`."""
        return np.asarray(vectors @ self.rotation / self.scale, np.float32)


def frame_between(points: NDArray[np.floating], target: NDArray[np.floating]) -> Frame:
    """The similarity of ``points`` (468 or more, 3) that is nearest to ``target`` at the stable landmarks (Umeyama
    1991)."""
    p, t = (np.asarray(a[list(STABLE)], np.float64) for a in (points, target))
    mean, goal = p.mean(0), t.mean(0)
    u, s, v = np.linalg.svd((t - goal).T @ (p - mean))
    sign = np.array((1.0, 1.0, np.sign(np.linalg.det(u @ v))))
    rotation = (u * sign) @ v
    scale = float((s * sign).sum() / ((p - mean) ** 2).sum())
    return Frame(scale, rotation, goal - scale * rotation @ mean)


def triangulation(mean: F32, opened: F32) -> NDArray[np.int32]:
    """Triangles (t, 3) between the landmarks, the rings and the border, clockwise in the picture.

    :param mean: (468, 3) the mean face at rest. :param opened: (468, 3) displacements that open its mouth: shut lips
    would
        be sewn together.
    """
    face = np.asarray(mean + opened, np.float64)[:, :2]
    points = np.r_[face, *(_ring(mean[:, :2].astype(np.float64), size) for size, *_ in RINGS)]
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, float((high - low).max()) * 0.56
    points = np.r_[points, _square() * half + middle]
    found = Delaunay(points).simplices.astype(np.int32)
    a, b, c = (points[found[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    found[area > 0] = found[area > 0][:, ::-1]
    return found


def _ring(points: F64, size: float) -> F64:
    oval = points[list(FACE_OVAL)]
    return oval.mean(0) + (oval - oval.mean(0)) * size


def _square() -> F64:
    """(16, 2): points along the border of a square from -1 to 1."""
    at = np.linspace(-1, 1, _BORDER)[:-1]
    ones = np.ones(_BORDER - 1)
    return np.r_[np.c_[at, -ones], np.c_[ones, at], np.c_[-at, ones], np.c_[-ones, -at]]


class Plane:
    """One portrait that can be moved. Not shared between threads.

    :param portrait: (s, s, 3). :param landmarks: (478, 3) in its pixels.
    :param mean: (468, 3) the mean face. :param shapes: (52, 468, 3) displacements of it by the ARKit shapes.
    """

    def __init__(self, portrait: U8, landmarks: F32, mean: F32, shapes: F32) -> None:
        self.portrait, self.landmarks = portrait, np.asarray(landmarks, np.float32)
        size = len(portrait)
        self.size = size
        self.frame = frame_between(mean, landmarks)
        self.unit = float(np.hypot(*(landmarks[33, :2] - landmarks[263, :2])))
        self.shapes = self.frame.directions(shapes)
        self._fit_lids()
        self.triangles = triangulation(mean, 0.5 * shapes[INDEX["jawOpen"]])
        """(t, 3): between landmarks, rings and border."""
        self._kinds = np.full(len(self.triangles), raster.SKIN, np.uint8)
        self.face = self.landmarks[:LANDMARKS]
        self._rest = np.r_[self.face, self._surroundings()].astype(np.float32)
        middle = self.face[list(STABLE)].mean(0)
        self._pivot = middle + np.array((0, 0.25, _PIVOT_DEPTH), np.float32) * np.float32(self.unit)
        self._attributes = self._rest.copy()
        self.points = self._rest.copy()
        """(n, 3): landmarks, rings and border in the last picture."""
        self._depth = np.empty((size, size), np.float32)
        self._values = np.zeros((size, size, 3), np.float32)
        self._shown = np.empty((size, size), np.uint8)
        self._own = np.dstack(np.meshgrid(*(np.arange(size, dtype=np.float32),) * 2))
        self.map = self._own.copy()
        """(s, s, 2): where each pixel of the last picture comes from."""
        self.moved = self.face.copy()
        """(468, 3): the landmarks in the last picture."""

    def _fit_lids(self) -> None:
        """A blink closes this eye, not the mean one."""
        for side, upper, lower in _LIDS:
            at_upper, at_lower = list(upper[2:-2]), list(lower[2:-2])
            opening = float((self.landmarks[at_lower, 1] - self.landmarks[at_upper, 1]).mean())
            blink = self.shapes[INDEX["eyeBlink" + side]]
            closing = float((blink[at_upper, 1] - blink[at_lower, 1]).mean())
            blink *= np.float32(np.clip(opening / max(closing, 1e-3), 0.3, 2.0))

    def _surroundings(self) -> F32:
        size = self.size
        rings = [_ring(self.face[:, :2].astype(np.float64), scale) for scale, *_ in RINGS]
        around = np.clip(np.concatenate(rings), 1, size - 2)
        border = (_square() + 1) / 2 * (size + 1) - 1
        behind = np.full(len(around) + len(border), float(self._back()))
        return np.c_[np.r_[around, border], behind].astype(np.float32)

    def _back(self) -> float:
        return float(self.face[:, 2].max() + 0.3 * self.unit)

    def displaced(self, weights: F32) -> F32:
        """(468, 3): what the shapes with these ``weights`` (52,) do to the landmarks."""
        return np.asarray(np.tensordot(weights, self.shapes, 1), np.float32)

    def draw(self, displacement: F32, head: Pose, gaze: Gaze | None = None, texture: U8 | None = None) -> U8:
        """A new picture (s, s, 3).

        :param displacement: (468, 3) of the landmarks, in pixels, before the head turns. :param head: relative to the
        photo.
        :param gaze: relative to the photo. :param texture: in place of the portrait.
        """
        self.place(displacement, head)
        if gaze is not None and (gaze.yaw or gaze.pitch):
            self._look(gaze)
        source = self.portrait if texture is None else texture
        made = cv2.remap(source, self.map, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(made, np.uint8)

    def place(self, displacement: F32, head: Pose) -> None:
        """Set :attr:`map` and :attr:`moved`."""
        points = self.points
        rigid = self._turned(self._rest, head)
        np.copyto(points, self._rest)
        points[:LANDMARKS] = self._turned(self._rest[:LANDMARKS] + displacement, head)
        at, count = LANDMARKS, len(FACE_OVAL)
        for _, follow, spill in RINGS:
            ring = slice(at, at + count)
            points[ring, :2] += np.float32(follow) * (rigid[ring, :2] - self._rest[ring, :2])
            points[ring, :2] += np.float32(spill) * displacement[list(FACE_OVAL), :2]
            at += count
        self.moved = points[:LANDMARKS].copy()
        near = points * np.array((1, 1, -1), np.float32)  # the rasteriser's depth grows towards the viewer
        count = len(self.triangles)
        buffers = self._depth, self._values, self._shown
        raster.rasterize(near, self._attributes, self.triangles, self._kinds, count, *buffers)
        self.map = np.ascontiguousarray(self._values[..., :2])
        np.copyto(self.map, self._own, where=(self._shown == raster.NOTHING)[..., None])

    def _turned(self, points: F32, head: Pose) -> F32:
        rotation = np.asarray(head.rotation, np.float64)
        yaw, pitch, roll = head.euler if np.isfinite(rotation).all() else (0.0, 0.0, 0.0)
        yaw, pitch = soft_limit(SEEN_YAW * yaw, MAX_YAW), soft_limit(SEEN_PITCH * pitch, MAX_PITCH)
        turn = to_matrix(from_euler(yaw, pitch, soft_limit(roll, MAX_ROLL)))
        flip = np.array((1.0, -1.0, -1.0))
        turn = flip[:, None] * turn * flip  # the picture's y runs down, its z away
        shift = np.clip(np.nan_to_num(np.array(head.translation, np.float64)), -MAX_SHIFT, MAX_SHIFT)
        scale = _VIEWING_DISTANCE / (_VIEWING_DISTANCE - shift[2])
        moved = shift * (1, -1, 0) * (self.unit / _EYES_MM)
        return np.asarray((points - self._pivot) @ (scale * turn).T + self._pivot + moved, np.float32)

    def look(self, picture: U8, gaze: Gaze) -> None:
        """Turn the eyes of a picture in place, whose landmarks are :attr:`moved`."""
        for contour, iris in _EYES:
            box = self._eye_box(contour)
            moved = (self.moved[list(contour), :2] - self.face[list(contour), :2]).mean(0)
            part = self._own[box].copy()
            self._shift_iris(part, contour, box, self.landmarks[iris, :2] + moved, iris, gaze)
            picture[box] = cv2.remap(picture, part, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _look(self, gaze: Gaze) -> None:
        """Turn the eyes in :attr:`map`."""
        for contour, iris in _EYES:
            box = self._eye_box(contour)
            self._shift_iris(self.map[box], contour, box, self.landmarks[iris, :2], iris, gaze)

    def _eye_box(self, contour: tuple[int, ...]) -> tuple[slice, slice]:
        lids = self.moved[list(contour), :2]
        x0, y0 = (int(v) for v in np.clip(np.floor(lids.min(0)) - 2, 0, self.size - 4))
        x1, y1 = (int(v) for v in np.minimum(np.ceil(lids.max(0)) + 3, self.size))
        return slice(y0, max(y1, y0 + 4)), slice(x0, max(x1, x0 + 4))

    def _shift_iris(
        self, part: F32, contour: tuple[int, ...], box: tuple[slice, slice], centre: F32, iris: int, gaze: Gaze
    ) -> None:
        """Move the sources ``part`` (h, w, 2) of an eye's box so that the iris at ``centre`` moves inside the lids."""
        shift = np.sin((gaze.yaw, -gaze.pitch)).astype(np.float32) * np.float32(_EYEBALL * self.unit)
        lids = self.moved[list(contour), :2] - (box[1].start, box[0].start)
        mask = np.zeros(part.shape[:2], np.float32)
        cv2.fillPoly(mask, [np.round(lids).astype(np.int32)], 1.0)
        ring = self.landmarks[iris + 1 : iris + 5, :2] - self.landmarks[iris, :2]
        away = np.linalg.norm(part - shift - centre, axis=-1) / max(1.0, float(np.linalg.norm(ring, axis=1).mean()))
        share = cv2.GaussianBlur(mask, (0, 0), 0.8) * mask * np.exp(-((away / 1.7) ** 4))
        part -= share[..., None] * shift
