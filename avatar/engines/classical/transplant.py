"""Engine ``transplant``: a part of another picture's face in this one, after "Expression flow for 3D-aware face
component transfer" (Yang, Wang, Shechtman, Bourdev & Metaxas, 2011) and Poisson image editing (Perez, Gangnet & Blake,
2003).

A smile cannot be cut out and pasted: it pushes cheeks and brows, and heads turn. Both pictures are fitted with one
person's 3D face, with a pose and an expression each; projecting the reference's face with its own expression but the
target's pose gives, for every pixel, where it must go (the expression flow)::

    flow(x) = P_t(V + e_r) - P_r(V + e_r)

The reference is warped by it, the component is cut out, and only its gradients are taken: the new pixels f solve
Laplace's equation for their difference to the reference g, with the target's pixels f* on the border of the region::

    f = g + h        laplace h = 0 inside        h = f* - g on the border

h is smooth, so it is solved on cells of four pixels, by a factorisation that is made once for each region.

Live, the reference is the same photo with engine ``eri``'s expression on it, and there are two regions, of brows and
eyes and of nose to chin: what a state leaves alone stays the photo to the last bit.

Limits: what moves across the region's border (a jaw far open at the neck) is bent back there; light that differs in the
middle of the region is kept; the head turns as a relief, after the blend.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from avatar.core.facs import INDEX, MOUTH_INDICES, UPPER_INDICES
from avatar.core.types import F32, U8, FaceState, Gaze, Pose
from avatar.engines.classical.eri import EriEngine
from avatar.engines.classical.plane import frame_between
from avatar.engines.classical.viewmorph import Mesh
from avatar.engines.head import shape_weights
from avatar.portrait.fit import FACE_OVAL, LANDMARKS, LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE

CELL = 4
"""Pixels a side of the cells that the difference is solved on."""
_SEAM = 3.0
"""Pixels inside the border over which the new pixels take over: cells are coarser than pixels."""
_UPPER = (*RIGHT_BROW, *LEFT_BROW, *RIGHT_EYE, *LEFT_EYE, 9, 168)
_LOWER = (
    50, 280, 205, 425, 98, 327, 2, 61, 291, 17, 199, 152, 148, 377, 176, 400, 149, 378,
    150, 379, 136, 365, 172, 397, 58, 288, 187, 411, 116, 345,
)  # fmt: skip
_LOWER_FACE = [INDEX[name] for name in ("cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight")]
"""Shapes that move both regions."""
_RIM = 0.06
"""What stays untouched along the face's edge, in the same unit as :data:`_GROWN`."""
_GROWN = {"eyes": 0.10, "mouth": 0.16}
"""How far a region reaches beyond its landmarks, in distances between the outer corners of the eyes."""


class Region:
    """Part of a picture that is exchanged: its mask, and Laplace's equation in it.

    :param mask: (s, s) bool.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        ys, xs = np.nonzero(mask)
        size = len(mask)
        x0, x1 = max(0, int(xs.min()) - CELL), min(size, int(xs.max()) + CELL + 1)
        y0, y1 = max(0, int(ys.min()) - CELL), min(size, int(ys.max()) + CELL + 1)
        self.box = slice(y0, y1), slice(x0, x1)
        self.mask = mask[self.box]
        depth = cv2.distanceTransform(np.pad(self.mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        self._share = np.where(self.mask, np.clip(depth / _SEAM, 0, 1), 0).astype(np.float32)[..., None]
        self._cells = -(-(x1 - x0) // CELL), -(-(y1 - y0) // CELL)
        # A cell is solved for where all of it lies inside; the others lend their values.
        small = cv2.resize(self.mask.astype(np.float32), self._cells, interpolation=cv2.INTER_AREA)
        self._inside = np.pad(small[1:-1, 1:-1] > 0.99, 1)
        self._factor()

    def _factor(self) -> None:
        """The matrix (cells, border) that takes the border's values to those inside."""
        inside = self._inside
        number = np.full(inside.shape, -1)
        number[inside] = np.arange(inside.sum())
        ring = np.asarray(
            cv2.dilate(inside.astype(np.uint8), np.array(((0, 1, 0), (1, 1, 1), (0, 1, 0)), np.uint8)) > 0
        )
        self._border = ring & ~inside
        edge = np.full(inside.shape, -1)
        edge[self._border] = np.arange(self._border.sum())
        rows, columns, to, at = [], [], [], []
        ys, xs = np.nonzero(inside)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            there, outside = number[ys + dy, xs + dx], edge[ys + dy, xs + dx]
            own = number[ys, xs]
            rows.append(own[there >= 0])
            columns.append(there[there >= 0])
            to.append(own[outside >= 0])
            at.append(outside[outside >= 0])
        count = int(inside.sum())
        r, c = np.concatenate(rows), np.concatenate(columns)
        matrix = sp.csc_matrix((-np.ones(len(r)), (r, c)), (count, count)) + 4 * sp.eye(count, format="csc")
        b, e = np.concatenate(to), np.concatenate(at)
        right = sp.csc_matrix((np.ones(len(b)), (b, e)), (count, int(self._border.sum())))
        self._solution = splu(sp.csc_matrix(matrix)).solve(right.toarray()).astype(np.float32)

    def blend(self, target: U8, reference: U8) -> None:
        """Put ``reference`` (s, s, 3) into ``target`` (s, s, 3) in place: its gradients, the target's border."""
        part, new = target[self.box].astype(np.float32), reference[self.box].astype(np.float32)
        coarse = cv2.resize(part - new, self._cells, interpolation=cv2.INTER_AREA)
        coarse[self._inside] = self._solution @ coarse[self._border]
        shape = part.shape[1], part.shape[0]
        made = new + cv2.resize(coarse, shape, interpolation=cv2.INTER_LINEAR)
        mixed = part + self._share * (made - part)
        target[self.box] = np.where(self.mask[..., None], np.clip(mixed + 0.5, 0, 255), part).astype(np.uint8)


def region_mask(points: F32, name: str, size: int, also: F32 | None = None) -> NDArray[np.bool_]:
    """(s, s): the component ``eyes`` or ``mouth`` of a face with landmarks ``points`` (468 or more, 2 or more).

    :param also: the landmarks after the exchange, which the region must hold too.
    """
    chosen = list(_UPPER if name == "eyes" else _LOWER)
    unit = float(np.hypot(*(points[33, :2] - points[263, :2])))
    all_points = [p[chosen, :2] for p in (points, also) if p is not None]
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(np.concatenate(all_points)).astype(np.int32)), 1)
    reach = 2 * round(_GROWN[name] * unit) + 1
    return np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0)


def expression_flow(target: F32, reference: F32) -> F32:
    """(468, 2): where the landmarks of the reference (468 or more, 3) lie with its expression in the target's pose."""
    same = frame_between(reference, target)
    return np.asarray((reference[:LANDMARKS] @ (same.scale * same.rotation).T + same.shift)[:, :2], np.float32)


def transplanted(
    target: U8, reference: U8, points: F32, other: F32, name: str, mesh: Mesh
) -> tuple[U8, NDArray[np.bool_]]:
    """``target`` (s, s, 3) with the component ``name`` of ``reference`` (s, s, 3), a new picture, and the region (s,
    s).

    :param points, other: their landmarks (468 or more, 3). :param mesh: between the landmarks.
    """
    at = expression_flow(points, other)
    warped, known = mesh.warped(reference, other[:LANDMARKS], at, -other[:LANDMARKS, 2])
    mask = region_mask(points, name, len(target), at)
    # The border must run over skin in both pictures: hair beside it would bleed in.
    face = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(np.round(points[list(FACE_OVAL), :2]).astype(np.int32)), 1)
    reach = 2 * round(_RIM * float(np.hypot(*(points[33, :2] - points[263, :2])))) + 1
    both = cv2.erode(
        (known & (face > 0)).astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    )
    made = target.copy()
    Region(mask & (both > 0)).blend(made, warped)
    return made, mask & (both > 0)


class TransplantEngine(EriEngine):
    """The photo, with components of its own expressive picture blended in. Sizes 256 to 1024."""

    name = "transplant"

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        super().prepare(weights, portrait, landmarks)
        wide = np.full(52, 0.6, np.float32)
        moved = self.plane.face + self.plane.displaced(np.where(np.isin(np.arange(52), MOUTH_INDICES), wide, 0))
        self.regions = [
            (Region(region_mask(landmarks, "eyes", self.size)), UPPER_INDICES),
            (Region(region_mask(landmarks, "mouth", self.size, moved)), np.r_[MOUTH_INDICES, _LOWER_FACE]),
        ]

    def render(self, state: FaceState) -> U8:
        weights, yaw, pitch = shape_weights(state)
        weights, gaze = self.emphasised(weights), Gaze(yaw, pitch)
        made = self.plane.portrait.copy()
        displacement = self.geometry(weights)
        reference = self.draw(displacement, Pose(), gaze, self.ratio(weights, displacement))
        looks = bool(gaze.yaw or gaze.pitch)
        for (region, indices), also in zip(self.regions, (looks, False), strict=True):
            if also or weights[indices].any():
                region.blend(made, reference)
        if state.head == Pose():
            return made
        return self.plane.draw(np.zeros_like(self.plane.face), state.head, None, made)
