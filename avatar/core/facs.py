"""Names and numbers of facial motion, and the mapping between them.

* :data:`ARKIT`: the 52 blend shape locations of Apple's ``ARFaceAnchor``, "Left" and "Right" being the subject's.
* Action units by their numbers in the Facial Action Coding System (Ekman, Friesen & Hager 2002).
* :data:`VISEMES`: the 15 visemes of Oculus LipSync (after MPEG-4's table, ISO/IEC 14496-2).

The mapping between action units and ARKit coefficients follows the usual reading of both documents (each ARKit shape is
one muscle action; left and right are averaged into one intensity). Two units have no shape of their own: AU 25 (lips
part) is read from the lips' opening, and AU 26/27 share ``jawOpen`` (FACS scores one *or* the other: 26 is the lower
part of its range, 27 the rest).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ARKIT: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
INDEX: Mapping[str, int] = {name: i for i, name in enumerate(ARKIT)}

VISEMES: tuple[str, ...] = (
    "sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou",
)  # fmt: skip
VISEME_INDEX: Mapping[str, int] = {name: i for i, name in enumerate(VISEMES)}

_EYE_LOOK = tuple(n for n in ARKIT if n.startswith("eyeLook"))
MOUTH: tuple[str, ...] = tuple(n for n in ARKIT if n.startswith(("mouth", "jaw", "tongue", "cheekPuff")))
"""The coefficients that speech owns."""
MOUTH_INDICES: NDArray[np.intp] = np.array([INDEX[n] for n in MOUTH])
UPPER_INDICES: NDArray[np.intp] = np.array([i for i, n in enumerate(ARKIT) if n not in MOUTH and n not in _EYE_LOOK])
"""Brows, lids, cheeks and nose: what emotion owns while somebody speaks."""

EYE_RANGE = math.radians(30)
"""Rotation of the eye that counts as coefficient or action unit 1."""
HEAD_RANGE = 30.0
"""Rotation of the head, in degrees, that counts as action unit intensity 1."""


def _both(name: str) -> dict[str, float]:
    return {name + "Left": 1.0, name + "Right": 1.0}


AU_NAMES: Mapping[int, str] = {
    1: "inner brow raiser", 2: "outer brow raiser", 4: "brow lowerer", 5: "upper lid raiser", 6: "cheek raiser",
    7: "lid tightener", 8: "lips toward each other", 9: "nose wrinkler", 10: "upper lip raiser",
    12: "lip corner puller", 14: "dimpler", 15: "lip corner depressor", 16: "lower lip depressor", 17: "chin raiser",
    18: "lip pucker", 19: "tongue show", 20: "lip stretcher", 22: "lip funneler", 23: "lip tightener",
    24: "lip pressor", 25: "lips part", 26: "jaw drop", 27: "mouth stretch", 28: "lip suck", 29: "jaw thrust",
    30: "jaw sideways", 34: "puff", 43: "eyes closed", 45: "blink",
    51: "head turn left", 52: "head turn right", 53: "head up", 54: "head down", 55: "head tilt left",
    56: "head tilt right", 61: "eyes turn left", 62: "eyes turn right", 63: "eyes up", 64: "eyes down",
}  # fmt: skip

AU_TO_ARKIT: Mapping[int, Mapping[str, float]] = {
    1: {"browInnerUp": 1.0},
    2: _both("browOuterUp"),
    4: _both("browDown"),
    5: _both("eyeWide"),
    6: _both("cheekSquint"),
    7: _both("eyeSquint"),
    8: {"mouthClose": 1.0},
    9: _both("noseSneer"),
    10: _both("mouthUpperUp"),
    12: _both("mouthSmile"),
    14: _both("mouthDimple"),
    15: _both("mouthFrown"),
    16: _both("mouthLowerDown"),
    17: {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.6},
    18: {"mouthPucker": 1.0},
    19: {"tongueOut": 1.0},
    20: _both("mouthStretch"),
    22: {"mouthFunnel": 1.0},
    23: {**{k: 0.5 for k in _both("mouthPress")}, "mouthRollUpper": 0.3, "mouthRollLower": 0.3},
    24: _both("mouthPress"),
    25: {"mouthLowerDownLeft": 0.3, "mouthLowerDownRight": 0.3, "mouthUpperUpLeft": 0.15, "mouthUpperUpRight": 0.15,
         "jawOpen": 0.06},
    26: {"jawOpen": 0.6},
    27: {"jawOpen": 1.0},
    28: {"mouthRollUpper": 1.0, "mouthRollLower": 1.0},
    29: {"jawForward": 1.0},
    30: {"jawLeft": 1.0},
    34: {"cheekPuff": 1.0},
    43: _both("eyeBlink"),
    45: _both("eyeBlink"),
}  # fmt: skip
"""Action unit at full intensity -> ARKit coefficients. Several units on one shape: the largest wins."""


def arkit_vector(values: Mapping[str, float]) -> NDArray[np.float32]:
    """Named coefficients to the vector (52,), clipped to [0, 1]. A name without a side sets both sides.

    Raises KeyError with the unknown name.
    """
    out = np.zeros(len(ARKIT), np.float32)
    for name, value in values.items():
        for key in (name,) if name in INDEX else (name + "Left", name + "Right"):
            if key not in INDEX:
                raise KeyError(name)
            out[INDEX[key]] = min(1.0, max(0.0, value))
    return out


def from_action_units(units: Mapping[int, float]) -> NDArray[np.float32]:
    """Intensities in [0, 1] by AU number to the ARKit vector (52,). Gaze (61-64) sets eyeLook*; head units (51-56)
    have no coefficient and are left out.

    Raises KeyError with the unknown number.
    """
    out = np.zeros(len(ARKIT), np.float32)
    for number, intensity in units.items():
        if number in AU_TO_ARKIT:
            for name, gain in AU_TO_ARKIT[number].items():
                out[INDEX[name]] = max(out[INDEX[name]], gain * min(1.0, max(0.0, intensity)))
        elif number not in AU_NAMES:
            raise KeyError(number)
    if any(number in units for number in (61, 62, 63, 64)):
        yaw = (units.get(61, 0.0) - units.get(62, 0.0)) * EYE_RANGE
        pitch = (units.get(63, 0.0) - units.get(64, 0.0)) * EYE_RANGE
        set_eye_look(out, yaw, pitch)
    return out


def set_eye_look(arkit: NDArray[np.float32], yaw: float, pitch: float) -> None:
    """Write the eight eyeLook* entries of ``arkit`` (52,), in place, from a gaze in radians (> 0: right edge, up)."""
    right, left = np.clip((yaw / EYE_RANGE, -yaw / EYE_RANGE), 0.0, 1.0)
    up, down = np.clip((pitch / EYE_RANGE, -pitch / EYE_RANGE), 0.0, 1.0)
    for name, value in (
        ("eyeLookOutLeft", right), ("eyeLookInRight", right), ("eyeLookInLeft", left), ("eyeLookOutRight", left),
        ("eyeLookUpLeft", up), ("eyeLookUpRight", up), ("eyeLookDownLeft", down), ("eyeLookDownRight", down),
    ):  # fmt: skip
        arkit[INDEX[name]] = value


def eye_look(arkit: NDArray[np.floating]) -> tuple[float, float]:
    """Gaze yaw and pitch in radians of the eyeLook* entries, both eyes averaged."""

    def mean(*names: str) -> float:
        return float(sum(arkit[INDEX[n]] for n in names)) / len(names)

    yaw = mean("eyeLookOutLeft", "eyeLookInRight") - mean("eyeLookInLeft", "eyeLookOutRight")
    pitch = mean("eyeLookUpLeft", "eyeLookUpRight") - mean("eyeLookDownLeft", "eyeLookDownRight")
    return yaw * EYE_RANGE, pitch * EYE_RANGE


def to_action_units(
    arkit: NDArray[np.floating],
    gaze_yaw: float = 0.0,
    gaze_pitch: float = 0.0,
    head_yaw: float = 0.0,
    head_pitch: float = 0.0,
    head_roll: float = 0.0,
) -> dict[int, float]:
    """The action units of a face: ``arkit`` (52,), gaze in radians, head in degrees -> number -> intensity in [0, 1].

    Left and right in units 51-64 are the subject's, as FACS has them.
    """

    def mean(name: str) -> float:
        return 0.5 * float(arkit[INDEX[name + "Left"]] + arkit[INDEX[name + "Right"]])

    def one(name: str) -> float:
        return float(arkit[INDEX[name]])

    jaw, press = one("jawOpen"), mean("mouthPress")
    roll = min(one("mouthRollUpper"), one("mouthRollLower"))
    # AU 23 presses and rolls together; what goes beyond that is pressing (24) or sucking (28) alone.
    tighten = min(press / 0.5, roll / 0.3, 1.0)
    # mouthClose shuts the lips over as much of the jaw's opening as it says.
    close = one("mouthClose")
    parted = max((jaw - close) / 0.06, (mean("mouthLowerDown") + mean("mouthUpperUp")) / 0.45 - close)
    au = {
        1: one("browInnerUp"), 2: mean("browOuterUp"), 4: mean("browDown"), 5: mean("eyeWide"), 6: mean("cheekSquint"),
        7: mean("eyeSquint"), 8: one("mouthClose"), 9: mean("noseSneer"), 10: mean("mouthUpperUp"),
        12: mean("mouthSmile"), 14: mean("mouthDimple"), 15: mean("mouthFrown"), 16: mean("mouthLowerDown"),
        17: one("mouthShrugLower"), 18: one("mouthPucker"), 19: one("tongueOut"), 20: mean("mouthStretch"),
        22: one("mouthFunnel"), 23: tighten, 24: max(0.0, press - 0.5 * tighten), 25: parted,
        26: jaw / 0.6, 27: (jaw - 0.6) / 0.4, 28: max(0.0, roll - 0.3 * tighten), 29: one("jawForward"),
        30: max(one("jawLeft"), one("jawRight")), 34: one("cheekPuff"), 43: mean("eyeBlink"), 45: mean("eyeBlink"),
        51: head_yaw / HEAD_RANGE, 52: -head_yaw / HEAD_RANGE, 53: head_pitch / HEAD_RANGE,
        54: -head_pitch / HEAD_RANGE, 55: -head_roll / HEAD_RANGE, 56: head_roll / HEAD_RANGE,
        61: gaze_yaw / EYE_RANGE, 62: -gaze_yaw / EYE_RANGE, 63: gaze_pitch / EYE_RANGE, 64: -gaze_pitch / EYE_RANGE,
    }  # fmt: skip
    return {number: min(1.0, max(0.0, value)) for number, value in au.items()}
