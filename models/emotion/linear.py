"""A linear classifier of voices that knows of speakers: fitting it, and what is left of a speaker in its answers.

A clip is modelled as *mean of its class + shift of its speaker + the rest*, on standardised functionals. The classifier
learns from clips without their speakers' shifts (shrunk as if six more clips without a shift had been heard). Since it
is linear, a new speaker's shift need only be known in its answers, seven numbers: :mod:`avatar.analysis.manner` finds
it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from avatar.core.types import F32

STEPS = 60
"""Of L-BFGS; more change nothing that can be heard."""
CLIP = 5.0
"""Standard deviations beyond which a functional says nothing more."""
PRIOR_CLIPS = 6.0
"""Clips without a shift that a speaker in training is taken to have said besides."""


def one_thread() -> AbstractContextManager[object]:
    """Matrices this small gain nothing from a second thread, which spins beside the first and costs as much again.
    Without threadpoolctl there are as many as there were."""
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return nullcontext()
    return threadpool_limits(1)


@dataclass(frozen=True, slots=True)
class Samples:
    """Clips to learn from."""

    features: F32
    """(n, d) functionals."""
    labels: np.ndarray
    """(n,) numbers of classes."""
    groups: np.ndarray
    """(n,) who speaks, through what: what shares a shift."""
    weights: np.ndarray
    """(n,) how much a clip counts."""

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """All of them."""
        names = ("features", "labels", "groups", "weights")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Linear:
    """``answers(x) = clip((x - mean) / std) @ weights``; ``bias`` is added once the speaker's shift is off."""

    mean: F32
    std: F32
    weights: F32
    """(d, k)."""
    bias: F32
    """(k,)."""
    means: F32
    """(classes, k) the answers to the mean of each class."""

    def answers(self, features: np.ndarray) -> np.ndarray:
        """(n, d) functionals to (n, k)."""
        return standardised(features, self.mean, self.std) @ self.weights

    @classmethod
    def mixed(cls, parts: Sequence[tuple[float, Linear]]) -> Linear:
        """The weighted sum of several on the same scale, which is linear again."""
        first = parts[0][1]
        names = ("weights", "bias", "means")
        mixed = (sum(w * getattr(part, n) for w, part in parts).astype(np.float32) for n in names)
        return cls(first.mean, first.std, *mixed)


def standardised(features: np.ndarray, mean: np.ndarray, std: np.ndarray) -> F32:
    """(n, d) on the scale of the classifier."""
    return np.clip((features - mean) / std, -CLIP, CLIP).astype(np.float32)


def scale(features: np.ndarray) -> tuple[F32, F32]:
    """Mean and standard deviation (d,)."""
    x = np.asarray(features, np.float64)
    return x.mean(axis=0).astype(np.float32), (x.std(axis=0) + 1e-6).astype(np.float32)


def without_speakers(x: F32, labels: np.ndarray, groups: np.ndarray, classes: int) -> tuple[F32, F32]:
    """Standardised clips (n, d) without their groups' shifts, and the classes' means (classes, d)."""
    means = np.stack([x[labels == c].mean(axis=0) if (labels == c).any() else x.mean(axis=0) for c in range(classes)])
    out = np.empty_like(x)
    for group in np.unique(groups):
        i = np.flatnonzero(groups == group)
        out[i] = x[i] - (x[i] - means[labels[i]]).sum(axis=0) / (len(i) + PRIOR_CLIPS)
    return out, means.astype(np.float32)


def fit(
    samples: Samples,
    mean: F32,
    std: F32,
    decay: float,
    classes: int,
    steps: int = STEPS,
    columns: np.ndarray | slice = slice(None),
) -> Linear:
    """Multinomial logistic regression, every class of the same weight.

    :param decay: of the squared weights, beside the mean loss. :param columns: (d,) bool, functionals that it may use;
        the weights of the others are 0.
    """
    return fits(samples, mean, std, (decay,), classes, steps, columns)[0]


def fits(
    samples: Samples,
    mean: F32,
    std: F32,
    decays: Sequence[float],
    classes: int,
    steps: int = STEPS,
    columns: np.ndarray | slice = slice(None),
) -> list[Linear]:
    """:func:`fit` for each of several decays, which share most of the work."""
    x = standardised(samples.features, mean, std)[:, columns]
    x, means = without_speakers(x, samples.labels, samples.groups, classes)
    counts = np.bincount(samples.labels, samples.weights, minlength=classes)
    share = samples.weights / np.maximum(counts, 1e-9)[samples.labels]
    wanted = np.eye(classes, dtype=np.float32)[samples.labels]
    axes = _span(x)
    out = []
    for decay in decays:
        weights = np.zeros((len(mean), classes), np.float32)
        weights[columns], bias = _spanned(x, axes, wanted, share / share.sum(), decay, steps)
        out.append(Linear(mean, std, weights, bias, means @ weights[columns]))
    return out


def logistic(x: F32, wanted: F32, share: np.ndarray, decay: float, steps: int) -> tuple[F32, F32]:
    """Softmax regression by L-BFGS: (n, d), (n, k) and the shares of the loss (n,) to weights (d, k), bias (k,).

    With fewer clips than functionals the weights lie in the span of the clips, so they are sought there."""
    return _spanned(x, _span(x), wanted, share, decay, steps)


def _span(x: F32) -> F32 | None:
    """Orthonormal axes (d, m) of the span of fewer clips than functionals; None where there are more."""
    if len(x) >= x.shape[1]:
        return None
    sizes, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    some = sizes > 1e-6 * sizes[-1]
    return np.asarray(x.T @ (vectors[:, some] / np.sqrt(sizes[some])), np.float32)


def _spanned(x: F32, axes: F32 | None, wanted: F32, share: np.ndarray, decay: float, steps: int) -> tuple[F32, F32]:
    if axes is None:
        return _logistic(x, wanted, share, decay, steps)
    weights, bias = _logistic(x @ axes, wanted, share, decay, steps)
    return axes @ weights, bias


def _logistic(x: F32, wanted: F32, share: np.ndarray, decay: float, steps: int) -> tuple[F32, F32]:
    d, k = x.shape[1], wanted.shape[1]
    share = share.astype(np.float32)[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = flat[: d * k].reshape(d, k), flat[d * k :]
        z = x @ w.astype(np.float32) + b.astype(np.float32)
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        p /= p.sum(axis=1, keepdims=True)
        value = -float((share * wanted * np.log(p + 1e-12)).sum()) + decay * float((w**2).sum())
        rest = (p - wanted) * share
        return value, np.concatenate([(x.T @ rest + 2 * decay * w).ravel(), rest.sum(axis=0)]).astype(np.float64)

    found = minimize(loss, np.zeros(d * k + k), jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    return found[: d * k].reshape(d, k).astype(np.float32), found[d * k :].astype(np.float32)
