"""Engine ``viewmorph``: view morphing (Seitz & Dyer, "View morphing", 1996): prewarp, morph, postwarp.

Linear interpolation of two pictures of a rigid thing is a picture of it only where the image planes are parallel and
the scanlines agree; otherwise it bends on the way. So both pictures are first turned and scaled into that position
(prewarp H), morphed there, and taken back to the view that is wanted (postwarp)::

    I_t = H_t ( (1 - t) H_0^-1 I_0 + t H_1^-1 I_1 )

Faces are seen from afar: cameras are scaled orthographic, x = s R X + c, and the projective maps become affine. With
viewing directions d_0 and d_1 the common axis of both planes is n = d_0 x d_1 / |d_0 x d_1|. The prewarp of each
picture turns its n upright and its scale to one, so that rows agree; across, the coordinates are e_i . X with e_i =
d_i x n. The morph has the row (1 - t) e_0 + t e_1, which is shorter than one: the face would look pressed together, by
the cosine of half the angle in the middle. The postwarp divides by that length, and then turns the picture to the roll
that is wanted.

Live, two views of the photo's relief, turned to both sides, are the pictures, and each frame's yaw is one between them
(the paper turns a face by morphing it with its mirror image; a frontal photo's is the same view again). Expressions
move the points of both views before the morph.

Limits: what only one view shows is a ghost; rotation without a common axis (both views alike) leaves nothing to morph;
pitch and roll come as a relief.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.geometry import from_euler, to_matrix
from avatar.core.types import F32, U8, FaceState, Gaze, Pose
from avatar.engines import raster
from avatar.engines.classical.flat import FlatEngine
from avatar.engines.classical.plane import STABLE
from avatar.engines.head import MAX_YAW, SEEN_YAW, shape_weights, soft_limit
from avatar.portrait.fit import FACE_OVAL, LANDMARKS, scaled_orthographic

F64 = NDArray[np.float64]
_RIM = 0.08
"""Fade of the morphed face into its surroundings, in distances between the outer corners of the eyes."""
_SAME = 1e-3
"""Sine of the angle between two views from which on they count as one."""


@dataclass(frozen=True)
class View:
    """A scaled orthographic camera: ``pixel = scale * rotation[:2] @ X + offset``; y and z as in pictures."""

    rotation: F64
    """(3, 3) of the face into this view."""
    scale: float
    offset: F64
    """(2,)."""

    @classmethod
    def of(cls, mean: F32, points: F32) -> View:
        """The camera that shows a face like ``mean`` (468, 3) at ``points`` (468 or more, 2 or more), by the landmarks
        that an expression moves little."""
        at = list(STABLE)
        rotation, scale, offset = scaled_orthographic(
            mean[at].astype(np.float64), points[at, :2].astype(np.float64), np.ones(len(at))
        )
        return cls(rotation, scale, offset)

    @property
    def direction(self) -> F64:
        """(3,) of sight, in the face's frame."""
        return self.rotation[2]


@dataclass(frozen=True)
class Rectified:
    """Two views brought into one position: the prewarps, and what the postwarp needs."""

    first: F64
    """(2, 3): affine prewarp of the first picture."""
    second: F64
    _across: tuple[F64, F64]
    _axis: F64

    def postwarp(self, t: float, wanted: View) -> F64:
        """(2, 3): affine map from the morphed position to a picture of ``wanted``'s scale, roll and offset."""
        row = (1 - t) * self._across[0] + t * self._across[1]
        length = float(np.linalg.norm(row))
        # In the rectified frame the face's point X has the coordinates (row . X, axis . X).
        basis = np.stack([row / length, self._axis])
        turn = wanted.rotation[:2] @ basis.T
        u, _, v = np.linalg.svd(turn)
        matrix = wanted.scale * (u @ v) @ np.diag((1 / length, 1.0))
        return np.c_[matrix, wanted.offset]


def rectify(first: View, second: View) -> Rectified | None:
    """The prewarps of two views; None where they look the same way."""
    axis = np.cross(first.direction, second.direction)
    length = float(np.linalg.norm(axis))
    if length < _SAME:
        return None
    axis = axis / length
    if axis @ (first.rotation[1] + second.rotation[1]) < 0:
        axis = -axis
    across, warps = [], []
    for view in (first, second):
        right = np.cross(axis, view.direction)
        if right @ view.rotation[0] < 0:
            right = -right
        across.append(right)
        # A pixel minus the offset is scale * rotation[:2] @ X; both rows lie in the image plane of this view.
        matrix = np.stack([right, axis]) @ view.rotation[:2].T / view.scale
        warps.append(np.c_[matrix, -matrix @ view.offset])
    return Rectified(warps[0], warps[1], (across[0], across[1]), axis)


def applied(matrix: F64, points: NDArray[np.floating]) -> F32:
    """(n, 2) of points (n, 2 or more) through an affine map (2, 3)."""
    return np.asarray(points[:, :2] @ matrix[:, :2].T + matrix[:, 2], np.float32)


def places(first: F32, second: F32, cameras: tuple[View, View], wanted: View, t: float) -> F32:
    """(n, 2): where points that lie at ``first`` and ``second`` (n, 2) in two pictures lie in the view at ``t``."""
    rectified = rectify(*cameras)
    if rectified is None:
        return np.asarray((1 - t) * first[:, :2] + t * second[:, :2], np.float32)
    middle = (1 - t) * applied(rectified.first, first) + t * applied(rectified.second, second)
    return applied(rectified.postwarp(t, wanted), middle)


def view_between(first: View, second: View, t: float) -> View:
    """The camera on the way: rotation on its arc, scale and offset on straight lines."""
    turn, _ = cv2.Rodrigues(second.rotation @ first.rotation.T)
    part, _ = cv2.Rodrigues(turn * t)
    return View(
        part @ first.rotation, (1 - t) * first.scale + t * second.scale, (1 - t) * first.offset + t * second.offset
    )


class Mesh:
    """Draws pictures through the triangles between points."""

    def __init__(self, triangles: NDArray[np.int32], size: int) -> None:
        self._triangles = np.ascontiguousarray(triangles, np.int32)
        self._kinds = np.full(len(triangles), raster.SKIN, np.uint8)
        self._depth = np.empty((size, size), np.float32)
        self._shown = np.empty((size, size), np.uint8)
        self._size = size

    def warped(self, picture: U8, source: F32, at: F32, nearness: F32) -> tuple[U8, NDArray[np.bool_]]:
        """``picture`` (s, s, 3), moved from points ``source`` to ``at`` (n, 2), and where (s, s) it is known.

        :param nearness: (n,) which of two triangles hides the other.
        """
        points = np.c_[at, nearness].astype(np.float32)
        attributes = np.c_[source[:, :2], np.zeros(len(source))].astype(np.float32)
        values = np.zeros((self._size, self._size, 3), np.float32)
        buffers = self._depth, values, self._shown
        raster.rasterize(points, attributes, self._triangles, self._kinds, len(self._triangles), *buffers)
        flow = np.ascontiguousarray(values[..., :2])
        made = cv2.remap(picture, flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(made, np.uint8), self._shown > 0


def between(
    mesh: Mesh, mean: F32, pictures: tuple[U8, U8], points: tuple[F32, F32], t: float
) -> tuple[U8, NDArray[np.bool_], F32]:
    """The view at ``t`` of two pictures (s, s, 3) of a face with landmarks (468, 3); where (s, s) there is a face; and
    its landmarks (468, 2)."""
    first, second = (p[:LANDMARKS] for p in points)
    cameras = View.of(mean, first), View.of(mean, second)
    at = places(first, second, cameras, view_between(*cameras, t), t)
    nearness = -((1 - t) * first[:, 2] + t * second[:, 2])
    a, inside = mesh.warped(pictures[0], first, at, nearness)
    b, _ = mesh.warped(pictures[1], second, at, nearness)
    return np.asarray(cv2.addWeighted(a, 1 - t, b, t, 0), np.uint8), inside, at


class ViewMorphEngine(FlatEngine):
    """Two views of the photo's relief, morphed to the yaw that is asked for. Sizes 256 to 1024."""

    name = "viewmorph"

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        plane = self.plane
        self._sides = [_turn(yaw) for yaw in (-MAX_YAW, MAX_YAW)]
        self._mesh = Mesh(plane.triangles, self.size)
        self._views = []
        still = np.zeros_like(plane.face)
        for yaw in (-MAX_YAW, MAX_YAW):
            # The plane draws a state's yaw larger than it is told.
            picture = plane.draw(still, Pose.degrees(_told(yaw), 0, 0))
            self._views.append((picture, plane.points.copy()))

    def render(self, state: FaceState) -> U8:
        weights, yaw, pitch = shape_weights(state)
        displacement = self.geometry(self.emphasised(weights))
        gaze = Gaze(yaw, pitch)
        euler = state.head.euler if np.isfinite(np.asarray(state.head.rotation)).all() else (0.0, 0.0, 0.0)
        turned = soft_limit(SEEN_YAW * euler[0], MAX_YAW)
        picture = self.draw(displacement, state.head, gaze)
        if abs(turned) < 0.5:  # the photo itself is the view
            return picture
        target = self.plane.points
        first, second = (self._moved(view, side, displacement) for (_, view), side in
                         zip(self._views, self._sides, strict=True))  # fmt: skip
        t = float(np.clip((turned / MAX_YAW + 1) / 2, 0, 1))
        shown = self._morphed(first, second, target, t)
        self.plane.look(shown, gaze)
        share = self._face_mask() * np.float32(min(1.0, (abs(turned) - 0.5) / 2))
        made = (picture + share[..., None] * (shown.astype(np.float32) - picture) + 0.5).astype(np.uint8)
        self.interior.lay(made, self.plane.moved)
        return made

    def _face_mask(self) -> F32:
        """(s, s): 1 in the face, softly 0 towards its edge: what is beside it is in neither view as it should be."""
        outline = cv2.convexHull(np.round(self.plane.moved[list(FACE_OVAL), :2]).astype(np.int32))
        mask = np.zeros((self.size, self.size), np.uint8)
        cv2.fillConvexPoly(mask, outline, 1)
        rim = _RIM * self.plane.unit
        return np.asarray(np.clip(cv2.distanceTransform(mask, cv2.DIST_L2, 3) / rim - 0.5, 0, 1), np.float32)

    def _moved(self, view: F32, side: F64, displacement: F32) -> F32:
        points = view.copy()
        points[:LANDMARKS] += displacement @ side.T.astype(np.float32)
        return points

    def _morphed(self, first: F32, second: F32, target: F32, t: float) -> U8:
        """Both views, prewarped, morphed and postwarped at once: the triangles' places say it all."""
        cameras = tuple(View.of(self.plane_mean, view) for _, view in self._views)
        wanted = View.of(self.plane_mean, target)
        face = places(first[:LANDMARKS], second[:LANDMARKS], (cameras[0], cameras[1]), wanted, t)
        at = np.concatenate([face, target[LANDMARKS:, :2]])
        self.plane.moved = np.c_[face, target[:LANDMARKS, 2]].astype(np.float32)
        a, b = (self._mesh.warped(picture, view, at, -target[:, 2])[0] for picture, view in self._views)
        return np.asarray(cv2.addWeighted(a, 1 - t, b, t, 0), np.uint8)


def _turn(yaw: float) -> F64:
    flip = np.array((1.0, -1.0, -1.0))
    return np.asarray(flip[:, None] * to_matrix(from_euler(yaw, 0, 0)) * flip, np.float64)


def _told(yaw: float) -> float:
    """The yaw of a state that is drawn as nearly ``yaw``: far beyond the soft limit."""
    return 10.0 * yaw
