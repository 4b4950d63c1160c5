"""Small tools on triangle meshes: normals, edge loops, smoothing matrices, nearest points, mirror pairs."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

F64 = NDArray[np.float64]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


def triangle_normals(vertices: F64, triangles: Ints) -> F64:
    """Unit normals (T, 3)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    n = np.cross(b - a, c - a)
    return n / (np.linalg.norm(n, axis=1, keepdims=True) + 1e-12)


def vertex_normals(vertices: F64, triangles: Ints) -> F64:
    """Unit normals (V, 3), weighted by area; zero where no triangle meets."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    n = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, triangles[:, k], n)
    return out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-12)


def edges_of(triangles: Ints) -> tuple[Ints, Ints]:
    """Unique undirected edges (E, 2) and how many triangles share each (E,)."""
    edges = np.sort(np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return np.unique(edges, axis=0, return_counts=True)


def common_loop(first: Ints, second: Ints) -> Ints:
    """Vertices of the closed line along which two sets of triangles touch, in order.

    Raises ValueError where the common edges are not one closed line.
    """
    pairs = {tuple(e) for e in edges_of(first)[0].tolist()} & {tuple(e) for e in edges_of(second)[0].tolist()}
    neighbours: dict[int, list[int]] = {}
    for a, b in pairs:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    if not neighbours or any(len(n) != 2 for n in neighbours.values()):
        raise ValueError("the two parts do not touch along one closed line")
    loop = [min(neighbours)]
    previous, here = -1, loop[0]
    while True:
        ahead = next(n for n in neighbours[here] if n != previous)
        if ahead == loop[0]:
            break
        loop.append(ahead)
        previous, here = here, ahead
    if len(loop) != len(neighbours):
        raise ValueError("the two parts touch along several lines")
    return np.array(loop)


def split_loop(loop: Ints, vertices: F64) -> tuple[Ints, Ints]:
    """Cut a slit's loop at its corners (smallest and largest x): upper and lower chain, both from small to large x,
    both with both corners."""
    x = vertices[loop, 0]
    loop = np.roll(loop, -int(np.argmin(x)))
    end = int(np.argmax(vertices[loop, 0]))
    one, two = loop[: end + 1], np.r_[loop[end:], loop[:1]][::-1]
    return (one, two) if vertices[one, 1].mean() > vertices[two, 1].mean() else (two, one)


def averaging(count: int, triangles: Ints) -> sp.csr_matrix:
    """Sparse (count, count) matrix that gives every vertex the mean of its neighbours; rows of lone vertices are 0."""
    edges, _ = edges_of(triangles)
    rows, columns = np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]]
    adjacency = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count)).tocsr()
    degree = np.maximum(np.asarray(adjacency.sum(1)).ravel(), 1)
    return sp.csr_matrix(sp.diags(1 / degree) @ adjacency)


def rings(count: int, triangles: Ints, seeds: Ints) -> Ints:
    """Number of edges from the seeds to every vertex (count,); unreached = count."""
    edges, _ = edges_of(triangles)
    distance = np.full(count, count)
    distance[seeds] = 0
    while True:
        before = distance.copy()
        np.minimum.at(distance, edges[:, 0], before[edges[:, 1]] + 1)
        np.minimum.at(distance, edges[:, 1], before[edges[:, 0]] + 1)
        if np.array_equal(before, distance):
            return distance


def nearest_on_triangles(points: F64, vertices: F64, triangles: Ints, penalty=None, candidates: int = 24):
    """Nearest point on a surface for each point (n, 3).

    ``penalty(rows (n, k), triangle numbers (n, k)) -> (n, k)`` adds squared cm to unwanted candidates. Returns triangle
    numbers (n,), barycentric weights (n, 3) and distances (n,).
    """
    corners = vertices[triangles]
    _, near = cKDTree(corners.mean(1)).query(points, k=candidates)
    a, b, c = (corners[near, k] for k in range(3))
    u, v = barycentric(points[:, None], a, b, c)
    q = a + u[..., None] * (b - a) + v[..., None] * (c - a)
    squared = ((q - points[:, None]) ** 2).sum(-1)
    cost = squared if penalty is None else squared + penalty(near)
    best, rows = cost.argmin(1), np.arange(len(points))
    u, v = u[rows, best], v[rows, best]
    return near[rows, best], np.c_[1 - u - v, u, v], np.sqrt(squared[rows, best])


def barycentric(p: F64, a: F64, b: F64, c: F64) -> tuple[F64, F64]:
    """Weights of ``b`` and ``c`` of the point of each triangle near ``p`` (projection, then clamped inside)."""
    ab, ac, ap = b - a, c - a, p - a
    aa, cc, bc = (ab * ab).sum(-1), (ac * ac).sum(-1), (ab * ac).sum(-1)
    d1, d2 = (ab * ap).sum(-1), (ac * ap).sum(-1)
    den = aa * cc - bc * bc + 1e-12
    u, v = np.clip((cc * d1 - bc * d2) / den, 0, 1), np.clip((aa * d2 - bc * d1) / den, 0, 1)
    total = np.maximum(u + v, 1)
    return u / total, v / total


def mirror_pairs(vertices: F64, tolerance: float = 0.02) -> Ints:
    """For every vertex the one at the mirrored place (V,). Raises ValueError where the mesh is not symmetric."""
    distance, pair = cKDTree(vertices).query(vertices * [-1, 1, 1])
    if distance.max() > tolerance or not np.array_equal(pair[pair], np.arange(len(vertices))):
        raise ValueError(f"the mesh is not symmetric: largest distance {distance.max():.3f} cm")
    return pair
