"""What a person's face does in another picture: weights of the shapes and the turn of the head, from landmarks.

Bounded least squares (Lawson & Hanson 1974; Stark & Parker 1995 for the upper bound) with a prior, alternating with a
scaled-orthographic pose. A tracker's coefficients alone say how strong an expression is for people at large; landmarks
say how far this person's face moved, but not by which muscles. So the tracker's coefficients are the prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from avatar.core.facs import ARKIT
from avatar.core.types import F32, freeze
from avatar.portrait.basis import HeadBasis
from avatar.portrait.fit import FACE_OVAL, LANDMARKS, FittedHead, on_landmarks, scaled_orthographic

PRIOR_GAIN = 0.7
"""Part of the tracker's coefficient that the prior takes: it reads a full smile as 1 on most faces."""
RIDGE = 0.6
"""Weight of the prior against the landmarks: cm^2 of squared misses, summed over the points, that a weight may cost
which is off by 1."""
ROUNDS = 5
_OVAL_WEIGHT = 0.3
_FREE = np.array([not name.startswith(("eyeLook", "tongue")) for name in ARKIT])
"""Gaze is the irises' business, and no landmark shows the tongue."""


@dataclass(frozen=True, slots=True)
class Solved:
    """A face relative to the photo that its head was fitted to."""

    weights: F32
    """(52,) in [0, 1], order :data:`avatar.core.facs.ARKIT`; 0 is the photo's own expression."""
    turn: NDArray[np.float64]
    """(3, 3): the head's rotation from the photo to the picture; axes as in :mod:`avatar.core.geometry`."""
    error: float
    """Root mean square distance of the landmarks from the solution, in centimetres."""


def relative_to(photo: F32, shown: F32) -> F32:
    """Coefficients (52,) of ``shown`` where those of ``photo`` count as rest; the full expression still reaches 1."""
    rest = np.minimum(photo, 0.6)
    return np.clip((shown - rest) / (1 - rest), 0, 1).astype(np.float32)


def solve(
    basis: HeadBasis, fitted: FittedHead, photo: F32, shown: F32, coefficients: F32, looks: F32 | None = None
) -> Solved:
    """Weights and turn with which the head of ``photo`` best covers the landmarks of ``shown``.

    :param fitted: :func:`avatar.portrait.fit.fit_head` of the photo.
    :param photo: (478, 3) landmarks that ``fitted`` was fitted to.
    :param shown: (478, 3) landmarks of the other picture, in its own pixels and at any scale.
    :param coefficients: (52,) what a tracker reads in the other picture, relative to the photo (:func:`relative_to`).
    :param looks: (52,) with the ``eyeLook*`` entries that the gaze gives: they move the lids and are not solved for.
    """
    shapes = on_landmarks(basis, fitted.expressions)
    rest = at_rest(fitted, on_landmarks(basis, fitted.rest), photo)
    if looks is not None:
        rest = rest + np.tensordot(np.where(_FREE, 0, looks), shapes, 1)

    target = shown[:LANDMARKS, :2].astype(np.float64) * (1, -1)
    prior = np.where(_FREE, PRIOR_GAIN * np.nan_to_num(coefficients), 0.0)
    weights, rotation, error = _alternate(rest, shapes, target, prior)
    return Solved(freeze(weights.astype(np.float32)), rotation @ fitted.rotation.T, error)


def at_rest(fitted: FittedHead, rest: NDArray[np.floating], photo: F32) -> NDArray[np.float64]:
    """The landmarks (468, 3) of the resting head in its own frame. What the fit left over of the ``photo``'s is this
    person's too, so that a still face gives zeros. ``rest``: the fitted ones."""
    missed = photo[:LANDMARKS, :2] * (1, -1) - ((rest @ fitted.rotation.T)[:, :2] * fitted.scale + fitted.offset)
    return np.asarray(rest + np.c_[missed / fitted.scale, np.zeros(LANDMARKS)] @ fitted.rotation, np.float64)


def _alternate(
    rest: NDArray[np.float64], shapes: NDArray[np.float64], target: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    weight = np.ones(LANDMARKS)
    weight[list(FACE_OVAL)] = _OVAL_WEIGHT
    weights = prior.copy()
    for _ in range(ROUNDS):
        points = rest + np.tensordot(weights, shapes, 1)
        rotation, scale, offset = scaled_orthographic(points, target, weight)
        missing = (target - offset) / scale - (rest @ rotation.T)[:, :2]
        moves = np.einsum("ij,knj->nik", rotation[:2], shapes[_FREE]).reshape(2 * LANDMARKS, -1)
        weights = prior.copy()
        weights[_FREE] = bounded_ridge(moves, missing.ravel(), prior[_FREE], RIDGE, np.repeat(weight, 2))
    left = missing - (np.tensordot(weights, shapes, 1) @ rotation.T)[:, :2]
    return weights, rotation, float(np.sqrt((left**2).sum(1).mean()))


def bounded_ridge(
    moves: NDArray[np.float64],
    missing: NDArray[np.float64],
    prior: NDArray[np.float64],
    ridge: float,
    weight: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """``w`` (k,) in [0, 1] that minimises ``sum(weight * (moves @ w - missing)^2) + ridge * sum((w - prior)^2)``.

    :param moves: (n, k); ``missing`` and ``weight``: (n,); ``prior``: (k,).
    """
    scaled = moves if weight is None else moves * weight[:, None]
    normal = scaled.T @ moves + ridge * np.eye(len(prior))
    right = scaled.T @ missing + ridge * prior
    # The same problem with k rows in place of n: normal = L L^T, and |L^T w - L^-1 right|^2 differs by a constant.
    root = np.linalg.cholesky(normal)
    found = scipy.optimize.lsq_linear(root.T, np.linalg.solve(root, right), (0.0, 1.0), method="bvls")
    return np.asarray(found.x, np.float64)
