"""Where MediaPipe's 468 face points lie on a head: detected on rendered views, then laid onto the surface.

The points of the eyelids and of the inner lips are put exactly onto the edges of lids and lips, so that a point of the
upper lip can never move with the lower one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from avatar.core.facs import INDEX
from avatar.models.head_basis.heads import Head, Slit
from avatar.models.head_basis.mesh import nearest_on_triangles
from avatar.models.head_basis.preview import COLORS, Camera, rasterize, shade

F64 = NDArray[np.float64]
Ints = NDArray[np.integer]

COUNT = 468
# Chains from small to large x (from the picture's left to its right).
LIP_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
RIGHT_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_UPPER = (362, 398, 384, 385, 386, 387, 388, 466, 263)
LEFT_LOWER = (362, 382, 381, 380, 374, 373, 390, 249, 263)
LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

_TONES = ((1.0, 1.0, 1.0), (0.73, 0.69, 0.64), (1.03, 1.09, 1.13))


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a surface as weighted vertices."""

    vertices: Ints
    """(n, 3) vertex numbers."""
    weights: F64
    """(n, 3), each row sums to 1."""

    def on(self, values: F64) -> F64:
        """The points of per-vertex values (..., V, 3) -> (..., n, 3)."""
        return (values[..., self.vertices, :] * self.weights[:, :, None]).sum(-2)


def chains(head: Head) -> tuple[tuple[Ints, tuple[int, ...]], ...]:
    """Every edge chain of lips and lids with its landmarks, both from small to large x."""
    pairs: tuple[tuple[Slit, tuple[int, ...], tuple[int, ...]], ...] = (
        (head.mouth, LIP_UPPER, LIP_LOWER),
        (head.eye_left, LEFT_UPPER, LEFT_LOWER),
        (head.eye_right, RIGHT_UPPER, RIGHT_LOWER),
    )
    return tuple(item for slit, up, low in pairs for item in ((slit.upper, up), (slit.lower, low)))


class _Painter:
    """Vertex colours that make a bare head look enough like a face to be found."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.colors = np.full((len(head.vertices), 3), 0.5)
        for part, color in COLORS.items():
            if part != "skin":
                self.colors[head.vertices_of(part)] = color
        for part in ("eye_left", "eye_right"):
            ball = head.vertices_of(part)
            centre = head.vertices[ball].mean(0)
            radius = np.hypot(*(head.vertices[ball] - centre)[:, :2].T)
            front = head.vertices[ball, 2] > centre[2]
            self.colors[ball[front & (radius < 0.62)]] = (0.25, 0.15, 0.08)
            self.colors[ball[front & (radius < 0.25)]] = (0.03, 0.03, 0.03)

    def paint(self, tone: tuple[float, ...], marks: F64 | None) -> F64:
        """Colours with a skin tone, and with lips and brows where the landmarks are known roughly (468, 3)."""
        import cv2

        colors = self.colors.copy()
        skin = self.head.vertices_of("skin")
        colors[skin] = np.array(COLORS["skin"]) * tone
        if marks is not None:
            front = skin[self.head.vertices[skin, 2] > marks[LIPS_OUTER, 2].min() - 1]

            def inside(outline: NDArray[np.floating]) -> Ints:
                points = self.head.vertices[front, :2]
                polygon = outline[:, None].astype(np.float32)
                return front[[cv2.pointPolygonTest(polygon, (float(x), float(y)), False) >= 0 for x, y in points]]

            colors[inside(marks[list(LIPS_OUTER), :2])] = np.array((0.64, 0.3, 0.28)) * min(1, tone[0])
            for brow in BROWS:
                hull = np.asarray(cv2.convexHull(marks[list(brow), :2].astype(np.float32)), np.float64)[:, 0]
                colors[inside(hull)] = (0.2, 0.14, 0.1)
        return colors


def _detector(model: Path):
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    options = vision.FaceLandmarkerOptions(base_options=tasks.BaseOptions(model_asset_path=str(model)), num_faces=1)
    return vision.FaceLandmarker.create_from_options(options)


def _find(detector, picture: NDArray[np.uint8]) -> F64 | None:
    """Landmarks (468, 2) in pixels, or None."""
    import mediapipe

    faces = detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)).face_landmarks
    if not faces:
        return None
    size = picture.shape[0]
    return np.array([(p.x * size, p.y * size) for p in faces[0][:COUNT]])


def locate(head: Head, model: Path, views: int = 12, seed: int = 0) -> tuple[F64, Ints]:
    """Places of the 468 points on the resting head (468, 3), mean of ``views`` renderings and made symmetric; and the
    mirrored point of each (468,).

    Raises RuntimeError where no face is found in most of the views.
    """
    rng = np.random.default_rng(seed)
    detector, painter = _detector(model), _Painter(head)
    drawn = np.isin(head.part, list(COLORS))
    triangles, skin = head.triangles[drawn], head.part[drawn] == "skin"
    middle = head.vertices[head.vertices_of("eye_left", "eye_right")].mean(0)
    found: list[F64] = []
    marks: F64 | None = None
    for view in range(views):
        shape = head.vertices.copy()
        if view > 1 and len(head.identities):
            shape = shape + np.tensordot(rng.normal(0, 0.7, len(head.identities)), head.identities, 1)
        eye = (middle[0] + rng.uniform(-4, 4) * (view > 1), middle[1] - 3 + rng.uniform(-4, 4) * (view > 1), 95.0)
        camera = Camera(eye=(eye[0], eye[1], eye[2] + middle[2]), half_angle=11)
        side = 0.3 if view % 2 else -0.3
        picture = shade(shape, triangles, painter.paint(_TONES[view % 3], marks), camera, (side, 0.35, 0.9))
        points = _find(detector, picture)
        if points is None:
            continue
        number, weights = rasterize(camera.project(shape), triangles, camera.size)
        rows, columns = np.nonzero((number >= 0) & skin[number])
        _, near = cKDTree(np.stack([columns, rows], 1)).query(points)
        y, x = rows[near], columns[near]
        place = (head.vertices[triangles[number[y, x]]] * weights[y, x][:, :, None]).sum(1)
        if marks is not None:
            found.append(place)
        marks = place if marks is None else np.median(found, axis=0)
    if len(found) < views // 2:
        raise RuntimeError("the landmark network does not find the face on the rendered views")
    places = np.median(found, axis=0)
    mirror = _mirror(head, detector, painter, marks, triangles, middle)
    return (places + places[mirror] * [-1, 1, 1]) / 2, mirror


def _mirror(head: Head, detector, painter: _Painter, marks, triangles: Ints, middle: F64) -> Ints:
    """The mirrored number of every landmark, from one view with an open mouth (there no two points coincide)."""
    shape = head.vertices + 0.5 * head.expressions[INDEX["jawOpen"]]
    camera = Camera(eye=(middle[0], middle[1] - 3, 95.0 + middle[2]), half_angle=11)
    points = _find(detector, shade(shape, triangles, painter.paint(_TONES[0], marks), camera, (0, 0.35, 0.9)))
    if points is None:
        raise RuntimeError("the landmark network does not find the open mouth")
    points = points - points[[33, 263]].mean(0)
    distance = cdist(points, points * [-1, 1])
    mirror = linear_sum_assignment(distance + distance.T)[1]
    if not np.array_equal(mirror[mirror], np.arange(COUNT)):
        raise RuntimeError("the landmarks do not form mirrored pairs")
    return mirror


def lay(head: Head, places: F64) -> SurfacePoints:
    """Lay the points (468, 3) onto the skin; those of lids and inner lips onto their edges, at the same share of the
    width between the corners."""
    skin = head.triangles[head.part == "skin"]
    number, weights, _ = nearest_on_triangles(places, head.vertices, skin)
    vertices = skin[number]
    for chain, ids in chains(head):
        x = places[list(ids), 0]
        share = np.maximum.accumulate(np.clip((x - x[0]) / (x[-1] - x[0]), 0, 1))
        corner = head.vertices[chain[[0, -1]], 0]
        along = head.vertices[chain, 0]
        for i, s in zip(ids, share, strict=True):
            target = corner[0] + s * (corner[1] - corner[0])
            k = int(np.clip(np.searchsorted(along, target) - 1, 0, len(chain) - 2))
            t = float(np.clip((target - along[k]) / (along[k + 1] - along[k] + 1e-9), 0, 1))
            third = next(v for v in _triangle_at(skin, chain[k], chain[k + 1]) if v not in (chain[k], chain[k + 1]))
            vertices[i], weights[i] = (chain[k], chain[k + 1], third), (1 - t, t, 0)
    return SurfacePoints(vertices, weights)


def _triangle_at(triangles: Ints, a: int, b: int) -> list[int]:
    """One triangle with the edge ``a``-``b``."""
    return triangles[np.flatnonzero((triangles == a).any(1) & (triangles == b).any(1))[0]].tolist()
