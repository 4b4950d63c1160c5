"""Unified Expressions, the parameters by which VRCFaceTracking moves an avatar's face in VRChat.

Names and ranges: https://docs.vrcft.io/docs/tutorial-avatars/tutorial-avatars-extras/parameters; which ARKit shape is
which expression: the same site's page on ARKit. "Right" is the user's right, so x to the right is our -x. Shapes that
ARKit does not know (nostrils, cheek suck, directions of the tongue) are not sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from avatar.core import facs
from avatar.core.types import F32, FaceState

LID_OPEN = 0.75
"""EyeLid*: 0 is shut, .75 relaxed open, 1 wide."""
EYE_FULL = math.radians(45)
"""Rotation of an eye that is 1 in Eye*X and Eye*Y."""

_L, _R = "Left", "Right"


def _sided(names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The same ARKit shape on either side."""
    return {name + side: {shape + side: 1.0} for name, shape in names.items() for side in (_L, _R)}


def _shared(names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    return {name: {shape: 1.0} for name, shape in names.items()}


def _halves(name: str, shape: str) -> dict[str, dict[str, float]]:
    """A mean of both sides."""
    return {name: {shape + _L: 0.5, shape + _R: 0.5}}


_INNER, _OUTER = 0.4, 0.6
"""How much inner and outer brow make of a raised brow."""


def _table() -> dict[str, dict[str, float]]:
    rows = _sided(
        {
            "EyeSquint": "eyeSquint", "BrowLowerer": "browDown", "BrowPinch": "browDown", "BrowDown": "browDown",
            "BrowOuterUp": "browOuterUp", "NoseSneer": "noseSneer", "CheekSquint": "cheekSquint",
            "MouthUpperUp": "mouthUpperUp", "MouthLowerDown": "mouthLowerDown", "MouthCornerPull": "mouthSmile",
            "MouthCornerSlant": "mouthSmile", "MouthDimple": "mouthDimple", "MouthFrown": "mouthFrown",
            "MouthStretch": "mouthStretch", "MouthPress": "mouthPress", "MouthSmile": "mouthSmile",
        }
    )  # fmt: skip
    rows |= _shared(
        {
            "BrowInnerUpLeft": "browInnerUp", "BrowInnerUpRight": "browInnerUp", "BrowInnerUp": "browInnerUp",
            "CheekPuffSuckLeft": "cheekPuff", "CheekPuffSuckRight": "cheekPuff", "CheekPuffSuck": "cheekPuff",
            "JawOpen": "jawOpen", "MouthClosed": "mouthClose", "JawZ": "jawForward", "TongueOut": "tongueOut",
            "MouthRaiserUpper": "mouthShrugUpper", "MouthRaiserLower": "mouthShrugLower",
        }
    )  # fmt: skip
    for name, upper, lower in (
        ("LipSuck", "mouthRollUpper", "mouthRollLower"),
        ("LipFunnel", "mouthFunnel", "mouthFunnel"),
        ("LipPucker", "mouthPucker", "mouthPucker"),
    ):
        for lip, shape in (("Upper", upper), ("Lower", lower)):
            rows |= {name + lip + side: {shape: 1.0} for side in ("", _L, _R)}
        rows[name] = {upper: 0.5, lower: 0.5} if upper != lower else {upper: 1.0}
    for name, shape in (
        ("EyeSquint", "eyeSquint"), ("BrowOuterUp", "browOuterUp"), ("NoseSneer", "noseSneer"),
        ("CheekSquint", "cheekSquint"), ("MouthUpperUp", "mouthUpperUp"), ("MouthLowerDown", "mouthLowerDown"),
    ):  # fmt: skip
        rows |= _halves(name, shape)
    rows["JawX"] = {"jawRight": 1.0, "jawLeft": -1.0}
    for name in ("MouthX", "MouthUpperX", "MouthLowerX"):
        rows[name] = {"mouthRight": 1.0, "mouthLeft": -1.0}
    rows["MouthOpen"] = {shape + side: 0.25 for shape in ("mouthUpperUp", "mouthLowerDown") for side in (_L, _R)}
    rows["BrowUp"] = {"browInnerUp": _INNER, "browOuterUpLeft": _OUTER / 2, "browOuterUpRight": _OUTER / 2}
    rows["BrowExpression"] = rows["BrowUp"] | {"browDownLeft": -0.5, "browDownRight": -0.5}
    for side in (_L, _R):
        rows["BrowExpression" + side] = {"browInnerUp": _INNER, "browOuterUp" + side: _OUTER, "browDown" + side: -1.0}
        rows["SmileFrown" + side] = {"mouthSmile" + side: 1.0, "mouthFrown" + side: -1.0}
    rows["SmileFrown"] = {n + s: v for n, v in (("mouthSmile", 0.5), ("mouthFrown", -0.5)) for s in (_L, _R)}
    return rows


_ROWS = _table()
_MATRIX = np.zeros((len(_ROWS), len(facs.ARKIT)), np.float32)
for _i, _row in enumerate(_ROWS.values()):
    for _shape, _gain in _row.items():
        _MATRIX[_i, facs.INDEX[_shape]] = _gain
_SAD = ("MouthSadLeft", "MouthSadRight", "SmileSadLeft", "SmileSadRight", "SmileSad")
_EYES = ("EyeLeftX", "EyeLeftY", "EyeRightX", "EyeRightY", "EyeX", "EyeY", "EyeLidLeft", "EyeLidRight", "EyeLid")

NAMES: tuple[str, ...] = (*_ROWS, *_SAD, *_EYES)
"""Order of :func:`values`."""

_SHAPES = {
    name: (facs.INDEX[name + _L], facs.INDEX[name + _R])
    for name in ("mouthFrown", "mouthStretch", "mouthSmile", "eyeBlink", "eyeWide")
}


def values(state: FaceState) -> F32:
    """The parameters (len(NAMES),), each in [-1, 1]."""
    arkit = state.arkit

    def pair(name: str) -> tuple[float, float]:
        left, right = _SHAPES[name]
        return float(arkit[left]), float(arkit[right])

    # A sad mouth is drawn down or apart, whichever is more.
    sad = [max(f, s) for f, s in zip(pair("mouthFrown"), pair("mouthStretch"), strict=True)]
    smile_sad = [smile - s for smile, s in zip(pair("mouthSmile"), sad, strict=True)]
    lids = [
        LID_OPEN * (1 - blink) + (1 - LID_OPEN) * wide
        for blink, wide in zip(pair("eyeBlink"), pair("eyeWide"), strict=True)
    ]
    x, y = -state.gaze.yaw / EYE_FULL, state.gaze.pitch / EYE_FULL
    rest = [*sad, *smile_sad, sum(smile_sad) / 2, x, y, x, y, x, y, *lids, sum(lids) / 2]
    out: F32 = np.clip(np.concatenate([_MATRIX @ arkit, np.array(rest, np.float32)]), -1.0, 1.0)
    return out
