"""Carrying ICT-FaceKit's motion over to Anny's topology.

Anny's skin is laid onto ICT's (similarity, then interpolation of the landmarks' differences, then nearest points with
smoothing), every vertex takes the motion of the place it lies on, and the edges of lips and lids take the motion of
ICT's edges at the same share of their width. Upper and lower lip (or lid) never take each other's motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from avatar.core.facs import ARKIT
from avatar.models.head_basis import landmarks as lm
from avatar.models.head_basis.heads import Head, Slit
from avatar.models.head_basis.landmarks import SurfacePoints
from avatar.models.head_basis.mesh import (
    averaging,
    mirror_pairs,
    nearest_on_triangles,
    triangle_normals,
    vertex_normals,
)
from avatar.models.head_basis.mouth import scaled_deltas

F64 = NDArray[np.float64]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Similarity:
    """``x -> scale * x @ rotation.T + offset``."""

    scale: float
    rotation: F64
    offset: F64

    def points(self, x: F64) -> F64:
        return self.directions(x) + self.offset

    def directions(self, x: F64) -> F64:
        return self.scale * x @ self.rotation.T


def similarity(source: F64, target: F64, weights: F64) -> Similarity:
    """Least squares similarity between matched points (n, 3) (Umeyama 1991), without reflection."""
    w = weights / weights.sum()
    a, b = source - w @ source, target - w @ target
    u, s, vt = np.linalg.svd((b * w[:, None]).T @ a)
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ flip @ vt
    scale = float((s * np.diag(flip)).sum() / (w[:, None] * a**2).sum())
    return Similarity(scale, rotation, w @ target - scale * rotation @ (w @ source))


def _seam(slit: Slit, vertices: F64, x: F64) -> F64:
    """Height of the slit's middle line at ``x``, level beyond the corners."""
    upper, lower = (np.interp(x, vertices[c, 0], vertices[c, 1]) for c in (slit.upper, slit.lower))
    return (upper + lower) / 2


def lip_side(slit: Slit, vertices: F64, points: F64, reach: float) -> F64:
    """+1 at the upper lip (or lid), -1 at the lower, fading to 0 at the corners and at ``reach`` cm from the slit."""
    corners = vertices[slit.upper[[0, -1]]]
    middle, half = corners.mean(0), (corners[1, 0] - corners[0, 0]) / 2
    inside = np.clip(1 - ((points[:, 0] - middle[0]) / half) ** 2, 0, 1)
    height = points[:, 1] - _seam(slit, vertices, points[:, 0])
    deep = np.abs(points[:, 2] - vertices[np.r_[slit.upper, slit.lower], 2].mean())
    near = np.clip(1 - np.abs(height) / reach, 0, 1) * (deep < 2 * reach)
    return np.sign(height) * np.sqrt(inside * near)


def _slits(head: Head) -> tuple[Slit, ...]:
    return head.mouth, head.eye_left, head.eye_right


def _labels(head: Head, points: F64) -> Ints:
    """0 = anywhere, else a number for each lip and lid (n,)."""
    label = np.zeros(len(points), int)
    for k, slit in enumerate(_slits(head)):
        side = lip_side(slit, head.vertices, points, 1.6 if k == 0 else 1.0)
        label[side > 0], label[side < 0] = 2 * k + 1, 2 * k + 2
    return label


def register(anny: Head, ict: Head, marks: SurfacePoints, ict_marks: SurfacePoints) -> tuple[Ints, Ints, F64, F64]:
    """Lay Anny's skin onto ICT's, both in the same frame.

    Returns the skin's vertex numbers (n,), ICT's vertices (n, 3) and weights (n, 3) below them, and the distance left.
    """
    skin, surface = anny.vertices_of("skin"), ict.triangles[ict.part == "skin"]
    source, target = marks.on(anny.vertices), ict_marks.on(ict.vertices)
    side = 0.8 * lip_side(anny.mouth, anny.vertices, anny.vertices, 1.6)
    for chain, sign in ((anny.mouth.upper, 0.8), (anny.mouth.lower, -0.8)):
        x = anny.vertices[chain, 0]
        side[chain] = sign * np.sqrt(np.clip(1 - (x / x[-1]) ** 2, 0, 1))
    mark_side = marks.on(side[:, None])
    # Two landmarks can fall onto one place (corners of lips); a tiny shift keeps the system solvable.
    jitter = np.random.default_rng(0).normal(0, 1e-4, (len(source), 4))
    bend = RBFInterpolator(np.c_[source, mark_side] + jitter, target - source, kernel="linear", smoothing=0.005)
    laid = anny.vertices.copy()
    laid[skin] += bend(np.c_[anny.vertices, side][skin])

    skin_triangles = anny.triangles[anny.part == "skin"]
    mean = averaging(len(laid), skin_triangles)
    label = _labels(anny, anny.vertices[skin])
    under = _labels(ict, ict.vertices[surface].mean(1))
    normals = triangle_normals(ict.vertices, surface)

    def below() -> tuple[Ints, F64, F64]:
        facing = vertex_normals(laid, skin_triangles)[skin]

        def penalty(near: Ints) -> F64:
            other = (label[:, None] != 0) & (under[near] != 0) & (under[near] != label[:, None])
            turned = (facing[:, None] * normals[near]).sum(-1) < 0.2
            return 100.0 * other + 0.6 * turned

        return nearest_on_triangles(laid[skin], ict.vertices, surface, penalty)

    for step in range(3):
        number, weights, distance = below()
        pull = np.zeros_like(laid)
        place = (ict.vertices[surface[number]] * weights[:, :, None]).sum(1)
        pull[skin] = np.where((distance < 1.2)[:, None], place - laid[skin], 0)
        for _ in range(4 - step):
            pull = 0.5 * pull + 0.5 * (mean @ pull)
        laid[skin] += 0.8 * pull[skin]
    number, weights, distance = below()
    return skin, surface[number], weights, distance


class Carrier:
    """Anny's skin laid onto ICT's, ready to take over any per-vertex differences. Both heads in Anny's frame."""

    def __init__(self, anny: Head, ict: Head, marks: SurfacePoints, ict_marks: SurfacePoints) -> None:
        self.anny, self.ict = anny, ict
        self.skin, below, weights, distance = register(anny, ict, marks, ict_marks)
        self.below = SurfacePoints(below, weights)
        # Beyond ICT's skin (back of the head, low neck) motion fades out.
        self.fade = np.clip(1.6 - distance / 0.8, 0, 1)
        self.edges = np.unique(np.concatenate([chain for chain, _ in lm.chains(anny)]))

    def expressions(self) -> F64:
        """Motion (52, V, 3) of skin and mouth lining as ICT's head has it, symmetric. Other parts: zero."""
        out = self._line_mouth(self._skin(self.ict.expressions), self.anny.expressions, 25, 0.97)
        return symmetric(out, mirror_pairs(self.anny.vertices))

    def identities(self) -> F64:
        """ICT's identity modes (K, V, 3) on every part of Anny's head, the point midway between the eyeballs fixed."""
        eyes = self.ict.vertices_of("eye_left"), self.ict.vertices_of("eye_right")
        shift = (self.ict.identities[:, eyes[0]].mean(1) + self.ict.identities[:, eyes[1]].mean(1)) / 2
        modes = self.ict.identities - shift[:, None]
        out = self._line_mouth(self._skin(modes), np.zeros((len(modes), *self.anny.vertices.shape)), 60, 1.0)
        teeth = self.ict.vertices_of("teeth")
        low = self.ict.expressions[ARKIT.index("jawOpen"), teeth, 1] < -0.8
        for part, source in (
            ("eye_left", eyes[0]), ("eye_right", eyes[1]),
            ("teeth_upper", teeth[~low]), ("teeth_lower", teeth[low]), ("tongue", teeth[low]),
        ):  # fmt: skip
            own = self.anny.vertices_of(part)
            out[:, own] = scaled_deltas(self.ict.vertices[source], modes[:, source], self.anny.vertices[own])
        return out

    def _skin(self, deltas: F64) -> F64:
        """Differences (n, V, 3) of the skin with the edges of lips and lids."""
        count = len(self.anny.vertices)
        out = np.zeros((len(deltas), count, 3))
        out[:, self.skin] = self.below.on(deltas) * self.fade[:, None]
        for (chain, _), (other, _) in zip(lm.chains(self.anny), lm.chains(self.ict), strict=True):
            out[:, chain] = _along(self.anny.vertices[chain], self.ict.vertices[other], deltas[:, other])
        movable = np.zeros((count, 1))
        movable[self.skin] = 1
        movable[self.edges] = 0
        # Smooth a little everywhere and more at the mouth's corners, where both lips' motions meet within millimetres.
        corners = self.anny.vertices[self.anny.mouth.upper[[0, -1]]]
        near = np.linalg.norm(self.anny.vertices[:, None] - corners, axis=2).min(1)
        at_corner = (0.7 * np.exp(-((near / 0.8) ** 2)))[:, None]
        mean = averaging(count, self.anny.triangles[self.anny.part == "skin"])
        flat = out.transpose(1, 0, 2).reshape(count, -1)
        for step in range(12):
            share = np.maximum(0.4 if step < 2 else 0.0, at_corner) * movable
            flat = (1 - share) * flat + share * (mean @ flat)
        return flat.reshape(count, -1, 3).transpose(1, 0, 2)

    def _line_mouth(self, deltas: F64, own: F64, rounds: int, hold: float) -> F64:
        """The mouth's lining moves by ``own``, plus what its edge moves differently, spread over the lining."""
        lining = self.anny.vertices_of("lining")
        inner = np.setdiff1d(lining, self.edges)
        mean = averaging(len(self.anny.vertices), self.anny.triangles[self.anny.part == "lining"])
        edge = np.r_[self.anny.mouth.upper, self.anny.mouth.lower]
        spread = np.zeros((len(self.anny.vertices), len(deltas) * 3))
        spread[edge] = (deltas - own)[:, edge].transpose(1, 0, 2).reshape(len(edge), -1)
        for _ in range(rounds):
            spread[inner] = hold * (mean @ spread)[inner]
        out = deltas.copy()
        out[:, inner] = own[:, inner] + spread[inner].reshape(len(inner), -1, 3).transpose(1, 0, 2)
        return out


def _along(mine: F64, theirs: F64, deltas: F64) -> F64:
    """Differences (n, V, 3) on an edge chain (V, 3) from those (n, W, 3) of another (W, 3), taken at the same share of
    the width between the corners."""

    def share(chain: F64) -> F64:
        return np.maximum.accumulate((chain[:, 0] - chain[0, 0]) / (chain[-1, 0] - chain[0, 0]))

    x, known = share(mine), share(theirs)
    return np.stack([[np.interp(x, known, row[:, k]) for k in range(3)] for row in deltas]).transpose(0, 2, 1)


def mirrored(deltas: F64) -> F64:
    """Every shape (52, n, 3) replaced by the mirror image of its opposite one (of itself where it has none)."""
    opposite = []
    for name in ARKIT:
        if name.endswith("Left"):
            name = name[:-4] + "Right"
        elif name.endswith("Right"):
            name = name[:-5] + "Left"
        opposite.append(ARKIT.index(name))
    return deltas[opposite] * [-1, 1, 1]


def symmetric(deltas: F64, pair: Ints) -> F64:
    """Make shapes (52, V, 3) exact mirror images of their opposites; ``pair`` (V,) as of :func:`mirror_pairs`."""
    return (deltas + mirrored(deltas)[:, pair]) / 2


def in_frame_of(anny: Head, ict: Head, marks: SurfacePoints, ict_marks: SurfacePoints) -> Head:
    """ICT's head moved (similarity) to where Anny's is."""
    weights = np.ones(lm.COUNT)
    weights[list(lm.OVAL)] = 0.2
    move = similarity(ict_marks.on(ict.vertices), marks.on(anny.vertices), weights)
    return Head(
        move.points(ict.vertices), ict.triangles, ict.part, move.directions(ict.expressions),
        move.directions(ict.identities),
        ict.mouth, ict.eye_left, ict.eye_right,
    )  # fmt: skip
