"""Who owns which part of the face. The whole policy is the two tables and the two rules below.

1. Where several inputs speak for one part, the first of its row that is present has it; presence between 0 and 1 (a cue
   going stale, somebody beginning to speak) mixes it with the next one.
2. Emotion lies underneath: it is added to the brows, lids and cheeks, and to the mouth as far as speech leaves room
   (:data:`MOUTH_UNDER_SPEECH`). It never opens lips that a sound closes. What was only inferred gives way to a face
   that is seen or told (:func:`leave_to_owners`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avatar.core import facs
from avatar.core.geometry import Quaternion, slerp
from avatar.core.types import F32
from avatar.sync.articulation import contacts

Origin = Literal["program", "script", "voice", "camera", "idle"]
Part = Literal["mouth", "upper", "head", "gaze", "lids"]

OWNERS: Mapping[Part, tuple[Origin, ...]] = {
    "mouth": ("program", "voice", "camera"),
    "upper": ("program", "camera", "script", "voice"),
    "head": ("program", "camera", "script", "voice"),
    "gaze": ("program", "camera", "script", "idle"),
    "lids": ("program", "camera", "idle"),
}
"""First has the part. "script" is what a dialogue act has planned for a text. "voice" owns the mouth only while it
speaks, so that a tracked smile shows between sentences."""

# coefficient's beginning -> share of an emotion that stays while somebody speaks, share of that which stays where the
# lips are open, where they touch, and where they are round.
MOUTH_UNDER_SPEECH: Mapping[str, tuple[float, float, float, float]] = {
    #                 speech open touch round
    "mouthSmile": (0.90, 1.0, 1.0, 0.6),
    "mouthFrown": (0.90, 1.0, 1.0, 1.0),
    "mouthDimple": (0.80, 1.0, 1.0, 0.5),
    "mouthStretch": (0.60, 1.0, 1.0, 0.2),
    "mouthShrug": (0.70, 0.4, 1.0, 0.6),
    "mouthPress": (0.80, 0.0, 1.0, 0.3),
    "mouthRoll": (0.80, 0.0, 1.0, 0.3),
    "mouthUpperUp": (0.60, 1.0, 0.0, 0.5),
    "mouthLowerDown": (0.60, 1.0, 0.0, 0.5),
    "jawOpen": (0.35, 1.0, 0.0, 0.5),
    "": (0.60, 1.0, 0.0, 1.0),
}
"""An emotion's mouth under speech. The corners stay: they are what a smile or a frown is. Lips that speak open are not
pressed, lips that touch are not parted, and round lips are not wide."""
_SHARES: F32 = np.array(
    [next(v for k, v in MOUTH_UNDER_SPEECH.items() if name.startswith(k)) for name in facs.MOUTH], np.float32
)
_LOWER = np.array([facs.INDEX[n] for n in facs.MOUTH if n.startswith("mouthLowerDown")])
_PARTS = np.array([name.startswith(("mouthUpperUp", "mouthLowerDown")) for name in facs.MOUTH])
_JAW, _PUCKER, _FUNNEL = (facs.INDEX[n] for n in ("jawOpen", "mouthPucker", "mouthFunnel"))
_CORNERS = [facs.INDEX["mouthSmileLeft"], facs.INDEX["mouthSmileRight"]]
OPEN, ROUND = 0.12, 0.7
"""``jawOpen``, and pucker with funnel, at which a mouth counts as fully open and round."""
SMILE_WIDENS = 0.35
"""How much of a pucker a full smile takes: "oo" said with a smile is a narrower smile."""


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


def leave_to_owners(emotion: F32, mode: str, seen: float, told: float, talking: float) -> F32:
    """What of an emotion (52,) is left to add where others know the face better.

    One that was heard leaves brows, lids and cheeks to a camera; a mirrored one is in the camera's face already, but
    for the mouth while speech has that. Both leave all to a program. One that was chosen by hand stays.

    :param mode: of :class:`avatar.sync.feeling.EmotionChoice`. :param seen: presence of a camera's face, [0, 1].
    :param told: of a program's. :param talking: how far speech has the mouth, [0, 1].
    """
    if mode not in ("auto", "mirror") or not (seen or told):
        return emotion
    out = emotion * np.float32(1.0 - min(1.0, told))
    out[facs.UPPER_INDICES] *= np.float32(1.0 - min(1.0, seen))
    if mode == "mirror":
        out[facs.MOUTH_INDICES] *= np.float32(1.0 - min(1.0, seen) * (1.0 - talking))
    return out


def add_emotion(face: F32, emotion: F32, speaking: float) -> F32:
    """Rule 2: ``face`` and ``emotion`` are (52,), ``speaking`` in [0, 1]."""
    mixed = face.copy()
    upper, mouth = facs.UPPER_INDICES, facs.MOUTH_INDICES
    # Two ways of moving one muscle do not add up to more than the stronger of them plus half the other.
    mixed[upper] = np.maximum(face[upper], emotion[upper]) + 0.5 * np.minimum(face[upper], emotion[upper])
    lips = face[mouth]
    touch, teeth = contacts(face)
    rounded = min(1.0, float(face[_PUCKER] + face[_FUNNEL]) / ROUND)
    opened = min(1.0, float(face[_JAW]) / OPEN) * (1.0 - touch)
    shares = np.array((opened, touch, rounded), np.float32)
    # Each condition takes what it does not leave; none of them counts while nobody speaks.
    left = _SHARES[:, 0] * np.prod(1.0 - shares * (1.0 - _SHARES[:, 1:]), axis=1)
    # A sound whose lips are nearly shut, contact or not, is not parted by a feeling.
    left = np.where(_PARTS, left * min(1.0, float(face[_JAW]) / OPEN), left)
    felt = emotion[mouth] * (1.0 - speaking * (1.0 - left))
    mixed[mouth] = lips + felt - lips * felt
    mixed[_LOWER] -= (mixed[_LOWER] - face[_LOWER]) * teeth * speaking
    mixed[_PUCKER] *= 1.0 - SMILE_WIDENS * speaking * float(emotion[_CORNERS].mean())
    return np.clip(mixed, 0.0, 1.0, out=mixed)
