"""Expressions of VRM avatars from a face state.

* VRM 0: the presets of ``blendShapeMaster`` (specification 0.0), by the names that UniVRM and VMC use.
* VRM 1: the presets of ``VRMC_vrm`` expressions (specification 1.0).
* Perfect sync: one clip for each ARKit coefficient, its name with a capital first letter, as HANA_Tool makes them.

The five vowels divide one mouth among them, so that together they never open it further than the face is open: how far
the lips are apart, how rounded and how spread they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from avatar.core import facs
from avatar.core.types import FaceState

Clips = Literal["vrm0", "vrm1", "perfect_sync"]

OPEN_AT = 0.5
"""jawOpen (less mouthClose) at which a mouth counts as wide open."""
SPREAD_AT = 0.6
"""mouthStretch at which lips count as fully spread."""

PERFECT_SYNC: tuple[str, ...] = tuple(name[0].upper() + name[1:] for name in facs.ARKIT)

# Our names -> (VRM 0, VRM 1); None: that version has none.
_NAMES: Mapping[str, tuple[str | None, str | None]] = {
    "aa": ("A", "aa"), "ih": ("I", "ih"), "ou": ("U", "ou"), "ee": ("E", "ee"), "oh": ("O", "oh"),
    "blink": ("Blink", "blink"), "blinkLeft": ("Blink_L", "blinkLeft"), "blinkRight": ("Blink_R", "blinkRight"),
    "happy": ("Joy", "happy"), "angry": ("Angry", "angry"), "sad": ("Sorrow", "sad"), "relaxed": ("Fun", "relaxed"),
    "surprised": (None, "surprised"), "neutral": ("Neutral", "neutral"),
    "lookUp": ("LookUp", "lookUp"), "lookDown": ("LookDown", "lookDown"),
    "lookLeft": ("LookLeft", "lookLeft"), "lookRight": ("LookRight", "lookRight"),
}  # fmt: skip
_VERSION = {"vrm0": 0, "vrm1": 1}


def names(clips: Clips) -> tuple[str, ...]:
    """The clips' names in the order of :func:`weights`."""
    if clips == "perfect_sync":
        return PERFECT_SYNC
    return tuple(name for both in _NAMES.values() if (name := both[_VERSION[clips]]) is not None)


def weights(clips: Clips, state: FaceState, look: bool) -> list[float]:
    """Weights in [0, 1], order :func:`names`.

    :param look: the look presets follow the gaze; else they are 0, because the eye bones do.
    """
    if clips == "perfect_sync":
        return list(state.arkit.tolist())
    found = presets(state, look)
    return [found[name] for name, both in _NAMES.items() if both[_VERSION[clips]] is not None]


def presets(state: FaceState, look: bool) -> dict[str, float]:
    """All presets by their VRM 1 names, each in [0, 1].

    A blink of both eyes is told by both sides, so ``blink`` stays 0: the presets are added up. An emotion is the one
    that is felt or the one that the face shows, whichever is stronger; ``relaxed`` is nothing that a state knows.
    """
    a = dict(zip(facs.ARKIT, state.arkit.tolist(), strict=True))

    def both(name: str) -> float:
        return (a[name + "Left"] + a[name + "Right"]) / 2

    felt = {state.emotion.label: state.emotion.intensity}
    smile = both("mouthSmile")
    found = {
        **vowels(a),
        "blink": 0.0,
        "blinkLeft": a["eyeBlinkLeft"],
        "blinkRight": a["eyeBlinkRight"],
        "happy": max(felt.get("happiness", 0.0), smile),
        "angry": max(felt.get("anger", 0.0), both("browDown") * (1 - smile)),
        "sad": max(felt.get("sadness", 0.0), both("mouthFrown") * (1 - smile)),
        "relaxed": 0.0,
        "surprised": max(felt.get("surprise", 0.0), min(both("browOuterUp"), both("eyeWide"))),
    }
    found["neutral"] = 0.0
    yaw, pitch = (state.gaze.yaw / facs.EYE_RANGE, state.gaze.pitch / facs.EYE_RANGE) if look else (0.0, 0.0)
    found |= {"lookUp": pitch, "lookDown": -pitch, "lookLeft": yaw, "lookRight": -yaw}
    return {name: _unit(value) for name, value in found.items()}


def vowels(a: Mapping[str, float]) -> dict[str, float]:
    """The five vowels from ARKit coefficients by name; each in [0, 1], together at most 1."""
    apart = _unit((a["jawOpen"] - a["mouthClose"]) / OPEN_AT)
    rounded = _unit(max(a["mouthFunnel"], a["mouthPucker"]))
    spread = _unit((a["mouthStretchLeft"] + a["mouthStretchRight"]) / 2 / SPREAD_AT)
    return {
        "aa": apart * (1 - rounded) * (1 - spread),
        "ee": apart * (1 - rounded) * spread,
        "oh": apart * rounded,
        "ou": (1 - apart) * rounded,
        "ih": (1 - apart) * (1 - rounded) * spread,
    }


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0
