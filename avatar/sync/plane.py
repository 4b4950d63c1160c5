"""The plane of emotions: the angle says which, the distance from the middle how much.

As in GANmut (d'Apolito et al., CVPR 2021) an expression is a point of a disc whose middle is a neutral face. There the
angles are learnt; here they follow valence (to the right) and arousal (up), pulled apart so that each can be hit with a
finger. Between two neighbours lies their compound; the wide gap at the lower right, where it is calm, is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, EmotionLabel
from avatar.sync.expression import FELT

ANGLES: Mapping[EmotionLabel, float] = {
    "happiness": 10.0,
    "surprise": 65.0,
    "fear": 110.0,
    "anger": 155.0,
    "disgust": 200.0,
    "sadness": 245.0,
}
"""Degrees, counted anticlockwise from the right."""
_RING = sorted(ANGLES.items(), key=lambda item: item[1])


def at(angle: float, radius: float) -> F32:
    """The degrees (6,) of a point: order :data:`avatar.sync.expression.FELT`, sum = ``radius`` clipped to [0, 1]."""
    out = np.zeros(len(FELT), np.float32)
    angle %= 360.0
    for (a, low), (b, high) in zip(_RING, [*_RING[1:], (_RING[0][0], _RING[0][1] + 360.0)], strict=True):
        turned = angle if angle >= low else angle + 360.0
        if low <= turned <= high:
            part = (turned - low) / (high - low)
            out[FELT.index(a)] += 1.0 - part
            out[FELT.index(b)] += part
            break
    return np.asarray(out * np.float32(min(1.0, max(0.0, radius))), np.float32)


def place(degrees: NDArray[np.floating]) -> tuple[float, float]:
    """Angle in [0, 360) and radius in [0, 1] at which degrees (6,) are shown.

    The inverse of :func:`at` for one emotion and for two neighbours. Of any others it is where their points balance:
    opposites meet in the middle, as their faces do.
    """
    total = float(degrees.sum())
    if total <= 1e-6:
        return 0.0, 0.0
    felt = np.flatnonzero(np.asarray(degrees) > 1e-6)
    ring = [label for label, _ in _RING]
    spots = sorted(ring.index(FELT[i]) for i in felt)
    near = len(spots) == 1 or (len(spots) == 2 and (spots[1] - spots[0]) in (1, len(ring) - 1))
    if near:
        low, high = (spots[0], spots[-1]) if spots[-1] - spots[0] <= 1 else (spots[-1], spots[0])
        start, end = _RING[low][1], _RING[high][1] + (360.0 if high < low else 0.0)
        part = float(degrees[FELT.index(ring[high])]) / total if high != low else 0.0
        return (start + part * (end - start)) % 360.0, min(1.0, total)
    turns = np.radians([ANGLES[label] for label in FELT])
    x, y = float(degrees @ np.cos(turns)), float(degrees @ np.sin(turns))
    return math.degrees(math.atan2(y, x)) % 360.0, min(1.0, math.hypot(x, y))
