"""Head motion for speech that has no picture, generated from published statistics.

What is known of talking heads in figures: pitch, yaw and roll deviate by 3.3, 0.9 and 0.8 degrees in neutral speech
(Busso et al., TASLP 2007); 42 % of pitch accents carry a nod, here the stronger ones; the head moves before the
voice at phrase onsets; it sinks at phrase ends; it follows the pitch a little (Kuratate et al. 1999; Yehia, Kuratate &
Vatikiotis-Bateson 2002). It is what the default model learns from besides the little recorded motion there is: no
substitute for it. Unlike the live rules this looks at the whole utterance, so everything comes at its right moment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from avatar.models.headpose.clips import HZ, Clip, Heard

F64 = NDArray[np.float64]

NOD_SHARE = 0.42
SD = (3.3, 0.9, 0.8)
"""Degrees: pitch, yaw, roll."""
LEAD_S = 0.16
"""The head begins so long before the voice."""
RECOGNISED_LATE = 5
"""Hops by which an accent's peak lies before its recognition."""


def move(heard: Heard, seed: int, name: str) -> Clip:
    """A clip of speech and a head that moves with it as people's do on average."""
    random = np.random.default_rng((seed, 0x6E0D))
    n = len(heard.features)
    fast = np.zeros((n, 3))
    _accents(heard, fast, random)
    began, ended = phrases(heard)
    _phrase_motion(fast, began, ended, random)
    fast[:, 0] += 0.8 * gaussian_filter1d(heard.features[:, 0].astype(np.float64), 12)
    slow = _postures(n, began, ended, random)
    pose = gaussian_filter1d(fast + slow, 3, axis=0)
    target = np.array(SD)
    size = pose.std(0)
    # Each stretch is as lively as people are on average; very short ones may be calmer.
    pose *= np.where(size > 1e-6, np.minimum(target / np.maximum(size, 1e-6), 1.6), 1.0)
    return Clip(heard.features, (pose - np.median(pose, axis=0)).astype(np.float32), name)


def phrases(heard: Heard) -> tuple[list[int], list[int]]:
    """Where the voice begins and ends: by the level, which knows earlier than the detector's decision."""
    speaking = np.array([hop.speaking for hop in heard.hops])
    loud = np.array([hop.loud for hop in heard.hops])
    began, ended = [], []
    talking, quiet = False, 100
    for i, on in enumerate(speaking):
        if on:
            if not talking and quiet >= 15:
                back = i
                while back > 0 and i - back < 20 and loud[back - 1] > -3.0:
                    back -= 1
                began.append(back)
            talking, quiet = True, 0
        else:
            quiet += 1
            if talking and quiet >= 15:
                ended.append(i - quiet + 1)
                talking = False
    return began, ended


def _add(track: F64, centre: float, size: float, before: float, after: float) -> None:
    """A bump whose farthest point is at hop ``centre``: a raised cosine that takes ``before`` and ``after`` hops."""
    first, last = max(0, int(centre - before)), min(len(track), int(centre + after) + 1)
    t = np.arange(first, last) - centre
    phase = np.where(t < 0, t / before, t / after)
    track[first:last] += size * 0.5 * (1 + np.cos(np.pi * np.clip(phase, -1, 1)))


def _accents(heard: Heard, pose: F64, random: np.random.Generator) -> None:
    found = [(i, m.accent) for i, m in enumerate(heard.melody) if m.accent > 0]
    if not found:
        return
    strength = np.array([a for _, a in found])
    # The stronger accents carry the nods, with some chance in it; on average the published share does.
    rank = np.argsort(np.argsort(strength + random.normal(0, 0.1, len(strength)))) / max(1, len(found) - 1)
    odds = np.where(rank >= 1 - NOD_SHARE, 0.92, 0.06)
    last = -100
    for (hop, accent), chance in zip(found, odds, strict=True):
        peak = hop - RECOGNISED_LATE
        if random.random() < chance and peak - last > 35:
            last = peak
            size = (3.0 + 4.0 * accent) * float(random.uniform(0.75, 1.25))
            down, up = float(random.uniform(16, 22)), float(random.uniform(22, 34))
            apex = peak + float(random.normal(2, 2))
            _add(pose[:, 0], apex - down - 6, 0.18 * size, 14, 12)  # a small upbeat before
            _add(pose[:, 0], apex, -size, down, up)
            if random.random() < 0.3:
                _add(pose[:, 1], apex, float(random.normal(0, 1.6)), down, 1.5 * up)
                _add(pose[:, 2], apex, float(random.normal(0, 1.2)), down, 1.5 * up)
        elif random.random() < 0.25:  # others turn or tilt the head
            axis = 1 + int(random.random() < 0.4)
            _add(pose[:, axis], peak + 4, float(random.normal(0, (1.8, 1.4)[axis - 1])), 24, 40)


def _phrase_motion(pose: F64, began: list[int], ended: list[int], random: np.random.Generator) -> None:
    for onset in began:
        # Up before the first sound, highest shortly after it, then slowly down.
        rise = float(np.clip(random.normal(2.6, 0.8), 0.8, 4.5))
        start = onset - HZ * LEAD_S * float(random.uniform(0.7, 1.4))
        top = onset + float(random.uniform(8, 18))
        _add(pose[:, 0], top, rise, top - start, float(random.uniform(50, 90)))
    for end in ended:
        sink = float(np.clip(random.normal(2.4, 0.8), 0.6, 4.5))
        _add(
            pose[:, 0],
            end + float(random.uniform(-4, 10)),
            -sink,
            float(random.uniform(28, 45)),
            float(random.uniform(45, 80)),
        )


def _postures(n: int, began: list[int], ended: list[int], random: np.random.Generator) -> F64:
    """A new place with each phrase and now and then in silence, and a slow drift."""
    moments = sorted({0, *began, *(e + int(random.uniform(30, 150)) for e in ended)})
    held = np.zeros((n, 3))
    for moment in moments:
        if moment < n:
            held[moment:] = random.normal(0, (1.3, 0.75, 0.65))
    drift = gaussian_filter1d(random.standard_normal((n + 600, 3)), 60, axis=0)[300 : 300 + n]
    drift *= np.array((0.7, 0.35, 0.3)) / max(1e-6, float(drift.std()))
    return gaussian_filter1d(held, 22, axis=0) + drift
