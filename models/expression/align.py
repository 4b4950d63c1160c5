"""All faces in one place: 256 x 256, level, 80 pixels between the eyes; and the parts of such a picture that count."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.geometry import similarity
from avatar.core.types import F32, U8
from avatar.portrait.fit import LANDMARKS, OUTER_LIPS

SIZE = 256
EYES = 80.0
"""Pixels between the eyes. Each eye's place is the middle of its corners: irises move with the gaze."""
MIDDLE = (128.0, 100.0)
"""Where the point between the eyes comes to lie: the face from hairline to chin is inside."""
_CORNERS = ((33, 133), (362, 263))
"""Of the eye on the picture's left, and of the one on its right."""
_MOUTH_MARGIN = 5
"""Pixels around the lips that belong to the mouth."""
_SMOOTH_TO = 1.25
"""Pictures larger than so many times the target are averaged down first, or fine structures would flicker."""

Bools = NDArray[np.bool_]


def transform(landmarks: F32) -> NDArray[np.float64]:
    """(2, 3): rotation, scale and shift from a picture's pixels to the aligned ones.

    :param landmarks: (478, 3) in the picture's pixels.
    """
    eyes = np.stack([landmarks[list(pair), :2].mean(0, dtype=np.float64) for pair in _CORNERS])
    return similarity(eyes, np.array(MIDDLE) + np.array([(-EYES / 2, 0.0), (EYES / 2, 0.0)]))


def align(rgb: U8, landmarks: F32) -> tuple[U8, F32]:
    """The aligned picture (256, 256, 3) and the landmarks (468, 2) in it."""
    matrix = transform(landmarks)
    points = landmarks[:LANDMARKS, :2] @ matrix[:, :2].T + matrix[:, 2]
    factor = float(np.hypot(*matrix[0, :2])) * _SMOOTH_TO
    if factor < 1:
        height, width = rgb.shape[:2]
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        ratio = np.array((small[0] / width, small[1] / height))
        rgb = np.asarray(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), np.uint8)
        # Pixel centres lie on whole numbers: x becomes ratio * x + ratio / 2 - 1/2.
        matrix = np.c_[matrix[:, :2] / ratio, matrix[:, 2] - matrix[:, :2] @ ((ratio - 1) / 2 / ratio)]
    made = cv2.warpAffine(rgb, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.uint8), points.astype(np.float32)


def face_mask(points: F32) -> Bools:
    """(256, 256): inside the convex hull of the landmarks (468, 2)."""
    return _hull(points)


def mouth_mask(points: F32) -> Bools:
    """(256, 256): inside the hull of the lips, and five pixels around it."""
    side = 2 * _MOUTH_MARGIN + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(_hull(points[list(OUTER_LIPS)]).astype(np.uint8), disc) > 0


def _hull(points: F32) -> Bools:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    return mask > 0
