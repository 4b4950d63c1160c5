"""The fitted head made ready for drawing: only what can be seen, compact, with sparse shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import ARKIT, INDEX
from avatar.core.types import F32
from avatar.engines import raster
from avatar.portrait.basis import PARTS, HeadBasis
from avatar.portrait.fit import (
    FACE_OVAL,
    INNER_LIPS,
    LEFT_EYE,
    LOWER_INNER_LIP,
    OUTER_LIPS,
    RIGHT_EYE,
    UPPER_INNER_LIP,
    FittedHead,
    eye_distance,
)

SKIN, LINING, GUMS, TEETH_UPPER, TEETH_LOWER, TONGUE, EYE_LEFT, EYE_RIGHT = range(len(PARTS))
"""Numbers of the basis's parts."""

TRACKED = (*RIGHT_EYE, *LEFT_EYE, *OUTER_LIPS, *INNER_LIPS)
"""Landmarks that are followed in every frame."""
TRACKED_RIGHT_EYE = slice(0, 16)
TRACKED_LEFT_EYE = slice(16, 32)
TRACKED_LIPS = slice(32, 52)
TRACKED_INNER = slice(52, 72)

OVAL_GROWN = 1.06
_NOSE = (1, 2, 98, 327, 64, 294)
_FINE_NEAR = 0.05
"""Distance in eye distances up to which the skin around eyes, lips and nostrils keeps its fine triangles."""
_VISIBLE_TEETH = 2.8
"""Teeth and gums further than this (cm) behind the front teeth are never seen."""
_FEATHER = 0.10
"""Width of the band inside the oval, in face half-widths, in which the mesh gives way to the smooth flow."""
_STEEP, _STEEP_SCALE = -1.0, 0.5
"""Skin further back than this (cm behind the eyeballs along the line of sight) keeps this part of its depth."""
_TINY = 1e-3
"""Displacements below this (cm) are dropped: a hundredth of a pixel."""
_EYE_BACK = 0.35
"""Eyeballs are drawn this much (cm) further back, so that they never pierce the lids."""
MOUTH_BACK = 0.15
"""The same for the mouth's inside but the tongue."""


@dataclass
class DrawMesh:
    """Vertices are ordered skin, left eye, right eye, mouth."""

    rest: F32
    """(n, 3) cm."""
    triangles: NDArray[np.int32]
    """(m, 3), those of the mouth's inside last."""
    outer: int
    """How many triangles are not the mouth's inside."""
    kinds: NDArray[np.uint8]
    """(m,) what a triangle shows: raster.SKIN, EYE, MOUTH or TONGUE."""
    parts: NDArray[np.uint8]
    """(n,) part of the basis."""
    attributes: F32
    """(n, 3) skin and eyes: source x, y in pixels, inner weight (see :func:`_inner_weight`); mouth: RGB."""
    backward: F32
    """(n,) cm by which a vertex is pushed back in the z-buffer."""
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    deltas: F32
    """Sparse shapes for :func:`avatar.engines.raster.add_shapes`."""
    eyes: tuple[tuple[int, int], tuple[int, int]]
    """First and last vertex of the left and right eyeball."""
    eye_centres: tuple[F32, F32]
    """(3,) where each eyeball turns."""
    tracked_vertices: NDArray[np.int32]
    tracked_weights: F32
    """Barycentric points of :data:`TRACKED`."""
    lip_rows: NDArray[np.int32]
    lip_shift: F32
    """Vertices of the lips' edges, and how far (pixels, y down) their texture moves as the mouth opens."""


def build_mesh(basis: HeadBasis, fitted: FittedHead, landmarks: F32) -> DrawMesh:
    """Make the drawing mesh.

    :param landmarks: (478, 3) in pixels of the drawn picture; ``fitted`` must be in the same pixels.
    """
    part = basis.vertex_part
    source = fitted.project(fitted.rest)
    triangles, kind_of, mended = _coarse_where_flat(basis.triangles, basis.triangle_part, source, landmarks)
    fitted = _mended(fitted, mended)
    source = fitted.project(fitted.rest)
    oval = landmarks[list(FACE_OVAL), :2]
    depth = _depth_in_oval(source[:, :2], oval)
    keep = np.ones(len(triangles), bool)
    keep[kind_of == SKIN] = (depth[triangles[kind_of == SKIN]] > 0).all(1)
    for eye in (EYE_LEFT, EYE_RIGHT):
        z = fitted.rest[part == eye, 2]
        middle = z.min() + 0.45 * np.ptp(z)
        keep[kind_of == eye] = (fitted.rest[triangles[kind_of == eye], 2] > middle).all(1)
    hard = (kind_of == GUMS) | (kind_of == TEETH_UPPER) | (kind_of == TEETH_LOWER)
    if hard.any():
        z = fitted.rest[triangles[hard], 2]
        keep[hard] = (z > z.max() - _VISIBLE_TEETH).any(1)
    tracked = basis.landmark_vertices[list(TRACKED)]

    used = np.unique(np.concatenate([triangles[keep].ravel(), tracked.ravel()]))
    rank = np.choose(part[used], [0, 3, 3, 3, 3, 3, 1, 2])
    used = used[np.argsort(rank, kind="stable")]
    position = np.full(len(part), -1, np.int32)
    position[used] = np.arange(len(used), dtype=np.int32)
    parts = part[used].astype(np.uint8)

    attributes = np.zeros((len(used), 3), np.float32)
    attributes[:, :2] = source[used, :2]
    attributes[:, 2] = _inner_weight(fitted, depth, parts, used)
    starts, rows, deltas = _sparse(fitted.expressions[:, used], parts)
    lip_rows, lip_shift = _lip_texture_shift(fitted, source, used, parts, landmarks)
    triangles, kinds = triangles[keep], _kinds(kind_of[keep])
    order = np.argsort(kinds, kind="stable")
    triangles, kinds = triangles[order], kinds[order]
    return DrawMesh(
        rest=_flattened(fitted, used, parts),
        triangles=np.ascontiguousarray(position[triangles]),
        kinds=kinds,
        outer=int(np.searchsorted(kinds, raster.MOUTH)),
        parts=parts,
        attributes=attributes,
        backward=np.select(
            [parts >= EYE_LEFT, (parts != SKIN) & (parts != TONGUE)], [_EYE_BACK, MOUTH_BACK], 0.0
        ).astype(np.float32),
        starts=starts,
        rows=rows,
        deltas=deltas,
        eyes=(_span(parts == EYE_LEFT), _span(parts == EYE_RIGHT)),
        eye_centres=(fitted.rest[part == EYE_LEFT].mean(0), fitted.rest[part == EYE_RIGHT].mean(0)),
        tracked_vertices=np.ascontiguousarray(position[tracked]),
        tracked_weights=np.ascontiguousarray(basis.landmark_weights[list(TRACKED)], np.float32),
        lip_rows=lip_rows,
        lip_shift=lip_shift,
    )


def _flattened(fitted: FittedHead, used: NDArray[np.intp], parts: NDArray[np.uint8]) -> F32:
    """The resting vertices with the sides of the head drawn forward along the line of sight: a steep cheek would be
    stretched over many pixels, or folded under, when the head turns."""
    camera = fitted.rest[used] @ fitted.rotation.T
    deep = (parts == SKIN) & (camera[:, 2] < _STEEP)
    camera[deep, 2] = _STEEP + (camera[deep, 2] - _STEEP) * _STEEP_SCALE
    return np.ascontiguousarray(camera @ fitted.rotation, np.float32)


def _coarse_where_flat(
    triangles: NDArray[np.int32], kind_of: NDArray[np.uint8], source: F32, landmarks: F32
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
    """The basis subdivides skin and lining, four triangles for one. Away from eyes, nose and lips the one is enough:
    there a fine triangle would cover two pixels.

    Returns triangles, their parts, and (k, 3) the midpoints on the border between fine and coarse with the ends of
    their edges.
    """
    unchanged = triangles, kind_of, np.zeros((0, 3), np.int32)
    soft = (kind_of == SKIN) | (kind_of == LINING)
    if soft.sum() % 4:
        return unchanged
    groups, group_kind = triangles[soft].reshape(-1, 4, 3), kind_of[soft][::4]
    corners, inner = groups[:, :3], groups[:, 3]
    if (corners[:, :, 1] != inner).any() or (corners[:, :, 2] != np.roll(inner, 1, axis=1)).any():
        return unchanged  # a basis that was not subdivided
    parents = corners[:, :, 0]
    features = landmarks[[*RIGHT_EYE, *LEFT_EYE, *OUTER_LIPS, *INNER_LIPS, *_NOSE], :2]
    distance = np.hypot(*(source[parents, None, :2] - features).transpose(3, 0, 1, 2)).min(axis=(1, 2))
    fine = (group_kind == SKIN) & (distance < _FINE_NEAR * eye_distance(landmarks))
    chosen = np.concatenate([groups[fine].reshape(-1, 3), parents[~fine], triangles[~soft]])
    kinds = np.concatenate([np.repeat(group_kind[fine], 4), group_kind[~fine], kind_of[~soft]])
    edges = np.stack([inner, parents, np.roll(parents, -1, axis=1)], axis=2)
    edges = edges[~fine].reshape(-1, 3)
    return chosen.astype(np.int32), kinds, edges[np.isin(edges[:, 0], inner[fine])]


def _mended(fitted: FittedHead, edges: NDArray[np.int32]) -> FittedHead:
    """Midpoints between fine and coarse triangles lie on the coarse edge in every expression, or cracks would open."""
    middle, a, b = edges.T
    rest, expressions = fitted.rest.copy(), fitted.expressions.copy()
    rest[middle] = (rest[a] + rest[b]) / 2
    expressions[:, middle] = (expressions[:, a] + expressions[:, b]) / 2
    return replace(fitted, rest=rest, expressions=expressions)


def _kinds(parts: NDArray[np.integer]) -> NDArray[np.uint8]:
    return np.select(
        [parts == SKIN, parts >= EYE_LEFT, parts == TONGUE], [raster.SKIN, raster.EYE, raster.TONGUE], raster.MOUTH
    ).astype(np.uint8)


def _span(mask: NDArray[np.bool_]) -> tuple[int, int]:
    where = np.flatnonzero(mask)
    return (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)


def _depth_in_oval(points: F32, oval: F32) -> NDArray[np.float32]:
    """How far each point lies inside the grown face oval, in half-widths of the face; negative outside."""
    centre = oval.mean(0)
    grown = (centre + (oval - centre) * OVAL_GROWN).astype(np.float32)
    half = float(np.ptp(oval[:, 0])) / 2
    return np.array([cv2.pointPolygonTest(grown, (float(x), float(y)), True) / half for x, y in points], np.float32)


def _inner_weight(
    fitted: FittedHead,
    depth: NDArray[np.float32],
    parts: NDArray[np.uint8],
    used: NDArray[np.intp],
) -> F32:
    """0 at the oval's edge to 1 a band further in; on upper lids 1 plus how much the vertex is of the lid, up to 2."""
    weight = np.clip(depth[used] / _FEATHER, 0, 1).astype(np.float32)
    weight = weight * weight * (3 - 2 * weight)
    for side in ("Left", "Right"):
        drop = -fitted.expressions[INDEX["eyeBlink" + side], used, 1]
        drop[parts != SKIN] = 0
        lid = np.clip((drop / max(float(drop.max()), 1e-3) - 0.06) / 0.40, 0, 1)
        weight += lid * lid * (3 - 2 * lid)
    weight[parts >= EYE_LEFT] = 1
    return np.clip(weight, 0, 2).astype(np.float32)


def _sparse(expressions: F32, parts: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int32], F32]:
    eye = parts >= EYE_LEFT  # eyeballs only turn, and their turning comes from the gaze
    starts, rows, deltas = [0], [], []
    for k in range(len(ARKIT)):
        moved = np.flatnonzero((np.abs(expressions[k]).max(1) > _TINY) & ~eye)
        rows.append(moved.astype(np.int32))
        deltas.append(expressions[k, moved].astype(np.float32))
        starts.append(starts[-1] + len(moved))
    return np.array(starts, np.int64), np.concatenate(rows), np.ascontiguousarray(np.concatenate(deltas))


def _lip_texture_shift(
    fitted: FittedHead, source: F32, used: NDArray[np.intp], parts: NDArray[np.uint8], landmarks: F32
) -> tuple[NDArray[np.int32], F32]:
    """An open mouth must not show the dark line between closed lips on both of its edges: the texture of a band along
    the seam is taken from a little further out."""
    if fitted.mouth_open:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    seam = (landmarks[list(UPPER_INNER_LIP), :2] + landmarks[list(LOWER_INNER_LIP), :2]) / 2
    order = np.argsort(seam[:, 0])
    seam = seam[order]
    band = 0.034 * eye_distance(landmarks)
    xy = source[used, :2]
    below = xy[:, 1] - np.interp(xy[:, 0], seam[:, 0], seam[:, 1])
    across = (xy[:, 0] - seam[:, 0].mean()) / (np.ptp(seam[:, 0]) / 2)
    jaw = fitted.expressions[INDEX["jawOpen"], used, 1]
    lips = (parts == SKIN) & (np.abs(below) < 2.5 * band) & (np.abs(across) < 1)
    is_lower = jaw < 0.55 * np.percentile(jaw[lips], 2)
    outward = np.where(is_lower, below, -below * 1.25)  # the upper lip is thinner: a narrower band
    wanted = np.where(outward < band, band * (0.62 + 0.38 * np.clip(outward / band, -1, 1)), outward)
    shift = (wanted - outward) * np.clip(1 - across**4, 0, 1)
    shift = np.where(is_lower, shift, -shift / 1.25)
    rows = np.flatnonzero(lips & (np.abs(shift) > 0.05))
    return rows.astype(np.int32), shift[rows].astype(np.float32)
