"""Who owns which part of the face. The whole policy is the table :data:`OWNERS` and the two rules below it.

1. Where several inputs speak for one part, the first of its row that is present has it; presence between 0 and 1 (a cue
   going stale, somebody beginning to speak) mixes it with the next one.
2. Emotion lies underneath: it is added to the brows, lids and cheeks, and to the mouth as far as speech leaves room. It
   never opens lips that a sound closes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.geometry import Quaternion, slerp
from avatar.core.types import F32

Origin = Literal["program", "voice", "camera", "idle"]
Part = Literal["mouth", "upper", "head", "gaze", "lids"]

OWNERS: Mapping[Part, tuple[Origin, ...]] = {
    "mouth": ("program", "voice", "camera"),
    "upper": ("program", "camera", "voice"),
    "head": ("program", "camera", "voice"),
    "gaze": ("program", "camera", "idle"),
    "lids": ("program", "camera", "idle"),
}
"""First has the part. "voice" owns the mouth only while it speaks, so that a tracked smile shows between sentences."""

MOUTH_UNDER_SPEECH = 0.55
"""How much of an emotion's mouth shape stays while somebody speaks."""

_OPENERS = np.array([facs.INDEX[n] for n in facs.MOUTH if n.startswith(("mouthUpperUp", "mouthLowerDown", "jawOpen"))])
_CLOSURE = [facs.INDEX[n] for n in ("mouthPressLeft", "mouthPressRight", "mouthClose")]


def layer(values: Sequence[tuple[NDArray[np.floating], float]], size: int) -> F32:
    """Rule 1 for coefficients: ``(vector, presence)`` in order of ownership; what nobody claims is 0."""
    out, left = np.zeros(size, np.float32), 1.0
    for vector, presence in values:
        weight = left * min(1.0, max(0.0, presence))
        if weight > 0:
            out += np.float32(weight) * vector.astype(np.float32, copy=False)
            left -= weight
    return out


def layer_rotation(values: Sequence[tuple[Quaternion, float]]) -> Quaternion:
    """Rule 1 for rotations: what nobody claims is straight ahead."""
    out: Quaternion = (1.0, 0.0, 0.0, 0.0)
    for rotation, presence in reversed(values):
        out = slerp(out, rotation, min(1.0, max(0.0, presence)))
    return out


def add_emotion(face: F32, emotion: F32, speaking: float) -> F32:
    """Rule 2: ``face`` and ``emotion`` are (52,), ``speaking`` in [0, 1]."""
    mixed = face.copy()
    upper, mouth = facs.UPPER_INDICES, facs.MOUTH_INDICES
    # Two ways of moving one muscle do not add up to more than the stronger of them plus half the other.
    mixed[upper] = np.maximum(face[upper], emotion[upper]) + 0.5 * np.minimum(face[upper], emotion[upper])
    room = 1.0 - (1.0 - MOUTH_UNDER_SPEECH) * speaking
    mixed[mouth] = face[mouth] + room * emotion[mouth]
    closed = min(1.0, 2.0 * float(face[_CLOSURE].max()) * speaking)
    mixed[_OPENERS] = face[_OPENERS] + (mixed[_OPENERS] - face[_OPENERS]) * (1.0 - closed)
    return np.clip(mixed, 0.0, 1.0, out=mixed)
