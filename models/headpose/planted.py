"""A corpus whose truth is known: prosody patterns and the gestures that go with them, made by code.

Four pairs recur in random order with pauses: an accent with a nod, a rising end with a turn, a falling end with a
sinking head, a flat stretch with a tilt. Lengths and sizes vary, a tenth of the gestures is another pair's, and noise
as people have it lies on top (slow, not white).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from avatar.models.headpose.clips import Clip

PAIRS = ("accent and nod", "rise and turn", "fall and sink", "flat and tilt", "pause and rest")
APEX = {0: (0, 0.5), 1: (1, 0.5), 2: (0, 0.6), 3: (2, 0.5)}
"""Pair -> axis of its gesture and where in it the farthest point lies."""
COUPLING = 0.9
SPREAD = 0.1
"""Of sizes, in shares of the mean."""


@dataclass(frozen=True, eq=False)
class Planted:
    """One sequence and its truth."""

    clip: Clip
    prosody_label: NDArray[np.int64]
    """(T,) which prosody pattern."""
    gesture_label: NDArray[np.int64]
    """(T,) which gesture."""
    apexes: tuple[tuple[int, int, int], ...]
    """(gesture, axis, hop) of each gesture's farthest point; of those whose prosody foretells them."""


def _bump(n: int, peak: float, width: float) -> NDArray[np.float64]:
    t = (np.arange(n) + 0.5) / n
    return np.exp(-0.5 * ((t - peak) / width) ** 2)


def _prosody(kind: int, n: int, size: float) -> NDArray[np.float64]:
    """(n, 3) pitch, confidence, intensity of a pattern."""
    t = (np.arange(n) + 0.5) / n
    one = np.ones(n)
    match kind:
        case 0:
            return np.stack(
                [-0.4 + 2.2 * size * _bump(n, 0.5, 0.18), 0.9 * one, -0.6 + 1.4 * size * _bump(n, 0.5, 0.22)], 1
            )
        case 1:
            return np.stack([-0.6 + 2.0 * size * t**1.5, 0.85 * one, -0.5 + 0.2 * t], 1)
        case 2:
            return np.stack([0.3 - 2.0 * size * t, 0.85 - 0.4 * t, -0.4 - 1.8 * t], 1)
        case 3:
            return np.stack([-0.3 * one, 0.75 * one, -0.9 + 0.25 * np.sin(6 * np.pi * t)], 1)
        case _:
            return np.stack([0 * one, 0.1 * one, -3.6 * one], 1)


def _gesture(kind: int, n: int, size: float) -> NDArray[np.float64]:
    """(n, 3) pitch, yaw, roll of a gesture, degrees."""
    out = np.zeros((n, 3))
    t = (np.arange(n) + 0.5) / n
    if kind == 0:
        out[:, 0] = -6 * size * _bump(n, 0.5, 0.16)
    elif kind == 1:
        out[:, 1] = 5 * size * _bump(n, 0.5, 0.2)
    elif kind == 2:
        out[:, 0] = -4 * size * np.where(t < 0.6, np.sin(0.5 * np.pi * t / 0.6), np.cos(0.5 * np.pi * (t - 0.6) / 0.4))
    elif kind == 3:
        out[:, 2] = 4 * size * np.sin(np.pi * t) ** 1.5
    return out


LENGTH = {0: (42, 4), 1: (56, 5), 2: (60, 5), 3: (70, 7), 4: (40, 8)}
"""Pattern -> hops it lasts, mean and deviation."""


def plant(seconds: float, seed: int) -> Planted:
    """A sequence of about ``seconds``."""
    r = np.random.default_rng((seed, 0x9147))
    prosody, pose, ps, gs, apexes = [], [], [], [], []
    at, last = 0, 4
    while at < seconds * 100:
        kind = int(r.choice([k for k in range(5) if k != last or k == 0], p=None))
        last = kind
        mean, spread = LENGTH[kind]
        n = int(np.clip(r.normal(mean, spread), 0.6 * mean, 1.4 * mean))
        size = float(np.clip(r.normal(1, SPREAD), 0.6, 1.4))
        other = [k for k in range(5) if k != kind]
        gesture = kind if r.random() < COUPLING else int(r.choice(other))
        prosody.append(_prosody(kind, n, size))
        pose.append(_gesture(gesture, n, float(np.clip(r.normal(1, SPREAD), 0.6, 1.4))))
        ps.append(np.full(n, kind))
        gs.append(np.full(n, gesture))
        if gesture == kind and kind in APEX:
            axis = APEX[kind][0]
            apexes.append((kind, axis, at + int(np.abs(pose[-1][:, axis]).argmax())))
        at += n
    p, g = np.concatenate(prosody), np.concatenate(pose)
    p = gaussian_filter1d(p, 1.5, axis=0) + 0.12 * gaussian_filter1d(r.standard_normal(p.shape), 2, axis=0) / 0.37
    g = gaussian_filter1d(g, 2.5, axis=0)
    for sigma, size in ((12, 0.3), (150, 0.6)):
        noise = gaussian_filter1d(r.standard_normal(g.shape), sigma, axis=0, mode="wrap")
        g += size * noise / noise.std(0)
    lagged = np.concatenate([np.repeat(p[:1], 6, axis=0), p[:-6]])
    features = np.hstack([p, (p - lagged) * (10 / 6)])
    clip = Clip(features.astype(np.float32), g.astype(np.float32), f"planted-{seed}")
    return Planted(clip, np.concatenate(ps), np.concatenate(gs), tuple(apexes))
