"""From the frames of two seconds of speech to one vector: how its descriptors are distributed and how they move."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from avatar.analysis.voice_frames import BANDS, F0, LEVEL, PEAK, SOUND, VOICING
from avatar.core.types import F32

HOPS_A_SECOND = 100
SILENT_DB = 32.0
"""Frames this far below the loud ones at either end of a window are no part of the speech."""
LONGEST_PAUSE = 30
"""Frames that are left of a longer pause: 0.3 s."""
LEAST = 30
"""Frames that are needed: 0.3 s."""
_RASTA = (np.array([0.2, 0.1, 0.0, -0.1, -0.2]), np.array([1.0, -0.94]))
"""Band pass over time of Hermansky & Morgan (1994)."""
_BAND = slice(2, 2 + BANDS)


def speech_part(frames: F32) -> F32:
    """(T, WIDTH) frames without silence at both ends and the middle of long pauses; empty where all is silent."""
    level = frames[:, LEVEL]
    if not len(level):
        return frames
    loud = level > max(-65.0, float(np.percentile(level, 95)) - SILENT_DB)
    edges = np.flatnonzero(loud)
    if not len(edges):
        return frames[:0]
    keep = np.zeros(len(level), bool)
    keep[edges[0] : edges[-1] + 1] = True
    for before, after in pairwise(edges.tolist()):
        if after - before > LONGEST_PAUSE:
            keep[before + LONGEST_PAUSE // 2 : after - LONGEST_PAUSE // 2] = False
    return frames[keep]


def functionals(frames: F32) -> F32:
    """(T, WIDTH) frames of :func:`avatar.analysis.voice_frames.frames`, T at least LEAST, to one vector (n,)."""
    sound = frames[:, :SOUND]
    bands = frames[:, _BAND]
    # A constant gives zero: the filter begins as if the first frame had lasted for ever.
    rasta = lfilter(*_RASTA, bands - bands[:1], axis=0).astype(np.float32)
    flux = np.zeros((len(frames), 1), np.float32)
    flux[1:, 0] = np.abs(np.diff(bands, axis=0)).mean(axis=1)
    flux[0] = flux[1]
    static = np.concatenate((sound, rasta, flux), axis=1)
    voiced = frames[:, VOICING] > 0
    parts = [_distribution(static), _movement(_delta(static)), _among(static, voiced), _voice(frames, voiced)]
    parts.append(_rhythm(frames, voiced))
    out = np.concatenate(parts).astype(np.float32)
    return np.nan_to_num(out, nan=0.0, posinf=0.0, neginf=0.0)


def _delta(x: F32) -> F32:
    """Regression over five frames, as usual for speech."""
    padded = np.concatenate((x[:1], x[:1], x, x[-1:], x[-1:]))
    return np.asarray((2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10, np.float32)


def _at(ordered: F32, shares: tuple[float, ...]) -> list[F32]:
    """Quantiles of columns sorted along the first axis."""
    top = len(ordered) - 1
    return [ordered[round(share * top)] for share in shares]


def _moments(x: F32) -> tuple[F32, F32, F32, F32]:
    mean = x.mean(axis=0)
    apart = x - mean
    square = apart * apart
    variance = square.mean(axis=0) + 1e-6
    std = np.sqrt(variance)
    return mean, std, (square * apart).mean(axis=0) / (variance * std), (square * square).mean(axis=0) / variance**2


def _slope(x: F32) -> F32:
    """A second."""
    t = (np.arange(len(x), dtype=np.float32) - (len(x) - 1) / 2) / HOPS_A_SECOND
    return np.asarray((t @ x) / max(1e-6, float(t @ t)), np.float32)


def _distribution(x: F32) -> F32:
    mean, std, skew, kurtosis = _moments(x)
    p5, p25, p50, p75, p95 = _at(np.sort(x, axis=0), (0.05, 0.25, 0.5, 0.75, 0.95))
    rest = (skew, np.log(kurtosis + 0.1), p5, p50, p95, p75 - p25, p95 - p5, p95 - p50)
    return np.concatenate((mean, std, *rest, _slope(x)))


def _movement(x: F32) -> F32:
    _, std, skew, kurtosis = _moments(x)
    p5, p25, p75, p95 = _at(np.sort(x, axis=0), (0.05, 0.25, 0.75, 0.95))
    rising = np.maximum(x, 0).mean(axis=0)
    return np.concatenate((std, skew, np.log(kurtosis + 0.1), p5, p95, p75 - p25, np.abs(x).mean(axis=0), rising))


def _among(x: F32, voiced: np.ndarray) -> F32:
    """The same descriptors among voiced and unvoiced frames."""
    out = []
    for mask in (voiced, ~voiced):
        part = x[mask] if mask.sum() >= 5 else x
        out += [part.mean(axis=0), part.std(axis=0)]
    return np.concatenate(out)


def _voice(frames: F32, voiced: np.ndarray) -> F32:
    """Pitch, voice quality and formants where there is a voice; jitter and shimmer from frame to frame."""
    part = frames[:, F0:VOICING]
    both = voiced[1:] & voiced[:-1]
    change = np.diff(part, axis=0)
    near = both & (np.abs(change[:, 0]) < 4)  # more than four semitones in a hop is an error of the octave
    inside = part[voiced] if voiced.sum() >= 5 else np.zeros((5, part.shape[1]), np.float32)
    steps = change[near] if near.sum() >= 5 else np.zeros((5, part.shape[1]), np.float32)
    second = np.diff(part[:, 0], 2)[near[1:] & near[:-1]]
    jitter = np.array([np.abs(second).mean() if len(second) else 0, np.abs(second).max(initial=0)], np.float32)
    peaks = np.abs(steps[:, PEAK - F0])
    return np.concatenate((_distribution(inside), _movement(steps), jitter, [peaks.mean(), peaks.std()]))


def _runs(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return edges[1::2] - edges[::2]


def _rhythm(frames: F32, voiced: np.ndarray) -> F32:
    """How speech is cut into voiced pieces, pauses and peaks of loudness; slopes of pitch and level."""
    n = len(frames)
    level = frames[:, LEVEL]
    out: list[float] = [float(voiced.mean())]
    middling, loud = np.percentile(level, (40, 95))
    quiet = level < loud - 25
    for mask in (voiced, ~voiced, quiet):
        runs = _runs(mask)
        some = len(runs) > 0
        out += [len(runs) / n, runs.mean() if some else 0, runs.std() if some else 0, runs.max(initial=0)]
    out.append(float(quiet.mean()))
    smooth = np.convolve(level, np.ones(7) / 7, "same")
    top = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:]) & (smooth[1:-1] > middling)
    at = np.flatnonzero(top)
    gaps = np.diff(at)
    out += [len(at) / n, gaps.mean() if len(gaps) else n, gaps.std() if len(gaps) else 0]
    for track, mask in ((smooth, np.ones(n, bool)), (frames[:, F0], voiced)):
        step = np.diff(track)
        good = mask[1:] & mask[:-1] & (np.abs(step) < 4)
        for part in (step[good & (step > 0)], step[good & (step < 0)]):
            out += [part.mean(), part.std()] if len(part) > 2 else [0, 0]
    pitch = frames[voiced, F0]
    if len(pitch) > 10:
        third = len(pitch) // 3
        out += [_slope(pitch[:, None])[0], pitch[-third:].mean() - pitch[:third].mean(), pitch.argmax() / len(pitch)]
    else:
        out += [0, 0, 0]
    return np.array([*out, n / HOPS_A_SECOND], np.float32)
