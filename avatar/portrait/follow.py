"""A tracked face's coefficients, made better by where its landmarks went.

A tracker's network says how strong an expression is for people at large; the landmarks say how far this face moved.
Half of each follows lips, jaw and brows better than either alone (``avatar eval reenact``). It costs some 15 ms a
picture, so it is for recordings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import ARKIT
from avatar.portrait.basis import HeadBasis
from avatar.portrait.fit import fit_head
from avatar.portrait.landmarks import DetectedFace
from avatar.portrait.solve import Solver

_SHARE = 0.5
_BY_LANDMARKS = ("jaw", "mouth", "brow")
_BY_NETWORK = ("mouthSmile", "mouthDimple")
"""A smile and a stretch move the same points; the network tells them apart. It also sees the iris that lids cover."""
SHARE = np.array(
    [_SHARE if name.startswith(_BY_LANDMARKS) and not name.startswith(_BY_NETWORK) else 0.0 for name in ARKIT]
)
"""(52,) the landmarks' part of each coefficient."""


class LandmarkFollower:
    """:class:`avatar.analysis.tracking.Follower` by the head that portraits are fitted with."""

    def __init__(self, basis: HeadBasis) -> None:
        self._basis = basis
        self._solver: Solver | None = None

    def begin(self, face: DetectedFace) -> None:
        """Take this picture for the face at rest."""
        fitted = fit_head(self._basis, face.landmarks, face.coefficients)
        self._solver = Solver(self._basis, fitted, face.landmarks)

    def step(self, face: DetectedFace, shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients (52,) relative to rest, from the tracker's ``shapes`` (52,) relative to rest."""
        if self._solver is None:
            return shapes
        solved = self._solver.solve(face.landmarks, shapes.astype(np.float32))
        return np.asarray(shapes + SHARE * (solved.weights - shapes), np.float64)
