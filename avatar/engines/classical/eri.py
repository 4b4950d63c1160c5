"""Engine ``eri``: expression ratio images (Liu, Shan & Zhang, "Expressive expression mapping with ratio images", 2001).

A Lambertian surface shows I = rho E(n): albedo times what light makes of the normal. An expression changes the normals,
and the ratio of an actor's two pictures, after aligning them, holds no albedo::

    R(u, v) = I_a'(u, v) / I_a(u, v) = E(n') / E(n)          I_b' = R I_b

so it can be laid on another face after its points were mapped (engine ``map``). Misaligned pixels and noise give false
ratios. The paper's cure, kept here (:func:`adaptive_smoothing`): where the two aligned pictures correlate locally,
nothing has folded, and a wide Gaussian takes the noise away; where they do not, something has changed, and a narrow
one keeps it.

Logarithms of ratios add up, so a regression on how much of each expression the donors show gives one map for each
(``avatar train eri``), and a state mixes them::

    I_b' = I_b exp(sum_k w_k log R_k)

Limits: learnt from smiles, so brows and jaws bring no ratio; donors were lit from the front, and another light makes
other shadows; a ratio darkens what is there and invents nothing: teeth come from the mouth's inside, not from here.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from avatar.core.types import F32, U8
from avatar.engines.classical.flat import FlatEngine, combined, unpacked
from avatar.engines.classical.plane import arrays
from avatar.engines.head_folds import FRAME, fold_weights

FILE = "eri.npz"
WIDE, NARROW = 3.0, 0.8
"""Sigmas of the two Gaussians, in pixels of the mean face's frame."""
ALIKE = 0.85
"""Local correlation above which two aligned pictures show the same skin."""
GAIN = 1.5
"""Of the regression's maps: ridge shrinks them, and folds blur where they do not lie alike in all faces. Of 1, 1.5 and
2 the nearest to real smiles of people who were not learnt from is 1 to 1.5."""
_WINDOW = 2.5
"""Sigma of the window that the correlation is taken in."""


def adaptive_smoothing(ratio: F32, before: F32, after: F32) -> F32:
    """``ratio`` (h, w, 3), smoothed widely where the aligned pictures ``before`` and ``after`` (h, w) correlate.

    Two Gaussians, as in the paper, with a soft step between them, so that no edge comes from the filter itself.
    """
    share = np.clip((local_correlation(before, after) - ALIKE + 0.1) / 0.2, 0, 1)
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 1.0)[..., None]
    wide, narrow = (cv2.GaussianBlur(ratio, (0, 0), sigma) for sigma in (WIDE, NARROW))
    return np.asarray(narrow + (wide - narrow) * share, np.float32)


def local_correlation(a: F32, b: F32) -> F32:
    """(h, w) in [-1, 1]: normalised cross correlation of two pictures (h, w) in a Gaussian window."""

    def mean(x: F32) -> F32:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), _WINDOW), np.float32)

    ma, mb = mean(a), mean(b)
    va, vb = mean(a * a) - ma * ma, mean(b * b) - mb * mb
    return np.asarray((mean(a * b) - ma * mb) / np.sqrt(np.maximum(va * vb, 1e-8)), np.float32)


class EriEngine(FlatEngine):
    """Engine ``map``, and the ratio images of what the state shows."""

    name = "eri"

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        known = arrays(weights / FILE)
        self._names = tuple(str(name) for name in known["names"])
        maps = unpacked(known, "maps") * np.float32(GAIN)
        half = maps.shape[2] // 2
        # Each side of the face by its own strength: halves that meet softly in the middle.
        ramp = np.clip((np.arange(maps.shape[2]) - half + 0.5) / 8 + 0.5, 0, 1).astype(np.float32)[None, :, None]
        self._maps = np.stack([m * side for m in maps for side in (1 - ramp, ramp)]).reshape(2 * len(maps), -1)

    def ratio(self, weights: F32, displacement: F32) -> F32 | None:
        shown = fold_weights(weights, self._names).ravel()
        if not shown.any():
            return None
        return combined(shown, self._maps).reshape(*FRAME, 3)
