"""What the small face networks see, and what they are told: the crop, the action units and the expressions."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, U8
from avatar.engines.corrector import CROP, EYE_CORNERS, frame_of

SIZE = 64
"""Pixels a side: the level face of :mod:`avatar.engines.corrector` at half its size, 20 pixels between the eyes."""
UNITS: tuple[int, ...] = (1, 2, 4, 5, 9, 10, 12, 15, 17, 18, 20, 26, 43)
"""The action units that the networks know, in the order in which they are told."""
EXPRESSIONS: Mapping[str, Mapping[int, float]] = {
    "neutral": {},
    "happy": {12: 1.0, 10: 0.2, 26: 0.3},
    "sad": {1: 0.9, 4: 0.5, 15: 1.0, 17: 0.5},
    "angry": {4: 1.0, 9: 0.4, 17: 0.6},
    "surprised": {1: 1.0, 2: 1.0, 5: 1.0, 26: 0.9},
    "disgusted": {4: 0.4, 9: 1.0, 10: 0.9, 15: 0.3},
    "afraid": {1: 0.9, 2: 0.5, 4: 0.6, 5: 1.0, 20: 1.0, 26: 0.35},
}
"""Prototypes after EMFACS (Ekman & Friesen), of the units above."""
LABELS = tuple(EXPRESSIONS)


def units_of(shown: Mapping[int, float]) -> F32:
    """(len(UNITS),) the known ones of ``shown``, number -> intensity."""
    return np.array([shown.get(unit, 0.0) for unit in UNITS], np.float32)


def controller(label: int, strength: float) -> F32:
    """(6,) ExprGAN's code of an expression of :data:`LABELS` at ``strength``: that for the wanted one, minus that for
    all others; the face at rest is no expression."""
    made = np.full(len(LABELS) - 1, -strength if label > 0 else 0.0, np.float32)
    if label > 0:
        made[label - 1] = strength
    return made


def frame(landmarks: F32) -> NDArray[np.float64]:
    """(2, 3): from a picture's pixels to the crop's. :param landmarks: (478, 3) in the picture's pixels."""
    return halved(frame_of(landmarks[list(EYE_CORNERS), :2].reshape(2, 2, 2).mean(1)))


def halved(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corrector's frame (2, 3) for the smaller crop."""
    scale = SIZE / CROP
    made = level * scale
    made[:, 2] += 0.5 * scale - 0.5  # pixel centres lie on whole numbers
    return made


def cut(picture: U8, into: NDArray[np.float64]) -> U8:
    """(64, 64, 3): ``picture`` by ``into`` (2, 3), averaged over what a pixel covers."""
    factor = float(np.hypot(*into[0, :2]))
    if factor < 1:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.45 / factor), np.uint8)
    made = cv2.warpAffine(picture, into, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.uint8)


def planes(pictures: U8) -> F32:
    """(n, h, w, 3) bytes to (n, 3, h, w) in [-1, 1]."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) * np.float32(2 / 255) - np.float32(1)
