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
LEAD_S = 0.18
"""The head begins so long before the voice."""
RECOGNISED_LATE = 5
"""Hops by which an accent's peak lies before its recognition."""
CLEAR = 42
"""Hops after a phrase's onset in which the head is still busy with rising: no nod is lowest there."""

STYLES: dict[str, tuple[float, float]] = {
    "neutral": (1.0, 1.0),
    "happiness": (1.75, 1.15),
    "anger": (1.7, 1.2),
    "sadness": (1.15, 0.75),
}
"""Emotion -> (deviation, pace) in shares of the neutral ones. Busso et al. (2007): in emotional speech heads move
further, happy and angry ones about twice as fast. That sad ones are slow for how far they go is designed."""


def move(heard: Heard, seed: int, name: str, emotion: str = "neutral", rises: bool = True) -> Clip:
    """A clip of speech and a head that moves with it as people's do on average.

    :param emotion: of :data:`STYLES`. :param rises: whether the head rises before a phrase; the live head does that by
        itself, at the first sound, so it need not be learnt.
    """
    random = np.random.default_rng((seed, 0x6E0D))
    size, pace = STYLES[emotion]
    n = len(heard.features)
    fast = np.zeros((n, 3))
    began, ended = phrases(heard)
    _accents(heard, fast, began, pace, random)
    _phrase_motion(fast, began if rises else [], ended, pace, random)
    fast[:, 0] += 0.5 * gaussian_filter1d(heard.features[:, 0].astype(np.float64), 20)
    fast = gaussian_filter1d(fast, 3, axis=0)
    # The gestures have the size that they have; the postures fill up what is published, as far as they can.
    slow = _postures(n, began, ended, pace, random)
    wanted = np.array(SD)
    room = np.sqrt(np.maximum(wanted**2 - fast.std(0) ** 2, (0.5 * wanted) ** 2))
    spread = slow.std(0)
    slow *= np.where(spread > 1e-6, np.minimum(room / np.maximum(spread, 1e-6), 6.0), 1.0)
    pose = size * (fast + slow)
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


def _accents(heard: Heard, pose: F64, began: list[int], pace: float, random: np.random.Generator) -> None:
    peaks = [(i - RECOGNISED_LATE, m.accent) for i, m in enumerate(heard.melody) if m.accent > 0]
    free = [(i, a) for i, a in peaks if not any(-15 < i - onset < CLEAR for onset in began)]
    if not free:
        return
    # The stronger accents carry the nods, with some chance in it: as many as the published share of all accents.
    strength = np.array([a for _, a in free]) + random.normal(0, 0.1, len(free))
    nodding: list[int] = []
    for index in np.argsort(-strength):
        if len(nodding) < NOD_SHARE * len(peaks) and all(abs(free[index][0] - free[j][0]) > 36 for j in nodding):
            nodding.append(int(index))
    for index, (peak, accent) in enumerate(free):
        if index in nodding:
            depth = (2.8 + 3.0 * accent) * float(random.uniform(0.8, 1.2))
            down, up = float(random.uniform(15, 20)) / pace, float(random.uniform(20, 30)) / pace
            apex = peak + float(random.normal(1, 1.5))
            _add(pose[:, 0], apex, -depth, down, up)
            if random.random() < 0.3:
                _add(pose[:, 1], apex, float(random.normal(0, 0.9)), down, 1.5 * up)
                _add(pose[:, 2], apex, float(random.normal(0, 0.8)), down, 1.5 * up)
        elif random.random() < 0.2:  # others turn or tilt the head
            axis = 1 + int(random.random() < 0.4)
            _add(pose[:, axis], peak + 4, float(random.normal(0, (1.0, 0.9)[axis - 1])), 24 / pace, 40 / pace)


def _phrase_motion(pose: F64, began: list[int], ended: list[int], pace: float, random: np.random.Generator) -> None:
    for onset in began:
        # Up before the first sound, highest shortly after it, then slowly down.
        rise = float(np.clip(random.normal(3.0, 0.6), 1.5, 4.5))
        start = onset - HZ * LEAD_S * float(random.uniform(0.8, 1.3))
        top = onset + float(random.uniform(4, 10))
        _add(pose[:, 0], top, rise, top - start, float(random.uniform(70, 110)) / pace)
    for end in ended:
        sink = float(np.clip(random.normal(2.2, 0.7), 0.6, 4.0))
        low = end + float(random.uniform(0, 20))
        _add(pose[:, 0], low, -sink, float(random.uniform(40, 60)) / pace, float(random.uniform(80, 120)) / pace)


def _postures(n: int, began: list[int], ended: list[int], pace: float, random: np.random.Generator) -> F64:
    """A new place with each phrase, within long ones and now and then in silence, and a slow drift."""
    moments = {0, *began, *(e + int(random.uniform(30, 150)) for e in ended)}
    for begin, end in zip(began, ended, strict=False):
        moments |= {int(m) for m in np.arange(begin + random.uniform(150, 300), end - 80, 260 / pace)}
    held = np.zeros((n, 3))
    for moment in sorted(moments):
        if moment < n:
            held[moment:] = np.array((1.0, 0.75, 0.65)) * random.uniform(-1, 1, 3)
    drift = gaussian_filter1d(random.standard_normal((n + 600, 3)), 100 / pace, axis=0)[300 : 300 + n]
    drift *= np.array((0.18, 0.15, 0.13)) / max(1e-6, float(drift.std()))
    return gaussian_filter1d(held, 55 / pace, axis=0) + drift
