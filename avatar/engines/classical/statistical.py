"""Engine ``statistical``: an active appearance model of faces with and without an expression (Cootes, Edwards & Taylor,
"Active appearance models", 1998), fitted by maximum a posteriori.

Shapes s (landmarks in the mean face's frame) and appearances g (log colours, warped to the mean shape) of neutral and
smiling people are joined, shapes weighted so that both vary alike, and their principal components kept::

    (W s, g) = mean + Phi c          c ~ N(0, diag(lambda))

A photo is fitted by the most probable parameters under this prior and noise sigma^2 (what the model cannot hold)::

    c_k = lambda_k / (lambda_k + sigma^2) Phi_k^T ((W s, g) - mean)

An expression is a step dc within one person. Its prior is the covariance S of the steps that were seen, and what is
observed of it is the change of shape alone (the state's displacements)::

    dc = argmax p(dc | ds) = (S^-1 + Phi_s^T Phi_s / sigma_s^2)^-1 Phi_s^T W ds / sigma_s^2      dg = Phi_g dc

The photo is shaded by exp(dg), as far as dc explains ds, so that it keeps what no forty components hold: pores, hair,
light.

Limits: a Gaussian knows means and spreads only, so folds are soft; appearance follows shape as it did in smiles, and a
shape that the model has not seen changes nothing but geometry.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, U8
from avatar.engines.classical.flat import FlatEngine, combined, unpacked
from avatar.engines.classical.plane import arrays, frame_between
from avatar.engines.head_folds import FRAME, MeanFace
from avatar.portrait.fit import LANDMARKS

FILE = "statistical.npz"
HALF = FRAME[0] // 2, FRAME[1] // 2
"""Rows and columns of the appearance."""

FURTHEST = 2.5
"""Standard deviations of the steps that were seen, beyond which no step goes."""


def shape_of(mean: F32, landmarks: F32) -> F32:
    """(936,): the landmarks (468 or more, 3) in the mean face's frame, relative to it."""
    same = frame_between(mean, landmarks)
    return np.asarray((same.back(landmarks[:LANDMARKS] - same.shift) - mean)[:, :2].ravel(), np.float32)


def appearance_of(face: MeanFace, picture: U8, points: F32) -> F32:
    """(76 * 64 * 3,): log colours on the mean shape, without the exposure."""
    logs = face.bring(np.log(picture.astype(np.float32) + 8), np.asarray(points[:, :2], np.float32))
    small = cv2.resize(logs, HALF[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray((small - np.median(small, (0, 1))).ravel(), np.float32)


def most_probable(modes: F32, variances: F32, noise: float, observed: F32) -> F32:
    """Parameters (k,) of a face ``observed`` (d,) relative to the mean, for orthonormal ``modes`` (k, d)."""
    return np.asarray(variances / (variances + noise) * (modes @ observed), np.float32)


def step_gain(shape_modes: NDArray[np.floating], steps: NDArray[np.floating], noise: float) -> F32:
    """(k, d): takes a change of shape (d,) to the most probable step of the parameters.

    :param shape_modes: (k, d) the shape's part of the modes. :param steps: (k, k) covariance of steps.
    """
    precision = np.linalg.inv(steps + 1e-6 * 1e-2 * np.trace(steps) / len(steps) * np.eye(len(steps)))
    return np.asarray(np.linalg.solve(precision + shape_modes @ shape_modes.T / noise, shape_modes / noise), np.float32)


class StatisticalEngine(FlatEngine):
    """The appearance that goes with a change of shape, by a joint Gaussian of both."""

    name = "statistical"

    def prepare(self, weights: Path, portrait: U8, landmarks: F32) -> None:
        known = arrays(weights / FILE)
        count = LANDMARKS * 2
        modes = unpacked(known, "modes")
        self._tones = modes[:, count:] * unpacked(known, "reach")[0]
        self._shapes = modes[:, :count]
        self._weight = float(known["weight"])
        steps = known["steps"].astype(np.float64)
        self._gain = step_gain(self._shapes, steps, float(known["shape_noise"]))
        self._precision = np.linalg.pinv(steps, rcond=1e-4).astype(np.float32)
        shape = shape_of(self.plane_mean, landmarks) - known["mean_shape"]
        tone = appearance_of(self.mean_face, portrait, landmarks) - known["mean_tone"].astype(np.float32)
        observed = np.concatenate([shape * self._weight, tone])
        self.parameters = most_probable(modes, known["variances"], float(known["noise"]), observed)
        """(k,) of the photo: who it is, as far as the model can say."""

    def ratio(self, weights: F32, displacement: F32) -> F32 | None:
        if not np.any(displacement):
            return None
        moved = self.plane.frame.back(displacement)[:, :2].ravel()
        moved = moved * self._weight
        step = self._gain @ moved
        step *= min(1.0, FURTHEST / max(1e-6, float(np.sqrt(step @ self._precision @ step))))
        missed = moved - step @ self._shapes
        # A jaw that drops has a part that looks like a smile; shade only as far as the model explains the motion.
        share = max(0.0, 1 - float(missed @ missed) / max(float(moved @ moved), 1e-9))
        tone = combined(step * np.float32(share), self._tones).reshape(*HALF, 3)
        return np.asarray(cv2.resize(tone, FRAME[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
