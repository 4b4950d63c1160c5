"""Figures of the judge: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import scipy.stats
from numpy.typing import NDArray

from avatar.core.types import U8

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

_RESAMPLES = 2000


def mse(picture: U8, truth: U8, mask: Bools) -> float:
    """Mean squared difference of RGB inside ``mask`` (height, width), in grey levels (0 to 255) squared."""
    difference = picture[mask].astype(np.float64) - truth[mask]
    return float((difference**2).mean())


def psnr(squared: float) -> float:
    """Decibels of a mean squared difference of 8-bit pictures; 100 at most, so that a perfect one stays a number."""
    return float(10 * np.log10(255.0**2 / max(squared, 255.0**2 * 1e-10)))


def ssim(picture: U8, truth: U8, mask: Bools) -> float:
    """Structural similarity of the luminance inside ``mask``: the mean of the map of Wang, Bovik, Sheikh & Simoncelli
    (2004), with their Gaussian window of 11 pixels (sigma 1.5); scikit-image's."""
    from skimage.metrics import structural_similarity

    x, y = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (picture, truth))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, found = structural_similarity(x, y, data_range=255, full=True, **window)
    return float(found[mask].mean())


def landmark_error(points: Floats, truth: Floats, unit: float) -> float:
    """Mean distance of two sets of points (n, 2), in percent of ``unit`` (the distance of the eyes)."""
    return float(np.hypot(*(points - truth).T).mean() / unit * 100)


def folds(names: Sequence[str], count: int) -> list[int]:
    """The fold of each item, so that everything of one name is in one fold and the folds differ by one name at most.

    Names are dealt out in sorted order: the same people give the same folds on every machine.
    """
    order = {name: i for i, name in enumerate(sorted(set(names)))}
    return [order[name] % max(1, min(count, len(order))) for name in names]


def identity_margins(distances: Floats) -> tuple[Floats, Floats, Bools]:
    """What a matrix of distances (n pictures, m known people) says of pictures ``i`` of person ``i`` (n <= m):
    the distance to oneself, by how much the nearest other person is further, and whether one is the nearest."""
    n, m = distances.shape
    own = distances[np.arange(n), np.arange(n)]
    others = np.where(np.eye(n, m, dtype=bool), np.inf, distances).min(1)
    return own, others - own, own < others


def ranks(distances: Floats) -> NDArray[np.intp]:
    """(n,) the place, from 1, of person ``i`` among the known people by the distance of picture ``i``. Who is as near
    as oneself counts as nearer: a tie is no recognition."""
    n, m = distances.shape
    own = distances[np.arange(n), np.arange(n)][:, None]
    others = ~np.eye(n, m, dtype=bool)
    return np.asarray(1 + ((distances <= own) & others).sum(1), np.intp)


def inception_formula(probabilities: Floats) -> float:
    """``exp(mean KL(p(y|x) || p(y)))`` of Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen (2016), for whatever
    classifier gave ``probabilities`` (n pictures, m classes). From 1 (all alike or all undecided) to m."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-12, None)
    p /= p.sum(1, keepdims=True)
    return float(np.exp((p * np.log(p / p.mean(0))).sum(1).mean()))


def identity_classes(distances: Floats, scale: float) -> Floats:
    """(n, m) probabilities that picture ``i`` shows person ``j``: ``exp(-d^2 / scale)``, each row's sum 1."""
    logits = -(np.asarray(distances, np.float64) ** 2) / scale
    weights = np.exp(logits - logits.max(1, keepdims=True))
    made: Floats = weights / weights.sum(1, keepdims=True)
    return made


def identity_scale(distances: Floats) -> float:
    """The scale of :func:`identity_classes` under which real pictures ``i`` of persons ``i`` are likeliest."""
    n = len(distances)
    tried = np.geomspace(1e-3, 1.0, 61)
    likely = [
        np.log(np.maximum(identity_classes(distances, t)[np.arange(n), np.arange(n)], 1e-300)).sum() for t in tried
    ]
    return float(tried[int(np.argmax(likely))])


def interval(values: Floats) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, always with the same draws."""
    picks = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(np.asarray(values, np.float64)[picks].mean(1), (2.5, 97.5))
    return float(low), float(high)


# --- commanded against measured -------------------------------------------------------------------------------------


def spearman(commanded: Floats, measured: Floats) -> float:
    """Rank correlation; 0 where one of them never changes."""
    if np.ptp(commanded) == 0 or np.ptp(measured) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(commanded, measured).statistic)


def calibrated(commanded: Floats, measured: Floats) -> Floats:
    """``measured`` on the scale of ``commanded``: the straight line that takes its mean and its response to those of
    the command. The line is fitted to measured = a + b x commanded and then turned round: fitted the other way, noise
    would shrink it and count as agreement.

    All zeros plus the command's mean where there is no rising response.
    """
    c = commanded - commanded.mean()
    gain = float((c * (measured - measured.mean())).sum() / max(1e-12, float((c * c).sum())))
    if gain <= 1e-6:
        return np.full(len(commanded), float(commanded.mean()))
    return (measured - measured.mean()) / gain + commanded.mean()


def icc3(ratings: Floats) -> float:
    """Intraclass correlation ICC(3,1) of Shrout & Fleiss (1979): two-way mixed, consistency, one rater.

    ``(MSB - MSE) / (MSB + (k - 1) MSE)``, MSB being the mean square between targets and MSE the residual's.

    :param ratings: (n targets, k raters), n and k at least 2.
    """
    n, k = ratings.shape
    values = np.asarray(ratings, np.float64)
    mean, targets, raters = values.mean(), values.mean(1), values.mean(0)
    between = k * ((targets - mean) ** 2).sum() / (n - 1)
    residual = ((values - targets[:, None] - raters + mean) ** 2).sum() / ((n - 1) * (k - 1))
    below = between + (k - 1) * residual
    return float((between - residual) / below) if below > 0 else 0.0


def leakage(
    changes: Mapping[int, Mapping[int, Floats]], kin: Mapping[int, frozenset[int]]
) -> dict[int, dict[int, float]]:
    """How much of every other unit's own range a unit at full moves.

    :param changes: ``changes[a][b]``: (n portraits,) change of b's signal from rest to a = 1. ``changes[b][b]`` is the
        own range; its mean over the portraits is what counts, since one portrait's may be near 0.
    :param kin: units that show the same motion by definition, left out.

    Returns ``{a: {b: mean |change| / range}}``.
    """
    ranges = {b: abs(float(np.mean(changes[b][b]))) for b in changes}
    return {
        a: {
            b: float(np.abs(of[b]).mean() / max(1e-9, ranges[b]))
            for b in changes
            if b != a and b not in kin.get(a, frozenset())
        }
        for a, of in changes.items()
    }
