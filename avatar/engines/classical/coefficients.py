"""Engine ``coefficients``: bilinear kernel reduced rank regression (Huang & De la Torre, "Bilinear kernel reduced rank
regression for facial expression synthesis", 2010).

A regression from a neutral face and an expression to what the face becomes. Who somebody is, x, and what they show, e,
are two factors; the kernel of a pair is the product of theirs, so that people times expressions need no model each::

    k((x, e), (x', e')) = k_id(x, x') <e, e'>          f(x, e) = B A^T k((x, e), .)

A and B have few columns: faces change in few ways, and with a thousand outputs for every example a full-rank regression
learns their noise. It is fitted as kernel ridge regression whose predictions are then projected onto their first
principal directions, which is the closed solution of reduced rank regression (Izenman 1975).

x holds the first principal components of the neutral landmarks and of a coarse picture in the mean face's frame, e the
52 coefficients; k_id is a constant (what all people share) plus a Gaussian. The output is what the mean displacements
(engine ``map``) miss, and the log ratio image. For one portrait f is linear in e, so a frame costs one small matrix
product.

Limits: the people of the training, three score of them, are the span of what can be predicted; for somebody far from
all of them the Gaussian dies away and the shared part is left.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from avatar.core.types import F32, U8
from avatar.engines.classical.flat import FlatEngine, combined, unpacked
from avatar.engines.classical.plane import arrays, frame_between
from avatar.engines.head_folds import FRAME, MeanFace
from avatar.portrait.fit import LANDMARKS

FILE = "coefficients.npz"
COARSE = (19, 16)
"""Rows and columns of the picture that says who somebody is."""
NARROW = 2.0
"""The Gaussian's exponent for two people who are as different as two usually are: they have little to tell each
other."""
SHARED = 0.5
"""Part of the identity's kernel that is the same for all pairs of people."""


def describe(face: MeanFace, mean: F32, picture: U8, landmarks: F32) -> tuple[F32, F32]:
    """Who somebody is: the shape (936,) relative to the mean face, and the coarse log colours (912,).

    :param picture: (h, w, 3). :param landmarks: (468 or more, 3) in its pixels.
    """
    same = frame_between(mean, landmarks)
    shape = same.back(landmarks[:LANDMARKS] - same.shift) - mean
    logs = face.bring(np.log(picture.astype(np.float32) + 8), np.asarray(landmarks[:, :2], np.float32))
    coarse = cv2.resize(logs, COARSE[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(shape[:, :2].ravel(), np.float32), np.asarray((coarse - np.median(coarse, (0, 1))).ravel())


def identity_kernel(a: F32, b: F32) -> F32:
    """(n, m) of people described by scaled features (n, d) and (m, d)."""
    squared = ((a[:, None] - b[None]) ** 2).sum(-1)
    return np.asarray(SHARED + (1 - SHARED) * np.exp(-NARROW * squared), np.float32)


class CoefficientsEngine(FlatEngine):
    """Geometry and shading regressed on who it is and what is shown."""

    name = "coefficients"

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        known = arrays(weights / FILE)
        shape, tone = describe(self.mean_face, self.plane_mean, portrait, landmarks)
        who = np.concatenate([shape * known["scales"][0], tone * known["scales"][1]])
        who = (who - known["centre"]) @ unpacked(known, "basis").T
        near = identity_kernel(np.asarray(who[None], np.float32), known["people"].astype(np.float32))[0]
        self._factor = np.asarray((near[:, None] * known["shown"]).T @ known["alpha"], np.float32)
        self._moves = unpacked(known, "moves").reshape(-1, LANDMARKS * 2)
        self._ratios = unpacked(known, "ratios").reshape(-1, FRAME[0] * FRAME[1] * 3)

    def geometry(self, weights: F32) -> F32:
        missed = (weights @ self._factor @ self._moves).reshape(LANDMARKS, 2)
        return super().geometry(weights) + self.plane.frame.directions(np.c_[missed, np.zeros(LANDMARKS)])

    def ratio(self, weights: F32, displacement: F32) -> F32 | None:
        if not weights.any():
            return None
        return combined(weights @ self._factor, self._ratios).reshape(*FRAME, 3)
