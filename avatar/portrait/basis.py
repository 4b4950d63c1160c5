"""The head that every portrait is fitted with: a mesh, 52 ways to move it and some dozen ways to shape it.

The file ``head_basis.npz`` is made by :mod:`avatar.models.head_basis`. Skin and mouth lining are stored coarse and
smoothed once at loading (Loop 1987, with creases along their borders, i.e. at lips and lids).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from avatar.core.facs import ARKIT
from avatar.core.types import F32, U8, freeze
from avatar.errors import ModelFileError

I32 = NDArray[np.int32]

PARTS: tuple[str, ...] = (
    "skin", "lining", "gums", "teeth_upper", "teeth_lower", "tongue", "eye_left", "eye_right",
)  # fmt: skip
"""What a vertex or triangle belongs to. "Left" is the subject's, x > 0."""
LANDMARKS = 468
FORMAT = 1
_SMOOTHED = (PARTS.index("skin"), PARTS.index("lining"))


@dataclass(frozen=True)
class HeadBasis:
    """A deformable head. Centimetres; origin midway between the eyeballs, x to the subject's left (the picture's
    right), y up, z out of the face. Triangles are anticlockwise seen from outside. No vertex belongs to two parts.

    A face is ``vertices + sum(w[i] * expressions[i]) + sum(a[k] * identities[k])``, ``w`` in [0, 1].
    """

    vertices: F32
    """(V, 3): the mean adult at rest, mouth closed."""
    expressions: F32
    """(52, V, 3), order :data:`avatar.core.facs.ARKIT`. The eyeballs never move: the engine turns them."""
    identities: F32
    """(K, V, 3): principal components of the identities, scaled to unit normal weights, largest first."""
    triangles: I32
    """(T, 3)."""
    triangle_part: U8
    """(T,): index into :data:`PARTS`."""
    vertex_part: U8
    """(V,): index into :data:`PARTS`."""
    landmark_vertices: I32
    """(468, 3): the corners of the triangle under each point of MediaPipe's face mesh."""
    landmark_weights: F32
    """(468, 3): weights of those corners, each row sums to 1."""

    def landmarks(self, vertices: F32) -> F32:
        """The 468 MediaPipe points of per-vertex values (..., V, 3) -> (..., 468, 3)."""
        return np.einsum("...lkc,lk->...lc", vertices[..., self.landmark_vertices, :], self.landmark_weights)

    def shape(self, arkit: F32, identity: F32 | None = None) -> F32:
        """Vertices (V, 3) of a face: ``arkit`` (52,) coefficients, ``identity`` (up to K,) weights."""
        out = self.vertices + np.tensordot(arkit.astype(np.float32), self.expressions, 1)
        if identity is not None:
            out = out + np.tensordot(identity.astype(np.float32), self.identities[: len(identity)], 1)
        return out

    def vertices_of(self, *parts: str) -> NDArray[np.intp]:
        """Numbers of the vertices of the named parts."""
        return np.flatnonzero(np.isin(self.vertex_part, [PARTS.index(p) for p in parts]))

    @classmethod
    def load(cls, path: Path, subdivide: bool = True) -> HeadBasis:
        """Read the file. ``subdivide`` smooths skin and mouth lining (four times the triangles there).

        Raises ModelFileError where the file is missing, damaged or of another version.
        """
        try:
            with np.load(path, allow_pickle=False) as z:
                version = int(z["format"])
                arrays = {f: z[f] for f in cls.__dataclass_fields__}
        except FileNotFoundError as error:
            raise ModelFileError(
                f"{path}: the head basis is missing; reinstall or run `avatar models fetch`"
            ) from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ModelFileError(
                f"{path}: not a head basis ({error}); reinstall or run `avatar models fetch`"
            ) from error
        basis = cls(
            **{name: a.astype(_TYPES.get(name, np.float32)) for name, a in arrays.items()},
        )
        if version != FORMAT or basis.expressions.shape != (len(ARKIT), *basis.vertices.shape):
            raise ModelFileError(f"{path}: a head basis of another version; reinstall or run `avatar models fetch`")
        if subdivide:
            basis = subdivided(basis)
        for name in cls.__dataclass_fields__:
            freeze(getattr(basis, name))
        return basis


_TYPES = {
    "triangles": np.int32, "triangle_part": np.uint8, "vertex_part": np.uint8, "landmark_vertices": np.int32,
}  # fmt: skip


def subdivided(basis: HeadBasis) -> HeadBasis:
    """One Loop subdivision of skin and lining. Vertices keep their numbers; new ones follow at the end."""
    chosen = np.isin(basis.triangle_part, _SMOOTHED)
    coarse = basis.triangles[chosen]
    matrix, edges, corner_edges = loop_matrix(len(basis.vertices), coarse)
    count = len(basis.vertices)
    mid = corner_edges + count
    a, b, c = coarse.T
    ab, bc, ca = mid.T
    fine = np.stack([np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))], 1).reshape(-1, 3)

    stacked = np.concatenate([basis.vertices[None], basis.expressions, basis.identities])
    flat = np.ascontiguousarray(stacked.transpose(1, 0, 2)).reshape(count, -1)
    moved = (matrix @ flat).reshape(matrix.shape[0], -1, 3).transpose(1, 0, 2)
    moved = np.ascontiguousarray(moved, dtype=np.float32)
    n = len(basis.expressions)
    landmark_vertices, landmark_weights = _refine_points(basis, coarse, corner_edges + count)
    return HeadBasis(
        vertices=moved[0],
        expressions=moved[1 : n + 1],
        identities=moved[n + 1 :],
        triangles=np.concatenate([fine, basis.triangles[~chosen]]).astype(np.int32),
        triangle_part=np.r_[np.repeat(basis.triangle_part[chosen], 4), basis.triangle_part[~chosen]],
        vertex_part=np.r_[basis.vertex_part, basis.vertex_part[edges[:, 0]]],
        landmark_vertices=landmark_vertices,
        landmark_weights=landmark_weights,
    )


def _refine_points(basis: HeadBasis, coarse: I32, mid: NDArray[np.integer]) -> tuple[I32, F32]:
    """The landmarks on the finer mesh: same place within the old triangle, in one of its four parts."""
    number = {tuple(sorted(t)): i for i, t in enumerate(coarse.tolist())}
    vertices, weights = basis.landmark_vertices.copy(), basis.landmark_weights.copy()
    for k, corners in enumerate(basis.landmark_vertices.tolist()):
        t = number[tuple(sorted(corners))]
        w = np.array([weights[k, corners.index(v)] for v in coarse[t]])
        top = int(w.argmax())
        if w[top] >= 0.5:  # mid[t, j] lies between corners j and j + 1
            vertices[k] = coarse[t, top], mid[t, top], mid[t, (top + 2) % 3]
            weights[k] = 2 * w[top] - 1, 2 * w[(top + 1) % 3], 2 * w[(top + 2) % 3]
        else:
            vertices[k] = mid[t]
            weights[k] = 1 - 2 * w[2], 1 - 2 * w[0], 1 - 2 * w[1]
    return vertices, weights


def loop_matrix(count: int, triangles: NDArray[np.integer]) -> tuple[sp.csr_matrix, I32, I32]:
    """Loop's subdivision as a matrix (count + E, count): moved old vertices, then one new vertex an edge.

    Also returns the edges (E, 2) and for each triangle the numbers of its edges 01, 12, 20 (T, 3). Borders are smoothed
    along themselves only; vertices without triangles stay.
    """
    sides = np.sort(np.stack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]], 1).reshape(-1, 2), 1)
    keys = sides[:, 0].astype(np.int64) * count + sides[:, 1]
    unique, inverse = np.unique(keys, return_inverse=True)
    edges = np.stack([unique // count, unique % count], 1)
    corner_edges = inverse.reshape(-1, 3)
    shared = np.bincount(inverse, minlength=len(edges)) == 2
    opposite = triangles[:, [2, 0, 1]].ravel()

    def matrix(rows, columns, values, height: int) -> sp.csr_matrix:
        return sp.coo_matrix((values, (rows, columns)), shape=(height, count), dtype=np.float32).tocsr()

    row = np.arange(len(edges))
    ends = np.where(shared, 3 / 8, 1 / 2)
    tips = np.flatnonzero(shared[inverse])
    new = matrix(
        np.r_[row, row, inverse[tips]],
        np.r_[edges[:, 0], edges[:, 1], opposite[tips]],
        np.r_[ends, ends, np.full(len(tips), 1 / 8)],
        len(edges),
    )

    border = edges[~shared]
    degree = np.bincount(edges.ravel(), minlength=count)
    border_degree = np.bincount(border.ravel(), minlength=count)
    beta = np.where(degree == 3, 3 / 16, 3 / (8 * np.maximum(degree, 1)))  # Warren's simple weights
    beta[(border_degree > 0) | (degree == 0)] = 0
    along = np.where(border_degree == 2, 1 / 8, 0)  # a border vertex of any other degree is a corner and stays
    self_weight = 1 - degree * beta - 2 * along
    vertex = np.arange(count)
    both = np.vstack([edges, edges[:, ::-1]])
    rim = np.vstack([border, border[:, ::-1]])
    old = matrix(
        np.r_[vertex, both[:, 0], rim[:, 0]],
        np.r_[vertex, both[:, 1], rim[:, 1]],
        np.r_[self_weight, beta[both[:, 0]], along[rim[:, 0]]],
        count,
    )
    return sp.vstack([old, new]).tocsr(), edges.astype(np.int32), corner_edges.astype(np.int32)
