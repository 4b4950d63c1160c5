"""What is measured of each action unit in a picture. One table: :data:`SIGNALS`.

Where MediaPipe's blend shape network answers to a unit, its coefficient is the signal; where it is blind (brows by
direction, upper lip, lip corners, cheeks) or saturates (jaw), landmarks are: lengths in distances between the eyes, in
a picture whose eyes are level, so that distance and tilt of the head do not matter. Every signal counts from the same
portrait at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from avatar.core import facs
from avatar.core.types import F32
from avatar.models.expression.align import EYES, MIDDLE, transform
from avatar.portrait.landmarks import DetectedFace


@dataclass(frozen=True, slots=True)
class Seen:
    """A face as it is measured."""

    coefficients: F32
    """(52,) MediaPipe's."""
    points: F32
    """(468, 2) from the middle between the eyes, x right, y down, in distances between the eyes."""

    @classmethod
    def of(cls, face: DetectedFace) -> Seen:
        matrix = transform(face.landmarks)
        at = face.landmarks[:468, :2] @ matrix[:, :2].T + matrix[:, 2] - MIDDLE
        return cls(face.coefficients, (at / EYES).astype(np.float32))


Signal = Callable[[Seen], float]


def _shape(name: str) -> Signal:
    """A coefficient; both sides' mean where it has sides."""
    sides = [name] if name in facs.INDEX else [name + "Left", name + "Right"]
    rows = [facs.INDEX[side] for side in sides]
    return lambda seen: float(seen.coefficients[rows].mean())


def _height(*points: int) -> Signal:
    """Mean height of points over the line of the eyes."""
    return lambda seen: -float(seen.points[list(points), 1].mean())


def _below(upper: tuple[int, ...], lower: tuple[int, ...]) -> Signal:
    """How far some points lie below others."""
    return lambda seen: float(seen.points[list(lower), 1].mean() - seen.points[list(upper), 1].mean())


def _minus(signal: Signal) -> Signal:
    return lambda seen: -signal(seen)


def _corners_low(seen: Seen) -> float:
    """How far the lip corners hang below where upper and lower lip, whatever the jaw does, would have them."""
    upper, lower = seen.points[0, 1], seen.points[17, 1]
    return float(seen.points[[61, 291], 1].mean() - (upper + _WITH_JAW * (lower - upper)))


_NOSE_BASE = (2,)
_BROWS = (107, 336, 55, 285, 66, 296, 105, 334)
_WITH_JAW = 0.36
"""Part of the lower lip's way that the corners of a mouth go when the jaw drops."""

SIGNALS: Mapping[int, tuple[Signal, str]] = {
    1: (_height(107, 336, 55, 285), "height of the brows' inner ends"),
    2: (_height(70, 300, 46, 276), "height of the brows' outer ends"),
    4: (_minus(_height(*_BROWS)), "lowering of the brows"),
    5: (_height(159, 386, 158, 385, 160, 387), "height of the upper lids"),
    6: (_shape("eyeSquint"), "eyeSquint (cheekSquint is always 0)"),
    10: (_minus(_below(_NOSE_BASE, (0, 37, 267))), "upper lip's edge towards the nose"),
    12: (_shape("mouthSmile"), "mouthSmile"),
    15: (_corners_low, "lip corners below their place between the lips"),
    17: (_shape("mouthShrugLower"), "mouthShrugLower"),
    18: (_shape("mouthPucker"), "mouthPucker"),
    20: (_shape("mouthStretch"), "mouthStretch"),
    22: (_shape("mouthFunnel"), "mouthFunnel"),
    25: (_below((13,), (14,)), "gap between the inner lips"),
    26: (_below(_NOSE_BASE, (152,)), "chin below the nose"),
    27: (_below(_NOSE_BASE, (152,)), "chin below the nose"),
    45: (_shape("eyeBlink"), "eyeBlink"),
}
"""Action unit -> its signal, and what that is. Rises with the unit."""

_SAME_MOTION = (
    (1, 4), (2, 4),  # brows up, brows down
    (5, 6), (5, 45), (6, 45),  # lids apart, lids together
    (12, 15),  # lip corners up, lip corners down
    (25, 26), (25, 27), (26, 27),  # a dropping jaw parts the lips
    (10, 25), (22, 25),  # strong ones part the lips, which FACS scores beside them
)  # fmt: skip
KIN: Mapping[int, frozenset[int]] = {
    unit: frozenset(b for pair in _SAME_MOTION for b in pair if unit in pair and b != unit) for unit in SIGNALS
}
"""Units whose signals are one motion, or its reverse, by definition: no leakage from one to the other."""

_EYES = ((33, 133, (160, 159, 158), (144, 145, 153)), (263, 362, (387, 386, 385), (373, 374, 380)))
"""Corners, middle of the upper lid, middle of the lower lid."""


def lid_openings(seen: Seen) -> tuple[float, float]:
    """Opening of the subject's right and left eye, in widths of that eye."""
    right, left = (
        float(
            np.hypot(*(seen.points[list(upper)].mean(0) - seen.points[list(lower)].mean(0)))
            / max(1e-6, np.hypot(*(seen.points[outer] - seen.points[inner])))
        )
        for outer, inner, upper, lower in _EYES
    )
    return right, left
