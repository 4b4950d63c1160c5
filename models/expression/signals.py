"""What is measured of each action unit in a picture. One table: :data:`SIGNALS`.

Where MediaPipe's blend shape network answers to a unit alike on all faces, its coefficient is the signal. Elsewhere
landmarks are: lengths in distances between the eyes, in a picture whose eyes are level, so that distance and tilt of
the head do not matter. On 18 portraits that a 3D head moved, ICC(3,1) rose from .50 to .87 (AU 18), .59 to .91 (20),
.38 to .95 (22), .64 to .89 (17), .46 to .78 (1) and .49 to .95 (10) by landmarks in place of the network. Every signal
counts from the same portrait at rest.
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


def coefficient(values: F32, name: str) -> float:
    """One of MediaPipe's coefficients (52,); both sides' mean where it has sides."""
    sides = [name] if name in facs.INDEX else [name + "Left", name + "Right"]
    return float(values[[facs.INDEX[side] for side in sides]].mean())


def _shape(name: str) -> Signal:
    return lambda seen: coefficient(seen.coefficients, name)


def _height(*points: int) -> Signal:
    """Mean height of points over the line of the eyes."""
    return lambda seen: -float(seen.points[list(points), 1].mean())


def _below(upper: tuple[int, ...], lower: tuple[int, ...]) -> Signal:
    """How far some points lie below others."""
    return lambda seen: float(seen.points[list(lower), 1].mean() - seen.points[list(upper), 1].mean())


def _minus(signal: Signal) -> Signal:
    return lambda seen: -signal(seen)


def _inner_brows(seen: Seen) -> float:
    """Height of the brows' inner ends, less half of that of the outer ends: the whole brow going up is mostly AU 2."""
    return _INNER_ENDS(seen) - 0.5 * _OUTER_ENDS(seen)


def _corners_low(seen: Seen) -> float:
    """How far the lip corners hang below where upper and lower lip, whatever the jaw does, would have them."""
    upper, lower = seen.points[0, 1], seen.points[17, 1]
    return float(seen.points[[61, 291], 1].mean() - (upper + _WITH_JAW * (lower - upper)))


def _width(seen: Seen) -> float:
    return float(np.hypot(*(seen.points[61] - seen.points[291])))


def _stretched(seen: Seen) -> float:
    """Width of the mouth, but not that of a smile, whose corners rise by half as much as the mouth grows wider."""
    return _width(seen) + 2 * _corners_low(seen)


def _roundness(seen: Seen) -> float:
    """Height of the lips over their width."""
    return float(seen.points[17, 1] - seen.points[0, 1]) / max(1e-6, _width(seen))


_WITH_JAW = 0.36
"""Part of the lower lip's way that the corners of a mouth go when the jaw drops."""
_INNER_ENDS, _OUTER_ENDS = _height(107, 336, 55, 285), _height(70, 300, 46, 276)
_BROWS = (107, 336, 55, 285, 66, 296, 105, 334)
_UPPER_LIDS, _LOWER_LIDS = (159, 386, 158, 385, 160, 387), (145, 374, 144, 373, 153, 380)
_NOSE_BASE, _BELOW_LIP = (2,), (18, 200, 83, 313)

SIGNALS: Mapping[int, tuple[Signal, str]] = {
    1: (_inner_brows, "inner ends of the brows, less half of the outer ends"),
    2: (_OUTER_ENDS, "outer ends of the brows"),
    4: (_minus(_height(*_BROWS)), "lowering of the brows"),
    5: (_below(_UPPER_LIDS, _LOWER_LIDS), "gap between the lids"),
    6: (_shape("eyeSquint"), "eyeSquint (cheekSquint is always 0)"),
    10: (_minus(_below(_NOSE_BASE, (0, 37, 267))), "upper lip's edge towards the nose"),
    12: (_shape("mouthSmile"), "mouthSmile"),
    15: (_corners_low, "lip corners below their place between the lips"),
    17: (_minus(_below(_NOSE_BASE, (17, 84, 314))), "lower lip's edge towards the nose"),
    18: (_minus(_width), "narrowness of the mouth"),
    20: (_stretched, "width of the mouth, rising corners taken off"),
    22: (_roundness, "height of the lips over their width"),
    25: (_below((13,), (14,)), "gap between the inner lips"),
    26: (_below(_NOSE_BASE, _BELOW_LIP), "chin below the nose"),
    27: (_below(_NOSE_BASE, _BELOW_LIP), "chin below the nose"),
    45: (_shape("eyeBlink"), "eyeBlink"),
}
"""Action unit -> its signal, and what that is. Rises with the unit."""

KIN: Mapping[int, frozenset[int]] = {
    unit: frozenset(signals)
    for unit, signals in {
        1: (4,), 2: (4,), 4: (1, 2),  # brows up, brows down
        5: (6, 45), 6: (5, 45), 45: (5, 6),  # lids apart, lids together
        12: (15, 18), 15: (12,),  # corners up and out, corners down
        18: (20,), 20: (18,),  # narrow, wide
        10: (22, 25), 22: (17, 25), 25: (17, 22),  # part the lips: higher, and the lower one lower
        26: (17, 22, 25, 27), 27: (17, 22, 25, 26), 17: (26, 27),  # jaw down, chin up
    }.items()
}  # fmt: skip
"""Unit -> signals that it moves by definition, in their own direction or the other: no leakage."""

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
