"""What is seen inside a face: two arches of teeth with gums, the tongue, and the eyeballs. All generated.

Tooth widths and crown heights are the usual textbook means of permanent teeth (Ash & Nelson, Wheeler's Dental Anatomy),
rounded, in centimetres, from the middle outwards: central and lateral incisor, canine, two premolars, two molars. All
are a little larger than that (:data:`_WIDER`, :data:`_TALLER`): so they come nearest to photographed smiles here.
Upper crowns are a tenth longer, as a smile shows them from below the lip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Ints = NDArray[np.integer]


_WIDER, _TALLER = 1.05, 1.06


@dataclass(frozen=True)
class Arch:
    """One row of teeth on half an ellipse."""

    widths: tuple[float, ...]
    heights: tuple[float, ...]
    steps: tuple[float, ...]
    """How far each tooth's edge stays behind the biting plane."""
    half_width: float
    depth: float

    def scaled(self, wider: float, taller: float) -> Arch:
        """The same teeth, larger."""
        widths, heights = (tuple(k * x for x in each) for k, each in ((wider, self.widths), (taller, self.heights)))
        return Arch(widths, heights, self.steps, wider * self.half_width, self.depth)


UPPER = Arch(
    (0.85, 0.66, 0.76, 0.70, 0.68, 1.0, 0.9), (1.15, 1.0, 1.1, 0.95, 0.88, 0.80, 0.75),
    (0.0, 0.06, 0.0, 0.05, 0.08, 0.1, 0.12), 3.05, 4.9,
).scaled(_WIDER, _TALLER)  # fmt: skip
LOWER = Arch(
    (0.54, 0.58, 0.68, 0.70, 0.70, 1.1, 1.0), (0.88, 0.90, 1.0, 0.88, 0.80, 0.74, 0.7),
    (0.0, 0.0, -0.03, 0.04, 0.08, 0.1, 0.1), 2.8, 4.6,
).scaled(_WIDER, _TALLER)  # fmt: skip
_ACROSS = (-1.0, -0.86, -0.5, 0.0, 0.5, 0.86, 1.0)
"""Columns of points across a tooth; the outer ones, close together, are the flanks in the gap to the next."""
_COLUMNS, _CROWN, _GUM = len(_ACROSS), 5, 3


@dataclass(frozen=True)
class Piece:
    """A generated bit of mesh."""

    vertices: F64
    triangles: Ints
    part: NDArray[np.str_]
    """(T,)."""


def teeth(arch: Arch, upper: bool, edge: float, front: float) -> Piece:
    """Fourteen teeth and their gums. ``edge`` = height of the central incisors' edge, ``front`` = z of their face."""
    along, normal, length = _ellipse(arch)
    up = 1.0 if upper else -1.0
    vertices: list[F64] = []
    triangles: list[tuple[int, int, int]] = []
    part: list[str] = []
    for side in (1.0, -1.0):
        start = 0.0
        for tooth, width in enumerate(arch.widths):
            u = np.array(_ACROSS)
            s = np.clip(start + width * (u + 1) / 2, 0, length[-1])
            start += width
            base = np.stack([np.interp(s, length, along[:, k]) for k in (0, 1)], 1)
            out = np.stack([np.interp(s, length, normal[:, k]) for k in (0, 1)], 1)
            rows = _tooth_rows(u, arch.heights[tooth], arch.steps[tooth], tooth)
            first = sum(map(len, vertices))
            for height, bulge in rows:
                flat = base + out * bulge[:, None]
                vertices.append(np.stack([side * flat[:, 0], edge + up * height, front + flat[:, 1]], 1))
            for r in range(len(rows) - 1):
                for c in range(_COLUMNS - 1):
                    quad = [first + r * _COLUMNS + c + d for d in (0, 1, _COLUMNS + 1, _COLUMNS)]
                    if side * up < 0:
                        quad.reverse()
                    triangles += [(quad[0], quad[1], quad[2]), (quad[0], quad[2], quad[3])]
                    part += ["gums" if r >= _CROWN else "teeth_upper" if upper else "teeth_lower"] * 2
    return Piece(np.vstack(vertices), np.array(triangles), np.array(part, dtype="<U12"))


def _ellipse(arch: Arch) -> tuple[F64, F64, F64]:
    """Points (x, z), outward normals and arc length of the arch's left half, starting in the middle."""
    angle = np.linspace(0, np.pi / 2 * 0.98, 600)
    line = np.stack([arch.half_width * np.sin(angle), -arch.depth * (1 - np.cos(angle))], 1)
    step = np.gradient(line, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], 1)
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    return line, normal / np.linalg.norm(normal, axis=1, keepdims=True), length


def _tooth_rows(u: F64, crown: float, step: float, tooth: int) -> list[tuple[F64, F64]]:
    """Height above the biting plane and bulge outwards of every row of points of one tooth, ``u`` (-1 .. 1) across."""
    gum_line = crown * (1 - 0.16 * u**2)
    side = np.abs(u)
    rows = [(np.full_like(u, step + 0.06), np.full_like(u, -0.35))]  # the biting surface, folded inwards
    for r in range(_CROWN):
        v = r / (_CROWN - 1)
        near_edge = max(0.0, 1 - 4 * v)
        height = step + v * gum_line + near_edge * 0.1 * side**4 * (1 if tooth < 3 else 0.5)
        if tooth == 2:
            height = height + near_edge * 0.08 * side  # the canine's point
        bulge = 0.11 * (1 - side**3.5) - 0.1 * side**10 - 0.05 * near_edge - 0.05 * max(0.0, v - 0.75)
        rows.append((height, bulge))
    for r in range(_GUM):
        v = (r + 1) * 0.2
        rows.append((step + gum_line + v - 0.12, 0.05 - 0.03 * u**2 + 0.04 * v))
    return rows


_TONGUE_RINGS, _TONGUE_SECTORS = 12, 16


def tongue(front: float, seam: float) -> tuple[Piece, F64]:
    """The tongue at rest behind the lower teeth, and its vertices when it is out, lying on the lower lip.

    ``front`` = z of the lips' contact line, ``seam`` = its height. The jaw is shut in both: it carries the tongue.
    """
    s = np.linspace(0, 1, _TONGUE_RINGS) ** 1.5  # from the tip to the root
    width = 1.7 * np.sqrt(1 - (1 - np.minimum(1, s / 0.3)) ** 2 * 0.9)
    thickness = 0.24 + 0.35 * s
    rest = _tube(
        width, thickness,
        y=seam - 1.1 + 0.3 * np.sin(np.pi * np.minimum(1, s / 1.3)) - 0.2 * thickness,
        z=front - 1.25 - 6.0 * s,
    )  # fmt: skip
    # Out: along the mouth's floor, up over the lower teeth and lip (z = front + 0.5), then down past the lip.
    z = front + 1.8 - 9.0 * s
    over = np.interp(
        z - front, [-7.2, -3.0, -1.2, -0.2, 0.6, 1.0, 1.4, 1.8], [-0.6, -0.2, 0.3, 0.48, 0.42, 0.1, -0.55, -1.25]
    )
    out = _tube(np.minimum(width, 1.35), np.minimum(thickness, 0.27), y=seam + over, z=z)
    triangles: list[tuple[int, int, int]] = []
    n = _TONGUE_SECTORS
    for c in range(n):
        d = (c + 1) % n
        triangles.append((0, 1 + c, 1 + d))
        for r in range(_TONGUE_RINGS - 1):
            a, b = 1 + r * n, 1 + (r + 1) * n
            triangles += [(a + c, b + c, b + d), (a + c, b + d, a + d)]
    return Piece(rest, np.array(triangles), np.full(len(triangles), "tongue")), out


def _tube(width: F64, thickness: F64, y: F64, z: F64) -> F64:
    """Vertices of a flat tube with a furrow along its back: the tip, then rings around (0, y, z), anticlockwise."""
    angle = 2 * np.pi * np.arange(_TONGUE_SECTORS) / _TONGUE_SECTORS
    rings = []
    for w, h, cy, cz in zip(width, thickness, y, z, strict=True):
        x = w * np.cos(angle)
        furrow = 0.45 * h * np.exp(-((x / (0.22 * w)) ** 2)) * (np.sin(angle) > 0)
        rings.append(np.stack([x, cy + h * np.sin(angle) - furrow, np.full_like(x, cz)], 1))
    tip = [[0.0, y[0], z[0] + 0.12]]
    return np.vstack([tip, *rings])


def eyeball(centre: F64, radius: float, part: str, rings: int = 9, sectors: int = 24) -> Piece:
    """The front of a sphere, out to 80 degrees from straight ahead."""
    theta = np.linspace(0, np.deg2rad(80), rings + 1)[1:]
    phi = np.linspace(0, 2 * np.pi, sectors, endpoint=False)
    ring = np.stack([np.cos(phi), np.sin(phi)], 1)
    points = [np.array([[0.0, 0.0, 1.0]])]
    points += [np.c_[np.sin(t) * ring, np.full(sectors, np.cos(t))] for t in theta]
    triangles: list[tuple[int, int, int]] = []
    for c in range(sectors):
        d = (c + 1) % sectors
        triangles.append((0, 1 + c, 1 + d))
        for r in range(rings - 1):
            a, b = 1 + r * sectors, 1 + (r + 1) * sectors
            triangles += [(a + c, b + c, b + d), (a + c, b + d, a + d)]
    return Piece(centre + radius * np.vstack(points), np.array(triangles), np.full(len(triangles), part))


def rigid_motion(source: F64, moved: F64) -> tuple[F64, F64]:
    """Best rotation (3, 3) and offset (3,) with ``moved = source @ R.T + offset`` (Kabsch 1976)."""
    a, b = source - source.mean(0), moved - moved.mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return rotation, moved.mean(0) - source.mean(0) @ rotation.T


def rigid_deltas(source: F64, deltas: F64, points: F64, still: float = 0.02) -> F64:
    """Motion (E, n, 3) of ``points`` that move rigidly as the points ``source`` (m, 3) do under ``deltas`` (E, m, 3);
    motions below ``still`` cm count as rest."""
    out = np.zeros((len(deltas), *points.shape))
    for e, delta in enumerate(deltas):
        if np.sqrt((delta**2).sum(1).mean()) > still:
            rotation, offset = rigid_motion(source, source + delta)
            out[e] = points @ rotation.T + offset - points
    return out


def scaled_deltas(source: F64, deltas: F64, points: F64) -> F64:
    """Differences (K, n, 3) of ``points`` under the shift and scale that best explain ``deltas`` (K, m, 3)."""
    centre = source.mean(0)
    flat = source - centre
    shift = deltas.mean(1)
    growth = ((deltas - shift[:, None]) * flat).sum((1, 2)) / (flat**2).sum()
    return shift[:, None] + growth[:, None, None] * (points - centre)
