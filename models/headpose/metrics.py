"""Figures of head motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from avatar.models.headpose.clips import HZ, gestures

F64 = NDArray[np.float64]

NOD_DEGREES = 1.5
"""Least depth of a nod, from the higher of its two sides that is nearer."""
NOD_WINDOW_S = (-0.15, 0.3)
"""Where a nod's lowest point lies around the accent that it goes with."""


def first_correlation(a: F64, b: F64) -> float:
    """First canonical correlation of two motions (T, k) and (T, m) (Hotelling 1936)."""
    n = min(len(a), len(b))
    qs = []
    for x in (a[:n], b[:n]):
        x = x - x.mean(0)
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        qs.append(u[:, s > 1e-6 * max(s[0], 1e-12)])
    if not qs[0].shape[1] or not qs[1].shape[1]:
        return 0.0
    return float(min(1.0, np.linalg.svd(qs[0].T @ qs[1], compute_uv=False)[0]))


def correlations(made: Sequence[F64], real: Sequence[F64]) -> list[float]:
    """For each pair, its first canonical correlation less the mean of the same motion with the other ones' partners:
    smooth motions that have nothing to do with each other correlate by .6 over 2 s and by .3 over 8 s."""
    found = []
    for i, (m, r) in enumerate(zip(made, real, strict=True)):
        others = [first_correlation(m[: len(o)], o[: len(m)]) for j, o in enumerate(real) if j != i]
        # A shorter stretch correlates more by chance: each other partner against the same length of the own one.
        own = [
            first_correlation(m[: min(len(m), len(o))], r[: min(len(m), len(o))]) for j, o in enumerate(real) if j != i
        ]
        found.append(float(np.mean(own) - np.mean(others)))
    return found


def interval(values: Sequence[float], seed: int = 0, draws: int = 2000) -> dict[str, float]:
    """Mean and its 95 % bootstrap interval."""
    x = np.asarray(values, np.float64)
    random = np.random.default_rng(seed)
    means = x[random.integers(0, len(x), (draws, len(x)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": round(float(x.mean()), 4), "lo": round(float(low), 4), "hi": round(float(high), 4)}


def habits(poses: Sequence[F64], window_s: float = 10.0) -> dict[str, dict[str, float]]:
    """Deviation, range (1st to 99th percentile) and mean speed of pitch, yaw, roll, mean over windows of an utterance's
    length."""
    rows: dict[str, list[F64]] = {"sd_deg": [], "range_deg": [], "speed_deg_s": []}
    step = int(window_s * HZ)
    for pose in poses:
        for i in range(0, max(1, len(pose) - step // 2), step):
            x = pose[i : i + step]
            rows["sd_deg"].append(x.std(0))
            rows["range_deg"].append(np.percentile(x, 99, axis=0) - np.percentile(x, 1, axis=0))
            rows["speed_deg_s"].append(np.abs(np.diff(x, axis=0)).mean(0) * HZ)
    names = ("pitch", "yaw", "roll")
    return {
        key: {n: round(float(v), 2) for n, v in zip(names, np.mean(value, axis=0), strict=True)}
        for key, value in rows.items()
    }


def nods(pose: F64) -> NDArray[np.int64]:
    """Hops of the lowest points of nods in a pose (T, 3)."""
    return find_peaks(-gestures(pose)[:, 0], prominence=NOD_DEGREES, wlen=HZ)[0]


def carried(nod: NDArray[np.int64], accents: NDArray[np.int64]) -> float:
    """Share of accents (hops of their peaks) that a nod goes with."""
    if not len(accents):
        return 0.0
    low, high = (s * HZ for s in NOD_WINDOW_S)
    return float(np.mean([bool(((nod - a >= low) & (nod - a <= high)).any()) for a in accents]))


def begins(pose: F64, onset: int) -> int | None:
    """Hop at which the motion begins that the head makes at an onset: back from the fastest moment around it to where
    the speed is a fifth. None where the head stays nearly still."""
    first, last = max(1, onset - 25), min(len(pose), onset + 30)
    speed = np.linalg.norm(np.gradient(pose, axis=0), axis=1) * HZ
    if last - first < 20:
        return None
    peak = first + int(speed[first:last].argmax())
    if speed[peak] < 4.0:
        return None
    i = peak
    while i > max(0, onset - 60) and speed[i] > 0.2 * speed[peak]:
        i -= 1
    return i


def recurrence(pose: F64, least_s: float = 3.0, most_s: float = 120.0) -> float:
    """Highest autocorrelation of a pose (T, 3) at lags in that span: near 1 = it loops."""
    x = pose - pose.mean(0)
    n = 1 << int(np.ceil(np.log2(2 * len(x))))
    spectrum = np.fft.rfft(x, n, axis=0)
    both = np.fft.irfft((np.abs(spectrum) ** 2).sum(1), n)
    lags = np.arange(int(least_s * HZ), min(int(most_s * HZ), len(x) // 2))
    return float((both[lags] / both[0] * len(x) / (len(x) - lags)).max())
