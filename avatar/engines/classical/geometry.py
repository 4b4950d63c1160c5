"""Engine ``geometry``: textures follow the geometry (Zhang, Liu, Guo & Shum, "Geometry-driven photorealistic facial
expression synthesis", 2003).

Given are examples: for each, the feature points' displacement G_i and an aligned picture I_i. A new face's points G
are the nearest convex combination of the examples', and its picture is the same combination of theirs. It is done for
each region of the face on its own, so that few examples give many faces (raised brows with a smile)::

    c^R = argmin | G^R - sum_i c_i G_i^R |^2     with c_i >= 0, sum_i c_i = 1
    I^R = sum_i c_i^R I_i^R

The constraint keeps the sum inside what was seen; the quadratic program is solved as non-negative least squares with
the sum as one more, heavy row (Lawson & Hanson 1974). Along their borders regions fade into each other.

The paper's examples are pictures of the same person. From one photo there are none, so each I_i is this photo with
another person's ratio image on it (as in engine ``eri``): combinations of log ratios. The rest is an example too (G =
0, log ratio 0). What lies inside the mouth is the combination of the examples' mouths.

Limits: a geometry outside of the examples' hull gets the nearest texture inside; the examples are smiles; twenty-four
of them blur what does not lie alike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from avatar.core.types import F32, U8
from avatar.engines.classical.flat import FlatEngine, unpacked
from avatar.engines.classical.interior import Interior
from avatar.engines.classical.plane import arrays
from avatar.engines.head_folds import FRAME
from avatar.portrait.fit import LANDMARKS

FILE = "geometry.npz"
REGIONS = {
    "forehead": (151,), "brow_right": (105,), "brow_left": (334,), "eye_right": (159, 145), "eye_left": (386, 374),
    "nose": (4, 195), "cheek_right": (205, 187), "cheek_left": (425, 411), "mouth": (13, 14, 61, 291),
    "jaw_right": (169,), "jaw_left": (394,), "chin": (199,),
}  # fmt: skip
"""Region -> landmarks in its middle."""
SEAM = 7.0
"""Sigma of the fade between regions, in pixels of the mean face's frame."""
_SUM = 30.0
"""Weight of the row that holds the sum at one."""
_RIDGE = 1e-4
_DOUBT = 0.1
"""What an example costs besides, in shares of the examples' mean square: a region that hardly moves stays the photo,
where several that cancel out would say the same of its geometry."""


def convex(gram: NDArray[np.float64], products: NDArray[np.float64]) -> NDArray[np.float64]:
    """``c`` (n,) >= 0 with sum 1 that minimises |target - examples @ c|^2.

    :param gram: (n, n) examples^T examples. :param products: (n,) examples^T target.
    """
    root = np.linalg.cholesky(gram + _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)))
    heavy = _SUM * np.sqrt(np.trace(gram) / len(gram))
    rows = np.r_[root.T, np.full((1, len(gram)), heavy)]
    found, _ = scipy.optimize.nnls(rows, np.r_[np.linalg.solve(root, products), heavy])
    return np.asarray(found / max(found.sum(), 1e-9))


def partition(points: F32) -> tuple[F32, NDArray[np.intp]]:
    """Shares of the regions at each pixel of the frame (r, 152, 128), which sum to one, and the region of each
    landmark.

    :param points: (468, 2) the mean face in its frame.
    """
    middles = np.stack([points[list(at)].mean(0) for at in REGIONS.values()])
    yy, xx = np.mgrid[: FRAME[0], : FRAME[1]]
    squared = (xx - middles[:, 0, None, None]) ** 2 + (yy - middles[:, 1, None, None]) ** 2
    # Halfway between two middles that are d apart the exponents differ by 0, one pixel further by 2 d / scale.
    logits = -(squared - squared.min(0)) / (2 * SEAM**2)
    share = np.exp(logits)
    nearest = ((points[:, None] - middles) ** 2).sum(-1).argmin(1)
    return np.asarray(share / share.sum(0), np.float32), nearest


class GeometryEngine(FlatEngine):
    """Engine ``map``'s geometry, and the textures of examples that move alike, region by region."""

    name = "geometry"

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        known = arrays(weights / FILE)
        moves = unpacked(known, "moves").astype(np.float64)
        ratios = unpacked(known, "ratios")
        # The photo itself is the last example.
        self._moves = np.concatenate([moves, np.zeros((1, LANDMARKS, 2))])
        self._ratios = ratios
        self._mouths = unpacked(known, "mouths")
        self._has_mouth = known["has_mouth"].astype(bool)
        share, self._region = partition(self.mean_face.points)
        self._share = share
        count = len(self._moves)
        self._of_region = [self._moves[:, self._region == r].reshape(count, -1) for r in range(len(REGIONS))]
        self._grams = [moves @ moves.T for moves in self._of_region]
        self._photo = portrait, landmarks

    def combination(self, displacement: F32) -> NDArray[np.float64]:
        """(r, n + 1): weights of the examples in each region for displacements (468, 3) in pixels; the last is the
        photo."""
        target = self.plane.frame.back(displacement)[:, :2].astype(np.float64)
        return np.stack(
            [
                convex(gram, moves @ target[self._region == r].ravel() - self._doubt(gram))
                for r, (gram, moves) in enumerate(zip(self._grams, self._of_region, strict=True))
            ]
        )

    def _doubt(self, gram: NDArray[np.float64]) -> NDArray[np.float64]:
        cost = np.full(len(gram), _DOUBT * np.trace(gram) / len(gram))
        cost[-1] = 0
        return cost

    def ratio(self, weights: F32, displacement: F32) -> F32 | None:
        if not np.any(displacement):
            return None
        found = self.combination(displacement)
        self._open_mouth(found[list(REGIONS).index("mouth"), :-1])
        made = np.zeros((*FRAME, 3), np.float32)
        for i in np.flatnonzero(found[:, :-1].max(0) > 1e-3):
            share = np.tensordot(found[:, i].astype(np.float32), self._share, 1)
            made += share[..., None] * self._ratios[i]
        return made

    def _open_mouth(self, weights: NDArray[np.float64]) -> None:
        """Mix the examples' mouths; a mean one stands in where none of them is open."""
        share = weights * self._has_mouth
        rest = max(0.0, 0.3 - share.sum())
        total = share.sum() + rest
        texture = (np.tensordot(share, self._mouths[:-1], 1) + rest * self._mouths[-1]) / total
        self.interior = Interior(texture.astype(np.float32), *self._photo)
