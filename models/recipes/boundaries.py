"""Boundaries in a latent space, and how to walk along one without crossing another (Shen, Gu, Tang & Zhou 2020).

An attribute is a half-space: the sign of d(n, z) = n z says whether it is there, with n of length 1 the normal of a
linear support vector machine. A picture is edited by z' = z + alpha n. So that a second attribute stays as it is, n_1
is projected onto the plane along which that one does not change (for several: along which none of them does)::

    n_1 - (n_1 n_2) n_2
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32

_STEPS, _SOFT = 60, 1e-2


def svm(points: F32, there: NDArray[np.bool_], soft: float = _SOFT) -> tuple[F32, float]:
    """Unit normal (d,) and offset b of the linear machine that says ``there`` where n x + b > 0.

    Squared hinge loss, ``soft`` / 2 |w|^2, by Newton's method (Keerthi & DeCoste 2005). :param points: (n, d).
    Raises ValueError where all points lie on one side.
    """
    if there.all() or not there.any():
        raise ValueError("a boundary needs points on both sides")
    x = np.c_[points.astype(np.float64), np.ones(len(points))]
    y = np.where(there, 1.0, -1.0)
    w = np.zeros(x.shape[1])
    ridge = soft * np.eye(len(w))
    ridge[-1, -1] = 1e-9
    for _ in range(_STEPS):
        active = y * (x @ w) < 1
        inside = x[active]
        n = len(points)
        new = np.linalg.solve(ridge + inside.T @ inside / n, inside.T @ y[active] / n)
        if np.allclose(new, w, atol=1e-8):
            break
        w = new if active.all() else 0.5 * w + 0.5 * new  # half steps: whole ones may go to and fro
    length = float(np.linalg.norm(w[:-1]))
    return (w[:-1] / length).astype(np.float32), float(w[-1] / length)


def accuracy(points: F32, there: NDArray[np.bool_], normal: F32, offset: float) -> float:
    """Share of points on the side where they belong."""
    return float(((points @ normal + offset > 0) == there).mean())


def projected(normal: F32, others: Sequence[F32]) -> F32:
    """``normal`` (d,) without what lies along ``others``, of length 1. Raises ValueError where nothing is left."""
    if not others:
        return normal
    plane, _ = np.linalg.qr(np.stack(others, 1).astype(np.float64))
    left = normal - plane @ (plane.T @ normal)
    length = np.linalg.norm(left)
    if length < 1e-6:
        raise ValueError("the attribute lies wholly along the others")
    return np.asarray(left / length, np.float32)


def extremes(scores: F32, share: float) -> tuple[float, float]:
    """The scores below and above which the lowest and the highest ``share`` lie."""
    low, high = np.quantile(scores, (share, 1 - share))
    return float(low), float(high)
